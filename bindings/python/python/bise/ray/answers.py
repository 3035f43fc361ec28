"""The actor that answers rows: a model that is opened once, and blocks of rows after it."""

import json
from typing import Any

import pyarrow

import bise

# What an answer adds to a row; all are null where there is none.
COLUMNS = pyarrow.schema(
    [
        ("text", pyarrow.string()),
        ("reasoning", pyarrow.string()),
        ("tool_calls", pyarrow.string()),
        ("stop_reason", pyarrow.string()),
        ("prompt_tokens", pyarrow.int64()),
        ("tokens", pyarrow.int64()),
        ("seed", pyarrow.int64()),
        ("error", pyarrow.string()),
        ("fingerprint", pyarrow.string()),
    ]
)


class Answers:
    """A class for `map_batches` with `batch_format="pyarrow"`.

    A row is the JSON in the column `row`, or else all columns of `OPTIONS`, as a line of
    ``bise run --input-jsonl``. What is wrong with a row becomes its `error`.
    """

    def __init__(self, model: str | None, opened: dict[str, Any], asked: dict[str, Any]):
        self._model = bise.Model.open(model, **opened)
        self._asked = asked

    def __call__(self, table: pyarrow.Table) -> pyarrow.Table:
        answers: list[dict[str, Any]] = [{} for _ in range(table.num_rows)]
        places, rows = [], []
        for place, row in enumerate(rows_of(table)):
            if isinstance(row, dict):
                places.append(place)
                rows.append(row)
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
    # Where some rows have a value and others have none, those have null.
    return [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]


def parsed(text: str | None) -> dict[str, Any] | str:
    """A row of JSON, or what is wrong with it."""
    try:
        row = json.loads(text or "")
    except ValueError as problem:
        return f"not JSON: {problem}"
    return row if isinstance(row, dict) else "expected an object with prompt or messages"
