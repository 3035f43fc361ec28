"""Ids, seeds and order of rows, and what is gathered, without a cluster."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from bise.ray import answers, rows, written


def laid(tmp_path, lines, size=3, name="in.jsonl"):
    """The rows that are laid out of lines, and what is known of them."""
    source = tmp_path / name
    source.write_text("".join(line + "\n" for line in lines))
    folder = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    known = rows.lay_out(source, folder, size)
    files = sorted(folder.iterdir())
    return [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()], known


def test_ids_are_of_content_and_not_of_place(tmp_path):
    lines = ['{"prompt": "a"}', "", '{"prompt": "b"}', '{"prompt": "a"}', '{"id": 7, "prompt": "c"}']
    first, known = laid(tmp_path, lines)
    assert [row["index"] for row in first] == [0, 2, 3, 4] and known.rows == 4
    assert len({row["id"] for row in first}) == 4 and first[3]["id"] == "7"
    again, same = laid(tmp_path, lines)
    assert again == first and same == known
    turned, other = laid(tmp_path, lines[::-1])
    assert {row["id"] for row in turned} == {row["id"] for row in first}
    assert other.digest != known.digest


def test_seeds_are_made_of_ids():
    assert answers.seeded({"seed": 5}, "a", 0) == {"seed": 5}
    made = [
        answers.seeded(row, id, seed)["seed"]
        for row in ({}, {"seed": None}, {"seed": -1})
        for id, seed in (("a", 0), ("b", 0), ("a", 1), (None, 0))
    ]
    assert made[:3] == made[4:7] == made[8:11] and len(set(made[:4])) == 4
    assert answers.seeded({"prompt": "a"}, None, 0) != answers.seeded({"prompt": "b"}, None, 0)


def test_columns_are_rows():
    columns = {
        "id": ["a", "b"],
        "prompt": ["Once", None],
        "messages": [None, [{"role": "user", "content": "x", "name": None}]],
        "mine": [1, 2],
    }
    assert answers.rows_of(pyarrow.table(columns)) == [
        {"id": "a", "prompt": "Once"},
        {"id": "b", "messages": [{"role": "user", "content": "x"}]},
    ]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (['{"id": "x"}', '{"id": "x"}'], r"in.jsonl: row 2: the id 'x' is that of .*row 1 too"),
        (['{"id": [1]}'], r"row 1: the id is \[1\]; expected a text or a whole number"),
    ],
)
def test_ids_that_are_none(tmp_path, lines, told):
    with pytest.raises(ValueError, match=told):
        laid(tmp_path, lines)


def test_files_of_a_folder(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "b.jsonl").write_text('{"prompt": "second"}\n')
    table = pyarrow.table({"prompt": ["first", None], "messages": [None, [{"role": "user"}]]})
    pyarrow.parquet.write_table(table, folder / "a.parquet")
    found = [json.loads(text) for _, _, text in rows.texts(folder)]
    assert found == [{"prompt": "first"}, {"messages": [{"role": "user"}]}, {"prompt": "second"}]
    with pytest.raises(FileNotFoundError, match="no file here ends in .jsonl"):
        list(rows.texts(tmp_path))
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        list(rows.texts(tmp_path / "none"))


def write(folder, name, indices, **more):
    """A file of answers."""
    folder.mkdir(exist_ok=True)
    found = [
        {"id": f"r{i}", "index": i, "text": f"t{i}", "error": None, "fingerprint": "f", **more}
        for i in indices
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(found), folder / name)


def test_answers_are_gathered_in_order_and_once(tmp_path):
    parts, target = tmp_path / "parts", tmp_path / "answers.jsonl"
    write(parts, "a.parquet", [4, 5, 9])
    write(parts, "b.parquet", [0, 1, 7, 8])
    write(parts, "c.parquet", [2, 3, 6, 7])
    written.gather(parts, target, 10, ordered=True)
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert lines == [{"index": i, "id": f"r{i}", "text": f"t{i}"} for i in range(10)]
    written.gather(parts, target, 10, ordered=False)
    lines = [json.loads(line)["index"] for line in target.read_text().splitlines()]
    assert lines == [4, 5, 9, 0, 1, 7, 8, 2, 3, 6]


def test_answers_that_are_missing_or_of_two_models(tmp_path):
    parts, target = tmp_path / "parts", tmp_path / "answers.jsonl"
    with pytest.raises(RuntimeError, match="2 of 2 rows have no answer: run the job again"):
        written.gather(parts, target, 2, ordered=False)
    write(parts, "a.parquet", [0])
    write(parts, "b.parquet", [1], fingerprint="g")
    with pytest.raises(RuntimeError, match="models that differ"):
        written.gather(parts, target, 2, ordered=False)
    assert not target.exists()


def test_one_process_at_a_time(tmp_path):
    with written.sole(tmp_path / "job.lock"):
        with pytest.raises(RuntimeError, match="run by another process"):
            with written.sole(tmp_path / "job.lock"):
                pass
    with written.sole(tmp_path / "job.lock"):
        pass
