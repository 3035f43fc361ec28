"""Errors in the form that the clients of a path know, as `bise serve` writes them."""

import json
from typing import Any

from starlette.responses import Response

# What Anthropic calls an error of a status.
ANTHROPIC = {413: "request_too_large", 503: "overloaded_error"}


def error(path: str, status: int, message: str) -> dict[str, Any]:
    """The body of an error."""
    path = path.removeprefix("/v1")
    if path.startswith("/api/"):
        return {"error": message}
    if path == "/messages" or path.startswith("/messages/"):
        kind = ANTHROPIC.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def response(path: str, status: int, message: str) -> Response:
    """An error in place of an answer."""
    headers = {"retry-after": "1"} if status == 503 else {}
    body = json.dumps(error(path, status, message))
    return Response(body, status, headers, media_type="application/json")


def in_stream(path: str, content_type: str, message: str) -> bytes | None:
    """An error at the end of a stream of this type, after what may be half an event or half a line;
    None where a stream has no place for one."""
    told = error(path, 500, message)
    body = json.dumps(told).encode()
    if content_type.startswith("text/event-stream"):
        name = b"event: error\n" if told.get("type") == "error" else b""
        return b"\n\n" + name + b"data: " + body + b"\n\n"
    if content_type.startswith("application/x-ndjson"):
        return b"\n" + body + b"\n"
    return None
