"""Makes a model that chats and calls tools of the tiny one that tells stories.

usage: make_model.py fixtures/demo.gguf OUT.gguf

Its last tokens become the control tokens of Mistral's format v7. It has not learned what they
mean: clients see the forms of answers, and no sense.
"""

import struct
import sys

CONTROL = [
    "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]", "[TOOL_RESULTS]", "[TOOL_CONTENT]", "[/TOOL_RESULTS]", "[SUFFIX]", "[PREFIX]", "[MIDDLE]",
]
STRING, ARRAY = 8, 9
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
ALIGNMENT = 32


def text(data, at):
    """A text and where it ends."""
    (length,) = struct.unpack_from("<Q", data, at)
    return data[at + 8:at + 8 + length].decode(), at + 8 + length


def skip(data, at, kind):
    """Where a value ends."""
    if kind == STRING:
        return text(data, at)[1]
    if kind != ARRAY:
        return at + SIZES[kind]
    kind, length = struct.unpack_from("<IQ", data, at)
    at += 12
    for _ in range(length):
        at = skip(data, at, kind)
    return at


def packed(value):
    """A text as GGUF has it."""
    value = value.encode()
    return struct.pack("<Q", len(value)) + value


def entry(key, value):
    """A text under a key."""
    return packed(key) + struct.pack("<I", STRING) + packed(value)


def tokens(data, at):
    """The list of tokens, with the control tokens at its end."""
    _, length = struct.unpack_from("<IQ", data, at)
    at += 12
    pieces = []
    for _ in range(length):
        piece, at = text(data, at)
        pieces.append(piece)
    pieces[-len(CONTROL):] = CONTROL
    return struct.pack("<IQ", STRING, length) + b"".join(map(packed, pieces))


def types(data, at, end):
    """The list of tokens' types: those at its end are control tokens."""
    value = bytearray(data[at:end])
    value[-4 * len(CONTROL):] = struct.pack("<i", 3) * len(CONTROL)
    return bytes(value)


def main(source, target):
    with open(source, "rb") as file:
        data = file.read()
    magic, version, tensors, count = struct.unpack_from("<4sIQQ", data, 0)
    assert magic == b"GGUF", f"{source} is no GGUF file"
    at = 24
    entries = [entry("tokenizer.mistral.version", "v7")]
    for _ in range(count):
        start = at
        key, at = text(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        value, at = at + 4, skip(data, at + 4, kind)
        if key == "tokenizer.ggml.tokens":
            entries.append(data[start:value] + tokens(data, value))
        elif key == "tokenizer.ggml.token_type":
            entries.append(data[start:value] + types(data, value, at))
        elif not key.startswith(("tokenizer.rules.", "bise.")):
            # The rules name tokens that are others now, and the hashes are of another file.
            entries.append(data[start:at])
    start = at
    for _ in range(tensors):
        _, at = text(data, at)
        (dimensions,) = struct.unpack_from("<I", data, at)
        at += 4 + 8 * dimensions + 4 + 8
    head = struct.pack("<4sIQQ", magic, version, tensors, len(entries)) + b"".join(entries) + data[start:at]
    with open(target, "wb") as file:
        file.write(head + bytes(-len(head) % ALIGNMENT))
        file.write(data[at + -at % ALIGNMENT:])


if __name__ == "__main__":
    main(*sys.argv[1:])
