"""What tests share. BISE is the program, built from the same sources as the package."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import bise
import pytest

ROOT = Path(__file__).resolve().parents[3]
FIXTURES = ROOT / "fixtures"
BISE = os.environ.get("BISE", str(ROOT / "target/release/bise"))


@pytest.fixture(scope="session")
def program() -> Callable[..., bytes]:
    """Runs the program, and gives its standard output."""

    def run(*words: object, input: bytes | None = None) -> bytes:
        command = [BISE, *map(str, words)]
        done = subprocess.run(command, input=input, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


@pytest.fixture(scope="session")
def model() -> Iterator[bise.Model]:
    """The story teller of the package."""
    with bise.Model.open(threads=2) as model:
        yield model


@pytest.fixture(scope="session")
def talker_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the control tokens of a chat format that has tools."""
    path = tmp_path_factory.mktemp("talker") / "chat.gguf"
    make = ROOT / "tests/clients/make_model.py"
    subprocess.run([sys.executable, make, FIXTURES / "demo.gguf", path], check=True)
    return path


@pytest.fixture(scope="session")
def talker(talker_path: Path) -> Iterator[bise.Model]:
    with bise.Model.open(talker_path, threads=1) as model:
        yield model


def python(code: str, *words: object, **more: object) -> subprocess.Popen[str]:
    """Another Python that runs `code`."""
    command = [sys.executable, "-c", code, *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, **more)  # type: ignore[call-overload, no-any-return]
