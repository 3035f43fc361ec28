"""What goes wrong says what, and of which kind it is."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from pathlib import Path

import bise
import pytest
from bise.errors import ContextFull, ModelError, QuantizeError, RequestError
from conftest import FIXTURES


def test_kinds() -> None:
    for kind in (ModelError, RequestError, ContextFull, QuantizeError):
        assert issubclass(kind, bise.BiseError)
    assert issubclass(RequestError, ValueError) and issubclass(ContextFull, RequestError)
    error = pickle.loads(pickle.dumps(RequestError("what", "top_k")))
    assert (type(error), str(error), error.param) == (RequestError, "what", "top_k")


def test_models_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ModelError, match="bise pull some/model:Q4_K_M"):
        bise.Model.open("some/model:Q4_K_M")
    with pytest.raises(ModelError, match="ollama"):
        bise.Model.open("ollama:nothing")
    with pytest.raises(ModelError, match="absent.gguf"):
        bise.Model.open(tmp_path / "absent.gguf")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes((FIXTURES / "demo.gguf").read_bytes()[:5000])
    with pytest.raises(ModelError, match="broken.gguf"):
        bise.Model.open(broken)
    with pytest.raises(ModelError, match="--ctx|force|needed"):
        bise.Model.open(FIXTURES / "tiny-mixtral", ctx=2**31, kv="f32")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ctx": 0}, "ctx"),
        ({"threads": 0}, "threads"),
        ({"isa": "mmx"}, "isa"),
        ({"kv": "q2"}, "kv"),
        ({"sequences": 0}, "sequences"),
        ({"pooling": "most"}, "pooling"),
    ],
)
def test_options_of_models(options: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        bise.Model.open(**options)  # type: ignore[arg-type]
    assert "--" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, None),
        ({"top_p": 2}, "top_p"),
        ({"top_k": "many"}, "top_k"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"seed": 1.5}, "seed"),
        ({"stop": [1]}, "stop"),
        ({"logit_bias": {"99999": 1}}, "logit_bias"),
        ({"samplers": ["dice"]}, "samplers"),
        ({"schema": {"type": "nonsense"}}, None),
        ({"schema": 5}, "schema"),
        ({"regex": "("}, None),
        ({"regex": "a", "json_mode": True}, "json_mode"),
    ],
)
def test_options_of_texts(model: bise.Model, options: dict[str, object], param: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        model.generate("Once", **options)  # type: ignore[arg-type]
    if param is not None:
        assert param in (caught.value.param or "") or param in str(caught.value)
    with pytest.raises(RequestError):
        model.stream("Once", **options)  # type: ignore[arg-type]


def test_prompts(model: bise.Model) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'temprature'"):
        model.generate("Once", temprature=1)  # type: ignore[call-arg]
    for prompt in (5, None, b"bytes", [{"role": "nobody", "content": "x"}], []):
        with pytest.raises(RequestError):
            model.generate(prompt)  # type: ignore[arg-type]
    with pytest.raises(ContextFull, match="ctx"):
        model.generate("word " * 50_000)
    with pytest.raises(ContextFull):
        model.embed("word " * 50_000)
    with pytest.raises(RequestError, match="vocabulary"):
        model.logits([1, 2**31])
    with pytest.raises(RequestError, match="vocabulary"):
        model.detokenize([2**32 - 1])
    with pytest.raises(RequestError, match="no tokens"):
        model.logits([])
    with bise.Model.open(FIXTURES / "tiny-mixtral", ctx=16) as small:
        assert len(small.logits([1] * 16)) == 16
        with pytest.raises(ContextFull, match="larger ctx"):
            small.logits([1] * 17)


def test_a_bad_row_leaves_others_alone(model: bise.Model) -> None:
    rows = ["Once", {"prompt": "x", "top_p": 7}, 5, {"messages": "none"}, {"id": 9}, "The dog"]
    results = list(model.batch(rows, max_tokens=5, temperature=0))  # type: ignore[arg-type]
    assert [result.error is None for result in results] == [True, False, False, False, False, True]
    assert all(isinstance(result.error, RequestError) for result in results if result.error)
    assert results[4].id == 9 and results[5].text == model.generate("The dog", max_tokens=5, temperature=0)
    with pytest.raises(RequestError):
        next(model.batch(["x"], regex="("))

    def failing() -> object:
        yield "Once"
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(model.batch(failing()))  # type: ignore[arg-type]


def test_quantizing(tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    with pytest.raises(QuantizeError, match="absent"):
        bise.quantize(tmp_path / "absent", out, "Q8_0")
    with pytest.raises(RequestError, match="Q4_X"):
        bise.quantize(FIXTURES / "tiny-mistral", out, "Q4_X")
    with pytest.raises(RequestError, match="type"):
        bise.quantize(FIXTURES / "tiny-mistral", out)
    with pytest.raises(QuantizeError, match="requantize"):
        bise.quantize(FIXTURES / "demo.gguf", out, "Q4_0")
    with pytest.raises(QuantizeError):
        bise.quantize(FIXTURES / "demo.gguf", FIXTURES / "demo.gguf", "Q4_0", allow_requantize=True)
    assert not out.exists()


def test_closed_models() -> None:
    model = bise.Model.open(ctx=4096)
    stream = model.stream("Once", ignore_eos=True)
    next(stream)
    model.close()
    model.close()
    assert "closed" in repr(model)
    with pytest.raises(bise.BiseError, match="closed"):
        model.generate("Once")
    with pytest.raises(bise.BiseError):
        list(stream)


def test_pickling(model: bise.Model) -> None:
    with pytest.raises(TypeError, match="path"):
        pickle.dumps(model)
    text = model.generate("Once", max_tokens=5, logprobs=2)
    again = pickle.loads(pickle.dumps(text))
    assert again == text and again.__dict__ == text.__dict__


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forks(model: bise.Model) -> None:
    context = multiprocessing.get_context("fork")
    tell, told = context.Pipe()

    def child() -> None:
        said = []
        for work in (
            lambda: model.generate("Once"),
            lambda: model.logits([1]),
            lambda: model.embed("x"),
            lambda: model.tokenize("x"),
            lambda: next(model.batch(["x"])),
        ):
            try:
                work()
                said.append("no error")
            except bise.BiseError as error:
                said.append(str(error))
        with bise.Model.open() as own:
            said.append(own.generate("Once", max_tokens=3, temperature=0).text)
        tell.send(said)

    process = context.Process(target=child)
    process.start()
    assert told.poll(60)
    *errors, text = told.recv()
    process.join(60)
    assert process.exitcode == 0
    assert all("forked" in error and "spawn" in error for error in errors), errors
    assert text == model.generate("Once", max_tokens=3, temperature=0)
