"""``relayline approve``, ``deny`` and ``answer``: one decision of a person, and what the team makes of it."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

from relayline.cli.asked import answer as typed
from relayline.cli.conversation import look
from relayline.cli.plain import PlainScreen
from relayline.cli.teams import check_team, who
from relayline.cli.transcript import message_json
from relayline.errors import RequestNotOpen, SessionNotFound, UsageError, WorldError
from relayline.machine.inputs import Response
from relayline.messages import JSON
from relayline.runtime.requests import (
    AgentReviewRequest,
    FunctionApprovalRequestContent,
    FunctionInfoRequest,
    HandoffAgentUserRequest,
    HumanTurnRequest,
    InterruptedCallRequest,
    RequestData,
)
from relayline.runtime.stream import RunResult, WorkflowEvent
from relayline.workflow import SessionView, Workflow

Decision: TypeAlias = Callable[[RequestData], Response]
"""The answer to a request, once it is known what is asked. Raises UsageError if it is none to that."""


def approval(*, approved: bool, reason: str, arguments: str | None = None) -> Decision:
    """Allow a call, perhaps with other arguments (a JSON object), or refuse it."""
    edited = None if arguments is None else _arguments(arguments)

    def decide(request: RequestData) -> Response:
        match request:
            case FunctionApprovalRequestContent():
                return request.create_response(approved, reason, edited, by=who())
            case InterruptedCallRequest():
                raise UsageError(
                    "this call was interrupted, and nobody asks whether it may run: say what became of it with "
                    "relayline answer REQUEST TEXT, or have it run once more with relayline answer REQUEST --again"
                )
            case AgentReviewRequest():
                if approved:
                    return request.approve(by=who())
                if not reason.strip():
                    raise UsageError("say what to change: relayline deny REQUEST --reason TEXT")
                return request.create_response(reason)
            case HandoffAgentUserRequest() | HumanTurnRequest() | FunctionInfoRequest():
                raise UsageError("this request asks for words, not for a decision: relayline answer REQUEST TEXT")

    return decide


def answer(text: str | None, to: str | None, *, again: bool, back: bool) -> Decision:
    """Words for an agent's question or a person's turn, or what became of an interrupted call."""
    words = "" if text is None else text

    def decide(request: RequestData) -> Response:
        turn = isinstance(request, HumanTurnRequest)
        interrupted = isinstance(request, InterruptedCallRequest)
        if isinstance(request, FunctionApprovalRequestContent):
            raise UsageError("this request asks for a decision: relayline approve REQUEST, or relayline deny REQUEST")
        if (to is not None or back) and not turn:
            raise UsageError("--to and --back are for the turn of a person of the team; this request asks for words")
        if again and not interrupted:
            raise UsageError("--again is for a call that was interrupted; this request asks for words")
        if not words.strip() and not (again or to or back):
            raise UsageError("the answer is empty: relayline answer REQUEST TEXT")
        match request:
            case InterruptedCallRequest():
                return request.run_again(by=who()) if again else request.create_response(words, by=who())
            case HumanTurnRequest():
                return request.hand_back(words) if back else request.create_response(words, to or "")
            case HandoffAgentUserRequest():
                return request.create_response(words)
            case AgentReviewRequest() | FunctionInfoRequest():
                return typed(request, words)

    return decide


async def decided(workflow: Workflow, request_id: str, decision: Decision, retry: Callable[[str], str]) -> None:
    """Answer a request and print what follows, as plain lines.

    ``retry``: the line to type to go on with a session.

    Raises:
        UsageError: the request is not open, or this is no answer to it; nothing was changed.
        WorldError: what follows could not be had. The answer is kept.
    """
    screen = PlainScreen(sys.stdout, sys.stderr)
    result = await _run(workflow, request_id, decision, retry, screen.show)
    for request in result.requests:
        if not isinstance(request.data, HandoffAgentUserRequest):
            screen.ask_later(request)


async def decided_as_json(
    workflow: Workflow, request_id: str, decision: Decision, retry: Callable[[str], str]
) -> dict[str, JSON]:
    """The same for programs: the new messages, and what is open now."""
    result = await _run(workflow, request_id, decision, retry, lambda _: None)
    return {
        "session_id": result.session_id,
        "run_state": str(result.state),
        "messages": [message_json(each) for each in result.messages],
        "requests": [each.request_id for each in result.requests],
    }


async def _run(
    workflow: Workflow,
    request_id: str,
    decision: Decision,
    retry: Callable[[str], str],
    show: Callable[[WorkflowEvent], None],
) -> RunResult:
    view = await _session(workflow, request_id)
    found = next((each for each in view.requests if each.request_id == request_id), None)
    if found is None:
        there = ", ".join(repr(each.request_id) for each in view.requests) or "nothing"
        raise RequestNotOpen(
            f"request {request_id!r} is not open: never put, answered already, or withdrawn. "
            f"Open in session {view.session_id!r}: {there}"
        )
    run = workflow.run(responses={request_id: decision(found.data)})
    try:
        async for event in run:
            show(event)
        return await run
    except WorldError as error:
        hint = f"`{retry(view.session_id)}` tries again"
        raise WorldError(str(error).replace("run the session again to retry", hint)) from error


async def _session(workflow: Workflow, request_id: str) -> SessionView:
    session_id = request_id.rpartition("/")[0]
    if not session_id:
        raise UsageError(
            f"{request_id!r} is no request; they look like SESSION/r1, and `relayline requests` lists them"
        )
    view = await look(workflow, session_id)
    if view is None:
        raise SessionNotFound(
            f"there is no session {session_id!r} in this store; `relayline requests` lists what waits"
        )
    await check_team(workflow, session_id)
    return view


def _arguments(text: str) -> Mapping[str, JSON]:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--arguments takes a JSON object: {error}") from None
    if not isinstance(found, dict):
        raise UsageError(f"--arguments takes a JSON object, as '{{\"amount\": 5}}'; got {text!r:.80}")
    return cast("dict[str, JSON]", found)
