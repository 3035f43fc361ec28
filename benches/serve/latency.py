"""Measures how long clients of `bise serve` wait: `python benches/serve/latency.py`, after `cargo build --release`.

- The gap between tokens of three streams, without and while a prompt of 4,096 tokens is read.
- The time to the first token of a conversation of 2,000 tokens, and of its next turn, of which only the end is new.
- The time of `GET /health`, `/metrics` and `/v1/models` while a prompt of 8,000 tokens is read.

Random weights at Mistral 7B's shape, Q4_0, 8 layers.
"""

import argparse
import http.client
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VOCABULARY = 32000


class Client:
    """Requests to a server at a port of this machine."""

    def __init__(self, port: int):
        self.port = port

    def get(self, path: str) -> float:
        """Seconds that a request takes."""
        start = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert response.status == 200, response.status
        return time.perf_counter() - start

    def stream(self, prompt: list[int], tokens: int, seen: list[float]) -> None:
        """Times at which tokens come."""
        body = {"prompt": prompt, "max_tokens": tokens, "temperature": 1, "seed": 1, "ignore_eos": True}
        body |= {"stream": True, "logprobs": 0}
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            choices = json.loads(line[6:])["choices"]
            if choices and (choices[0].get("logprobs") or {}).get("tokens"):
                seen.append(time.perf_counter())


def prompt(numbers: random.Random, length: int) -> list[int]:
    return [1] + [numbers.randrange(300, VOCABULARY) for _ in range(length - 1)]


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def gaps(client: Client, numbers: random.Random) -> None:
    streams: list[list[float]] = [[], [], []]
    threads = [threading.Thread(target=client.stream, args=(prompt(numbers, 32), 2000, seen)) for seen in streams]
    for thread in threads:
        thread.start()
    while min(map(len, streams)) < 100:
        time.sleep(0.05)
    before = time.perf_counter()
    first: list[float] = []
    client.stream(prompt(numbers, 4096), 1, first)
    after = time.perf_counter()
    assert all(len(seen) < 2000 for seen in streams), "the streams ended too soon"
    for thread in threads:
        thread.join()
    quiet, busy = [], []
    for seen in streams:
        for a, b in zip(seen[20:], seen[21:]):
            (busy if before < b < after else quiet).append(b - a)
    without, during = percentile(quiet, 0.95), percentile(busy, 0.95)
    print(f"gap between tokens, 95th percentile: {without * 1e3:.0f} ms, {during * 1e3:.0f} ms while a prompt of 4096 tokens is read")
    print(f"  ratio {during / without:.2f}; the prompt took {after - before:.1f} s")


def turns(client: Client, numbers: random.Random) -> None:
    conversation = prompt(numbers, 2000)
    times = []
    for new in (0, 20):
        conversation += prompt(numbers, new + 1)[1:]
        start, seen = time.perf_counter(), []
        client.stream(conversation, 2, seen)
        times.append(seen[0] - start)
    print(f"first token: {times[0] * 1e3:.0f} ms for 2000 tokens, {times[1] * 1e3:.0f} ms for the next turn, ratio {times[1] / times[0]:.3f}")


def never_in_the_way(client: Client, numbers: random.Random) -> None:
    thread = threading.Thread(target=client.stream, args=(prompt(numbers, 8000), 1, []))
    thread.start()
    time.sleep(0.5)
    times: dict[str, list[float]] = {"/health": [], "/metrics": [], "/v1/models": []}
    while thread.is_alive():
        for path, seen in times.items():
            seen.append(client.get(path))
        time.sleep(0.05)
    for path, seen in times.items():
        print(f"{path}: median {statistics.median(seen) * 1e3:.1f} ms, longest {max(seen) * 1e3:.1f} ms of {len(seen)}, during a prompt of 8000")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bise", type=Path, default=ROOT / "target" / "release" / "bise")
    parser.add_argument("--layers", type=int, default=8)
    arguments = parser.parse_args()
    numbers = random.Random(1)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "model.gguf"
        make = [arguments.bise, "bench", "--synthetic", "mistral-7b:Q4_0", "--layers", str(arguments.layers), "--write", file]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        command = [arguments.bise, "serve", file, "--port", "0", "-c", "8192"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            port = int(server.stdout.readline().strip().rpartition(":")[2])
            if server.stdout.readline().strip() != "ready":
                sys.exit("the server did not become ready")
            client = Client(port)
            client.stream(prompt(numbers, 600), 8, [])
            gaps(client, numbers)
            turns(client, numbers)
            never_in_the_way(client, numbers)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
