"""Compares many prompts at once with one after the other: `bise run --input-jsonl`, the same with --sequences 1, and
llama-cpp-python's loop over the same file, in turn.

    cargo build --release && python3 -m venv .venv && .venv/bin/pip install llama-cpp-python==0.3.36
    .venv/bin/python benches/peers/batch.py

One file of random weights at Mistral 7B's shape, Q4_0. 64 prompts of 128 tokens, of which no two begin alike, with 64 tokens
generated after each, at temperature 1: at 0 random weights repeat themselves, which drafts would profit from. The vocabulary
is made up, so that a letter is a token. Times begin when the model is loaded. The figures are medians of the rounds.
"""

import argparse
import json
import os
import random
import re
import statistics
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BISE = ROOT / "target" / "release" / "bise"
PROMPT, GENERATED = 128, 64
# A prompt begins with the control token and the three bytes of the space that SentencePiece puts before a text.
BEFORE = 4
SAMPLING = {"temperature": 1.0, "top_k": 40, "top_p": 0.95, "min_p": 0.05}


def rows(count: int) -> list[dict]:
    numbers = random.Random(1)
    letters = [numbers.choices(string.ascii_letters, k=PROMPT - BEFORE) for _ in range(count)]
    return [{"prompt": "".join(prompt), "seed": i, "max_tokens": GENERATED} for i, prompt in enumerate(letters)]


def bise(program: Path, model: Path, input: Path, threads: int, more: list[str]) -> float:
    """Generated tokens a second."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SAMPLING.items()]
    command = [program, "run", model, "--input-jsonl", input, "-t", threads, "--ignore-eos", "-q", "--stats", *options, *more]
    done = subprocess.run([str(word) for word in command], capture_output=True, check=True, text=True)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert all((row["prompt_tokens"], row["tokens"]) == (PROMPT, GENERATED) for row in results), results[0]
    found = re.search(r"^(\d+) texts in ([0-9.]+) s", done.stderr, re.MULTILINE)
    assert found and int(found[1]) == len(results), done.stderr
    return len(results) * GENERATED / float(found[2])


def llama(model: Path, input: Path, threads: int) -> None:
    """Prints the tokens a second that the package generates, in a process of its own."""
    from llama_cpp import Llama

    size = {"n_ctx": PROMPT + GENERATED, "n_threads": threads, "n_threads_batch": threads}
    llm = Llama(str(model), **size, flash_attn=True, verbose=False)
    lines = [json.loads(line) for line in input.read_text().splitlines()]
    start, tokens = time.perf_counter(), 0
    for row in lines:
        made = llm.create_completion(row["prompt"], max_tokens=row["max_tokens"], seed=row["seed"], **SAMPLING)
        assert made["usage"]["prompt_tokens"] == PROMPT, made["usage"]
        # Few texts end before; the others count more.
        tokens += made["usage"]["completion_tokens"]
    print(tokens / (time.perf_counter() - start))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bise", type=Path, default=BISE)
    parser.add_argument("-t", "--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--directory", type=Path, help="where the file is written for a while")
    parser.add_argument("--loop", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.loop:
        return llama(*arguments.loop, arguments.threads)
    # What is missing shows before anything is measured.
    subprocess.run([sys.executable, "-c", "import llama_cpp"], check=True)
    with tempfile.TemporaryDirectory(dir=arguments.directory) as temporary:
        model, input = Path(temporary) / "model.gguf", Path(temporary) / "rows.jsonl"
        make = [arguments.bise, "bench", "--synthetic", "mistral-7b:Q4_0", "--layers", arguments.layers, "--write", model]
        subprocess.run([str(word) for word in make], check=True, stdout=subprocess.DEVNULL)
        input.write_text("".join(json.dumps(row) + "\n" for row in rows(arguments.prompts)))
        loop = [sys.executable, __file__, "-t", arguments.threads, "--loop", model, input]
        samples: dict[str, list[float]] = {"batch": [], "one": [], "llama": []}
        for _ in range(arguments.rounds):
            for name, more in (("batch", []), ("one", ["--sequences", "1"])):
                samples[name].append(bise(arguments.bise, model, input, arguments.threads, more))
                print(f"{name}: {samples[name][-1]:.1f} tok/s", file=sys.stderr)
            done = subprocess.run([str(word) for word in loop], stdout=subprocess.PIPE, check=True, text=True)
            samples["llama"].append(float(done.stdout))
        batch, one, other = (statistics.median(values) for values in samples.values())
        print("| bise, many at once | bise, one at a time | ratio | llama-cpp-python's loop | ratio |\n|---|---|---|---|---|")
        print(f"| {batch:.1f} | {one:.1f} | {batch / one:.2f} | {other:.1f} | {batch / other:.2f} |")


if __name__ == "__main__":
    main()
