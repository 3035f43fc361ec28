"""The Python package anthropic."""

from typing import Literal

import anthropic
from anthropic import Anthropic, AsyncAnthropic
from pydantic import BaseModel
from steps import MESSAGES, TOOL, URL, run

client = Anthropic(base_url=URL, api_key="none", max_retries=0, timeout=60)
model = client.models.list().data[0].id
ask = {"model": model, "max_tokens": 30, "messages": MESSAGES, "extra_body": {"temperature": 0}}
tool = {
    "name": "weather", "description": "Tells the weather.", "input_schema": TOOL["function"]["parameters"],
}


def can_chat():
    answer = client.messages.create(**ask, system=[{"type": "text", "text": "Be brief."}])
    assert (answer.type, answer.role, answer.model) == ("message", "assistant", model)
    assert answer.stop_reason == "max_tokens" and answer.usage.output_tokens == 30
    assert answer.content[0].type == "text" and answer.content[0].text
    count = client.messages.count_tokens(model=model, messages=MESSAGES, system="Be brief.")
    assert count.input_tokens == answer.usage.input_tokens + answer.usage.cache_read_input_tokens
    again = client.messages.create(**ask, system="Be brief.")
    assert again.content == answer.content and again.usage.cache_read_input_tokens > 0


def can_stream():
    plain = client.messages.create(**ask)
    with client.messages.stream(**ask) as stream:
        assert "".join(stream.text_stream) == plain.content[0].text
        final = stream.get_final_message()
    assert (final.content[0].text, final.stop_reason) == (plain.content[0].text, plain.stop_reason)
    assert final.usage.output_tokens == 30
    names = [event.type for event in client.messages.create(**ask, stream=True)]
    assert names[:2] == ["message_start", "content_block_start"] and names[-2:] == ["message_delta", "message_stop"]


async def can_stream_asynchronously():
    async with AsyncAnthropic(base_url=URL, api_key="none") as client:
        async with client.messages.stream(**ask) as stream:
            assert [text async for text in stream.text_stream]


def can_stop():
    plain = client.messages.create(**ask).content[0].text
    answer = client.messages.create(**ask, stop_sequences=[plain[10:14]])
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", plain[10:14])


def can_call_tools():
    choice = {"type": "any", "disable_parallel_tool_use": True}
    more = {**ask, "max_tokens": 400, "tools": [tool], "tool_choice": choice}
    answer = client.messages.create(**more)
    (call,) = answer.content
    assert (answer.stop_reason, call.type, call.name) == ("tool_use", "tool_use", "weather")
    assert 1 <= call.input["days"] <= 9
    with client.messages.stream(**more) as stream:
        assert stream.get_final_message().content[0].input == call.input
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "sunny"}]}
    messages = [*MESSAGES, answer.to_param(), {"role": "user", "content": [result]}]
    answer = client.messages.create(**{**ask, "messages": messages}, tools=[tool])
    assert answer.content


class Fox(BaseModel):
    name: Literal["Reynard", "Vix"]
    red: bool


def can_parse():
    answer = client.messages.parse(**{**ask, "max_tokens": 300}, output_format=Fox)
    assert isinstance(answer.parsed_output, Fox), answer


def can_begin_answers():
    begun = [*MESSAGES, {"role": "assistant", "content": "There was a"}]
    assert client.messages.create(**{**ask, "messages": begun}).content[0].text


def refuses(kind, words, **arguments):
    try:
        client.messages.create(**{**ask, **arguments})
    except kind as error:
        assert words in error.body["error"]["message"], error
    else:
        raise AssertionError(f"{arguments} was taken")


def can_read_errors():
    refuses(anthropic.NotFoundError, "some/other", model="some/other")
    refuses(anthropic.BadRequestError, "at least one", messages=[])
    refuses(anthropic.BadRequestError, "top_p", extra_body={"top_p": 2})
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    refuses(anthropic.BadRequestError, "text alone", messages=[{"role": "user", "content": [image]}])


def can_go_away():
    with client.messages.stream(**{**ask, "max_tokens": 500_000}) as stream:
        next(iter(stream.text_stream))
    assert client.messages.create(**ask).content


run(globals())
