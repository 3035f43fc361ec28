"""What the package computes is, byte for byte, what the program computes."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bise
import numpy as np
import pytest
from conftest import FIXTURES

Program = Callable[..., bytes]
# What the adapters were made for.
BASE = FIXTURES / "random/mistral-no-window"
PROMPTS = ["Once upon a time", "The dog", "Lily was sad because", "One day, Tom", "é and 日本"]
MODELS = [None, FIXTURES / "tiny-mistral", FIXTURES / "tiny-mixtral"]


def logits_of(file: bytes) -> np.ndarray:
    (length,) = struct.unpack_from("<Q", file)
    header = json.loads(file[8 : 8 + length])["logits"]
    begin, end = header["data_offsets"]
    return np.frombuffer(file[8 + length :][begin:end], np.float32).reshape(header["shape"])


@pytest.mark.parametrize("path", MODELS, ids=str)
@pytest.mark.parametrize("kv", ["f16", "q8_0"])
def test_logits(path: Path | None, kv: str, program: Program) -> None:
    named = [] if path is None else [path]
    text = "Once upon a time there was a little girl named Lily. " * 5
    file = program("logits", *named, "-p", text, "-o", "-", "--kv-type", kv)
    with bise.Model.open(path, kv=kv, threads=1) as model:
        logits = model.logits(text)
        assert logits.dtype == np.float32
        assert logits.tobytes() == logits_of(file).tobytes()
        ids = model.tokenize(text)
        assert logits.shape == (len(ids), model.vocabulary_size)
        assert model.logits(ids).tobytes() == logits.tobytes()
        assert model.logits(np.array(ids)).tobytes() == logits.tobytes()


@pytest.mark.parametrize("path", MODELS, ids=str)
@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"seed": 7}, {"seed": 8, "top_k": 5, "min_p": 0.01}])
def test_texts(path: Path | None, options: dict[str, float], program: Program) -> None:
    named = [] if path is None else [path]
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    with bise.Model.open(path, ctx=512) as model:
        for prompt in PROMPTS:
            said = program("run", *named, "-p", prompt, "-n", 60, "--json", "-c", 512, *words)
            told = json.loads(said)
            text = model.generate(prompt, max_tokens=60, **options)  # type: ignore[arg-type]
            assert text == told["text"]
            assert text.tokens == told["tokens"]
            assert text.stop_reason == told["stop_reason"]
            if "seed" in options:
                assert text.seed == options["seed"] == told["seed"]
            assert model.detokenize(text.tokens).strip() == text.strip()


def test_chats(talker: bise.Model, talker_path: Path, program: Program) -> None:
    said = program("run", talker_path, "--chat", "--system", "Be kind.", "-p", "Hello", "--seed", 3, "-n", 40)
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    text = talker.generate(messages, seed=3, max_tokens=40)
    assert text.text.rstrip("\n") == said.decode().rstrip("\n")
    chat = talker.chat("Be kind.", seed=3, max_tokens=40)
    assert chat.send("Hello") == text
    assert chat.messages == [*messages, text.message]


@pytest.mark.parametrize("source", ["tiny-mistral", "tiny-mixtral"])
@pytest.mark.parametrize("kind", ["Q4_K_M", "Q8_0", "IQ4_NL"])
def test_files(source: str, kind: str, tmp_path: Path, program: Program) -> None:
    theirs, ours = tmp_path / "theirs.gguf", tmp_path / "ours.gguf"
    told = json.loads(program("quantize", FIXTURES / source, theirs, "--type", kind, "--json"))
    report = bise.quantize(FIXTURES / source, ours, kind)
    assert ours.read_bytes() == theirs.read_bytes()
    assert report == told | {"file": str(ours)}


def test_files_with_adapters_and_rules(tmp_path: Path, program: Program) -> None:
    adapter = FIXTURES / "adapters/plain"
    theirs, ours = tmp_path / "theirs.gguf", tmp_path / "ours.gguf"
    rules = ["--output-type", "Q6_K", "--tensor-type", "attn_v=Q8_0", "--no-probe"]
    program("quantize", BASE, theirs, "--bpw", 9, "--lora", f"{adapter}:0.5", *rules)
    bise.quantize(
        BASE, ours, bpw=9, lora=(adapter, 0.5), output_type="Q6_K",
        tensor_types={"attn_v": "Q8_0"}, probe=False,
    )
    assert ours.read_bytes() == theirs.read_bytes()


def test_tokens(program: Program) -> None:
    for path in MODELS:
        named = [] if path is None else [path]
        with bise.Model.open(path) as model:
            for text in [*PROMPTS, "  two  spaces ", "<s> is text"]:
                told = json.loads(program("tokenize", "--json", *named, text))
                assert model.tokenize(text) == told["ids"]
                bare = json.loads(program("tokenize", "--json", "--no-bos", *named, text))
                assert model.tokenize(text, special=False) == bare["ids"]
                assert model.detokenize(bare["ids"]).strip() == text.strip()


def test_embeddings(program: Program) -> None:
    lines = "".join(json.dumps(text) + "\n" for text in PROMPTS).encode()
    said = program("embed", FIXTURES / "tiny-mistral", "--pooling", "mean", input=lines)
    told = [json.loads(line)["embedding"] for line in said.splitlines()]
    with bise.Model.open(FIXTURES / "tiny-mistral", pooling="mean") as model:
        vectors = model.embed(PROMPTS)
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(PROMPTS), model.dimension)
        assert vectors.tobytes() == np.array(told, np.float32).tobytes()
        assert model.embed(PROMPTS[0]).tobytes() == vectors[0].tobytes()
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def rows(count: int) -> list[dict[str, object]]:
    kinds: list[dict[str, object]] = [
        {"seed": 5}, {"temperature": 0, "seed": 0}, {"top_k": 3, "seed": 1}, {"stop": ["."], "seed": 2},
        {"mirostat": 2, "seed": 9}, {"max_tokens": 5, "seed": 4}, {"logit_bias": {"5": -3}, "seed": 6},
    ]
    return [
        {"prompt": f"{PROMPTS[i % 5]} {i}", "id": f"row {i}", "max_tokens": 20 + i % 17, **kinds[i % 7]}
        for i in range(count)
    ]


@pytest.mark.parametrize("ordered", [True, False])
def test_rows_are_what_they_are_alone(model: bise.Model, ordered: bool) -> None:
    asked = rows(150)
    results = list(model.batch(iter(asked), ordered=ordered))
    assert sorted(result.index for result in results) == list(range(len(asked)))
    if ordered:
        assert [result.index for result in results] == list(range(len(asked)))
    for result in results:
        row = asked[result.index]
        assert result.error is None
        assert result.id == row["id"]
        options = {name: value for name, value in row.items() if name not in ("id", "prompt")}
        alone = model.generate(str(row["prompt"]), **options)  # type: ignore[arg-type]
        assert result.text == alone
        assert result.text is not None
        assert result.text.__dict__ == alone.__dict__


def test_rows_are_those_of_the_program(model: bise.Model, program: Program) -> None:
    asked = [*rows(30), {"prompt": "x", "nonsense": 1}, {"messages": []}, {"prompt": 5}]
    lines = "".join(json.dumps(row) + "\n" for row in asked).encode()
    told = [json.loads(line) for line in program("run", "--input-jsonl", "-", input=lines).splitlines()]
    made = [json.loads(result.to_json()) for result in model.batch(asked)]
    assert made == told


def test_streams(model: bise.Model) -> None:
    for options in [{"temperature": 0}, {"seed": 4}, {"seed": 5, "stop": ["the", "a l"]}]:
        stream = model.stream("Once upon a time", max_tokens=80, **options)  # type: ignore[arg-type]
        pieces = list(stream)
        whole = model.generate("Once upon a time", max_tokens=80, **options)  # type: ignore[arg-type]
        assert len(pieces) > 5
        assert "".join(piece.text for piece in pieces) == whole
        assert stream.result == whole
        assert [token for piece in pieces for token in piece.tokens] == whole.tokens
        assert "".join(map(str, pieces)) == whole.text


def test_threads(model: bise.Model) -> None:
    asked = [(prompt, seed) for prompt in PROMPTS for seed in range(8)]

    def one(which: tuple[str, int]) -> bise.Text:
        return model.generate(which[0], seed=which[1], max_tokens=50)

    alone = [one(which) for which in asked]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(one, asked))
    assert together == alone
