"""What clients are told when a server is lost, without a cluster."""

import asyncio
import json
import socket

import httpx
import pytest
from starlette.requests import Request

from bise.ray.forward import GONE, Forward, path_of

FORMS = {
    "/v1/chat/completions": lambda told: told["error"]["type"] == "server_error",
    "/api/chat": lambda told: told == {"error": GONE},
    "/v1/messages": lambda told: told["type"] == "error" and told["error"]["message"] == GONE,
}


def ask(path: str, address: str, max_body: int = 100, content: bytes = b"{}") -> httpx.Response:
    """The answer that a client of `Forward` gets."""

    async def run():
        async def where() -> str:
            return address

        forward = Forward(where, max_body)

        async def app(scope, receive, send):
            await (await forward(Request(scope, receive)))(scope, receive, send)

        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            try:
                return await client.post(path, content=content)
            finally:
                await forward.close()

    return asyncio.run(run())


@pytest.fixture
def breaks():
    """An address at which a server says the given bytes, and is gone."""
    listening = socket.create_server(("127.0.0.1", 0))

    def says(answer: bytes) -> str:
        async def serve():
            connection, _ = await asyncio.to_thread(listening.accept)
            with connection:
                connection.recv(10_000)
                connection.sendall(answer)

        import threading

        threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield says
    listening.close()


@pytest.mark.parametrize("path", FORMS)
def test_nobody_listens(path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    answer = ask(path, address)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
    assert FORMS[path](answer.json())


@pytest.mark.parametrize("path", FORMS)
def test_the_end_before_an_answer(path, breaks):
    answer = ask(path, breaks(b""))
    assert answer.status_code == 502
    assert FORMS[path](answer.json())


@pytest.mark.parametrize("path", FORMS)
def test_the_end_in_a_stream(path, breaks):
    kind = "application/x-ndjson" if path == "/api/chat" else "text/event-stream"
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
    piece = b'data: {"half an'
    answer = ask(path, breaks(head.encode() + b"%x\r\n%s\r\n" % (len(piece), piece)))
    assert answer.status_code == 200
    last = answer.text.strip().splitlines()[-1]
    assert FORMS[path](json.loads(last.removeprefix("data: ")))
    assert ("event: error\ndata: " in answer.text) == (path == "/v1/messages")


def test_the_end_in_a_body(breaks):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n"
    with pytest.raises(ConnectionError, match="another one is being started"):
        ask("/v1/models", breaks(head + b'{"half'))


def test_a_body_that_is_too_long():
    answer = ask("/api/chat", "http://127.0.0.1:1", max_body=10, content=b"x" * 11)
    assert answer.status_code == 413 and "10 bytes" in answer.json()["error"]


@pytest.mark.parametrize(
    ("prefix", "raw", "path"),
    [("", b"/v1/a%20b?x=/", "/v1/a%20b"), ("/llm", b"/llm/v1/x", "/v1/x"), ("/llm", b"/llm", "/")],
)
def test_the_path_without_the_prefix(prefix, raw, path):
    scope = {"type": "http", "path": raw.decode(), "raw_path": raw, "root_path": prefix}
    assert path_of(Request(scope)) == path
