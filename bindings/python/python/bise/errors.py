"""What goes wrong, by kind. All but `KeyboardInterrupt` are `BiseError`."""

from __future__ import annotations


class BiseError(Exception):
    """Anything that goes wrong.

    Attributes:
        message: What was found, what was expected, and the way out.
        param: The argument or field that is wrong, such as ``"top_k"``; None where there is none.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def __reduce__(self) -> tuple[type[BiseError], tuple[str, str | None]]:
        return type(self), (self.message, self.param)


class ModelError(BiseError):
    """A model is not there, is damaged, or does not fit in memory."""


class RequestError(BiseError, ValueError):
    """An argument, a prompt or a row is not what is expected."""


class ContextFull(RequestError):
    """A prompt leaves no room for a text: open the model with a larger `ctx`, or shorten it."""


class QuantizeError(BiseError):
    """A file cannot be quantized, or its result not be written."""


class BiseWarning(UserWarning):
    """What should be known of a file that is used all the same."""
