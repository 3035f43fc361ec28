"""The Python package openai."""

import math

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, Field
from steps import ENDLESS, MESSAGES, TOOL, URL, run

client = OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0, timeout=60)
model = client.models.list().data[0].id
ask = {"model": model, "messages": MESSAGES, "max_tokens": 30, "seed": 5}


def can_list_models():
    assert client.models.retrieve(model).id == model


def can_chat():
    answer = client.chat.completions.create(**ask, n=2, stop=["never said"])
    assert [choice.finish_reason for choice in answer.choices] == ["length", "length"]
    assert answer.choices[0].message.role == "assistant" and answer.choices[0].message.content
    assert answer.usage.completion_tokens == 60
    again = client.chat.completions.create(**ask)
    assert again.choices[0].message == answer.choices[0].message
    assert again.usage.prompt_tokens_details.cached_tokens > 0


def can_stream():
    plain = client.chat.completions.create(**ask).choices[0].message.content
    chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == plain
    assert chunks[-1].usage.completion_tokens == 30 and not chunks[-1].choices
    # The helper takes an answer that was cut off for a fault.
    with client.chat.completions.stream(**{**ask, "max_tokens": 400}, stop=["."], logprobs=True) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion().choices[0]
    assert final.message.role == "assistant" and final.message.content == plain.split(".")[0]
    assert len(final.logprobs.content) > 5


async def can_stream_asynchronously():
    async with AsyncOpenAI(base_url=f"{URL}/v1", api_key="none") as client:
        stream = await client.chat.completions.create(**ask, stream=True)
        assert len([chunk async for chunk in stream]) > 10


def can_call_tools():
    more = {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 400}
    message = client.chat.completions.create(**{**ask, **more}).choices[0].message
    (call,) = message.tool_calls
    assert call.function.name == "weather" and '"city"' in call.function.arguments
    with client.chat.completions.stream(**{**ask, **more}) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion().choices[0]
    assert final.finish_reason == "tool_calls"
    assert final.message.tool_calls[0].function.arguments == call.function.arguments
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    answer = client.chat.completions.create(**{**ask, "messages": [*MESSAGES, message, result]}, tools=[TOOL])
    assert answer.choices[0].message.content


class Fox(BaseModel):
    name: str = Field(max_length=8)
    age: int = Field(ge=0, le=20)
    red: bool


def can_parse():
    parsed = client.chat.completions.parse(**{**ask, "max_tokens": 400}, response_format=Fox)
    assert isinstance(parsed.choices[0].message.parsed, Fox)
    try:
        client.chat.completions.parse(**{**ask, "max_tokens": 2}, response_format=Fox)
        raise AssertionError("two tokens are no fox")
    except openai.LengthFinishReasonError:
        pass


def can_read_probabilities():
    answer = client.chat.completions.create(**{**ask, "temperature": 0}, logprobs=True, top_logprobs=3)
    for token in answer.choices[0].logprobs.content:
        assert token.top_logprobs[0].token == token.token and len(token.top_logprobs) == 3
        assert sum(math.exp(other.logprob) for other in token.top_logprobs) <= 1.0001


def can_complete_texts():
    answer = client.completions.create(model=model, prompt=["Once", "The fox"], max_tokens=8, echo=True, seed=1)
    assert [choice.text[:3] for choice in answer.choices] == ["Onc", "The"]
    chunks = list(client.completions.create(model=model, prompt="Once", max_tokens=8, stream=True))
    assert chunks[-1].choices[0].finish_reason == "length"


def can_embed():
    # As base64, and as a list.
    both = [client.embeddings.create(model=model, input=["Once", "upon"], **more) for more in ({}, {"encoding_format": "float"})]
    for one, other in zip(*[[item.embedding for item in answer.data] for answer in both]):
        assert max(abs(x - y) for x, y in zip(one, other)) < 1e-6 and len(one) == 256


def refused(kind, **more):
    """The error of a request."""
    try:
        client.chat.completions.create(**{**ask, **more})
    except kind as error:
        return error
    raise AssertionError(f"{more} was answered")


def can_read_errors():
    assert refused(openai.NotFoundError, model="gpt-9").code == "model_not_found"
    error = refused(openai.BadRequestError, temperature=-1)
    assert error.param == "temperature" and "found -1" in error.message
    error = refused(openai.BadRequestError, messages=[{"role": "robot", "content": "a"}])
    assert error.param == "messages[0].role"
    error = refused(openai.BadRequestError, tools=[TOOL], tool_choice={"type": "function", "function": {"name": "other"}})
    assert error.param == "tool_choice"
    try:
        client.responses.create(model=model, input="a")
        raise AssertionError("there are no responses")
    except openai.NotFoundError as error:
        assert "/v1/chat/completions" in error.message


def can_go_away():
    stream = client.chat.completions.create(**{**ask, "max_tokens": ENDLESS["max_tokens"]}, stream=True, extra_body={"ignore_eos": True})
    with stream:
        for _, chunk in zip(range(20), stream):
            assert chunk.choices
    try:
        client.with_options(timeout=0.5).chat.completions.create(**{**ask, "max_tokens": ENDLESS["max_tokens"]}, extra_body={"ignore_eos": True})
        raise AssertionError("that was to take minutes")
    except openai.APITimeoutError:
        pass
    can_chat()


run(globals())
