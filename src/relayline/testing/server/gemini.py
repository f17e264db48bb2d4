"""Gemini generateContent as it answers: https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from relayline.messages import ToolCall
from relayline.testing.providers.gemini import check_gemini
from relayline.testing.server.dialect import Dialect, sse
from relayline.testing.server.replies import Answer, Fail, Stop, Thinking

# https://ai.google.dev/gemini-api/docs/troubleshooting
ERRORS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
STOPPED = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}


def _whole(answer: Answer) -> dict[str, Any]:
    parts = [part for part in _parts(answer, whole=True) if isinstance(part, dict)]
    return _response(answer, parts, last=True)


def _stream(answer: Answer) -> Iterator[bytes | Stop]:
    """Responses, each with some parts; the last says why it is."""
    for part in _parts(answer):
        yield sse(_response(answer, [part])) if isinstance(part, dict) else part
    yield sse(_response(answer, [], last=True))


def _parts(answer: Answer, *, whole: bool = False) -> Iterator[dict[str, Any] | Stop]:
    """A call comes whole on this wire, so there is none where its arguments cannot be read.

    A thought's signature stands on the part after it: https://ai.google.dev/gemini-api/docs/thought-signatures.
    """
    signature: dict[str, Any] = {}
    for block in answer.blocks:
        stops = [piece for piece in block.pieces if not isinstance(piece, str)]
        match block.of:
            case Thinking(text, signed):
                yield {"text": text, "thought": True}
                yield from stops
                signature = {"thoughtSignature": b64encode(signed.encode()).decode()}
                continue
            case ToolCall() as call:
                if _is_readable(call):
                    yield {"functionCall": _call(call), **signature}
                yield from stops
            case None:
                for piece in [block.text] if whole else block.pieces:
                    yield {"text": piece, **signature} if isinstance(piece, str) else piece
                    signature = {}
        signature = {}
    if signature:
        yield {"text": "", **signature}


def _call(call: ToolCall) -> dict[str, Any]:
    known = {"name": call.name, "args": call.parse_arguments()}
    return {"id": call.id, **known} if call.id else known


def _is_readable(call: ToolCall) -> bool:
    try:
        call.parse_arguments()
    except ValueError:
        return False
    return True


def _response(answer: Answer, parts: list[dict[str, Any]], *, last: bool = False) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}} if parts else {}
    candidate |= _finish(answer) if last else {}
    return {
        "candidates": [{**candidate, "index": 0}],
        "usageMetadata": _usage(answer),
        "modelVersion": answer.model,
        "responseId": f"response-{answer.number}",
    }


def _finish(answer: Answer) -> dict[str, Any]:
    wrong = [call for call in answer.calls if not _is_readable(call)]
    if wrong:
        message = f"Malformed function call: {wrong[0].name}({wrong[0].arguments})"
        return {"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": message}
    return {"finishReason": STOPPED.get(answer.finish, answer.finish)}


def _usage(answer: Answer) -> dict[str, Any]:
    """Thoughts are not among its candidates' tokens."""
    spent, said = answer.info.input_tokens, answer.info.output_tokens
    cached, thought = answer.tokens("cached_tokens"), answer.tokens("reasoning_tokens")
    usage: dict[str, Any] = {
        "promptTokenCount": spent,
        "candidatesTokenCount": said - thought,
        "totalTokenCount": spent + said,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": spent}],
    }
    usage |= {"cachedContentTokenCount": cached} if cached else {}
    return usage | ({"thoughtsTokenCount": thought} if thought else {})


def _error(fail: Fail) -> dict[str, Any]:
    status = fail.code or ERRORS.get(fail.status, "INTERNAL" if fail.status >= 500 else "INVALID_ARGUMENT")
    error: dict[str, Any] = {"code": fail.status, "message": fail.message, "status": status}
    if fail.retry_after is not None:
        wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{fail.retry_after:g}s"}
        error["details"] = [wait]
    return {"error": error}


def _failure(fail: Fail, answer: Answer, count: int) -> bytes:
    return sse(_error(fail))


GEMINI = Dialect(
    name="gemini",
    check=check_gemini,
    required=(),
    key_headers=("x-goog-api-key",),
    call_id="",
    whole=_whole,
    stream=_stream,
    error=_error,
    failure=_failure,
    retry_header=False,
)
