"""Runs Mistral and Mixtral models on the CPU, and quantizes their weights.

    import bise

    model = bise.Model.open()
    print(model.generate("Once upon a time", max_tokens=40, temperature=0))
"""

from __future__ import annotations

from ._bise import VERSION as __version__
from ._chat import Chat
from ._model import Model, Stream
from ._quantize import quantize
from ._request import Asked, Constraints, Options
from ._text import Message, Piece, Result, Text, Token
from .errors import (
    BiseError,
    BiseWarning,
    ContextFull,
    ModelError,
    QuantizeError,
    RequestError,
)

__all__ = [
    "Asked",
    "BiseError",
    "BiseWarning",
    "Chat",
    "Constraints",
    "ContextFull",
    "Message",
    "Model",
    "ModelError",
    "Options",
    "Piece",
    "QuantizeError",
    "RequestError",
    "Result",
    "Stream",
    "Text",
    "Token",
    "__version__",
    "main",
    "quantize",
]


def main(argv: list[str] | None = None) -> int:
    """Runs the program ``bise``; see `bise.__main__.main`."""
    from .__main__ import main

    return main(argv)
