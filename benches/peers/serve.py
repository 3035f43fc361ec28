"""Compares `bise serve` with llama.cpp's llama-server: tokens a second that 1, 4 and 8 clients get together, in turn.

    cargo build --release && python benches/peers/serve.py --llama-server PATH
    python benches/peers/serve.py --build DIRECTORY      (builds llama-server first: see README.md beside this file)

One file of random weights at Mistral 7B's shape, Q4_0, 8 layers. Each client sends prompts of 128 tokens that nobody has sent
before, and has 64 generated, one request after the other, at temperature 1: at 0 random weights repeat themselves, which drafts
would profit from. llama-server runs with as many slots as there are clients. The
figures are medians of the rounds. Beside them stands `bise bench`, which has no server around it.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BISE = ROOT / "target" / "release" / "bise"
SOURCE = "llama-cpp-python==0.3.36"
PROMPT, GENERATED = 128, 64
VOCABULARY = 32000


def build(directory: Path) -> Path:
    """Builds llama-server from the source that the Python package carries."""
    server = directory / "build" / "bin" / "llama-server"
    if server.exists():
        return server
    pip = [sys.executable, "-m", "pip"]
    subprocess.run(pip + ["install", "-q", "cmake", "ninja", "scikit-build-core"], check=True)
    fetch = ["download", "-q", "--no-deps", "--no-build-isolation", "--no-binary", "llama-cpp-python", SOURCE, "-d", directory]
    subprocess.run(pip + fetch, check=True)
    with tarfile.open(next(directory.glob("llama_cpp_python-*.tar.gz"))) as archive:
        archive.extractall(directory, filter="data")
    source = next(directory.glob("llama_cpp_python-*/vendor/llama.cpp"))
    flags = ["-DCMAKE_BUILD_TYPE=Release", "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_TESTS=OFF"]
    if "amx_tile" in Path("/proc/cpuinfo").read_text():
        # Its tile products crash under some hypervisors.
        without = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
        flags += [f"-DCMAKE_C_FLAGS={without}", f"-DCMAKE_CXX_FLAGS={without}"]
    subprocess.run(["cmake", "-S", source, "-B", directory / "build", "-G", "Ninja", *flags], check=True)
    subprocess.run(["cmake", "--build", directory / "build", "--target", "llama-server"], check=True)
    return server


class Server:
    """A server process that is ready."""

    def __init__(self, command: list[object], port: int):
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                if urllib.request.urlopen(self.url + "/health").status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                sys.exit(f"{command[0]} ended with {self.process.returncode}")
            time.sleep(0.1)
        sys.exit(f"{command[0]} is not ready after a minute")

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def post(self, path: str, body: dict) -> dict:
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as response:
            return json.load(response)


def complete(server: Server, numbers: random.Random) -> int:
    """One request; gives the tokens that were generated."""
    prompt = [1] + [numbers.randrange(300, VOCABULARY) for _ in range(PROMPT - 1)]
    body = {"prompt": prompt, "max_tokens": GENERATED, "temperature": 1, "top_k": 40, "ignore_eos": True}
    body |= {"cache_prompt": False}
    return server.post("/v1/completions", body)["usage"]["completion_tokens"]


def rate(server: Server, clients: int, requests: int, seed: int) -> float:
    """Tokens a second that `clients` get together, each for `requests` requests in a row."""
    tokens = [0] * clients

    def run(client: int) -> None:
        numbers = random.Random(seed * 1000 + client)
        tokens[client] = sum(complete(server, numbers) for _ in range(requests))

    threads = [threading.Thread(target=run, args=(client,)) for client in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(tokens)
    assert total == clients * requests * GENERATED, f"{total} tokens"
    return total / (time.perf_counter() - start)


def alone(bise: Path, file: Path, threads: int) -> float:
    """Tokens a second of the same work without a server."""
    tests = ["-p", PROMPT, "-n", GENERATED, "-r", 3, "-t", threads, "--json"]
    done = subprocess.run([str(word) for word in [bise, "bench", file, *tests]], stdout=subprocess.PIPE, check=True, text=True)
    speeds = {result["test"][:2]: statistics.median(result["samples"]) for result in json.loads(done.stdout)}
    return GENERATED / (PROMPT / speeds["pp"] + (GENERATED - 1) / speeds["tg"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-server", type=Path, help="the program; left out, bise alone is measured")
    parser.add_argument("--build", type=Path, help="builds llama-server in this directory")
    parser.add_argument("--bise", type=Path, default=BISE)
    parser.add_argument("-t", "--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 4, 8])
    parser.add_argument("--requests", type=int, default=2, help="of each client in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--directory", type=Path, help="where the file is written for a while")
    arguments = parser.parse_args()
    llama = build(arguments.build) if arguments.build else arguments.llama_server
    port = 18417
    with tempfile.TemporaryDirectory(dir=arguments.directory) as temporary:
        file = Path(temporary) / "model.gguf"
        make = [arguments.bise, "bench", "--synthetic", "mistral-7b:Q4_0", "--layers", arguments.layers, "--write", file]
        subprocess.run([str(word) for word in make], check=True, stdout=subprocess.DEVNULL)
        print("| clients | llama-server | bise serve | ratio | bise bench |\n|---|---|---|---|---|")
        for clients in arguments.clients:
            samples: dict[str, list[float]] = {"llama": [], "bise": [], "bench": []}
            for seed in range(arguments.rounds):
                size = (PROMPT + GENERATED + 64) * clients
                here = [arguments.bise, "serve", file, "--port", port, "-t", arguments.threads]
                there = [llama, "-m", file, "--port", port, "-t", arguments.threads, "-np", clients, "-c", size, "-fa", "on"]
                for name, command in (("llama", there), ("bise", here)):
                    if command[0] is None:
                        continue
                    with Server(command, port) as server:
                        rate(server, clients, 1, 99)
                        samples[name].append(rate(server, clients, arguments.requests, seed))
                if clients == 1:
                    samples["bench"].append(alone(arguments.bise, file, arguments.threads))
            median = {name: statistics.median(values) for name, values in samples.items() if values}
            ratio = f"{median['bise'] / median['llama']:.2f}" if "llama" in median else ""
            shown = [f"{median[name]:.1f}" if name in median else "" for name in ("llama", "bise", "bench")]
            print(f"| {clients} | {shown[0]} | {shown[1]} | {ratio} | {shown[2]} |", flush=True)


if __name__ == "__main__":
    main()
