"""The Python package ollama."""

from ollama import AsyncClient, Client, ResponseError
from pydantic import BaseModel, Field
from steps import MESSAGES, TOOL, URL, run

client = Client(host=URL, timeout=60)
model = client.list().models[0].model
ask = {"model": model, "messages": MESSAGES}
few = {"num_predict": 30, "seed": 5}


def can_look_at_models():
    shown = client.show(model)
    assert shown.modelinfo["general.architecture"] == "llama" and shown.template
    assert {"completion", "tools", "insert"} <= set(shown.capabilities)
    (running,) = client.ps().models
    assert running.model == model and running.size > 0 and running.details.family == "llama"
    assert client.pull(model).status == "success"


def can_chat():
    answer = client.chat(**ask, options=few)
    assert answer.message.role == "assistant" and answer.message.content
    assert (answer.done, answer.done_reason, answer.eval_count) == (True, "length", 30)
    assert answer.total_duration >= answer.eval_duration > 0
    assert client.chat(**ask, options=few).message == answer.message
    assert client.chat(model=model, messages=[]).done_reason == "load"


def can_stream():
    plain = client.chat(**ask, options=few).message.content
    chunks = list(client.chat(**ask, options=few, stream=True))
    assert "".join(chunk.message.content for chunk in chunks) == plain and len(chunks) > 10
    assert chunks[-1].eval_count == 30


async def can_stream_asynchronously():
    stream = await AsyncClient(host=URL).chat(**ask, options=few, stream=True)
    assert len([chunk async for chunk in stream]) > 10


def can_complete_texts():
    answer = client.generate(model=model, prompt="Once upon a time", raw=True, options={**few, "stop": ["."]})
    assert answer.response and "." not in answer.response
    gap = client.generate(model=model, prompt="Once upon", suffix="The end.", options=few)
    assert gap.eval_count == 30
    said = client.generate(model=model, prompt="Who are you?", system="Be brief.", options=few)
    assert said.prompt_eval_count > answer.prompt_eval_count


def tides(city: str, days: int) -> str:
    """Tells the tides."""
    return f"high in {city} for {days} days"


def can_show_tools():
    shown = client.chat(**ask, tools=[TOOL, tides], options=few)
    assert shown.prompt_eval_count > client.chat(**ask, tools=[], options=few).prompt_eval_count
    # What a model that calls tools would have said, and what came of it.
    call = {"function": {"name": "tides", "arguments": {"city": "Rome", "days": 2}}}
    messages = [
        *MESSAGES, {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_name": "tides", "content": tides("Rome", 2)},
    ]
    assert client.chat(model=model, messages=messages, tools=[tides], options=few).message.content


class Fox(BaseModel, extra="forbid"):
    name: str = Field(max_length=8)
    red: bool


def can_parse():
    answer = client.chat(**ask, format=Fox.model_json_schema(), options={**few, "num_predict": 300})
    Fox.model_validate_json(answer.message.content)
    answer = client.generate(model=model, prompt="A fox.", format="json", options=few)
    assert answer.response.startswith("{")


def can_read_probabilities():
    answer = client.chat(**ask, logprobs=True, top_logprobs=2, options={**few, "temperature": 0})
    assert len(answer.logprobs) == 30
    assert all(one.top_logprobs[0].token == one.token for one in answer.logprobs)


def can_embed():
    answer = client.embed(model=model, input=["Once", "upon"])
    assert [len(vector) for vector in answer.embeddings] == [256, 256] and answer.prompt_eval_count > 2
    assert client.embeddings(model=model, prompt="upon").embedding == answer.embeddings[1]


def refuses(status, words, call, **arguments):
    try:
        call(**arguments)
    except ResponseError as error:
        assert error.status_code == status and words in error.error, error
    else:
        raise AssertionError(f"{arguments} was taken")


def can_read_errors():
    refuses(404, "not found", client.chat, model="some/other", messages=MESSAGES)
    refuses(400, "options.top_p", client.chat, **ask, options={"top_p": 2})
    refuses(400, "temprature", client.generate, model=model, prompt="a", options={"temprature": 1})
    refuses(400, "images", client.chat, model=model, messages=[{**MESSAGES[0], "images": ["aGk="]}])
    refuses(501, "start bise serve", client.delete, model=model)


def can_go_away():
    for i, _ in enumerate(client.chat(**ask, options={"num_predict": 500_000, "temperature": 2}, stream=True)):
        if i == 5:
            break
    assert client.chat(**ask, options=few).done


run(globals())
