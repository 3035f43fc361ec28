"""Sessions that are made of requests, without a cluster."""

import asyncio
import json

import pytest

from bise.ray import sessions


def passed_on(body: bytes, path="/v1/chat/completions", headers=(), pieces=3):
    """The session that the application behind the middleware is told, and the body it reads."""
    size = len(body) // pieces + 1
    parts = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
    messages = [{"type": "http.request", "body": p, "more_body": True} for p in parts]
    messages[-1]["more_body"] = False
    coming = iter([*messages, {"type": "http.disconnect"}])
    found = []

    async def receive():
        return next(coming)

    async def app(scope, receive, send):
        named = [value for name, value in scope["headers"] if name == b"x-session-id"]
        read = b""
        while (message := await receive())["type"] == "http.request":
            read += message["body"]
        found.append((named, read))

    scope = {"type": "http", "method": "POST", "path": path, "headers": list(headers)}
    asyncio.run(sessions.Sessions(app)(scope, receive, None))
    named, read = found[0]
    assert read == body, "the body is passed on as it is"
    assert len(named) <= 1
    return named[0].decode() if named else None


def chat(*said, **more):
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(said)]
    return json.dumps({"messages": messages, **more}).encode()


def test_turns_of_a_conversation_are_a_session():
    first = passed_on(chat("hello"))
    assert first and "hello" not in first
    assert passed_on(chat("hello", "hi", "and?")) == first
    assert passed_on(chat("good day")) != first
    assert passed_on(chat("hello"), path="/v1/messages/") == first
    assert passed_on(chat("hello", system="be brief"), path="/v1/messages") != first


@pytest.mark.parametrize("key", ["user", "prompt_cache_key"])
def test_a_user_is_a_session(key):
    assert passed_on(chat("a", **{key: "u1"})) == passed_on(chat("b", **{key: "u1"}))
    assert passed_on(chat("a", **{key: "u1"})) != passed_on(chat("a", **{key: "u2"}))


def test_anthropics_user_is_a_session():
    one, other = ({"user_id": "u1"}, {"user_id": "u2"})
    assert passed_on(chat("a", metadata=one)) == passed_on(chat("b", metadata=one))
    assert passed_on(chat("a", metadata=one)) != passed_on(chat("a", metadata=other))


@pytest.mark.parametrize("name", [b"x-session-id", b"x_session_id"])
def test_a_session_that_is_named_stays(name):
    found = passed_on(chat("a"), headers=[(name, b"mine")])
    assert found == ("mine" if name == b"x-session-id" else None)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"5", b"\xff", b'{"messages": 5}', b'{"messages": [5]}', b'{"messages": []}'],
)
def test_mistakes_are_left_to_the_server(body):
    assert passed_on(body) is None


def test_long_bodies_and_other_paths():
    assert passed_on(chat("a" * (sessions.MOST + 1)), pieces=5) is None
    assert passed_on(chat("a"), path="/v1/completions") is None
