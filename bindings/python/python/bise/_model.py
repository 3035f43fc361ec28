"""Models."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union

from . import _bise
from ._chat import Chat
from ._request import Asked, Prompt, check, grammar_of, parse, row_of
from ._text import Message, Piece, Result, Text, Written
from .errors import BiseWarning, RequestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self, Unpack

Path = Union[str, "os.PathLike[str]"]
Row = Union[str, Sequence[Message], Mapping[str, Any]]
"""A prompt, messages, or a dict of either with options, as a line of ``bise run --input-jsonl``."""


class Model:
    """A model, loaded. `Model.open` opens one.

    Any number of threads may use it at a time: what they ask for is computed together, and what
    each gets is what it would get alone. It is of no use in a process that was forked from the one
    that opened it, which is told; open it there, or start processes with ``spawn``.
    """

    def __init__(self, engine: _bise.Engine, path: str | None) -> None:
        self._engine = engine
        self._path = path

    @classmethod
    def open(
        cls,
        path: Path | None = None,
        *,
        ctx: int | None = None,
        threads: int | None = None,
        isa: str | None = None,
        kv: str | None = None,
        lora: Path | tuple[Path, float] | Sequence[Path | tuple[Path, float]] | None = None,
        sliding_window: int | str | None = None,
        template: Path | None = None,
        pooling: str | None = None,
        sequences: int | None = None,
        kv_memory: int | str | None = None,
        batch_size: int | None = None,
        mmap: bool = True,
        mlock: bool = False,
        force: bool = False,
    ) -> Self:
        """Loads a model.

        Args:
            path: A GGUF file, a directory of safetensors, or the name of a model that is on disk:
                ``"org/name"``, ``"org/name:Q4_K_M"``, ``"ollama:mistral"``. None is what the
                environment variable BISE_MODEL names, or else the tiny story teller of the package.
            ctx: Tokens that fit, prompt and text together; what the model was trained for, or as
                much of it as memory allows, when None.
            threads: One for each physical core that the process may use, when None.
            isa: Instruction set, such as ``"avx2"``; the best of this machine when None.
            kv: Format of cached keys and values: ``"f16"`` (default), ``"f32"`` or ``"q8_0"``.
            lora: Adapters that are added: a path, ``(path, scale)``, or a list of such.
            sliding_window: Keys that a token sees, or ``"off"``; as the file says when None.
            template: Chat format: ``"v1"`` to ``"v15"``, ``"gguf"``, or a Jinja file.
            pooling: How embeddings are made: ``"last"``, ``"mean"`` or ``"cls"``.
            sequences: Texts that are written at a time at most; 64 when None.
            kv_memory: Bytes, or ``"4GiB"``, that keys and values of all texts may take.
            batch_size: Tokens of a prompt that are processed at a time; 512 when None.
            mmap: Maps files into memory instead of reading them.
            mlock: Keeps weights in memory whatever else needs some.
            force: Loads even when there seems to be too little memory.

        Raises:
            ModelError: When it is not there (the message has the command that gets it), is damaged,
                or does not fit in memory.
            RequestError: When an option is not what is expected.
        """
        options = {
            "ctx": ctx,
            "threads": threads,
            "isa": isa,
            "kv-type": kv,
            "sliding-window": sliding_window,
            "template": template,
            "pooling": pooling,
            "sequences": sequences,
            "kv-memory": kv_memory,
            "batch": batch_size,
        }
        flags = {"no-mmap": not mmap, "mlock": mlock, "force": force}
        # No request of this process is refused because others wait.
        words = ["--quiet", "--queue=4294967295"]
        words += [f"--{name}={value}" for name, value in options.items() if value is not None]
        words += [f"--{name}" for name, given in flags.items() if given]
        words += [f"--lora={adapter}" for adapter in adapters_of(lora)]
        named = None if path is None else os.fspath(path)
        if named is not None:
            words.append(f"--model={named}")
        engine, notes = _bise.Engine.open(words)
        tell(notes)
        return cls(engine, named)

    def generate(self, prompt: Prompt, **asked: Unpack[Asked]) -> Text:
        """What follows a text, or the answer to messages.

        Args:
            prompt: A text that is to go on, or messages as OpenAI has them.
            **asked: See `Options` and `Constraints`.

        Raises:
            RequestError: When the prompt or an option is not what is expected; `param` says which.
            ContextFull: When the prompt leaves no room.
        """
        check(asked, "generate")
        return parse(Text._of(self._begin(prompt, asked).whole()), asked)

    def stream(self, prompt: Prompt, **asked: Unpack[Asked]) -> Stream:
        """The pieces of what `generate` gives, as they come.

        Raises:
            RequestError, ContextFull: As `generate`, at once.
        """
        check(asked, "stream")
        return Stream(self._begin(prompt, asked), asked)

    def chat(self, system: str | None = None, **asked: Unpack[Asked]) -> Chat:
        """A conversation.

        Args:
            system: What the model is told before it.
            **asked: What counts for each answer that is not asked for otherwise, `tools` for one.
        """
        check(asked, "chat")
        return Chat(self, system, asked)

    def batch(
        self, rows: Iterable[Row], *, ordered: bool = True, **asked: Unpack[Asked]
    ) -> Iterator[Result]:
        """Answers many rows together, in less time than one after the other.

        Rows are read as they are needed. Each gets what `generate` gives for it alone. What is
        wrong with a row becomes its `Result.error`, and the others go on. Who closes the iterator
        gives up what is not done.

        Args:
            rows: Prompts, messages, or dicts of either with options and an ``"id"``.
            ordered: Gives results in the order of rows; as they are ready when False.
            **asked: What counts where a row says nothing.

        Raises:
            RequestError: When what all rows must follow is not what is expected.
        """
        check(asked, "batch")
        batch = self._engine.batch(grammar_of(asked), bool(asked.get("ignore_eos")), ordered)
        return _results(batch, rows, asked)

    def logits(self, tokens_or_text: str | Sequence[int] | NDArray[Any]) -> NDArray[np.float32]:
        """What the model says of what follows each token.

        Args:
            tokens_or_text: Ids as they are, or a text, after the token that begins texts.

        Returns:
            ``[n, vocabulary_size]``, float32: row i says what follows tokens 0 to i, in units of
            natural logarithms, up to a constant of the row.

        Raises:
            RequestError: When there are no tokens, or one is not in the vocabulary.
            ContextFull: When they are more than `ctx`, and the model has no sliding window.
        """
        return self._engine.logits(self._ids(tokens_or_text))

    def embed(self, texts: str | Sequence[str]) -> NDArray[np.float32]:
        """Texts as vectors of length 1.

        Returns:
            ``[dimension]`` for one text, ``[n, dimension]`` for a list; float32.

        Raises:
            RequestError: When a text is empty.
            ContextFull: When one is longer than `ctx`.
        """
        if isinstance(texts, str):
            vector: NDArray[np.float32] = self._engine.embed([texts])[0]
            return vector
        return self._engine.embed(list(texts))

    def tokenize(self, text: str | bytes, *, special: bool = True) -> list[int]:
        """The ids of a text's tokens.

        Args:
            text: The text; control tokens are never made of it.
            special: Whether the tokens that begin and end texts come along, where the model has
                them; as ``bise tokenize``.
        """
        data = text.encode() if isinstance(text, str) else bytes(text)
        return self._engine.tokenize(data, special)

    def detokenize(self, tokens: Iterable[int]) -> str:
        """The text of tokens.

        Raises:
            RequestError: When one is not in the vocabulary.
        """
        return self._engine.detokenize(list(tokens))

    @property
    def name(self) -> str:
        """What the file calls the model."""
        return self._engine.name

    @property
    def fingerprint(self) -> str:
        """Tells the model, with its adapters, from others: the same on every machine."""
        return self._engine.fingerprint

    @property
    def ctx(self) -> int:
        """Tokens that fit in a text, prompt and answer together."""
        return self._engine.ctx

    @property
    def vocabulary_size(self) -> int:
        """Columns of `logits`."""
        return self._engine.vocabulary_size

    @property
    def dimension(self) -> int:
        """Values of an embedding."""
        return self._engine.dimension

    @property
    def end_tokens(self) -> list[int]:
        """The ids of tokens that end a text."""
        return self._engine.end_tokens

    def close(self) -> None:
        """Gives up what is being computed, and the memory. A model that is closed is of no use."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        path = "the built-in model" if self._path is None else repr(self._path)
        return f"<bise.Model {path}{', closed' if self._engine.closed else ''}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a Model cannot be pickled: hand its path to the other process, and open it there"
        )

    def _begin(self, prompt: Prompt, asked: Mapping[str, Any]) -> _bise.Answer:
        row = row_of(prompt, asked)
        return self._engine.submit(row, grammar_of(asked), bool(asked.get("ignore_eos")))

    def _ids(self, given: str | Sequence[int] | NDArray[Any]) -> list[int]:
        if isinstance(given, str):
            return self._engine.prompt_tokens(given.encode())
        return [int(token) for token in given]


class Stream(Iterator[Piece]):
    """The pieces of a text, as they come. Who lets go of it gives the text up.

    Attributes:
        result: All of the text, when its pieces have come; None before.
    """

    def __init__(self, answer: _bise.Answer, asked: Mapping[str, Any]) -> None:
        self._answer: _bise.Answer | None = answer
        self._asked = asked
        self.result: Text | None = None

    def __next__(self) -> Piece:
        if self._answer is None:
            raise StopIteration
        piece = self._answer.next()
        if piece is None:
            answer, self._answer = self._answer, None
            self.result = parse(Text._of(answer.whole()), self._asked)
            raise StopIteration
        return Piece(*piece)

    def close(self) -> None:
        """Gives the text up."""
        self._answer = None


def _results(
    batch: _bise.Batch, rows: Iterable[Row], asked: Mapping[str, Any]
) -> Iterator[Result]:
    ids: dict[int, Any] = {}
    problems: dict[int, Exception] = {}
    numbered = enumerate(rows)
    left = True
    while True:
        while left and batch.has_room():
            number, row = next(numbered, (None, None))
            if number is None:
                left = False
                break
            ids[number] = row.get("id") if isinstance(row, Mapping) else None
            try:
                written = row_of(row, asked)
            except RequestError as problem:
                # Its turn comes with those of the others.
                problems[number], written = problem, b"null"
            batch.push(number, written)
        answered = batch.next()
        if answered is not None:
            number, text, error = answered
            yield _result(number, ids.pop(number), text, problems.pop(number, error), asked)
        elif not left:
            return


def _result(
    number: int,
    id: Any,
    written: Written | None,
    error: Exception | None,
    asked: Mapping[str, Any],
) -> Result:
    if written is None:
        return Result(number, id, None, error)
    try:
        return Result(number, id, parse(Text._of(written), asked), None)
    except ValueError as problem:
        return Result(number, id, None, problem)


def adapters_of(lora: Any) -> list[str]:
    """Adapters as the program has them: FILE:SCALE."""
    if lora is None:
        return []
    if isinstance(lora, (str, os.PathLike)):
        return [f"{os.fspath(lora)}:1"]
    if isinstance(lora, tuple) and len(lora) == 2 and isinstance(lora[1], (int, float)):
        return [f"{os.fspath(lora[0])}:{lora[1]}"]
    return [adapter for one in lora for adapter in adapters_of(one)]


def tell(notes: list[str]) -> None:
    """Warns of what should be known."""
    for note in notes:
        warnings.warn(note, BiseWarning, stacklevel=3)
