"""OpenAI Responses as it answers: https://platform.openai.com/docs/api-reference/responses-streaming."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from relayline.messages import ToolCall
from relayline.testing.providers.openai_responses import check_openai_responses
from relayline.testing.server.dialect import CREATED, Dialect, sse
from relayline.testing.server.openai_chat import openai_error
from relayline.testing.server.replies import Answer, Block, Fail, Stop, Thinking

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}

Event = tuple[str, dict[str, Any]]


def _whole(answer: Answer) -> dict[str, Any]:
    output = [_item(answer, number, block) for number, block in enumerate(answer.blocks)]
    reason = INCOMPLETE.get(answer.finish)
    return {
        **_response(answer, "incomplete" if reason else "completed"),
        "incomplete_details": {"reason": reason} if reason else None,
        "output": output,
        "usage": _usage(answer),
    }


def _stream(answer: Answer) -> Iterator[bytes | Stop]:
    """Events, each with its name and its place in the sequence."""
    numbers = count()
    for event in _events(answer):
        yield _sse(event, next(numbers)) if isinstance(event, tuple) else event


def _sse(event: Event, number: int) -> bytes:
    kind, data = event
    return sse({"type": kind, **data, "sequence_number": number}, kind)


def _events(answer: Answer) -> Iterator[Event | Stop]:
    begun = _response(answer, "in_progress")
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for number, block in enumerate(answer.blocks):
        item = _item(answer, number, block)
        yield "response.output_item.added", {"output_index": number, "item": _empty(item)}
        yield from _inside(number, item, block)
        yield "response.output_item.done", {"output_index": number, "item": item}
    response = _whole(answer)
    yield f"response.{response['status']}", {"response": response}


def _empty(item: dict[str, Any]) -> dict[str, Any]:
    """An item as it is when it begins."""
    match item["type"]:
        case "message":
            return {**item, "status": "in_progress", "content": []}
        case "function_call":
            return {**item, "status": "in_progress", "arguments": ""}
        case _:
            return {**item, "summary": []}


def _inside(number: int, item: dict[str, Any], block: Block) -> Iterator[Event | Stop]:
    """The deltas of an item, between the events of whatever wraps them."""
    place = {"item_id": item["id"], "output_index": number}
    match block.of:
        case ToolCall():
            yield from _deltas("response.function_call_arguments", place, block)
            done = {**place, "name": item["name"], "arguments": item["arguments"]}
            yield "response.function_call_arguments.done", done
        case Thinking():
            place["summary_index"] = 0
            part = {"type": "summary_text", "text": ""}
            yield "response.reasoning_summary_part.added", {**place, "part": part}
            yield from _deltas("response.reasoning_summary_text", place, block)
            yield "response.reasoning_summary_text.done", {**place, "text": block.text}
            yield "response.reasoning_summary_part.done", {**place, "part": {**part, "text": block.text}}
        case None:
            place["content_index"] = 0
            part = item["content"][0]
            yield "response.content_part.added", {**place, "part": {**part, "text": ""}}
            yield from _deltas("response.output_text", {**place, "logprobs": []}, block)
            yield "response.output_text.done", {**place, "text": block.text, "logprobs": []}
            yield "response.content_part.done", {**place, "part": part}


def _deltas(kind: str, place: dict[str, Any], block: Block) -> Iterator[Event | Stop]:
    for piece in block.pieces:
        yield (f"{kind}.delta", {**place, "delta": piece}) if isinstance(piece, str) else piece


def _item(answer: Answer, number: int, block: Block) -> dict[str, Any]:
    key = f"{answer.number}_{number}"
    match block.of:
        case ToolCall(call_id, name, arguments):
            known = {"id": f"fc_{key}", "type": "function_call", "status": "completed"}
            return {**known, "call_id": call_id, "name": name, "arguments": arguments}
        case Thinking(text, signature):
            # Only for those who ask for it, as is needed where nothing is stored.
            asked = "reasoning.encrypted_content" in (answer.body.get("include") or ())
            secret = {"encrypted_content": signature} if asked else {}
            summary = [{"type": "summary_text", "text": text}]
            return {"id": f"rs_{key}", "type": "reasoning", "summary": summary, **secret}
        case None:
            content: list[Any] = [{"type": "output_text", "text": block.text, "annotations": [], "logprobs": []}]
            known = {"id": f"msg_{key}", "type": "message", "status": "completed"}
            return {**known, "role": "assistant", "content": content}


def _response(answer: Answer, status: str) -> dict[str, Any]:
    body = answer.body
    return {
        "id": f"resp_{answer.number}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": answer.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
    }


def _usage(answer: Answer) -> dict[str, Any]:
    spent, said = answer.info.input_tokens, answer.info.output_tokens
    return {
        "input_tokens": spent,
        "input_tokens_details": {"cached_tokens": answer.tokens("cached_tokens"), "cache_write_tokens": 0},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": answer.tokens("reasoning_tokens")},
        "total_tokens": spent + said,
    }


def _failure(fail: Fail, answer: Answer, count: int) -> bytes:
    """Twice, as it was seen: https://github.com/zed-industries/zed/issues/57024, then the response that failed."""
    error = openai_error(fail)["error"]
    code = error["code"] or error["type"]
    failed = {**_response(answer, "failed"), "error": {"code": code, "message": fail.message}}
    first = ("error", {"error": {**error, "code": code}})
    return _sse(first, count) + _sse(("response.failed", {"response": failed}), count + 1)


OPENAI_RESPONSES = Dialect(
    name="openai-responses",
    check=check_openai_responses,
    required=("model",),
    key_headers=("authorization",),
    call_id="call_",
    whole=_whole,
    stream=_stream,
    error=openai_error,
    failure=_failure,
)
