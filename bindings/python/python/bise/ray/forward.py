"""Requests to a server of this machine, and its answers, as they are."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from yarl import URL

from bise.ray import errors

# Headers that belong to a connection, and not to what is sent through it (RFC 9110, 7.6.1).
OF_CONNECTION = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
# What the HTTP client would add to a request.
ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

GONE = "the model's server has ended, and another one is being started: try again"
# Seconds in which the end of a server is noticed.
NOTICED = 0.1


class Forward:
    """Passes requests on to the server at what `address` gives, which is asked for each of them and
    may wait until there is one; bodies of up to `max_body` bytes."""

    def __init__(self, address: Callable[[], Awaitable[str]], max_body: int):
        self._address = address
        self._max_body = max_body
        # Each request has a connection of its own, which ends with it: the server is on this
        # machine, and knows by the connection's end that a client has left.
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.close()

    async def health(self) -> None:
        """Raises an error if the server does not say that it is well."""
        address, timeout = await self._address(), aiohttp.ClientTimeout(total=5)
        async with self._client.get(address + "/health", timeout=timeout) as answer:
            if answer.status != 200:
                raise RuntimeError(f"/health answers {answer.status}")

    async def __call__(self, request: Request) -> Response:
        path = path_of(request)
        body = await self._body(request)
        if body is None:
            message = f"the body has more than {self._max_body} bytes, which max_body allows"
            return errors.response(path, 413, message)
        try:
            answer = await self._answer(path, request, body)
        except aiohttp.ClientConnectorError:
            return errors.response(path, 503, GONE)
        except (aiohttp.ClientError, asyncio.TimeoutError):
            return errors.response(path, 502, GONE)
        passed = StreamingResponse(pieces(path, answer), answer.status)
        # The date is Ray Serve's.
        passed.raw_headers = [
            (name.lower(), value)
            for name, value in answer.raw_headers
            if name.decode("latin-1").lower() not in OF_CONNECTION | {"date"}
        ]
        return passed

    async def _body(self, request: Request) -> bytes | None:
        """The whole body, or None if it is too long."""
        pieces, length = [], 0
        async for piece in request.stream():
            pieces.append(piece)
            length += len(piece)
            if length > self._max_body:
                return None
        return b"".join(pieces)

    async def _answer(self, path: str, request: Request, body: bytes) -> aiohttp.ClientResponse:
        """The beginning of the server's answer."""

        async def ask() -> aiohttp.ClientResponse:
            query = request.scope["query_string"].decode("latin-1")
            url = await self._address() + path + (f"?{query}" if query else "")
            return await self._client.request(
                request.method,
                URL(url, encoded=True),
                headers=kept(request.headers, but={"content-length"}),
                skip_auto_headers=ADDED,
                data=body or None,
                allow_redirects=False,
            )

        try:
            return await ask()
        except aiohttp.ClientConnectorError:
            # Nobody was there, so nothing was begun.
            await asyncio.sleep(NOTICED)
            return await ask()


def path_of(request: Request) -> str:
    """The path that is asked for, as the server knows it: without the application's prefix."""
    scope = request.scope
    path = (scope.get("raw_path") or scope["path"].encode()).split(b"?")[0].decode("latin-1")
    return path.removeprefix(scope.get("root_path", "")) or "/"


def kept(headers: Headers, but: set[str]) -> list[tuple[str, str]]:
    """Those headers of a request that are passed on."""
    named = {name.strip().lower() for name in headers.get("connection", "").split(",")}
    left_out = OF_CONNECTION | named | but
    return [(name, value) for name, value in headers.items() if name not in left_out]


async def pieces(path: str, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The bytes of an answer as they come. Who leaves closes the connection to the server."""
    try:
        async for piece in answer.content.iter_any():
            yield piece
    except aiohttp.ClientError as problem:
        told = errors.in_stream(path, answer.headers.get("content-type", ""), GONE)
        if told is None:
            # The client sees that bytes are missing.
            raise ConnectionError(GONE) from problem
        yield told
    finally:
        answer.close()
