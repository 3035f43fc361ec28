"""Ray Data: each row once, with the text of one process, whatever dies meanwhile."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import cluster
import job
import pyarrow.parquet
import pytest
import ray

import bise.ray.batch
from bise.ray import program

ACTOR = "ray::MapWorker(MapBatches(Answers))"
PROMPTS = int(os.environ.get("PROMPTS", "2000"))


@pytest.fixture(scope="module")
def nodes():
    with cluster.three_nodes() as nodes:
        yield nodes


def prompts(path: Path, count: int) -> Path:
    """Rows, a seed for some."""
    names = ("Tim", "Lily", "the dog", "a bird", "Mum")
    made = []
    for i in range(count):
        row = {"id": f"row {i}", "prompt": f"{names[i % 5]} saw {i} {names[i % 3]}s and"}
        made.append(row if i % 2 else {**row, "seed": i})
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def of_one_process(source: Path, answers: list[dict], asked: dict) -> list[dict]:
    """What the program writes for these rows, with the seeds that they had."""
    rows = [{**row, "seed": answer["seed"]} for row, answer in zip(lines(source), answers)]
    seeded = source.with_name("seeded.jsonl")
    seeded.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = [f"--temp={asked['temperature']}", f"-n{asked['max_tokens']}", "--quiet"]
    command = [program.find(), "run", str(cluster.MODEL), "--input-jsonl", str(seeded), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_is_wrong_with_a_row_is_its_answer(nodes, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text(
        '{"prompt": "Once upon a time", "max_tokens": 5}\nwhat\n{"prompt": 5}\n[1]\n\n'
        '{"prompt": "Once", "max_tokens": 5, "nonsense": 1}\n{"prompt": "Once", "max_tokens": 5}\n'
    )
    output = tmp_path / "out"
    asked = {"temperature": 0}
    written = bise.ray.batch.run(source, output, str(cluster.MODEL), ordered=True, asked=asked)
    found = lines(written)
    assert [row["index"] for row in found] == [0, 1, 2, 3, 5, 6]
    assert [("error" in row, "text" in row) for row in found] == [
        (wrong, not wrong) for wrong in (False, True, True, True, True, False)
    ]
    assert "not JSON" in found[1]["error"] and "prompt" in found[2]["error"]
    assert "nonsense" in found[4]["error"]

    began = time.monotonic()
    bise.ray.batch.run(source, output, str(cluster.MODEL), ordered=True, asked=asked)
    assert time.monotonic() - began < 2, "nothing is left to do"
    with pytest.raises(ValueError, match="another job are here: asked is"):
        bise.ray.batch.run(source, output, str(cluster.MODEL), asked={"temperature": 1})
    source.write_text('{"prompt": "Once"}\n')
    left = {"answers.jsonl", "job.json", "job.lock"}
    assert {file.name for file in output.iterdir()} == left
    with pytest.raises(ValueError, match="another job are here: rows is"):
        bise.ray.batch.run(source, output, str(cluster.MODEL), asked=asked)


def test_a_dataset_of_ones_own(nodes):
    rows = [{"id": "a", "prompt": "Once", "max_tokens": 4}, {"id": "b", "prompt": "", "mine": 1}]
    dataset = ray.data.from_items([{"id": row["id"], "row": json.dumps(row)} for row in rows])
    asked = {"temperature": 0}
    # All six cores could have an actor, and one is left to Ray.
    found = bise.ray.batch.answer(dataset, str(cluster.MODEL), num_cpus=2, asked=asked).take_all()
    by_id = {row["id"]: row for row in found}
    assert by_id["a"]["text"] and by_id["a"]["tokens"] == 4 and by_id["a"]["error"] is None
    assert "mine" in by_id["b"]["error"] and by_id["b"]["text"] is None

    rows = [{"id": "a", "prompt": "Once", "max_tokens": 4, "seed": None, "mine": 7}]
    dataset = ray.data.from_items(rows)
    found = bise.ray.batch.answer(dataset, str(cluster.MODEL), workers=1, asked=asked).take_all()
    assert found[0]["text"] == by_id["a"]["text"] and found[0]["mine"] == 7


def test_what_cannot_be_done_is_told(nodes, tmp_path):
    source = prompts(tmp_path / "in.jsonl", 3)
    with pytest.raises(ValueError, match="no node has 64 cores; the largest has 2"):
        bise.ray.batch.run(source, tmp_path / "a", str(cluster.MODEL), num_cpus=64)
    with pytest.raises(ValueError, match="workers: expected at least 1, found 0"):
        bise.ray.batch.answer(ray.data.range(1), workers=0)
    with pytest.raises(Exception, match="no-such-model"):
        bise.ray.batch.run(source, tmp_path / "b", str(tmp_path / "no-such-model"))
    with pytest.raises(ValueError, match="s3://bucket/x: expected a path that all nodes have"):
        bise.ray.batch.run("s3://bucket/x", tmp_path / "c")
    with pytest.raises(ValueError, match="expected values that JSON has, paths as texts"):
        bise.ray.batch.run(source, tmp_path / "d", opened={"lora": tmp_path})


def start(nodes, source: Path, output: Path) -> subprocess.Popen:
    command = [sys.executable, job.__file__, nodes.address, source, output, cluster.MODEL]
    return subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)


def committed(output: Path) -> set[str]:
    """The ids whose answers are written and noted as such."""
    folder = output / "job" / "checkpoint"
    done = [file for file in folder.glob("*.parquet") if ".pending." not in file.name]
    return {id for file in done for id in pyarrow.parquet.read_table(file)["id"].to_pylist()}


def test_a_driver_that_is_killed(nodes, tmp_path):
    source, output = prompts(tmp_path / "in.jsonl", 400), tmp_path / "out"
    first = start(nodes, source, output)
    cluster.eventually(lambda: len(committed(output)) >= 40, 120)
    with pytest.raises(RuntimeError, match="run by another process"):
        bise.ray.batch.run(source, output, str(cluster.MODEL), ordered=True, **job.OPTIONS)
    first.kill()
    first.communicate()
    cluster.eventually(lambda: not cluster.workers(ACTOR), 60)
    done = committed(output)
    assert 0 < len(done) < 400, "it was killed on its way"

    second = start(nodes, source, output)
    told = [json.loads(line[5:]) for line in second.communicate()[0].splitlines() if line[:4] == "FILE"]
    assert second.returncode == 0
    ids = [id for _, ids in told for id in ids]
    assert len(ids) == len(set(ids)) == 400, "none is missing, none is there twice"
    later = {id for name, ids in told if not set(ids) & done for id in ids}
    print(f"driver: {len(done)} of 400 were done when it was killed, {len(later)} were computed after")
    assert later == set(ids) - done
    found = lines(output / "answers.jsonl")
    assert [row["index"] for row in found] == list(range(400))
    assert found == of_one_process(source, found, job.OPTIONS["asked"])


def test_a_node_and_an_actor_that_are_killed(nodes, tmp_path):
    """The last test here: a node is gone after it."""
    source, output = prompts(tmp_path / "in.jsonl", PROMPTS), tmp_path / "out"
    asked = {"temperature": 0.7, "max_tokens": 40}
    killed = []

    def kill():
        cluster.eventually(lambda: len(committed(output)) >= PROMPTS // 10, 120)
        cluster.kill(cluster.workers(ACTOR)[0])
        killed.append(len(committed(output)))
        cluster.eventually(lambda: len(committed(output)) >= PROMPTS // 5, 120)
        node = sorted(nodes.worker_nodes, key=str)[0]
        nodes.remove_node(node, allow_graceful=False)
        killed.append(len(committed(output)))

    killing = threading.Thread(target=kill)
    killing.start()
    began = time.monotonic()
    size = max(PROMPTS // 60, 1)
    options = {"ordered": True, "rows_per_file": size, "num_cpus": 1, "asked": asked}
    written = bise.ray.batch.run(source, output, str(cluster.MODEL), **options)
    took = time.monotonic() - began
    killing.join()
    assert len(killed) == 2 and killed[1] < PROMPTS, "all were answered too soon"
    print(f"{PROMPTS} prompts in {took:.0f} s; an actor was killed after {killed[0]}, a node after {killed[1]}")
    found = lines(written)
    assert [row["index"] for row in found] == list(range(PROMPTS))
    assert found == of_one_process(source, found, asked)
