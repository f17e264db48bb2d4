"""A `ChatRequest` as pydantic-ai's messages, and what of a reply has to be kept to show it to its provider again.

Everything is made from the request alone, message by message, and holds no clock and no chance: the next request of the
same agent begins with the same bytes, which is what a provider's prompt cache goes by.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from pydantic_ai.messages import (
    AudioUrl,
    BinaryContent,
    DocumentUrl,
    ImageUrl,
    InstructionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponsePart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
    VideoUrl,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ToolOrOutput
from pydantic_ai.tools import ToolDefinition
from pydantic_core import to_jsonable_python

from relayline.agent import ChatRequest, ToolSpec
from relayline.messages import JSON, Media, Message, Text, ToolCall

NEVER = datetime.fromtimestamp(0, UTC)  # no wire has a field for it; the default is to ask the clock

# Thoughts without a signature are worth sending only where the wire has this field for them (DeepSeek insists).
# Anywhere else they would be shown to the model as words it had said.
PLAIN_THOUGHTS = ("reasoning", "reasoning_content")

Fits: TypeAlias = Literal["always", "alone", "never"]

OUTPUT = """\
When you answer and do not call a tool, your answer is one JSON object that fits this schema, with nothing around it:

{schema}"""

REMEMBERED = 4096  # values, some megabytes

GONE = ("timestamp", "finish_reason")  # of a response's details: nothing that a provider wants back


URLS: Mapping[str, type[ImageUrl | AudioUrl | VideoUrl]] = {"image": ImageUrl, "audio": AudioUrl, "video": VideoUrl}


T = TypeVar("T")
U = TypeVar("U")


class _Made(Generic[T, U]):
    """What was made of a value, found again by the value's identity.

    A request repeats the messages of the one before and adds a few, so this leaves only these to be rendered: without
    it, half of what a call costs here. What is made is never changed, neither by us nor by pydantic-ai.
    """

    def __init__(self, make: Callable[[T], U]) -> None:
        self._make = make
        self._made: dict[int, tuple[T, U]] = {}

    def __call__(self, value: T) -> U:
        known = self._made.get(id(value))
        if known is None:
            if len(self._made) >= REMEMBERED:
                self._made.clear()
            known = self._made[id(value)] = (value, self._make(value))  # with the value, so that its id stays its own
        return known[1]


class Renderer:
    """For one provider. ``name``: whose native state it shows; ``system``: what pydantic-ai calls it.

    ``id_length``: how long the ids of calls have to be, None for ours as they are. ``thinks``: whether the model can be
    shown thoughts of the provider's models. One that cannot would be told them as words it had said. ``narrows``:
    whether the provider can be told which of the tools may be called, beside the list of all. ``fits``: whether the
    provider sees to it that a reply fits a schema; ``alone``: but not beside tools.
    """

    def __init__(
        self,
        name: str,
        system: str,
        id_length: int | None,
        *,
        thinks: bool = True,
        narrows: bool = False,
        fits: Fits = "never",
    ) -> None:
        self._name = name
        self._system = system
        self._id_length = id_length
        self._thinks = thinks
        self._narrows = narrows
        self._fits = fits
        self._tools: _Made[ToolSpec, ToolDefinition] = _Made(_definition)
        self._plain: _Made[Message, ModelMessage] = _Made(lambda each: self._message(each, chained=False))
        self._chained: _Made[Message, ModelMessage] = _Made(lambda each: self._message(each, chained=True))

    def messages(self, request: ChatRequest) -> list[ModelMessage]:
        """The conversation, one for one."""
        # Only for who continues a response that the provider kept: it would differ from one request to the next.
        chained = "openai_previous_response_id" in request.settings
        return list(map(self._chained if chained else self._plain, request.messages))

    def parameters(self, request: ChatRequest) -> tuple[ModelRequestParameters, dict[str, Any]]:
        """Instructions and tools, and the settings that follow from them.

        An agent without tools that called some all the same: they have to be declared, and must not be called again.
        """
        tools, settings = list(map(self._tools, request.tools)), dict[str, Any]()
        if not tools and (names := _called(request.messages)):
            tools, settings = [_definition(ToolSpec(name)) for name in names], {"tool_choice": "none"}
        told = [InstructionPart(content=request.instructions)] if request.instructions else None
        parameters = ModelRequestParameters(function_tools=tools, instruction_parts=told)
        return (
            replace(parameters, **self._output(request.output, bool(tools))) if request.output else parameters
        ), settings

    def _output(self, schema: Mapping[str, JSON], tools: bool) -> dict[str, Any]:
        """By the provider's own means, where the model has any; else it is told."""
        about = schema.get("description")
        native = self._fits == "always" or (self._fits == "alone" and not tools)
        return {
            "output_mode": "native" if native else "prompted",
            "output_object": OutputObjectDefinition(
                {key: each for key, each in schema.items() if key not in ("title", "description")},
                str(schema["title"]),
                str(about) if about else None,
            ),
            "prompted_output_template": None if native else OUTPUT,
        }

    def narrowed(self, request: ChatRequest) -> dict[str, Any]:
        """The setting that says which of the tools may be called, where not all may and the provider can be told."""
        names = [spec.name for spec in request.own_tools]
        if not self._narrows or len(names) == len(request.tools):
            return {}
        return {"tool_choice": ToolOrOutput(function_tools=names)}

    def _message(self, message: Message, *, chained: bool) -> ModelMessage:
        match message.role:
            case "user":
                content = list(_shown(message)) if message.media else message.text
                return ModelRequest([UserPromptPart(content, timestamp=NEVER)], timestamp=NEVER)
            case "tool":
                return ModelRequest(
                    [
                        ToolReturnPart(
                            each.name,
                            each.content,
                            self._id(each.call_id),
                            timestamp=NEVER,
                            outcome="success" if each.outcome in ("done", "transferred") else "failed",
                        )
                        for each in message.tool_results
                    ],
                    timestamp=NEVER,
                )
            case "assistant":
                return self._reply(message, chained=chained)

    def _reply(self, message: Message, *, chained: bool) -> ModelResponse:
        native: Mapping[str, Any] = message.native
        if native.get("provider") != self._name:
            return ModelResponse(self._plain_parts(message), timestamp=NEVER)
        parts = self._native_parts(message, native["parts"]) if "parts" in native else []
        return ModelResponse(
            parts or self._plain_parts(message),
            timestamp=NEVER,
            provider_name=self._system,
            provider_response_id=native.get("response") if chained else None,
            provider_details=native.get("details"),
        )

    def _plain_parts(self, message: Message) -> list[ModelResponsePart]:
        """The words first: on some wires nothing may stand between a call and its result."""
        words = message.text
        said: list[ModelResponsePart] = [TextPart(words)] if words.strip() else []
        return said + [ToolCallPart(call.name, _arguments(call), self._id(call.id)) for call in message.tool_calls]

    def _native_parts(self, message: Message, kept: Sequence[Mapping[str, Any]]) -> list[ModelResponsePart]:
        """The reply with all that the provider put beside it; nothing, if the words or calls are not those it gave.

        They are not where somebody shortened or changed the message: it is not for us to show the old ones again.
        """
        sizes = [each["size"] for each in kept if each["kind"] == "text"]
        calls = iter(message.tool_calls)
        if sum(sizes) != len(message.text) or len(kept) - len(sizes) - _thoughts(kept) != len(message.tool_calls):
            return []
        parts: list[ModelResponsePart] = []
        at = 0
        for each in kept:
            given: dict[str, Any] = {
                "id": each.get("id"),
                "provider_name": self._system,
                "provider_details": each.get("details"),
            }
            match each["kind"]:
                case "text":
                    words, at = message.text[at : at + each["size"]], at + each["size"]
                    if words.strip():
                        parts.append(TextPart(words, **given))
                case "call":
                    call = next(calls)
                    parts.append(ToolCallPart(call.name, _arguments(call), self._id(call.id), **given))
                case _ if self._thinks:
                    parts.append(ThinkingPart(each["content"], signature=each.get("signature"), **given))
                case _:
                    pass
        kinds = [type(part) for part in parts]
        if ToolCallPart in kinds and TextPart in kinds[kinds.index(ToolCallPart) :]:
            parts.sort(key=lambda part: isinstance(part, ToolCallPart))
        return parts

    def _id(self, key: str) -> str:
        if self._id_length is None:
            return key
        return hashlib.sha256(key.encode()).hexdigest()[: self._id_length]


def native(name: str, response: ModelResponse) -> dict[str, JSON]:
    """What to keep of a reply beside its words and calls; ``name`` is the provider's.

    Words and calls are only pointed at: they are in the message, and what is in a journal twice can disagree.
    """
    found: dict[str, JSON] = {"provider": name, "response": response.provider_response_id}
    details = {key: each for key, each in (response.provider_details or {}).items() if key not in GONE}
    parts = list(map(_kept, filter(_worth_keeping, response.parts)))
    if details:
        found["details"] = to_jsonable_python(details)
    if any(each.keys() - {"kind", "size"} for each in parts):
        found["parts"] = parts
    return {key: each for key, each in found.items() if each}


def _shown(message: Message) -> Iterator[UserContent]:
    """Words and media in their order; blank words beside media are no content that every wire takes."""
    for part in message.parts:
        if isinstance(part, Text) and part.text.strip():
            yield part.text
        elif isinstance(part, Media) and part.data:
            yield BinaryContent(base64.b64decode(part.data), media_type=part.media_type, identifier=part.name or None)
        elif isinstance(part, Media):
            yield URLS.get(part.sort, DocumentUrl)(part.url, media_type=part.media_type, identifier=part.name or None)


def _worth_keeping(part: ModelResponsePart) -> bool:
    if isinstance(part, ThinkingPart):
        return bool(part.signature or part.provider_details or part.id in PLAIN_THOUGHTS)
    return isinstance(part, TextPart | ToolCallPart)


def _kept(part: ModelResponsePart) -> dict[str, JSON]:
    assert isinstance(part, TextPart | ToolCallPart | ThinkingPart)
    kept: dict[str, JSON] = {"id": part.id, "details": to_jsonable_python(part.provider_details)}
    match part:
        case TextPart():
            told: dict[str, JSON] = {"kind": "text", "size": len(part.content)}
        case ToolCallPart():
            told = {"kind": "call"}
        case ThinkingPart():
            told = {"kind": "thinking", "content": part.content}
            kept["signature"] = part.signature
    return told | {key: each for key, each in kept.items() if each}


def _thoughts(kept: Sequence[Mapping[str, Any]]) -> int:
    return sum(each["kind"] == "thinking" for each in kept)


def _arguments(call: ToolCall) -> dict[str, Any]:
    """The arguments as every wire can be told them. What a model wrote may be no JSON; it is wrapped, as Anthropic
    advises, so that the model sees what was wrong.
    """
    try:
        parsed = call.parse_arguments()
        json.dumps(parsed, ensure_ascii=False).encode()  # "\ud800" is fine as text, and half a character once read
    except ValueError:
        return {"INVALID_JSON": call.arguments}
    return dict(parsed)


def _definition(spec: ToolSpec) -> ToolDefinition:
    schema: dict[str, Any] = {"type": "object", "properties": {}, **spec.parameters}
    return ToolDefinition(name=spec.name, description=spec.description, parameters_json_schema=schema)


def _called(messages: Sequence[Message]) -> list[str]:
    """The names of all tools that were called, each once, in the order of the first calls."""
    return list(dict.fromkeys(call.name for message in messages for call in message.tool_calls))
