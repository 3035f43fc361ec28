"""A process of `bise serve` that belongs to this one."""

import asyncio
import collections
import os
import signal
import sys
from collections.abc import Sequence

TOLD = "listening at "
READY = "ready"
# Bytes of a line of its log at most: a request's path is in it.
LINE = 1 << 20


class Server:
    """A server on a port of its own, which ends when this process does."""

    def __init__(self, process: asyncio.subprocess.Process):
        self._process = process
        self._last: collections.deque[str] = collections.deque(maxlen=20)
        self._log = asyncio.create_task(self._pass_log_on())
        self.address = ""

    @classmethod
    async def start(cls, program: str, arguments: Sequence[str]) -> "Server":
        """Starts `program serve` with these arguments, and waits until its model is there.

        Raises RuntimeError, with what the program said, when it ends before.
        """
        process = await asyncio.create_subprocess_exec(
            program,
            "serve",
            *arguments,
            *("--host", "127.0.0.1", "--port", "0", "--exit-with-parent"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE,
            # Ctrl-C at a terminal is for Ray, which lets answers end before it ends replicas.
            start_new_session=True,
        )
        server = cls(process)
        try:
            server.address = (await server._said(TOLD)).removeprefix(TOLD)
            await server._said(READY)
        except BaseException:
            await server.stop(grace=0)
            raise
        return server

    async def _said(self, beginning: str) -> str:
        assert self._process.stdout
        line = (await self._process.stdout.readline()).decode().strip()
        if not line:
            code = await self._process.wait()
            await self._log
            said = "\n".join(self._last) or "nothing"
            raise RuntimeError(f"bise serve ended with {named(code)} before it was ready: {said}")
        if not line.startswith(beginning):
            raise RuntimeError(f"bise serve said {line!r}, where {beginning!r} was expected")
        return line

    async def _pass_log_on(self) -> None:
        """Lines of standard error to that of this process; the last ones are kept."""
        assert self._process.stderr
        while line := await self._process.stderr.readline():
            text = line.decode(errors="replace").rstrip()
            self._last.append(text)
            # Ray Serve's checks, every few seconds, tell nobody anything.
            if '"/health"' in text:
                continue
            print(text, file=sys.stderr, flush=True)

    @property
    def pid(self) -> int:
        """The process' id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """How the process ended; None while it runs."""
        return self._process.returncode

    async def ended(self) -> int:
        """Waits for the end of the process."""
        return await self._process.wait()

    async def stop(self, grace: float) -> None:
        """Ends the process: answers may go on for `grace` seconds."""
        if self.code is None:
            self._signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), grace + 1)
            except asyncio.TimeoutError:
                self._signal(signal.SIGKILL)
                await self._process.wait()
        await self._log

    def _signal(self, which: signal.Signals) -> None:
        try:
            os.kill(self._process.pid, which)
        except ProcessLookupError:
            pass


def named(code: int) -> str:
    """A code of exit in words."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"
