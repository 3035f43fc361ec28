"""Ctrl-C is heard within half a second, whatever is being computed, and leaves all usable."""

from __future__ import annotations

import json
import signal
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import FIXTURES, python

WORK = """
import signal, sys, time
import bise
signal.signal(signal.SIGINT, signal.default_int_handler)
model = bise.Model.open(ctx=1_000_000, threads=1)
def generate(): model.generate("Once", ignore_eos=True, max_tokens=900_000)
def stream():
    for piece in model.stream("Once", ignore_eos=True, max_tokens=900_000): pass
def prompt(): model.generate("word " * 180_000, max_tokens=5)
def batch():
    def rows():
        while True: yield "Once upon a time"
    for result in model.batch(rows(), max_tokens=500, ignore_eos=True): pass
def logits(): model.logits([40] * 200_000)
def embed(): model.embed(["word " * 180_000] * 10)
def quantize(): bise.quantize(sys.argv[2], sys.argv[3], "Q2_K", probe=False, threads=1)
work = globals()[sys.argv[1]]
print("ready", flush=True)
try:
    work()
    print("done")
except KeyboardInterrupt:
    print("interrupted", time.time(), flush=True)
    print(model.generate("Once upon a time", max_tokens=5, temperature=0), flush=True)
"""


def large(folder: Path) -> Path:
    """A model whose quantizing takes seconds, of the shape of the tiny one."""
    folder.mkdir()
    for file in ("tokenizer.model", "tokenizer_config.json", "generation_config.json"):
        (folder / file).write_bytes((FIXTURES / "tiny-mistral" / file).read_bytes())
    config = json.loads((FIXTURES / "tiny-mistral/config.json").read_text())
    inner = 32768
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": inner}))
    source = (FIXTURES / "tiny-mistral/model.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", source)
    header = json.loads(source[8 : 8 + length])
    data, at = [], 0
    for name, tensor in sorted(header.items()):
        if name == "__metadata__":
            continue
        begin, end = tensor["data_offsets"]
        bytes = source[8 + length :][begin:end]
        if ".mlp." in name:
            times = inner // 512
            shape = tensor["shape"]
            tensor["shape"] = [size * (times if size == 512 else 1) for size in shape]
            halves = np.frombuffer(bytes, np.uint16).reshape(shape)
            bytes = np.tile(halves, [times if size == 512 else 1 for size in shape]).tobytes()
        tensor["data_offsets"] = [at, at + len(bytes)]
        data.append(bytes)
        at += len(bytes)
    written = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(written)) + written)
        file.writelines(data)
    return folder


@pytest.mark.parametrize(
    "work", ["generate", "stream", "prompt", "batch", "logits", "embed", "quantize"]
)
def test_ctrl_c(work: str, tmp_path: Path) -> None:
    source = large(tmp_path / "large") if work == "quantize" else tmp_path
    process = python(WORK, work, source, tmp_path / "out.gguf")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    pressed = time.time()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    said, told = out.splitlines()[0].split()
    assert said == "interrupted"
    print(f"{work}: heard after {float(told) - pressed:.3f} s")
    # Half a second, and as much for a machine that is busy.
    assert float(told) - pressed < 1.0
    assert len(out.splitlines()[1]) > 5
    assert not (tmp_path / "out.gguf").exists()


def test_python_threads_run_meanwhile() -> None:
    import bise

    with bise.Model.open(threads=1, ctx=100_000) as model:
        seen: list[float] = []
        end = threading.Event()

        def count() -> None:
            while not end.wait(0.01):
                seen.append(time.monotonic())

        counting = threading.Thread(target=count)
        counting.start()
        begun = time.monotonic()
        model.logits([40] * 5000)
        model.generate("Once", max_tokens=500, ignore_eos=True)
        took = time.monotonic() - begun
        end.set()
        counting.join()
        assert took > 0.1
        assert len(seen) > took / 0.01 * 0.3
