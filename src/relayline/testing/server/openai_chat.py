"""OpenAI Chat Completions as it answers: https://platform.openai.com/docs/api-reference/chat-streaming."""

from collections.abc import Iterator, Sequence
from typing import Any

from relayline.messages import ToolCall
from relayline.testing.providers.openai_chat import check_openai_chat
from relayline.testing.providers.rules import part
from relayline.testing.server.dialect import CREATED, Dialect, sse
from relayline.testing.server.replies import Answer, Block, Fail, Stop, Thinking

# type and code of an error: https://platform.openai.com/docs/guides/error-codes/api-errors
ERRORS: dict[int, tuple[str, str | None]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


def _whole(answer: Answer) -> dict[str, Any]:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in answer.calls
    ]
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None, "annotations": []}
    message |= {"reasoning_content": answer.thoughts} if answer.thoughts else {}
    message |= {"tool_calls": calls} if calls else {}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
    return {**_head(answer, "chat.completion"), "choices": [choice], "usage": _usage(answer)}


def _stream(answer: Answer) -> Iterator[bytes | Stop]:
    """Chunks. Usage comes only to those who ask for it, in a last chunk without choices."""
    asked = part(answer.body, "stream_options").get("include_usage") is True
    yield _chunk(answer, {"role": "assistant", "content": "" if answer.text else None, "refusal": None}, asked)
    called = 0
    for block in answer.blocks:
        if isinstance(block.of, ToolCall):
            yield _chunk(answer, {"tool_calls": [_first_delta(called, block.of)]}, asked)
        for piece in block.pieces:
            yield _chunk(answer, _delta(block, piece, called), asked) if isinstance(piece, str) else piece
        called += isinstance(block.of, ToolCall)
    yield _chunk(answer, {}, asked, finish=answer.finish)
    if asked:
        yield sse({**_head(answer, "chat.completion.chunk"), "choices": [], "usage": _usage(answer)})
    yield b"data: [DONE]\n\n"


def _first_delta(index: int, call: ToolCall) -> dict[str, Any]:
    return {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}


def _delta(block: Block, piece: str, called: int) -> dict[str, Any]:
    match block.of:
        case ToolCall():
            return {"tool_calls": [{"index": called, "function": {"arguments": piece}}]}
        case Thinking():
            return {"reasoning_content": piece}
        case None:
            return {"content": piece}


def _chunk(answer: Answer, delta: dict[str, Any], asked: bool, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    usage = {"usage": None} if asked else {}
    return sse({**_head(answer, "chat.completion.chunk"), "choices": [choice], **usage})


def _head(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.number}",
        "object": kind,
        "created": CREATED,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _usage(answer: Answer) -> dict[str, Any]:
    spent, said = answer.info.input_tokens, answer.info.output_tokens
    return {
        "prompt_tokens": spent,
        "completion_tokens": said,
        "total_tokens": spent + said,
        "prompt_tokens_details": {"cached_tokens": answer.tokens("cached_tokens"), "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": answer.tokens("reasoning_tokens"),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def openai_error(fail: Fail) -> dict[str, Any]:
    """The body of an error, the same at all of OpenAI's addresses."""
    kind, code = ERRORS.get(fail.status, ("server_error" if fail.status >= 500 else "invalid_request_error", None))
    return {"error": {"message": fail.message, "type": kind, "param": None, "code": fail.code or code}}


def openai_models(names: Sequence[str]) -> dict[str, Any]:
    """The list of models."""
    models = [{"id": name, "object": "model", "created": CREATED, "owned_by": "relayline"} for name in names]
    return {"object": "list", "data": models}


def _failure(fail: Fail, answer: Answer, count: int) -> bytes:
    return sse(openai_error(fail))


OPENAI_CHAT = Dialect(
    name="openai-chat",
    check=check_openai_chat,
    required=("model",),
    key_headers=("authorization",),
    call_id="call_",
    whole=_whole,
    stream=_stream,
    error=openai_error,
    failure=_failure,
)
