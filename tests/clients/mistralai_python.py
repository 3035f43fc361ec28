"""The Python package mistralai."""

from mistralai.client import Mistral
from mistralai.client.errors import SDKError
from pydantic import BaseModel, Field
from steps import MESSAGES, TOOL, URL, run

client = Mistral(api_key="none", server_url=URL, timeout_ms=60_000)
model = client.models.list().data[0].id
ask = {"model": model, "messages": MESSAGES, "max_tokens": 30, "random_seed": 5}


def can_chat():
    answer = client.chat.complete(**ask)
    (choice,) = answer.choices
    assert choice.finish_reason == "length" and choice.message.content
    assert answer.usage.completion_tokens == 30
    assert client.chat.complete(**ask).choices[0].message == choice.message


def can_stream():
    plain = client.chat.complete(**ask).choices[0].message.content
    chunks = [event.data for event in client.chat.stream(**ask)]
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(text for text in texts if text) == plain
    assert chunks[-1].usage.completion_tokens == 30


async def can_stream_asynchronously():
    stream = await client.chat.stream_async(**ask)
    assert len([event async for event in stream]) > 10


def can_call_tools():
    more = {**ask, "tools": [TOOL], "tool_choice": "any", "parallel_tool_calls": False, "max_tokens": 400}
    message = client.chat.complete(**more).choices[0].message
    (call,) = message.tool_calls
    assert call.function.name == "weather"
    result = {"role": "tool", "name": "weather", "tool_call_id": call.id, "content": "sunny"}
    answer = client.chat.complete(**{**ask, "messages": [*MESSAGES, message, result]}, tools=[TOOL])
    assert answer.choices[0].message.content is not None


class Fox(BaseModel):
    name: str = Field(max_length=8)
    red: bool


def can_parse():
    answer = client.chat.parse(**{**ask, "max_tokens": 300}, response_format=Fox)
    assert isinstance(answer.choices[0].message.parsed, Fox)


gap = {"model": model, "prompt": "Once upon", "suffix": "The end.", "max_tokens": 30, "random_seed": 5}


def can_fill_gaps():
    answer = client.fim.complete(**gap)
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 30
    chunks = [event.data for event in client.fim.stream(**gap)]
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(text for text in texts if text) == answer.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == 30


def can_embed():
    answer = client.embeddings.create(model=model, inputs=["Once", "upon"])
    assert [len(item.embedding) for item in answer.data] == [256, 256]


def refuses(status, words, call, **arguments):
    try:
        call(**arguments)
    except SDKError as error:
        assert error.status_code == status and words in error.body, error
    else:
        raise AssertionError(f"{arguments} was taken")


def can_read_errors():
    refuses(404, "some/other", client.chat.complete, **{**ask, "model": "some/other"})
    refuses(400, "top_p", client.chat.complete, **ask, top_p=2)
    refuses(400, "min_tokens", client.fim.complete, **gap, min_tokens=3)


run(globals())
