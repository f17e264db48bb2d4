"""What the renderers of several wires share."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from relayline.agent import ChatRequest, ToolSpec
from relayline.messages import JSON, Media, Message, Text, ToolCall


def arguments_object(call: ToolCall) -> Mapping[str, JSON]:
    """The arguments for a wire that wants an object, also where the model wrote none.

    What cannot be sent as JSON is wrapped, as Anthropic advises:
    https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming
    """
    try:
        parsed = call.parse_arguments()
        json.dumps(parsed, ensure_ascii=False).encode()  # "\ud800" is fine as text, and half a character once read
    except ValueError:
        return {"INVALID_JSON": call.arguments}
    return parsed


def shown(message: Message) -> Iterator[str | Media]:
    """The words and media of a user's message in their order; blank words beside media are left out."""
    for part in message.parts:
        if isinstance(part, Media):
            yield part
        elif isinstance(part, Text) and part.text.strip():
            yield part.text


def address(media: Media) -> str:
    """Where it is, or itself as an address."""
    return media.url or f"data:{media.media_type};base64,{media.data}"


def schema(spec: ToolSpec) -> dict[str, Any]:
    """The tool's parameters; an object without any, where the tool declares nothing."""
    return {"type": "object", "properties": {}, **spec.parameters}


def called(request: ChatRequest) -> list[str]:
    """The names of all the tools that were called in the conversation, each once, in the order of the first calls."""
    return list(dict.fromkeys(call.name for message in request.messages for call in message.tool_calls))
