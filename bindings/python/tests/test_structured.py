"""Schemas, tools and conversations."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Literal

import bise
import pytest
from pydantic import BaseModel

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather somewhere",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string", "maxLength": 10}},
            "required": ["town"],
        },
    },
}


class Animal(BaseModel):
    name: str
    legs: int


SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["dog", "cat"]}, "legs": {"enum": [2, 4]}},
    "required": ["name", "legs"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("schema", [SCHEMA, json.dumps(SCHEMA)], ids=["dict", "text"])
def test_schemas(model: bise.Model, schema: object) -> None:
    for seed in range(5):
        text = model.generate("A pet:", schema=schema, seed=seed)
        pet = json.loads(text)
        assert pet["name"] in ("dog", "cat") and pet["legs"] in (2, 4)
        assert text.stop_reason == "end" and text.parsed is None


def test_classes(model: bise.Model) -> None:
    class Owner(BaseModel):
        name: Literal["Tom", "Lily"]

    class Pet(BaseModel):
        kind: Literal["dog", "cat"]
        legs: Literal[2, 4]
        owner: Owner

    for seed in range(5):
        text = model.generate("A pet:", schema=Pet, seed=seed)
        assert isinstance(text.parsed, Pet) and text.parsed.owner.name in ("Tom", "Lily")
        # What the class does not have is not written.
        assert json.loads(text) == text.parsed.model_dump()
    stream = model.stream("A pet:", schema=Pet, seed=4)
    assert "".join(piece.text for piece in stream) == text
    assert stream.result is not None and stream.result.parsed == text.parsed
    for result in model.batch(["A pet:", {"prompt": "Another:", "seed": 3}], schema=Pet):
        assert result.text is not None and isinstance(result.text.parsed, Pet)


def test_a_text_that_is_cut_off_is_not_parsed(model: bise.Model) -> None:
    text = model.generate("A pet:", schema=Animal, max_tokens=3, seed=1)
    assert text.stop_reason == "length" and text.parsed is None


def test_other_constraints(model: bise.Model) -> None:
    assert re.fullmatch("[ab]{3,5}", model.generate("x", regex="[ab]{3,5}", seed=1))
    assert model.generate("x", grammar='root ::= "yes" | "no"', seed=1) in ("yes", "no")
    assert model.generate("x", grammar='start: "1" | "2"', seed=1) in ("1", "2")
    assert model.generate("x", json_mode=True, seed=1, max_tokens=40).startswith("{")


def test_conversations(talker: bise.Model) -> None:
    chat = talker.chat("Be brief.", max_tokens=8, seed=2)
    first = chat.send("Hello")
    second = chat.send("And now?", seed=3)
    assert [message["role"] for message in chat.messages] == [
        "system", "user", "assistant", "user", "assistant",
    ]
    assert second == talker.generate(chat.messages[:4], max_tokens=8, seed=3)
    assert chat.messages[2] == first.message
    before = list(chat.messages)
    with pytest.raises(bise.RequestError):
        chat.send("x", top_p=9)
    assert chat.messages == before
    assert "".join(map(str, chat.stream("More", seed=4))) == chat.messages[-1]["content"]
    with pytest.raises(TypeError, match="unexpected"):
        chat.send("x", nonsense=1)  # type: ignore[call-arg]


def test_tools(talker: bise.Model) -> None:
    chat = talker.chat(tools=[TOOL], max_tokens=60, temperature=0)
    text = chat.send("What is the weather?")
    assert text.prompt_tokens > talker.generate(
        [{"role": "user", "content": "What is the weather?"}], max_tokens=1
    ).prompt_tokens
    chat.messages[-1] = {
        "role": "assistant",
        "tool_calls": [
            {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Rome"}'}}
        ],
    }
    chat.result(chat.messages[-1]["tool_calls"][0], "sunny")
    assert chat.messages[-1] == {
        "role": "tool", "content": "sunny", "tool_call_id": "abcdefghi", "name": "weather",
    }
    answer = chat.send()
    assert chat.messages[-1] == answer.message
    assert answer.prompt_tokens > text.prompt_tokens


def test_logprobs(model: bise.Model) -> None:
    text = model.generate("Once", max_tokens=6, temperature=0, logprobs=3)
    assert text.logprobs is not None
    assert [token.id for token in text.logprobs] == text.tokens
    for token in text.logprobs:
        assert token.top[0].id == token.id and len(token.top) == 3
        assert token.logprob == token.top[0].logprob >= token.top[1].logprob
    assert b"".join(token.bytes for token in text.logprobs).decode() == text
    assert model.generate("Once", max_tokens=6, temperature=0).logprobs is None


def test_pydantic_is_not_imported_and_numpy_late() -> None:
    code = (
        "import sys, bise; m = bise.Model.open(); m.generate('x', schema={'type': 'integer'}, max_tokens=3);"
        "assert 'pydantic' not in sys.modules and 'numpy' not in sys.modules;"
        "m.logits('x'); assert 'numpy' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
