"""The package itself: its size, how fast it is there, what it leaves behind, its types and documents."""

from __future__ import annotations

import inspect
import os
import pkgutil
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bise
import pytest
from conftest import ROOT, python


def test_the_wheel_is_small() -> None:
    size = Path(os.environ["WHEEL"]).stat().st_size
    print(f"wheel: {size / 1e6:.1f} MB")
    assert size < 25e6


def test_import_takes_a_moment() -> None:
    times = []
    for _ in range(5):
        process = python(
            "import time; begun = time.perf_counter(); import bise; print(time.perf_counter() - begun)"
        )
        times.append(float(process.communicate(timeout=30)[0]))
    print(f"import: {min(times):.3f} s")
    assert min(times) < 0.5


def resident() -> int:
    """Bytes of memory of this process."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_a_thousand_texts_leave_nothing(model: bise.Model) -> None:
    def some(count: int) -> None:
        for i in range(count):
            model.generate(f"Once upon {i}", max_tokens=8, seed=i)
            if i % 10 == 0:
                list(model.stream("The dog", max_tokens=8, seed=i))
                stream = model.stream("The cat", max_tokens=500, seed=i)
                next(stream)
                stream.close()
                model.logits("Once upon a time")
                model.embed(["one", "two"])
                list(model.batch(["a", "b", {"prompt": 3}], max_tokens=4, seed=i))
                model.generate("x", regex="[a-c]{2}", seed=i)

    some(300)
    before = resident()
    some(1000)
    grown = resident() - before
    print(f"grown: {grown / 1e6:.1f} MB")
    assert grown < 16e6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_models_leave_nothing() -> None:
    def some(count: int) -> None:
        for _ in range(count):
            model = bise.Model.open(threads=1)
            model.generate("Once", max_tokens=4)

    some(5)
    before, threads = resident(), len(os.listdir("/proc/self/task"))
    some(20)
    time.sleep(0.2)
    assert resident() - before < 32e6
    assert len(os.listdir("/proc/self/task")) <= threads + 2


def test_four_threads_lose_nothing() -> None:
    def texts(model: bise.Model, count: int) -> float:
        begun = time.perf_counter()
        with ThreadPoolExecutor(count) as threads:
            asked = range(16)
            list(threads.map(lambda seed: model.generate("Once", seed=seed, max_tokens=150, ignore_eos=True), asked))
        return time.perf_counter() - begun

    with bise.Model.open() as model:
        texts(model, 1)
        alone = min(texts(model, 1) for _ in range(3))
        together = min(texts(model, 4) for _ in range(3))
    print(f"one thread {alone:.3f} s, four {together:.3f} s, ratio {alone / together:.2f}")
    assert alone / together > 0.8


def test_types(tmp_path: Path) -> None:
    here = Path(__file__).parent
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path)]
    # Without what needs Ray, which is not installed here.
    parts = [f"bise.{part.name}" for part in pkgutil.iter_modules(bise.__path__) if part.name != "ray"]
    modules = [word for part in ["bise", *parts] for word in ("-m", part)]
    for words in (modules, [str(here / "typed.py")]):
        done = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import bise\nbise.Model.open().generate('x', top_k='many')\nbise.Model.open(ctx='x')\n")
    done = subprocess.run([*command, str(wrong)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.count("error:") == 2, done.stdout


def test_stubs_are_what_is_there() -> None:
    command = [sys.executable, "-m", "mypy.stubtest", "bise._bise", "--ignore-disjoint-bases"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_all_is_documented() -> None:
    for name in bise.__all__:
        thing = getattr(bise, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, name
            for member, value in vars(thing).items():
                if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                    assert value.__doc__, f"{name}.{member}"


def blocks() -> list[str]:
    text = (ROOT / "docs/PYTHON.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.S)


def test_the_document_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks go on where those before ended; a comment behind a print is what it prints."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fixtures").symlink_to(ROOT / "fixtures")
    code = "\n".join(blocks())
    assert code.count("\n") > 40
    expected = re.findall(r"^.*print\(.*\)  # (.*)$", code, re.M)
    script = tmp_path / "document.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # What is printed beside that may stand between.
    lines = iter(done.stdout.splitlines())
    for line in expected:
        assert line in lines, (line, done.stdout)


def test_the_document_has_all_methods() -> None:
    text = (ROOT / "docs/PYTHON.md").read_text()
    for name, value in vars(bise.Model).items():
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, (classmethod, property))):
            assert f"`{name}" in text or f".{name}" in text, name
