"""Compares bise with llama.cpp on the same files, with the same threads, in turn. Prints Markdown tables.

    cargo build --release && python benches/peers/compare.py                 (the three main types)
    python benches/peers/compare.py all --short                              (every case, once each)
    python benches/peers/compare.py Q4_0 load --under "taskset -c 0-3"       (chosen cases, pinned)

Needs Python with llama-cpp-python (see README.md beside this file). Files of random weights at published shapes are
written to a temporary directory, one at a time, and deleted. In each round, both programs run as processes of their own, one
after the other; the figures are the medians of all samples of all rounds.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BISE = ROOT / "target" / "release" / "bise"
LLAMA = Path(__file__).with_name("llama_cpp_bench.py")
MEASURE = Path(__file__).with_name("measure_process.py")
MAIN_TYPES = ["Q4_0", "Q4_K_M", "Q8_0"]
OTHER_TYPES = ["Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q5_K", "Q6_K", "F16", "BF16"]
LAYERS = 4


@dataclass(frozen=True)
class Case:
    """What to measure on one file: a prompt and tokens after it, each after `depth` others, or the load."""

    name: str
    file: str
    prompt: int = 512
    generate: int = 32
    depth: int = 0
    isa: str = ""
    load: bool = False
    repetitions: int = 2
    rounds: int = 3


def cases() -> list[Case]:
    small = [Case(kind, f"mistral-7b:{kind}") for kind in MAIN_TYPES + OTHER_TYPES]
    dense = "mistral-7b:Q4_0"
    return small + [
        Case("mixtral", "mixtral-8x7b:Q4_0"),
        Case("long", dense, prompt=8192, generate=0, repetitions=1, rounds=2),
        Case("deep", dense, prompt=0, depth=16384, repetitions=3, rounds=1),
        Case("avx2", dense, isa="avx2"),
        Case("load", dense, load=True),
    ]


def shortened(case: Case) -> Case:
    """One short round."""
    return replace(case, rounds=1, repetitions=1, prompt=min(case.prompt, 2048), depth=min(case.depth, 4096))


def output(command: list[object], under: list[str]) -> str:
    """What a command prints, run by the command `under`."""
    done = subprocess.run(under + [str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"failed: {shlex.join(map(str, command))}")
    return done.stdout


class Comparison:
    """Samples of both programs on one case, and the table rows that they make."""

    def __init__(self, case: Case, file: Path, arguments: argparse.Namespace):
        self.case, self.file, self.arguments = case, file, arguments
        self.llama: dict[str, list[float]] = {}
        self.bise: dict[str, list[float]] = {}
        self.limits: dict[str, list[float]] = {}

    def run(self) -> list[str]:
        for _ in range(self.case.rounds):
            self.load_round() if self.case.load else self.bench_round()
        return [self.row(test) for test in self.llama]

    def add(self, to: dict[str, list[float]], test: str, samples: list[float]) -> None:
        to.setdefault(test, []).extend(samples)

    def bench_round(self) -> None:
        case, arguments = self.case, self.arguments
        tests = ["-p", case.prompt, "-n", case.generate, "-d", case.depth, "-r", case.repetitions, "-t", arguments.threads]
        there = json.loads(output([arguments.python, LLAMA, self.file, *tests], arguments.under))
        note(f"llama.cpp (llama-cpp-python {there['version']}): {there['features']}")
        for result in there["results"]:
            self.add(self.llama, result["test"], result["samples"])
        isa = ["--isa", case.isa] if case.isa else []
        for result in json.loads(output([arguments.bise, "bench", self.file, *tests, *isa, "--json"], arguments.under)):
            note(f"bise: {result['isa']}")
            limit = "percent_of_integer_peak" if result["test"].startswith("pp") else "percent_of_read_bandwidth"
            self.add(self.bise, result["test"], result["samples"])
            self.add(self.limits, result["test"], [result[limit]])

    def load_round(self) -> None:
        """Of bise the whole process counts; of llama.cpp what happens after Python and the library are there."""
        arguments, threads = self.arguments, ["-t", self.arguments.threads]
        one_token = ["run", self.file, "-p", "", "-n", 1, "--temp", 0]
        there = json.loads(output([arguments.python, LLAMA, self.file, "--first-token", *threads], arguments.under))["results"]
        here = json.loads(output([sys.executable, MEASURE, arguments.bise, *one_token, *threads], arguments.under))
        for to, result in ((self.llama, there), (self.bise, here)):
            self.add(to, "first token, s", [result["seconds"]])
            self.add(to, "peak resident, MiB", [result["resident_kib"] / 1024])

    def row(self, test: str) -> str:
        there, here = statistics.median(self.llama[test]), statistics.median(self.bise[test])
        limit = f"{statistics.median(self.limits[test]):.0f} %" if test in self.limits else ""
        name = self.case.file.replace(":", " ") + (f", --isa {self.case.isa}" if self.case.isa else "")
        return f"| {name} | {test} | {there:.2f} | {here:.2f} | {here / there:.2f} | {limit} |"


NOTES: dict[str, None] = {}


def note(line: str) -> None:
    """Remembers what belongs under the table, once."""
    NOTES.setdefault(line)


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def parse() -> argparse.Namespace:
    names = [case.name for case in cases()]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=MAIN_TYPES, metavar="CASE", help=f"of: {' '.join(names)} all")
    parser.add_argument("--short", action="store_true", help="one round, one repetition, shorter texts")
    parser.add_argument("-t", "--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    parser.add_argument("--under", type=shlex.split, default=[], metavar="COMMAND", help="runs each measurement, e.g. taskset")
    parser.add_argument("--bise", type=Path, default=BISE, help="the program")
    parser.add_argument("--python", default=sys.executable, help="Python that has llama-cpp-python")
    parser.add_argument("--directory", type=Path, help="where files are written for a while")
    arguments = parser.parse_args()
    unknown = set(arguments.cases) - set(names) - {"all"}
    if unknown:
        parser.error(f"no such case: {' '.join(sorted(unknown))}")
    return arguments


def main() -> None:
    arguments = parse()
    chosen = [case for case in cases() if case.name in arguments.cases or "all" in arguments.cases]
    chosen = [shortened(case) if arguments.short else case for case in chosen]
    start = time.perf_counter()
    print(f"{processor()}, {arguments.threads} threads, {LAYERS} layers of each shape; pp and tg in tokens a second\n")
    print("| model | test | llama.cpp | bise | bise / llama.cpp | bise, of the limit |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=arguments.directory) as temporary:
        for spec, group in groupby(sorted(chosen, key=lambda case: case.file), key=lambda case: case.file):
            file = Path(temporary) / "model.gguf"
            output([arguments.bise, "bench", "--synthetic", spec, "--layers", LAYERS, "--write", file], [])
            for case in group:
                print("\n".join(Comparison(case, file, arguments).run()), flush=True)
            file.unlink()
    print("\n" + "\n".join(NOTES), f"\n{(time.perf_counter() - start) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
