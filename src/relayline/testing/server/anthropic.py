"""Anthropic Messages as it answers: https://platform.claude.com/docs/en/build-with-claude/streaming."""

from collections.abc import Iterator
from typing import Any

from relayline.messages import ToolCall
from relayline.testing.providers.anthropic import check_anthropic
from relayline.testing.providers.rendering import arguments_object
from relayline.testing.server.dialect import Dialect, sse
from relayline.testing.server.replies import Answer, Block, Fail, Stop, Thinking

# https://platform.claude.com/docs/en/api/errors
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
STOPPED = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}


def _whole(answer: Answer) -> dict[str, Any]:
    message = _message(answer, _usage(answer))
    return {**message, "content": [_block(block) for block in answer.blocks], "stop_reason": _stopped(answer)}


def _stream(answer: Answer) -> Iterator[bytes | Stop]:
    yield _event("message_start", message=_message(answer, {**_usage(answer), "output_tokens": 1}))
    for index, block in enumerate(answer.blocks):
        yield _event("content_block_start", index=index, content_block=_empty(block))
        if not index:
            yield _event("ping")
        for piece in block.pieces:
            yield _delta(index, _piece(block, piece)) if isinstance(piece, str) else piece
        if isinstance(block.of, Thinking):
            yield _delta(index, {"type": "signature_delta", "signature": block.of.signature})
        yield _event("content_block_stop", index=index)
    delta = {"stop_reason": _stopped(answer), "stop_sequence": None}
    yield _event("message_delta", delta=delta, usage=_usage(answer))
    yield _event("message_stop")


def _event(kind: str, **data: Any) -> bytes:
    return sse({"type": kind, **data}, kind)


def _delta(index: int, delta: dict[str, Any]) -> bytes:
    return _event("content_block_delta", index=index, delta=delta)


def _piece(block: Block, piece: str) -> dict[str, Any]:
    match block.of:
        case ToolCall():
            return {"type": "input_json_delta", "partial_json": piece}
        case Thinking():
            return {"type": "thinking_delta", "thinking": piece}
        case None:
            return {"type": "text_delta", "text": piece}


def _block(block: Block) -> dict[str, Any]:
    match block.of:
        case ToolCall(key, name) as call:
            return {"type": "tool_use", "id": key, "name": name, "input": arguments_object(call)}
        case Thinking(text, signature):
            return {"type": "thinking", "thinking": text, "signature": signature}
        case None:
            return {"type": "text", "text": block.text}


def _empty(block: Block) -> dict[str, Any]:
    match block.of:
        case ToolCall():
            return {**_block(block), "input": {}}
        case Thinking():
            return {"type": "thinking", "thinking": "", "signature": ""}
        case None:
            return {"type": "text", "text": ""}


def _message(answer: Answer, usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"msg_{answer.number}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _stopped(answer: Answer) -> str:
    return STOPPED.get(answer.finish, answer.finish)


def _usage(answer: Answer) -> dict[str, Any]:
    """What was read from the cache is not among its input tokens."""
    cached = answer.tokens("cached_tokens")
    return {
        "input_tokens": answer.info.input_tokens - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": answer.info.output_tokens,
        "output_tokens_details": {"thinking_tokens": answer.tokens("reasoning_tokens")},
        "service_tier": "standard",
    }


def _error(fail: Fail) -> dict[str, Any]:
    kind = fail.code or ERRORS.get(fail.status, "api_error" if fail.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": fail.message}, "request_id": None}


def _failure(fail: Fail, answer: Answer, count: int) -> bytes:
    return sse(_error(fail), "error")


ANTHROPIC = Dialect(
    name="anthropic",
    check=check_anthropic,
    required=("model", "max_tokens"),
    key_headers=("x-api-key", "authorization"),
    call_id="toolu_",
    whole=_whole,
    stream=_stream,
    error=_error,
    failure=_failure,
)
