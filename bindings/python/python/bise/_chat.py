"""Conversations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ._request import Asked, check
from ._text import Message, Piece, Text

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._model import Model


class Chat:
    """A conversation with a model, which `Model.chat` begins.

    Attributes:
        messages: What was said, as OpenAI has it. Others may be put in, results of tools by
            `result`; the next answer sees them all.
    """

    def __init__(self, model: Model, system: str | None, asked: Mapping[str, Any]) -> None:
        self._model = model
        self._asked = dict(asked)
        self.messages: list[Message] = []
        if system is not None:
            self.messages.append({"role": "system", "content": system})

    def send(self, text: str | None = None, **asked: Unpack[Asked]) -> Text:
        """Says `text`, and gives the answer, which becomes a message too.

        Without a text the model answers what is there: results of tools, for one. When it fails,
        or is interrupted, the conversation is as it was before.

        Raises:
            RequestError, ContextFull: As `Model.generate`.
        """
        check(asked, "send")
        messages = self._with(text)
        options: Any = {**self._asked, **asked}
        answer = self._model.generate(messages, **options)
        self.messages = [*messages, answer.message]
        return answer

    def stream(self, text: str | None = None, **asked: Unpack[Asked]) -> Iterator[Piece]:
        """As `send`, piece by piece; the conversation has the answer when all of it has come."""
        check(asked, "stream")
        messages = self._with(text)
        options: Any = {**self._asked, **asked}
        stream = self._model.stream(messages, **options)
        yield from stream
        if stream.result is not None:
            self.messages = [*messages, stream.result.message]

    def result(self, call: Mapping[str, Any] | str, content: str) -> None:
        """Adds what a tool gave.

        Args:
            call: The call, of `Text.tool_calls`, or its id.
            content: The result, as a text.
        """
        id = call if isinstance(call, str) else call["id"]
        message: Message = {"role": "tool", "content": content, "tool_call_id": id}
        if not isinstance(call, str):
            message["name"] = call["function"]["name"]
        self.messages.append(message)

    def _with(self, text: str | None) -> list[Message]:
        more: list[Message] = [] if text is None else [{"role": "user", "content": text}]
        return [*self.messages, *more]
