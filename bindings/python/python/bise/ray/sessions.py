"""Sessions of requests that name none: a middleware for Ray Serve's proxies.

With RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=bise.ray.sessions:middlewares in the environment of
each node's `ray start`, a chat without the header x-session-id gets one: made of what its request
says of the user, or else of the conversation's beginning, which its later turns repeat.
"""

import hashlib
import json
import os
from typing import Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The header, as Ray Serve is told of it.
HEADER = os.environ.get("RAY_SERVE_SESSION_ID_HEADER_KEY", "x-session-id").lower()
# Paths whose requests repeat a conversation.
CHATS = ("/chat/completions", "/v1/messages", "/api/chat")
# Longer bodies are not read here.
MOST = 1 << 20


def middlewares() -> list[Middleware]:
    """What Ray Serve's proxies put around themselves."""
    return [Middleware(Sessions)]


class Sessions:
    """Adds the header to requests."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_asked(scope):
            body, receive = await read(receive)
            session = session_of(body) if len(body) <= MOST else None
            if session is not None:
                header = (HEADER.encode(), session.encode())
                scope = {**scope, "headers": [*scope["headers"], header]}
        await self._app(scope, receive, send)

    def _is_asked(self, scope: Scope) -> bool:
        named = {name.decode("latin-1").replace("_", "-") for name, _ in scope["headers"]}
        given = HEADER.replace("_", "-") in named
        return scope["method"] == "POST" and scope["path"].rstrip("/").endswith(CHATS) and not given


async def read(receive: Receive) -> tuple[bytes, Receive]:
    """The beginning of a body, up to its end or to more than `MOST`; and a `receive` that gives all
    of it again."""
    taken: list[Message] = []
    length = 0
    while length <= MOST:
        message = await receive()
        taken.append(message)
        length += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    body = b"".join(message.get("body", b"") for message in taken)
    again = iter(taken)

    async def receive_again() -> Message:
        message = next(again, None)
        return await receive() if message is None else message

    return body, receive_again


def session_of(body: bytes) -> str | None:
    """A session's id: a hash, of which nothing of the request can be read."""
    try:
        request = json.loads(body)
        said = beginning(request)
    except (ValueError, TypeError, AttributeError, KeyError):
        # The server says what is wrong with it.
        return None
    return said and hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


def beginning(request: dict[str, Any]) -> Any:
    """What all requests of a session have in common, or None."""
    user = request.get("prompt_cache_key") or request.get("user")
    user = user or (request.get("metadata") or {}).get("user_id")
    if user:
        return ["user", user]
    said = []
    for message in request["messages"]:
        said.append([message["role"], message.get("content")])
        if message["role"] == "user":
            return ["messages", request.get("system"), said]
    return None
