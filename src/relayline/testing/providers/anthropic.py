"""Anthropic Messages: https://platform.claude.com/docs/en/api/messages.

Messages of one role in a row are one turn to it, and a conversation may begin with the assistant: a request with both
was answered (https://github.com/anomalyco/opencode, packages/llm/test/fixtures/recordings/anthropic-messages).
"""

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from relayline.agent import ChatRequest
from relayline.messages import Media, Message
from relayline.testing.providers.rendering import arguments_object, called, schema, shown
from relayline.testing.providers.rules import (
    LONG_NAME,
    Body,
    check_json,
    check_name,
    check_schema,
    check_unique,
    items,
    part,
    several,
    where,
)

ID = re.compile(r"[a-zA-Z0-9_-]+")
PROPERTY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
ROLES = ("user", "assistant", "system")
IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")


# --- Rendering


def render_anthropic(request: ChatRequest) -> dict[str, Any]:
    """The body of a request, without the model's name, ``max_tokens`` and other settings."""
    system = {"system": request.instructions} if request.instructions else {}
    return {**system, "messages": _merged(request.messages), **_tools(request)}


def _merged(messages: Sequence[Message]) -> list[dict[str, Any]]:
    merged: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        if merged and merged[-1]["role"] == role:
            merged[-1]["content"].extend(_blocks(message))
        else:
            merged.append({"role": role, "content": list(_blocks(message))})
    return merged


def _blocks(message: Message) -> Iterator[dict[str, Any]]:
    """The words first, because no block may stand between a call and its result."""
    if message.media:
        yield from map(_block, shown(message))
    elif message.text.strip():
        yield {"type": "text", "text": message.text}
    for call in message.tool_calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments_object(call)}
    for result in message.tool_results:
        failed = {} if result.outcome in ("done", "transferred") else {"is_error": True}
        yield {"type": "tool_result", "tool_use_id": result.call_id, "content": result.content, **failed}


def _block(part: str | Media) -> dict[str, Any]:
    """There is no block for audio or video, so these are refused."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = "document" if part.sort == "file" else part.sort
    if part.url:
        return {"type": kind, "source": {"type": "url", "url": part.url}}
    if part.media_type == "text/plain":
        text = base64.b64decode(part.data).decode()
        return {"type": kind, "source": {"type": "text", "media_type": part.media_type, "data": text}}
    return {"type": kind, "source": {"type": "base64", "media_type": part.media_type, "data": part.data}}


def _tools(request: ChatRequest) -> dict[str, Any]:
    if request.tools:
        return {
            "tools": [
                {"name": tool.name, "description": tool.description, "input_schema": schema(tool)}
                for tool in request.tools
            ]
        }
    names = called(request)
    if not names:
        return {}
    # An agent without tools that called some all the same: they have to be declared, and must not be called again.
    declared: list[Any] = [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in names]
    return {"tools": declared, "tool_choice": {"type": "none"}}


# --- Judging


@dataclass(slots=True)
class _Turn:
    """Messages of one role in a row. ``place``: of the first of them."""

    role: str
    place: str
    blocks: list[Body] = field(default_factory=list[Body])

    def of(self, kind: str) -> list[Body]:
        return [block for block in self.blocks if block.get("type") == kind]


def check_anthropic(body: Body) -> None:
    """Refuse what the Messages API refuses.

    Raises:
        AssertionError: with one sentence that names the message and the rule.
    """
    check_json(body)
    messages = items(body, "messages")
    turns: list[_Turn] = []
    for number, message in enumerate(messages):
        role, place = str(message.get("role")), where("messages", number, message.get("role"))
        _check_message(message, place)
        if not turns or turns[-1].role != role:
            turns.append(_Turn(role, place))
        turns[-1].blocks += several(message.get("content")) or [{"type": "text", "text": message["content"]}]
    _check_order(turns)
    _check_answers(turns)
    uses = [block for turn in turns for block in turn.of("tool_use")]
    # "`tool_use` ids must be unique": https://github.com/trycua/cua/issues/524
    check_unique([block["id"] for block in uses], "tool_use ids")
    # https://portkey.ai/error-library/tool-definition-error-10488
    assert body.get("tools") or not uses, (
        "tools is empty; requests with tool_use or tool_result blocks must define some"
    )
    _check_tools(several(body.get("tools")))


def _check_message(message: Body, place: str) -> None:
    role, content = message.get("role"), message.get("content")
    assert role in ROLES, f"{place}: the role has to be one of {', '.join(ROLES)}"
    # "all messages must have non-empty content": https://portkey.ai/error-library/message-content-error-10492
    assert content, f"{place} has no content"
    texts = [content] if isinstance(content, str) else [b["text"] for b in several(content) if b.get("type") == "text"]
    # Both sentences, and that blank text beside other text is taken: https://github.com/LibreChat-AI/agents/pull/124
    assert all(texts), f"{place}: text content blocks must be non-empty"
    assert not texts or any(map(str.strip, texts)), f"{place}: text content blocks must contain non-whitespace text"
    for block in several(content):
        _check_block(block, place, role)


def _check_block(block: Body, place: str, role: object) -> None:
    match block.get("type"):
        case "tool_use":
            assert role == "assistant", f"{place}: tool_use blocks can only be in assistant messages"
            _check_id(block.get("id"), place)
            check_name(block.get("name"), LONG_NAME, place)
            # "Input should be a valid dictionary": https://github.com/anthropics/anthropic-sdk-typescript/issues/648
            assert isinstance(block.get("input"), dict), f"{place}: the input of tool_use {block['id']!r} is no object"
        case "tool_result":
            assert role == "user", f"{place}: tool_result blocks can only be in user messages"
            _check_id(block.get("tool_use_id"), place)
        case "image" | "document" as kind:
            assert role == "user", f"{place}: {kind} blocks can only be in user messages"
            _check_source(kind, part(block, "source"), place)
        case kind:
            assert kind not in ("audio", "video"), f"{place}: there are no {kind} blocks"


def _check_source(kind: str, source: Body, place: str) -> None:
    """https://platform.claude.com/docs/en/build-with-claude/vision and .../build-with-claude/pdf-support."""
    sort, media_type = source.get("type"), source.get("media_type")
    if sort == "base64":
        taken = IMAGES if kind == "image" else ("application/pdf",)
        assert media_type in taken, (
            f"{place}: the media_type of {kind} is one of {', '.join(taken)}, not {media_type!r}"
        )
    needed = {"base64": "data", "url": "url", "file": "file_id"} | ({"text": "data"} if kind == "document" else {})
    assert sort in needed or (kind, sort) == ("document", "content"), f"{place}: a source of type {sort!r} of {kind}"
    assert source.get(needed.get(str(sort), "content")), f"{place}: the source of {kind} holds nothing"


def _check_id(key: object, place: str) -> None:
    # "String should match pattern '^[a-zA-Z0-9_-]+$'": https://github.com/HKUDS/nanobot/pull/4356
    fits = isinstance(key, str) and ID.fullmatch(key)
    assert fits, f"{place}: tool id {key!r} does not match {ID.pattern}"


def _check_order(turns: Sequence[_Turn]) -> None:
    for before, turn in zip([None, *turns], turns, strict=False):
        # Opus 4.8 and later; older models take none at all:
        # https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages
        placed = turn.role != "system" or (before and before.role == "user")
        assert placed, f"{turn.place} does not follow a user's; the instructions belong in the field system"
    # Since 4.6: https://platform.claude.com/docs/en/about-claude/models/whats-new-claude-4-6
    last = turns[-1]
    assert last.role != "assistant", f"{last.place} is in the last turn; the conversation must end with a user message"


def _check_answers(turns: Sequence[_Turn]) -> None:
    """Every call is answered once, at the beginning of the turn after it.

    https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls. The sentences:
    https://github.com/anthropics/claude-code/issues/8210, https://github.com/anthropics/claude-code/issues/18947 and
    https://github.com/vectorize-io/hindsight/pull/4250.
    """
    for before, turn, after in zip([None, *turns], turns, [*turns[1:], None], strict=False):
        uses = [block["id"] for block in turn.of("tool_use")]
        kinds = [block.get("type") for block in turn.blocks]
        # The recorded refusal of a text after a call is beside the answered request that is named above.
        last_text = max((n for n, kind in enumerate(kinds) if kind == "text"), default=-1)
        assert not uses or last_text < kinds.index("tool_use"), f"{turn.place}: a text stands after a tool_use block"
        answered = [block["tool_use_id"] for block in after.of("tool_result")] if after else []
        missing = [repr(key) for key in uses if key not in answered]
        assert not missing, f"{turn.place}: no tool_result block in the next message for {', '.join(missing)}"
        results = [block["tool_use_id"] for block in turn.of("tool_result")]
        asked = [block["id"] for block in before.of("tool_use")] if before else []
        strange = [repr(key) for key in results if key not in asked]
        assert not strange, f"{turn.place}: unexpected tool_use_id {', '.join(strange)}, not in the previous message"
        check_unique(results, f"{turn.place}: the tool_result blocks' ids")
        first = all(kind == "tool_result" for kind in kinds[: len(results)])
        assert first, f"{turn.place}: tool_result blocks must come first"


def _check_tools(tools: Sequence[Body]) -> None:
    custom = [tool for tool in tools if tool.get("type", "custom") == "custom"]
    for number, tool in enumerate(custom):
        place = where("tools", number, tool.get("name"))
        check_name(tool.get("name"), LONG_NAME, place)
        # https://github.com/anthropics/claude-code/issues/40075
        check_schema(tool.get("input_schema"), place, ("oneOf", "allOf", "anyOf"))
        # "Property keys should match pattern '^[a-zA-Z0-9_.-]{1,64}$'"
        wrong = [repr(key) for key in tool["input_schema"].get("properties", ()) if not PROPERTY.fullmatch(key)]
        assert not wrong, f"{place}: property keys {', '.join(wrong)} do not match {PROPERTY.pattern}"
    # "Tool names must be unique": https://github.com/danny-avila/LibreChat/issues/13162
    check_unique([tool["name"] for tool in tools], "tool names")
