"""Many rows, answered by Ray Data.

    import bise.ray.batch

    answered = bise.ray.batch.answer(dataset, "mistral.gguf", workers=4, num_cpus=8)

adds answers to a dataset of one's own. `run` is a whole job: files in, files out, and a job that
was ended, however, goes on where it was. The answer to a row depends on the row and the model, not
on the machine, or on what else is answered: whatever is computed twice gives the same.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.data.checkpoint import CheckpointConfig

from bise.ray import rows, written
from bise.ray.answers import Answers

# Tasks that read and write small files ask for no core: actors may have them all. They are few, since
# each of them that runs takes a process.
BESIDE = 0
AT_A_TIME = 4
# What is there when all is done.
ANSWERS = "answers.jsonl"
# Model, how it is opened, what is asked of it, and the seed.
What = tuple[str | None, dict[str, Any], dict[str, Any], int]


@dataclass(frozen=True)
class Job:
    """What is computed, which stays the same when a job goes on."""

    model: str | None
    opened: dict[str, Any]
    asked: dict[str, Any]
    seed: int
    rows: int
    digest: str


def answer(
    dataset: Dataset,
    model: str | None = None,
    *,
    workers: int | None = None,
    num_cpus: int = 1,
    batch_size: int | None = 128,
    seed: int = 0,
    opened: dict[str, Any] | None = None,
    asked: dict[str, Any] | None = None,
) -> Dataset:
    """Adds to each row its answer: the columns of `bise.ray.answers.COLUMNS`.

    Args:
        dataset: Rows with a column `row` of JSON, or columns as `prompt`, `messages`, `seed`
            (`bise.ray.answers.ROW`); and an `id`, without which no checkpoint knows them.
        model: As `bise.Model.open` takes it; a path that each node has.
        workers: Actors, each with the whole model; when None, as many as fit and leave a core.
        num_cpus: Cores of an actor, which are its threads.
        batch_size: Rows that are given to an actor at a time; None: as Ray has them in blocks.
        seed: What seeds of rows that have none are made of, together with their ids.
        opened: More arguments of `bise.Model.open`.
        asked: Arguments of `bise.Model.batch`: what counts where a row says nothing.

    Raises:
        ValueError: When an argument is not what is expected, or no node has so many cores.
    """
    fit, left = fitting(num_cpus)
    if workers is None:
        # Ray's tasks need a core: without one they would wait for the actors, which wait for them.
        workers = fit if left else fit - 1
    if workers < 1:
        raise ValueError(
            f"workers: expected at least 1, found {workers}; an actor of {num_cpus} cores leaves none "
            "for tasks that read and write: give it fewer by num_cpus"
        )
    given = {"threads": num_cpus, **(opened or {})}
    return dataset.map_batches(
        Answers,
        fn_constructor_args=(model, given, asked or {}, seed),
        batch_size=batch_size,
        batch_format="pyarrow",
        num_cpus=num_cpus,
        compute=ActorPoolStrategy(size=workers),
    )


def fitting(num_cpus: int) -> tuple[int, int]:
    """How many actors of so many cores the cluster has room for, and the cores that they leave."""
    if not isinstance(num_cpus, int) or num_cpus < 1:
        raise ValueError(f"num_cpus: expected a whole number of at least 1, found {num_cpus!r}")
    if not ray.is_initialized():
        ray.init()
    cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    fit = sum(count // num_cpus for count in cores)
    if fit == 0:
        raise ValueError(f"num_cpus: no node has {num_cpus} cores; the largest has {max(cores)}")
    return fit, sum(count % num_cpus for count in cores)


def run(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    model: str | None = None,
    *,
    ordered: bool = False,
    seed: int = 0,
    rows_per_file: int = 128,
    workers: int | None = None,
    num_cpus: int = 1,
    opened: dict[str, Any] | None = None,
    asked: dict[str, Any] | None = None,
) -> Path:
    """Answers the rows of `source`, and writes them to `output/answers.jsonl`.

    The same call goes on with a job that was ended. What is done of it is in `output/job`, which is
    removed at the end. Both folders must be the same on all nodes.

    Args:
        source: A file of JSON lines or Parquet, or a folder of them; rows as those of
            ``bise run --input-jsonl``.
        output: A folder that is made; for this job alone.
        ordered: Whether answers stand in the order of rows.
        rows_per_file: How many rows are computed, and lost when a worker is, at a time.
        workers: As of `answer`, but actors may have all cores.
        model, num_cpus, seed, opened, asked: As of `answer`.

    Raises:
        ValueError: When `output` is that of another job, or rows have the same id.
        RuntimeError: When the job runs elsewhere, or answers are missing or not all by one model.
    """
    source, output = local(source), local(output)
    answers, folder = output / ANSWERS, output / "job"
    with written.sole(output / "job.lock"):
        job = prepare(source, output, rows_per_file, (model, opened or {}, asked or {}, seed))
        if answers.exists():
            return answers
        if job.rows:
            with checkpoints(folder / "checkpoint", ordered):
                dataset = ray.data.read_parquet(
                    str(folder / "rows"),
                    override_num_blocks=len(list((folder / "rows").iterdir())),
                    concurrency=AT_A_TIME,
                    num_cpus=BESIDE,
                )
                dataset = answer(
                    dataset,
                    model,
                    workers=workers or fitting(num_cpus)[0],
                    num_cpus=num_cpus,
                    batch_size=None,
                    seed=seed,
                    opened=opened,
                    asked=asked,
                )
                dataset.write_parquet(
                    str(folder / "answers"),
                    concurrency=AT_A_TIME,
                    ray_remote_args={"num_cpus": BESIDE},
                )
        written.gather(folder / "answers", answers, job.rows, ordered)
        shutil.rmtree(folder)
        return answers


def prepare(source: Path, output: Path, size: int, what: What) -> Job:
    """Lays rows out in `output`, unless they are there, and notes the job, or finds that it is the
    one that was begun."""
    new, folder = output / "job.new", output / "job"
    # What a try that was killed has left.
    shutil.rmtree(new, ignore_errors=True)
    try:
        laid = rows.lay_out(source, new, size)
        job = Job(*what, rows=laid.rows, digest=laid.digest)
        claim(output, job)
        if not (folder / "rows").exists() and not (output / ANSWERS).exists():
            folder.mkdir(exist_ok=True)
            new.rename(folder / "rows")
        return job
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextlib.contextmanager
def checkpoints(path: Path, ordered: bool) -> Iterator[None]:
    """Datasets that are written meanwhile keep what is done in `path`, and keep the order or not."""
    context = DataContext.get_current()
    options = context.execution_options
    before = context.checkpoint_config, options.preserve_order, context.use_datasource_v2
    # The second reader lists files in a task that wants a core, whatever is asked for.
    context.use_datasource_v2 = False
    context.checkpoint_config = CheckpointConfig(
        id_column="id", checkpoint_path=str(path), delete_checkpoint_on_success=False
    )
    options.preserve_order = ordered
    try:
        yield
    finally:
        context.checkpoint_config, options.preserve_order, context.use_datasource_v2 = before


def local(path: str | os.PathLike[str]) -> Path:
    """A path of a file system, from the root."""
    text = os.fspath(path)
    if "://" in text:
        raise ValueError(
            f"{text}: expected a path that all nodes have; for storage by addresses, read and write "
            "datasets of your own, and bise.ray.batch.answer between them"
        )
    return Path(text).absolute()


def claim(output: Path, job: Job) -> None:
    """Notes the job in `output`, or finds that it is this one's.

    Raises ValueError when it is another one's.
    """
    note = output / "job.json"
    try:
        asked = json.dumps(asdict(job), indent=1) + "\n"
    except TypeError as problem:
        told = f"opened and asked: expected values that JSON has, paths as texts: {problem}"
        raise ValueError(told) from None
    if not note.exists():
        written.whole(note, [asked])
    found = json.loads(note.read_text())
    differ = [name for name, value in json.loads(asked).items() if found.get(name) != value]
    if differ:
        name = differ[0]
        raise ValueError(
            f"{output}: answers of another job are here: {name} is {found.get(name)!r}, and not "
            f"{asdict(job)[name]!r}; name another folder, or remove this one"
        )


__all__ = ["answer", "run"]
