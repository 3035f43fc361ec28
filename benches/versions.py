"""Compares two builds of bise on the same shapes, in turn (A B A B): speed of the second as a ratio to the first.

    python3 benches/versions.py OLD/target/release/bise target/release/bise
    python3 benches/versions.py OLD NEW Q4_0 mixtral-8x7b:Q4_0 --isa avx2 --rounds 3

Needs nothing but Python. Weights are random, made anew by each process; a ratio is that of the medians of all samples.
"""

import argparse
import json
import statistics
import subprocess

TYPES = ["Q4_0", "Q4_K_M", "Q8_0", "F16", "BF16", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q5_K", "Q6_K"]


def measure(program: str, shape: str, arguments: list[str]) -> dict[str, list[float]]:
    """Tokens a second of each test that `bise bench` makes of the shape."""
    command = [program, "bench", "--synthetic", shape, "--json", *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return {test["test"]: test["samples"] for test in json.loads(output)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("shapes", nargs="*", help="TYPE of a Mistral 7B, or SHAPE:TYPE (default: each type, and a Mixtral)")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--prompts", type=int, nargs="*", default=[512, 1, 2, 4, 8, 16, 32])
    parser.add_argument("--generate", type=int, default=32)
    parser.add_argument("--depth", type=int, default=4096, help="tokens before a second test of generation; 0: none")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--isa")
    options = parser.parse_args()

    common = ["--layers", str(options.layers), "-r", str(options.repetitions)]
    common += ["--isa", options.isa] if options.isa else []
    prompts = [part for length in options.prompts for part in ("-p", str(length))]
    calls = [[*common, *prompts, "-n", str(options.generate)]]
    if options.depth:
        calls.append([*common, "-n", str(options.generate), "-d", str(options.depth)])

    heading = None
    for shape in options.shapes or [*TYPES, "mixtral-8x7b:Q4_0"]:
        shape = shape if ":" in shape else f"mistral-7b:{shape}"
        samples: dict[str, tuple[list[float], list[float]]] = {}
        for _ in range(options.rounds):
            for which, program in enumerate((options.old, options.new)):
                for arguments in calls:
                    for test, values in measure(program, shape, arguments).items():
                        samples.setdefault(test, ([], []))[which].extend(values)
        if heading is None:
            heading = list(samples)
            print("| |", " | ".join(heading), "|\n|---|" + "---|" * len(heading))
        ratios = (statistics.median(new) / statistics.median(old) for old, new in samples.values())
        print(f"| {shape} |", " | ".join(f"{ratio:.3f}" for ratio in ratios), "|", flush=True)


if __name__ == "__main__":
    main()
