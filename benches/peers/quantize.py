"""Compares the speed of bise quantize with llama.cpp's quantizer on the same file, with the same threads, in turn.

    cargo build --release && python benches/peers/quantize.py
    python benches/peers/quantize.py Q8_0 --rounds 3 --threads 2 --directory /dev/shm

The source is a file of random weights in BF16 at the shape of Mistral 7B with two layers. It and the results lie in
memory (/dev/shm) unless another directory is named, so that no disk is measured. Each program runs as a process of its own;
the figures are medians. bise also hashes what it writes; with `--probe` it runs both models too, as it does by default.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BISE = Path(os.environ.get("BISE", ROOT / "target" / "release" / "bise"))
# Every matrix gets the very type, in both programs.
FTYPES = {"Q8_0": "MOSTLY_Q8_0", "Q4_0": "MOSTLY_Q4_0", "Q4_K": "MOSTLY_Q4_K_S", "Q5_K": "MOSTLY_Q5_K_S",
          "Q6_K": "MOSTLY_Q6_K", "Q3_K": "MOSTLY_Q3_K_S", "Q2_K": "MOSTLY_Q2_K"}
LLAMA = """
import ctypes, sys, llama_cpp
source, target, ftype, threads = sys.argv[1:]
quiet = llama_cpp.llama_log_callback(lambda *_: None)
llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
p = llama_cpp.llama_model_quantize_default_params()
p.ftype, p.nthread, p.pure = getattr(llama_cpp, "LLAMA_FTYPE_" + ftype), int(threads), True
p.output_tensor_type = p.token_embedding_type = {kind}
sys.exit(llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(p)))
"""
GGML_TYPES = {"Q8_0": 8, "Q4_0": 2, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14, "Q3_K": 11, "Q2_K": 10}


def seconds(command: list[object], result: Path) -> float:
    result.unlink(missing_ok=True)
    start = time.perf_counter()
    done = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    taken = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"failed: {command}\n{done.stderr}")
    return taken


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("types", nargs="*", default=["Q8_0", "Q4_K"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--directory", default="/dev/shm")
    parser.add_argument("--source", type=Path, help="a source that exists, instead of a new one")
    parser.add_argument("--probe", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        source, target = arguments.source or Path(folder) / "source.gguf", Path(folder) / "target.gguf"
        if not arguments.source:
            shape = ["--synthetic", "mistral-7b:BF16", "--layers", arguments.layers, "--write", source]
            seconds([BISE, "bench", *shape], target)
        size = source.stat().st_size
        source.read_bytes()
        print(f"source {size / 1e9:.2f} GB, {arguments.threads} threads, {arguments.rounds} rounds\n")
        print("| type | bise | llama.cpp | bise / llama.cpp |\n|---|---|---|---|")
        for kind in arguments.types:
            ours = [BISE, "quantize", source, target, "--type", kind, "--pure", "-t", arguments.threads]
            ours += [] if arguments.probe else ["--no-probe"]
            program = LLAMA.replace("{kind}", str(GGML_TYPES[kind]))
            theirs = [sys.executable, "-c", program, source, target, FTYPES[kind], arguments.threads]
            # What Python and the library need before they quantize.
            start = seconds([sys.executable, "-c", "import ctypes, sys, llama_cpp"], target)
            samples = [(seconds(ours, target), seconds(theirs, target) - start) for _ in range(arguments.rounds)]
            bise, llama = (size / 1e9 / statistics.median(side) for side in zip(*samples))
            print(f"| {kind} | {bise:.2f} GB/s | {llama:.2f} GB/s | {bise / llama:.2f} |", flush=True)


if __name__ == "__main__":
    main()
