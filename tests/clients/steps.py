"""What all clients' scripts do: `run(globals())` runs each function whose name begins with `can_`."""

import asyncio
import inspect
import sys
import time

URL = sys.argv[1].rstrip("/") if len(sys.argv) > 1 else ""
MESSAGES = [{"role": "user", "content": "Tell me of the fox."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
# An answer that takes minutes: who goes away must be noticed, as the server writes one at a time.
ENDLESS = {"ignore_eos": True, "max_tokens": 500_000}


def run(names):
    """Runs all steps of a script."""
    script = names["__file__"].rsplit("/", 1)[-1]
    for name, step in list(names.items()):
        if name.startswith("can_"):
            start = time.monotonic()
            asyncio.run(step()) if inspect.iscoroutinefunction(step) else step()
            print(f"{script}: {name} ({time.monotonic() - start:.1f} s)", flush=True)
