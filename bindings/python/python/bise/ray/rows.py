"""The rows of a job: read from files, each with an id, and laid out for Ray.

What Ray's checkpoints know of a row is its id. It is the row's own, or made of its content; never
of its place, which may be another one the next time.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

SCHEMA = pyarrow.schema(
    [("id", pyarrow.string()), ("index", pyarrow.int64()), ("row", pyarrow.string())]
)


@dataclass(frozen=True)
class Laid:
    """What was laid out: how many rows there are, and a hash that tells them from others."""

    rows: int
    digest: str


def lay_out(source: Path, folder: Path, size: int) -> Laid:
    """Writes the rows of `source` to files of `folder`, `size` rows each.

    Raises ValueError, with the file and the line, for what no id can be made of.
    """
    folder.mkdir(parents=True)
    digest, count, part = hashlib.sha256(), 0, []
    named: dict[str, str] = {}
    made: Counter[str] = Counter()
    for index, where, text in texts(source):
        id = identified(text, where, named, made)
        for field in (id, text):
            digest.update(len(field.encode()).to_bytes(8, "big") + field.encode())
        part.append({"id": id, "index": index, "row": text})
        count += 1
        if len(part) == size:
            write(part, folder, count)
            part = []
    if part:
        write(part, folder, count)
    return Laid(count, digest.hexdigest())


def write(part: list[dict[str, Any]], folder: Path, count: int) -> None:
    """Writes rows, the last of which is the one of this number."""
    table = pyarrow.Table.from_pylist(part, SCHEMA)
    pyarrow.parquet.write_table(table, folder / f"{count:012}.parquet")


def texts(source: Path) -> Iterator[tuple[int, str, str]]:
    """The rows of a file or of a folder's files, by their names, as JSON: the number of each, where
    it is, and its text, which may be none."""
    index = 0
    for file in files(source):
        rows = of_parquet(file) if file.suffix == ".parquet" else of_lines(file)
        for number, text in enumerate(rows):
            if text.strip():
                yield index, f"{file}: row {number + 1}", text
            index += 1


def files(source: Path) -> list[Path]:
    """The files of rows."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: there is no such file or folder")
    kinds = (".jsonl", ".ndjson", ".parquet")
    found = sorted(file for file in source.iterdir() if file.suffix in kinds)
    if not found:
        raise FileNotFoundError(f"{source}: no file here ends in {', '.join(kinds)}")
    return found


def of_lines(file: Path) -> Iterator[str]:
    """Lines, of whatever bytes."""
    with file.open("rb") as lines:
        for line in lines:
            yield line.decode(errors="replace").rstrip("\r\n")


def of_parquet(file: Path) -> Iterator[str]:
    """Rows as JSON; columns without a value are left out."""
    with pyarrow.parquet.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(1024):
            for row in batch.to_pylist():
                kept = {name: value for name, value in row.items() if value is not None}
                try:
                    yield json.dumps(kept, ensure_ascii=False)
                except TypeError as problem:
                    raise ValueError(f"{file}: a column is nothing that JSON has: {problem}") from None


def identified(text: str, where: str, named: dict[str, str], made: Counter[str]) -> str:
    """The id of a row: its own, or one that is made of it."""
    try:
        row = json.loads(text)
    except ValueError:
        row = None
    id = row.get("id") if isinstance(row, dict) else None
    if id is None:
        id = hashlib.sha256(text.encode()).hexdigest()[:32]
        made[id] += 1
        # Rows that are the same are one row several times.
        id += f"-{made[id]}" if made[id] > 1 else ""
    elif isinstance(id, (str, int)) and not isinstance(id, bool):
        id = str(id)
    else:
        raise ValueError(f"{where}: the id is {json.dumps(id)}; expected a text or a whole number")
    before = named.setdefault(id, where)
    if before is not where:
        raise ValueError(f"{where}: the id {id!r} is that of {before} too")
    return id
