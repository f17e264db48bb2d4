"""What is asked in a chat and answered in plain words: a look at what an agent said, a value that a function wants."""

import json

from relayline.machine.inputs import Response
from relayline.runtime.requests import AgentReviewRequest, FunctionInfoRequest


def asks(request: AgentReviewRequest | FunctionInfoRequest) -> str:
    """The question, in a line."""
    if isinstance(request, AgentReviewRequest):
        return f"{request.agent_response.agent} is done: type ok to let it go on, or say what to change."
    return f"{request.function} asks: {json.dumps(request.data, ensure_ascii=False)}"


def answer(request: AgentReviewRequest | FunctionInfoRequest, text: str) -> Response:
    """The answer that was typed: ok or feedback; a value as JSON, or as the words it is."""
    if isinstance(request, AgentReviewRequest):
        agreed = text.strip().lower() in ("ok", "yes", "y")
        return request.approve() if agreed else request.create_response(text)
    try:
        return request.create_response(json.loads(text))
    except ValueError:
        return request.create_response(text)
