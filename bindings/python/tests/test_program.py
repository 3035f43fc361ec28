"""The program, from the package: as the binary is, to the signal."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request

import bise
import pytest
from conftest import BISE, FIXTURES

SCRIPT = shutil.which("bise", path=sysconfig.get_path("scripts"))
WAYS = [[sys.executable, "-m", "bise"], [SCRIPT]]


def run(command: list[str], *words: object, **more: object) -> subprocess.CompletedProcess[bytes]:
    command = [*command, *map(str, words)]
    return subprocess.run(command, capture_output=True, check=False, **more)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("way", WAYS, ids=["module", "script"])
@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        [],
        ["help", "run"],
        ["run", "-p", "Once", "--temp", "0", "-n", "20"],
        ["run", "-p", "Once", "--temp", "-1"],
        ["run", "absent.gguf", "-p", "x"],
        ["run", "-p", "Once", "--json-mode", "-n", "3", "--seed", "1"],
        ["tokenize", "Once"],
        ["completions", "bash"],
        ["nonsense"],
        ["verify", str(FIXTURES / "demo.gguf"), "--json"],
    ],
    ids=" ".join,
)
def test_commands(way: list[str], words: list[str]) -> None:
    theirs, ours = run([BISE], *words, input=b""), run(way, *words, input=b"")
    assert ours.returncode == theirs.returncode
    assert ours.stdout == theirs.stdout
    assert ours.stderr == theirs.stderr


def test_texts_come_as_they_are_made() -> None:
    command = [sys.executable, "-m", "bise", "run", "-c", "100000", "-p", "Once", "--ignore-eos"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        begun = time.monotonic()
        assert len(process.stdout.read(200)) == 200
        assert time.monotonic() - begun < 10
        # A reader that has enough ends it.
        process.stdout.close()
        assert process.wait(20) == 0


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda sent: sent.name)
@pytest.mark.parametrize("words", [["serve", "--port", "0"], ["run", "-c", "1000000", "-p", "x", "--ignore-eos"]])
def test_signals(words: list[str], sent: signal.Signals) -> None:
    codes = []
    for way in [[BISE], *WAYS]:
        command = [*map(str, way), *words]
        # Started by something that ignores signals, the program would too.
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            first = process.stdout.readline() if words[0] == "serve" else process.stdout.read(100)
            if words[0] == "serve":
                url = first.decode().split()[-1]
                assert process.stdout.readline() == b"ready\n"
                with urllib.request.urlopen(f"{url}/health") as answer:
                    assert answer.status == 200
            process.send_signal(sent)
            begun = time.monotonic()
            process.stdout.read()
            codes.append(process.wait(20))
            assert time.monotonic() - begun < 5
    assert codes == [codes[0]] * 3, codes


def test_in_this_process(capfd: pytest.CaptureFixture[str]) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for _ in range(2):
        assert bise.main(["run", "-p", "Once", "--temp", "0", "-n", "5"]) == 0
        assert capfd.readouterr().out.startswith("Once")
    assert bise.main(["run", "--temp", "-1"]) == 2
    assert bise.main(["run", "absent.gguf", "-p", "x"]) == 1
    assert "absent.gguf" in capfd.readouterr().err
    assert {number: signal.getsignal(number) for number in before} == before


def test_signals_that_are_ignored_stay_so() -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "from bise.__main__ import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "run", "-c", "1000000", "-p", "x", "--ignore-eos"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(100)
        process.send_signal(signal.SIGINT)
        assert len(process.stdout.read(20_000)) == 20_000
        process.terminate()
        process.stdout.read()
        assert process.wait(20) == 128 + signal.SIGTERM


def test_nothing_is_logged() -> None:
    code = (
        "import bise, logging; logging.basicConfig(level=0); m = bise.Model.open();"
        "m.generate('secret words', max_tokens=5); list(m.batch(['secret words', {'prompt': 1}]));"
        "m.logits('secret words')"
    )
    done = run([sys.executable, "-c", code], env={**os.environ, "RUST_LOG": "trace"})
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
