"""What is asked of a model: arguments of methods, as rows of JSON that the engine reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Union

from .errors import RequestError

if TYPE_CHECKING:
    from ._text import Message, Text

Prompt = Union[str, "Sequence[Message]"]
"""A text that is to go on, or the messages of a conversation."""


class Options(TypedDict, total=False):
    """Options of a text. What is left out or None is as the model was opened.

    Attributes:
        max_tokens: Tokens at most; -1, or left out, for as many as fit.
        seed: The same seed gives the same text; another one each time where it is left out.
        stop: A text, or several, that end the text and do not belong to it.
        temperature: Logits are divided by it; 0 always takes the likeliest token. Default .8.
        top_k: Only so many of the likeliest tokens; 0 for all. Default 40.
        top_p: Only the likeliest tokens that together have this probability. Default .95.
        min_p: Only tokens with this share of the likeliest one's probability. Default .05.
        typical: Only tokens about as surprising as expected, of this probability together.
        repeat_penalty: How much less likely recent tokens become; 1 for no less.
        frequency_penalty: What recent tokens lose for each time that they occurred.
        presence_penalty: What recent tokens lose.
        repeat_last_n: How many of the last tokens are recent; -1 for all. Default 64.
        xtc_probability, xtc_threshold: How often likely tokens are left out, and which are likely.
        dry_multiplier, dry_base, dry_allowed_length, dry_penalty_last_n, dry_sequence_breaker:
            The penalty for going on with a repetition.
        mirostat, mirostat_ent, mirostat_lr: 2 for Mirostat 2; its surprise in bits, its rate.
        samplers: Which samplers work, in which order: ``["top-k", "temperature"]``.
        logit_bias: What is added to logits: ``{"1234": -5, " yes": 2}``, ids or texts of a token.
        logprobs: Log-probabilities of each token and of so many of the likeliest in its place.
        reasoning_effort: How much to think, where the chat format has words for it.
        tools: What the model may call, as OpenAI has it; for messages.
    """

    max_tokens: int | None
    seed: int | None
    stop: str | Sequence[str] | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical: float | None
    repeat_penalty: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    repeat_last_n: int | None
    xtc_probability: float | None
    xtc_threshold: float | None
    dry_multiplier: float | None
    dry_base: float | None
    dry_allowed_length: int | None
    dry_penalty_last_n: int | None
    dry_sequence_breaker: str | Sequence[str] | None
    mirostat: int | None
    mirostat_ent: float | None
    mirostat_lr: float | None
    samplers: str | Sequence[str] | None
    logit_bias: Mapping[str, float] | Sequence[str] | None
    logprobs: int | None
    reasoning_effort: str | None
    tools: Sequence[Mapping[str, Any]] | None


class Constraints(TypedDict, total=False):
    """What a text must follow, of which one can be given.

    Attributes:
        schema: It is JSON of this schema: a dict, a text of JSON, or a pydantic class, of which
            `Text.parsed` is an instance then.
        regex: All of it matches this regular expression.
        grammar: It follows this grammar, in Lark (with a rule ``start``) or GBNF (``root``).
        json_mode: It is a JSON object.
        ignore_eos: It goes on after tokens that end a text.
    """

    schema: Any
    regex: str | None
    grammar: str | None
    json_mode: bool
    ignore_eos: bool


class Asked(Options, Constraints, total=False):
    """Everything that can be asked of a text: `Options` and `Constraints`."""


OPTIONS = frozenset(Options.__annotations__)
CONSTRAINTS = frozenset(Constraints.__annotations__)


def check(asked: Mapping[str, Any], where: str) -> None:
    """Refuses arguments of other names, as Python does."""
    for name in asked:
        if name not in OPTIONS and name not in CONSTRAINTS:
            raise TypeError(f"{where}() got an unexpected keyword argument {name!r}")


def row_of(prompt: object, asked: Mapping[str, Any]) -> bytes:
    """The row of JSON for a prompt with options; one that is a dict has its own."""
    options = {name: value for name, value in asked.items() if name in OPTIONS and value is not None}
    if isinstance(prompt, str):
        row: dict[str, Any] = {"prompt": prompt, **options}
    elif isinstance(prompt, Mapping):
        row = {**options, **prompt}
    elif isinstance(prompt, Sequence) and not isinstance(prompt, (bytes, bytearray)):
        row = {"messages": list(prompt), **options}
    else:
        kind = type(prompt).__name__
        raise RequestError(
            f"the prompt is of type {kind}; expected a str, or a list of messages", "prompt"
        )
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise RequestError(f"what is asked cannot be written as JSON: {error}") from None


def grammar_of(asked: Mapping[str, Any]) -> tuple[str, str] | None:
    """The kind and the text of what a text must follow."""
    given = [name for name in ("schema", "regex", "grammar") if asked.get(name) is not None]
    given += ["json_mode"] if asked.get("json_mode") else []
    if len(given) > 1:
        raise RequestError(f"{given[0]} and {given[1]} are both given; expected one", given[1])
    if not given:
        return None
    if given == ["json_mode"]:
        return "json", ""
    if given == ["schema"]:
        return "schema", _schema(asked["schema"])
    text = asked[given[0]]
    if not isinstance(text, str):
        raise RequestError(f"{given[0]} is of type {type(text).__name__}; expected a str", given[0])
    return given[0], text


def _schema(schema: object) -> str:
    if isinstance(schema, str):
        return schema
    if isinstance(schema, (Mapping, bool)):
        return json.dumps(schema)
    if is_pydantic(schema):
        return json.dumps(_closed(schema.model_json_schema()))  # type: ignore[attr-defined]
    raise RequestError(
        f"schema is of type {type(schema).__name__}; expected a dict, a text of JSON, or a "
        "pydantic class",
        "schema",
    )


def _closed(schema: Any) -> Any:
    """The schema of a class, without fields that the class does not have and would pass over."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(part) for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def is_pydantic(schema: object) -> bool:
    """Whether it is a class of pydantic's; whoever made it has imported that."""
    return isinstance(schema, type) and hasattr(schema, "model_json_schema")


def parse(text: Text, asked: Mapping[str, Any]) -> Text:
    """Gives a text its `parsed`, where a pydantic class was asked for and the text is whole."""
    schema = asked.get("schema")
    if is_pydantic(schema) and text.stop_reason == "end":
        text.parsed = schema.model_validate_json(text.text)  # type: ignore[union-attr]
    return text
