"""What a model writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypedDict

Likely = tuple[int, bytes, float]
"""Id, bytes and log-probability of a token."""


class Written(TypedDict):
    """The fields of a `Text`, from the engine."""

    text: str
    thought: str
    tool_calls: list[tuple[str | None, str, str]]
    stop_reason: str
    stop_text: str | None
    prompt_tokens: int
    tokens: list[int]
    seed: int
    logprobs: list[tuple[Likely, list[Likely]]] | None


Message = dict[str, Any]
"""A message as OpenAI has it: ``{"role": "user", "content": "..."}``."""


@dataclass(frozen=True)
class Token:
    """A token, and how likely the model alone found it, before all samplers.

    Attributes:
        id: Its number in the vocabulary.
        bytes: What it adds to a text.
        logprob: The natural logarithm of its probability.
        top: The likeliest tokens in its place, best first; each without a `top` of its own.
    """

    id: int
    bytes: bytes
    logprob: float
    top: tuple[Token, ...] = ()


class Text(str):
    """What was written: a `str`, and what is known of it.

    Attributes:
        tokens: The ids of its tokens, thoughts and calls of tools included; a token that ended it,
            which shows in `stop_reason`, is left out.
        stop_reason: ``"end"``: the model ended it; ``"stop"``: a text of `stop` came; ``"length"``:
            it has `max_tokens`, or the context is full.
        stop_text: The text of `stop` that came.
        seed: Gives the same text again.
        prompt_tokens: Tokens of the prompt.
        thought: What the model thought before it answered; empty where nothing was.
        tool_calls: Calls of tools, as OpenAI has them; arguments are JSON in a text.
        logprobs: A `Token` for each token, where they were asked for.
        parsed: With a pydantic class as `schema`, an instance of it; else None.
    """

    tokens: list[int]
    stop_reason: str
    stop_text: str | None
    seed: int
    prompt_tokens: int
    thought: str
    tool_calls: list[dict[str, Any]]
    logprobs: list[Token] | None
    parsed: Any

    @property
    def text(self) -> str:
        """The text as a plain `str`."""
        return str.__str__(self)

    @property
    def message(self) -> Message:
        """The text as the next message of a conversation."""
        message: Message = {"role": "assistant", "content": self.text}
        if self.thought:
            message["reasoning_content"] = self.thought
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        return message

    def __reduce__(self) -> tuple[Any, ...]:
        return Text._of_state, (str(self), self.__dict__)

    @staticmethod
    def _of_state(text: str, state: dict[str, Any]) -> Text:
        made = Text(text)
        made.__dict__.update(state)
        return made

    @staticmethod
    def _of(written: Written) -> Text:
        made = Text(written["text"])
        made.tokens = written["tokens"]
        made.stop_reason = written["stop_reason"]
        made.stop_text = written["stop_text"]
        made.seed = written["seed"]
        made.prompt_tokens = written["prompt_tokens"]
        made.thought = written["thought"]
        made.tool_calls = [
            {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id, name, arguments in written["tool_calls"]
        ]
        logprobs = written["logprobs"]
        made.logprobs = None
        if logprobs is not None:
            made.logprobs = [_token(one, top) for one, top in logprobs]
        made.parsed = None
        return made


def _token(one: Likely, top: list[Likely]) -> Token:
    return Token(*one, top=tuple(Token(*other) for other in top))


@dataclass(frozen=True)
class Piece:
    """A piece of a text that is being written.

    Attributes:
        text: What is new of the text.
        thought: What is new of a thought before it.
        tokens: The ids of the tokens that made it certain.
    """

    text: str
    thought: str
    tokens: list[int]

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Result:
    """What became of a row of `Model.batch`.

    Attributes:
        index: The place of the row, from 0.
        id: What the row calls itself.
        text: What was written; None when the row has an error.
        error: What is wrong with the row; None when it has a text.
    """

    index: int
    id: Any
    text: Text | None
    error: Exception | None

    def to_dict(self) -> dict[str, Any]:
        """The result as a line of ``bise run --input-jsonl`` has it."""
        row: dict[str, Any] = {"index": self.index}
        if self.id is not None:
            row["id"] = self.id
        if self.text is None:
            return row | {"error": str(self.error)}
        text = self.text
        row["text"] = text.text
        if text.thought:
            row["reasoning"] = text.thought
        if text.tool_calls:
            row["tool_calls"] = text.tool_calls
        row["stop_reason"] = text.stop_reason
        row["prompt_tokens"] = text.prompt_tokens
        row["tokens"] = len(text.tokens)
        row["seed"] = text.seed
        return row

    def to_json(self) -> str:
        """`to_dict` in one line."""
        return json.dumps(self.to_dict(), ensure_ascii=False)
