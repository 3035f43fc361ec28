"""The program `bise` in this process: ``python -m bise``, and the script ``bise``."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from . import _bise


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program ``bise``.

    It reads and writes the process's own standard streams. While it runs on the main thread it
    hears the signals that ask it to end, as the program does, and may end the process.

    Args:
        argv: What follows ``bise`` on a command line; that of this process when None.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    with _signals():
        return _bise.main(["bise", *words])


@contextmanager
def _signals() -> Iterator[None]:
    """Lets the program hear of signals, but for those that are to be ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    before = {number: signal.getsignal(number) for number in numbers}
    heard = [number for number in numbers if before[number] not in (signal.SIG_IGN, None)]
    for number in heard:
        signal.signal(number, lambda number, _frame: _bise.signal(number))
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


if __name__ == "__main__":
    sys.exit(main())
