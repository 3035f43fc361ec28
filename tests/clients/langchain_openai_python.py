"""The Python package langchain-openai."""

from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from openai import BadRequestError
from pydantic import BaseModel, Field
from steps import ENDLESS, URL, run

server = {"base_url": f"{URL}/v1", "api_key": "none", "max_retries": 0}
ask = [SystemMessage("Be brief."), HumanMessage("Tell me of the fox.")]


def chat(**more):
    return ChatOpenAI(model="", max_tokens=more.pop("max_tokens", 30), seed=4, **server, **more)


def can_chat():
    answer = chat().invoke(ask)
    assert answer.text and answer.usage_metadata["output_tokens"] == 30
    assert answer.response_metadata["finish_reason"] == "length"
    assert chat().batch([ask, ask])[1].text == answer.text


def can_stream():
    chunks = list(chat(stream_usage=True).stream(ask))
    whole = sum(chunks[1:], chunks[0])
    assert whole.text == chat().invoke(ask).text
    assert whole.usage_metadata["output_tokens"] == 30


async def can_stream_asynchronously():
    assert len([chunk async for chunk in chat().astream(ask)]) > 10


class City(BaseModel):
    city: str = Field(max_length=8)


@tool(args_schema=City)
def weather(city: str) -> str:
    """Tells the weather."""
    return f"sunny in {city}"


def can_call_tools():
    model = chat(max_tokens=300)
    call = model.bind_tools([weather], tool_choice="any", strict=True, parallel_tool_calls=False).invoke(ask)
    result = weather.invoke(call.tool_calls[0])
    assert isinstance(result, ToolMessage)
    assert model.bind_tools([weather]).invoke([*ask, call, result]).text


class Fox(BaseModel):
    name: str = Field(max_length=8)
    age: int = Field(ge=0, le=20)


def can_parse():
    for method in ("json_schema", "function_calling"):
        fox = chat(max_tokens=400).with_structured_output(Fox, method=method, strict=True).invoke(ask)
        assert isinstance(fox, Fox), fox


def can_read_probabilities():
    answer = chat(logprobs=True, top_logprobs=2).invoke(ask)
    assert len(answer.response_metadata["logprobs"]["content"]) == 30


def can_complete_texts():
    assert OpenAI(model="", max_tokens=8, seed=1, **server).invoke("Once upon")


def can_embed():
    embeddings = OpenAIEmbeddings(model="", check_embedding_ctx_length=False, **server)
    assert [len(vector) for vector in embeddings.embed_documents(["Once", "upon"])] == [256, 256]


def can_read_errors():
    for kind, more in [(BadRequestError, {"temperature": 1000}), (ContextOverflowError, {})]:
        try:
            chat(**more).invoke("fox " * 1_500_000 if kind is ContextOverflowError else ask)
            raise AssertionError(f"{kind} was expected")
        except kind:
            pass


def can_go_away():
    stream = chat(max_tokens=ENDLESS["max_tokens"], extra_body={"ignore_eos": True}).stream(ask)
    for _, chunk in zip(range(20), stream):
        assert chunk.id
    stream.close()
    can_chat()


run(globals())
