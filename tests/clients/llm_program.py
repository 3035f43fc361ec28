"""The program llm."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from urllib.request import urlopen

from steps import URL, run

with urlopen(f"{URL}/v1/models") as answer:
    served = json.dumps(json.load(answer)["data"][0]["id"])
home = tempfile.TemporaryDirectory()
Path(home.name, "extra-openai-models.yaml").write_text(
    f"- model_id: bise\n  model_name: {served}\n  api_base: {URL}/v1\n  supports_tools: true\n  supports_schema: true\n"
    f"- model_id: text\n  model_name: {served}\n  api_base: {URL}/v1\n  completion: true\n"
)
Path(home.name, "tools.py").write_text('def weather(city: str) -> str:\n    "Tells the weather."\n    return "sunny"\n')


def llm(*arguments, fails=False):
    environment = {**os.environ, "LLM_USER_PATH": home.name}
    done = subprocess.run(["llm", *arguments], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode != 0) == fails, done
    return done.stderr if fails else done.stdout


def can_chat():
    more = ["-m", "bise", "-o", "max_tokens", "20", "-o", "seed", "5", "Tell me of the fox."]
    assert llm("prompt", *more).strip() == llm("prompt", "--no-stream", *more).strip() != ""
    assert llm("prompt", "-c", "-m", "bise", "-o", "max_tokens", "20", "Go on.").strip()


def can_complete_texts():
    assert llm("prompt", "-m", "text", "-o", "max_tokens", "8", "Once upon a time").strip()


def can_follow_a_schema():
    fox = {"type": "object", "properties": {"red": {"type": "boolean"}}, "required": ["red"], "additionalProperties": False}
    answer = llm("prompt", "-m", "bise", "--schema", json.dumps(fox), "-o", "max_tokens", "100", "A fox.")
    assert isinstance(json.loads(answer)["red"], bool)


def can_show_tools():
    tools = str(Path(home.name, "tools.py"))
    assert llm("prompt", "-m", "bise", "--functions", tools, "-o", "max_tokens", "20", "Tell me of the fox.").strip()


def can_read_errors():
    assert "logit_bias" in llm("prompt", "-m", "bise", "-o", "logit_bias", '{"99999": 5}', "a", fails=True)


run(globals())
