"""Many clients for a long time: `python benches/serve/soak.py --minutes 10`, after `cargo build --release`.

Each client asks, again and again, one of many requests whose answers are known from asking them alone; a tenth of the clients
goes away in the middle. Every answer must be the known one, byte for byte, none may be lost, and the memory of the server must
not grow. Half-way the server is killed (SIGKILL) and started again: clients try again and go on.
"""

import argparse
import http.client
import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OPENINGS = ["Once upon a time there was a little dog", "Tom and Lily went to the park", "A bird sat in a tree", "The sun was warm"]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def request(i: int) -> dict:
    """Request `i`: greedy or with a seed, free or with a schema, with stop texts or without."""
    numbers = random.Random(i)
    said = " ".join(numbers.choice(OPENINGS) for _ in range(numbers.randrange(1, 8)))
    body = {"messages": [{"role": "user", "content": said}], "max_tokens": numbers.randrange(4, 64), "seed": i}
    body["temperature"] = numbers.choice([0, 0.8, 1.3])
    if numbers.randrange(5) == 0:
        schema = {"name": "person", "schema": SCHEMA, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if numbers.randrange(4) == 0:
        body["stop"] = [" the", "."]
    return body


class Server:
    """A server that can be killed and started again."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments, self.port = arguments, 0
        self.start()

    def start(self) -> None:
        options = ["--sequences", "16", "--kv-memory", self.arguments.kv_memory, "--queue", "1000", "-c", "512"]
        model = [self.arguments.model] if self.arguments.model else []
        command = [self.arguments.bise, "serve", *model, "--port", str(self.port), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.process.stdout.readline().strip().rpartition(":")[2])
        assert self.process.stdout.readline().strip() == "ready"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def resident_kib(self) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))

    def ask(self, body: dict, leave: bool = False) -> str | None:
        """The answer, or nothing when the client goes away."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        stream = {**body, "stream": True}
        connection.request("POST", "/v1/chat/completions", json.dumps(stream), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status == 429:
            response.read()
            raise ConnectionError("too many")
        assert response.status == 200, response.read()
        text, ended = "", False
        for line in response:
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                assert "error" not in event, event
                for choice in event["choices"]:
                    text += choice["delta"].get("content") or ""
                    if choice["finish_reason"]:
                        text, ended = f"{text}|{choice['finish_reason']}", True
                if leave:
                    connection.close()
                    return None
        if not ended:
            raise ConnectionError("the stream broke off")
        return text


class Soak:
    def __init__(self, server: Server, known: list[str]):
        self.server, self.known = server, known
        self.wrong, self.right, self.gone, self.tries, self.end = [], 0, 0, 0, False
        self.lock = threading.Lock()

    def client(self, number: int) -> None:
        numbers = random.Random(10_000 + number)
        while not self.end:
            i, leave = numbers.randrange(len(self.known)), numbers.randrange(10) == 0
            said = None
            while not self.end:
                try:
                    said = self.server.ask(request(i), leave)
                    break
                except (OSError, http.client.HTTPException):
                    with self.lock:
                        self.tries += 1
                    time.sleep(0.2)
            else:
                return
            with self.lock:
                if leave:
                    self.gone += 1
                elif said == self.known[i]:
                    self.right += 1
                else:
                    self.wrong.append((i, said, self.known[i]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bise", type=Path, default=ROOT / "target" / "release" / "bise")
    parser.add_argument("--model", help="default: the built-in one")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--kv-memory", default="4M", help="so small that texts give way to each other")
    arguments = parser.parse_args()
    server = Server(arguments)
    try:
        known = [server.ask(request(i)) for i in range(arguments.requests)]
        soak = Soak(server, known)
        threads = [threading.Thread(target=soak.client, args=(i,)) for i in range(arguments.clients)]
        for thread in threads:
            thread.start()
        halves = []
        for half in range(2):
            seconds = arguments.minutes * 30
            time.sleep(seconds / 4)
            first = server.resident_kib()
            time.sleep(seconds * 3 / 4)
            halves.append((first, server.resident_kib()))
            if half == 0:
                server.kill()
                server.start()
        soak.end = True
        for thread in threads:
            thread.join()
        print(f"{soak.right} right, {len(soak.wrong)} wrong, {soak.gone} clients went away, {soak.tries} tries anew")
        for first, last in halves:
            print(f"resident: {first} KiB after a quarter of the time, {last} KiB at the end ({(last / first - 1) * 100:+.1f} %)")
        for i, said, expected in soak.wrong[:5]:
            print(f"request {i}: {said!r}, expected {expected!r}")
        sys.exit(1 if soak.wrong or not soak.right else 0)
    finally:
        server.process.kill()


if __name__ == "__main__":
    main()
