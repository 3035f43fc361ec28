"""Answers the rows of a file or a folder on a cluster of Ray.

    python batch.py prompts.jsonl answers --model mistral.gguf --num-cpus 8 --set max_tokens=200

Rows are lines of JSON, or of Parquet files, as `bise run --input-jsonl` takes them; their answers
stand in `answers/answers.jsonl` when all are done. The same command goes on where it was ended.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import ray

import bise.ray.batch


def pair(text: str) -> tuple[str, Any]:
    """`name=value`, where the value is JSON, or else a text."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("input", type=Path, help="a .jsonl or .parquet file, or a folder of them")
    add("output", type=Path, help="a folder for this job, the same on all nodes")
    add("--model", help="a path that all nodes have [default: the built-in story teller]")
    add("--workers", type=int, help="actors, each with the model [default: as many as fit]")
    add("--num-cpus", type=int, default=1, help="cores of an actor [default: 1]")
    add("--ordered", action="store_true", help="keep the order of rows")
    add("--seed", type=int, default=0, help="what seeds of rows without one are made of")
    add("--rows-per-file", type=int, default=128, help="rows that are computed at a time")
    add("--set", type=pair, action="append", default=[], metavar="NAME=VALUE", dest="asked",
        help="an option of all rows, such as max_tokens=200; can be repeated")
    add("--open", type=pair, action="append", default=[], metavar="NAME=VALUE", dest="opened",
        help="an argument of bise.Model.open, such as ctx=4096; can be repeated")
    add("--address", default="auto", help="the cluster; local for this machine [default: auto]")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    ray.init(address=given.address)
    answers = bise.ray.batch.run(
        given.input,
        given.output,
        given.model,
        ordered=given.ordered,
        seed=given.seed,
        rows_per_file=given.rows_per_file,
        workers=given.workers,
        num_cpus=given.num_cpus,
        opened=dict(given.opened),
        asked=dict(given.asked),
    )
    print(answers)


if __name__ == "__main__":
    main()
