#!/usr/bin/env bash
# mistral-common 1.13.1. The result of a tool that is JSON is read and written anew in formats v2 and v3, so that the model sees
# other numbers (1e5 becomes 100000.0, 1.10 becomes 1.1); from v7 on it stays as it is.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet "mistral-common[sentencepiece]==1.13.1"
"$work/env/bin/python" - 2>/dev/null <<'PYTHON'
from mistral_common.protocol.instruct.messages import AssistantMessage, ToolMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.tool_calls import FunctionCall, ToolCall
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

call = ToolCall(id="abcdefghi", function=FunctionCall(name="f", arguments="{}"))
request = ChatCompletionRequest(messages=[
    UserMessage(content="a"),
    AssistantMessage(content=None, tool_calls=[call]),
    ToolMessage(content='{"x": 1e5, "y": 1.10}', tool_call_id="abcdefghi", name="f"),
])
for version, seen in [("v2", '"x":▁100000.0,▁"y":▁1.1}'), ("v3", '"x":▁100000.0,▁"y":▁1.1}'), ("v7", '"x":▁1e5,▁"y":▁1.10}')]:
    text = getattr(MistralTokenizer, version)().encode_chat_completion(request).text
    print(version, text.split("[TOOL_RESULTS]")[1])
    assert seen in text
PYTHON
