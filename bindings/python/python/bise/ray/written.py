"""Answers that were written by many tasks, gathered in one file."""

import contextlib
import fcntl
import heapq
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet

# What a line has, where there is such a thing.
FIELDS = (
    "index",
    "id",
    "text",
    "reasoning",
    "tool_calls",
    "stop_reason",
    "prompt_tokens",
    "tokens",
    "seed",
    "error",
)


def gather(parts: Path, target: Path, expected: int, ordered: bool) -> None:
    """Writes the rows of all files of `parts` to `target`, a line each.

    Raises RuntimeError when some of those that are expected are missing, or models differ.
    """
    files = sorted(parts.glob("*.parquet")) if parts.is_dir() else []
    ids: set[str] = set()
    models: Counter[str] = Counter()
    for file in files:
        table = pyarrow.parquet.read_table(file, columns=["id", "fingerprint"])
        ids.update(table["id"].to_pylist())
        models.update(model for model in table["fingerprint"].to_pylist() if model is not None)
    if len(models) > 1:
        raise RuntimeError(
            f"{parts}: answers are by models that differ ({dict(models)}): give all nodes the same "
            "file, remove the output folder, and run the job again"
        )
    if len(ids) != expected:
        raise RuntimeError(
            f"{parts}: {expected - len(ids)} of {expected} rows have no answer: run the job again"
        )
    found = merged(files) if ordered else all_of(files)
    whole(target, (line(row) + "\n" for row in once(found)))


def once(found: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows without those that are there again: two tasks may have written one answer."""
    seen: set[str] = set()
    for row in found:
        if row["id"] not in seen:
            seen.add(row["id"])
            yield row


def all_of(files: list[Path]) -> Iterator[dict[str, Any]]:
    """The rows of one file after the other."""
    for file in files:
        yield from pyarrow.parquet.read_table(file).to_pylist()


def merged(files: list[Path]) -> Iterator[dict[str, Any]]:
    """All rows by their index. A file is opened when its first row's turn comes."""
    first: list[tuple[int, Path]] = []
    for file in files:
        index = pyarrow.parquet.read_table(file, columns=["index"])["index"].to_pylist()
        if index:
            first.append((min(index), file))
    first.sort(reverse=True)
    open: list[tuple[int, int, dict[str, Any]]] = []
    number = itertools.count()
    while first or open:
        while first and (not open or first[-1][0] <= open[0][0]):
            for row in pyarrow.parquet.read_table(first.pop()[1]).to_pylist():
                heapq.heappush(open, (row["index"], next(number), row))
        yield heapq.heappop(open)[2]


def line(row: dict[str, Any]) -> str:
    """A line as ``bise run --output-jsonl`` has it."""
    kept = {name: row[name] for name in FIELDS if row.get(name) is not None}
    if "tool_calls" in kept:
        kept["tool_calls"] = json.loads(kept["tool_calls"])
    return json.dumps(kept, ensure_ascii=False)


def whole(target: Path, texts: Iterable[str]) -> None:
    """Writes a file that is there as a whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.writelines(texts)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(target)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def sole(path: Path) -> Iterator[None]:
    """Holds a lock, which ends with this process at the latest.

    Raises RuntimeError when another one holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"{path.parent}: this job is being run by another process") from None
        yield
