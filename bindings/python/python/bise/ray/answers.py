"""The actor that answers rows: a model that is opened once, and blocks of rows after it."""

import hashlib
import json
from typing import Any

import pyarrow

import bise
from bise._request import OPTIONS

# Columns that are a row.
ROW = OPTIONS | {"id", "prompt", "messages"}
# What an answer adds to a row; all are null where there is none.
COLUMNS = pyarrow.schema(
    [
        ("text", pyarrow.string()),
        ("reasoning", pyarrow.string()),
        ("tool_calls", pyarrow.string()),
        ("stop_reason", pyarrow.string()),
        ("prompt_tokens", pyarrow.int64()),
        ("tokens", pyarrow.int64()),
        ("seed", pyarrow.uint64()),
        ("error", pyarrow.string()),
        ("fingerprint", pyarrow.string()),
    ]
)


class Answers:
    """A class for `map_batches` with `batch_format="pyarrow"`.

    A row is the JSON in the column `row`, or else the columns of `ROW`, as a line of
    ``bise run --input-jsonl``; other columns stay as they are. What is wrong with a row becomes its `error`. A row without a seed
    gets one that is made of its id and of `seed`, so that it gets the same answer wherever and
    whenever it is answered.
    """

    def __init__(
        self, model: str | None, opened: dict[str, Any], asked: dict[str, Any], seed: int
    ):
        self._model = bise.Model.open(model, **opened)
        self._asked = asked
        self._seed = seed

    def __call__(self, table: pyarrow.Table) -> pyarrow.Table:
        answers: list[dict[str, Any]] = [{} for _ in range(table.num_rows)]
        places, rows = [], []
        ids = table["id"].to_pylist() if "id" in table.column_names else [None] * len(answers)
        for place, (id, row) in enumerate(zip(ids, rows_of(table))):
            if isinstance(row, dict):
                places.append(place)
                rows.append(seeded(row, id, self._seed))
            else:
                answers[place] = {"error": row}
        for result in self._model.batch(rows, **self._asked):
            answers[places[result.index]] = self._columns(result.to_dict())
        made = pyarrow.Table.from_pylist(answers, COLUMNS)
        for name in COLUMNS.names:
            if name in table.column_names:
                table = table.drop_columns(name)
        return pyarrow.table(
            [*table.columns, *made.columns], schema=pyarrow.schema([*table.schema, *made.schema])
        )

    def _columns(self, result: dict[str, Any]) -> dict[str, Any]:
        calls = result.get("tool_calls")
        if calls is not None:
            result["tool_calls"] = json.dumps(calls, ensure_ascii=False)
        return {**result, "fingerprint": self._model.fingerprint}


def rows_of(table: pyarrow.Table) -> list[dict[str, Any] | str]:
    """Each row, or what is wrong with it."""
    if "row" in table.column_names:
        return [parsed(text) for text in table["row"].to_pylist()]
    columns = [name for name in table.column_names if name in ROW]
    return [bare(row) for row in table.select(columns).to_pylist()]


def bare(value: Any) -> Any:
    """A value without the nulls that tables have where other rows have a value."""
    if isinstance(value, dict):
        return {name: bare(item) for name, item in value.items() if item is not None}
    return [bare(item) for item in value] if isinstance(value, list) else value


def parsed(text: str | None) -> dict[str, Any] | str:
    """A row of JSON, or what is wrong with it."""
    try:
        row = json.loads(text or "")
    except ValueError as problem:
        return f"not JSON: {problem}"
    return row if isinstance(row, dict) else "expected an object with prompt or messages"


def seeded(row: dict[str, Any], id: Any, seed: int) -> dict[str, Any]:
    """The row with a seed; where none is asked for, or another one each time, that of its id."""
    if row.get("seed") not in (None, -1):
        return row
    id = id if id is not None else json.dumps(row, sort_keys=True, default=str)
    made = hashlib.sha256(f"{seed}:{id}".encode()).digest()
    return {**row, "seed": int.from_bytes(made[:4], "big")}
