"""The conversation as plain lines, for pipes and logs.

What a model or a tool wrote is always behind its speaker's name or three spaces, on every line of it: no reply can pass
itself off as a handoff.
"""

import asyncio
import json
import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TextIO

from relayline.cli.calls import outcome, shown, written
from relayline.cli.clean import clean, one_line
from relayline.cli.conversation import Command, Move, Opening, Person, Respond, Say, Screen
from relayline.cli.slash import TURNS, as_command
from relayline.messages import Message, ToolCall
from relayline.runtime.requests import (
    AgentReviewRequest,
    FunctionApprovalRequestContent,
    FunctionInfoRequest,
    InterruptedCallRequest,
)
from relayline.runtime.stream import WorkflowEvent

YES = ("yes", "y")
NO = ("no", "n")
AGAIN = ("again", "r")


class PlainScreen(Screen):
    """What is said and done goes to ``out``, all that is about the program itself to ``aside``; each line at once."""

    def __init__(self, out: TextIO, aside: TextIO) -> None:
        self._out = out
        self._aside = aside
        self._calls: dict[str, ToolCall] = {}

    def open(self, opening: Opening) -> None:
        team = ", ".join(one_line(agent.name) for agent in opening.workflow.agents)
        self.tell(f"team {one_line(opening.workflow.name)}: {team}")
        self.tell(opening.about)
        session = one_line(opening.session_id)
        self.tell(f"new session {session}" if opening.is_new else f"session {session} (continued)")

    def recap(self, messages: Sequence[Message]) -> None:
        """Nothing: whoever reads this has read it."""

    def show(self, event: WorkflowEvent) -> None:
        match event.type:
            case "message" if event.data.role == "assistant":
                self._calls.update((call.id, call) for call in event.data.tool_calls)
                if event.data.text.strip():
                    self._say(event.executor_id, event.data.text)
            case "tool_call":
                self._calls[event.data.id] = event.data
            case "tool_result" if event.data.outcome != "transferred":
                call = self._calls.get(event.data.call_id)
                what = written(call) if call else f"{one_line(event.data.name)}(...)"
                self._line(f"   {what} = {outcome(event.data)}")
            case "handoff_sent":
                why = f" ({one_line(event.data.reason)})" if event.data.reason else ""
                self._line(f"-- {one_line(event.data.source)} -> {one_line(event.data.target)}{why}")
            case "handed_back":
                why = one_line(event.data.reason) or "done"
                self._line(f"-- {one_line(event.data.source)} -> {one_line(event.data.target)} ({why})")
            case "progress":
                self._line(f"   ... {shown(event.data)}")
            case "stopped":
                spent = f"the budget of {event.data.budget} is used up, {event.data.message}"
                self._line(f"?? stopped: {spent} (/continue, or a new message)")
            case "cancelled":
                self._line("?? cancelled (/continue, or a new message)")
            case "warning":
                self.tell(f"warning: {event.data.message}")
            case _:
                pass

    def ask(self, request: WorkflowEvent) -> None:
        """Put a request, to be answered by the next line."""
        data: object = request.data
        if isinstance(data, FunctionApprovalRequestContent):
            how = "may it run? yes, or no REASON"
        else:
            why = isinstance(data, InterruptedCallRequest) and one_line(data.problem)
            cut_off = "it was interrupted, and may have taken effect" + (
                f"; its tool could not say: {why}" if why else ""
            )
            how = f"{cut_off}: again (r), or SAY WHAT IT DID"
        if isinstance(data, FunctionApprovalRequestContent | InterruptedCallRequest):
            self._line(f"?? {one_line(request.executor_id)}: {written(data.function_call)} ({how})")

    def ask_later(self, request: WorkflowEvent) -> None:
        """Put a request, to be answered under its id."""
        data: object = request.data
        match data:
            case FunctionApprovalRequestContent() | InterruptedCallRequest():
                what = written(data.function_call)
            case FunctionInfoRequest():
                what = one_line(json.dumps(data.data, ensure_ascii=False))
            case AgentReviewRequest():
                what = "is done, and waits for a review"
            case _:
                what = "your turn"
        self._line(f"?? {one_line(request.executor_id)}: {what} ({one_line(request.request_id)})")

    def ask_turn(self, request: WorkflowEvent, colleagues: Sequence[str]) -> None:
        """Give the conversation to a person of the team."""
        ways = ", ".join([*(f"/handoff {one_line(name)}" for name in colleagues), "/back"])
        self._line(f"?? {one_line(request.executor_id)}: your turn (SAY SOMETHING, or {ways})")

    def tell(self, text: str) -> None:
        for line in clean(text).split("\n"):
            print(line, file=self._aside, flush=True)

    def problem(self, text: str) -> None:
        self.tell(f"relayline: {text}")

    def close(self, opening: Opening, *, started: bool) -> None:
        if started:
            self.tell(f"resume with: {opening.resume}")

    def _say(self, name: str, text: str) -> None:
        for line in clean(text).strip("\n").split("\n"):
            self._line(f"{one_line(name)}: {line}")

    def _line(self, line: str) -> None:
        print(line, file=self._out, flush=True)


class PipedPerson(Person):
    """Reads a message per line, or an answer where one is wanted. ``misread``: an answer was none."""

    patient = False

    def __init__(self, lines: TextIO, screen: PlainScreen) -> None:
        self.misread = False
        self._lines = lines
        self._screen = screen

    async def say(self) -> Move:
        line = self._read()
        if line == "/continue":
            return Command("continue")
        return None if line is None else Say(line)

    async def take_turn(self, request: WorkflowEvent, colleagues: Sequence[str], problem: str) -> Move:
        if problem:
            self.misread = True
            self._screen.problem(problem)
        self._screen.ask_turn(request, colleagues)
        line = self._read()
        if line is None:
            return None
        command = as_command(line) if line.startswith("/") else None
        return command if command and command.name in TURNS else Say(line)

    async def decide(self, request: WorkflowEvent, problem: str) -> Move:
        self._screen.ask(request)
        while line := self._read():
            problem, move = _answer(request.data, line)
            if move is not None:
                return move
            self.misread = True
            self._screen.problem(f"{line!r} is no answer: {problem}; the request stays open")
        return None

    def waiting(self, stop: Callable[[], object]) -> AbstractContextManager[object]:
        return nullcontext()

    def _read(self) -> str | None:
        """The next line with something on it; None at the end."""
        # Blocking is right here, as nothing else goes on meanwhile; but then asyncio's own handler for Ctrl-C, which
        # waits for the loop to move, would never get to act.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError  # it came a moment before, and nobody would hear of it while we wait
            while line := self._lines.readline():
                if said := clean(line).strip():
                    return said
        finally:
            signal.signal(signal.SIGINT, before or signal.SIG_DFL)
        return None


def _answer(request: object, line: str) -> tuple[str, Move]:
    """The answer a line is; or what it should have been, and None."""
    word, _, reason = line.partition(" ")
    if isinstance(request, InterruptedCallRequest):
        if line.lower() in AGAIN:
            return "", Respond(request.run_again())
        told = None if line.lower() in (*YES, *NO) else Respond(request.create_response(line))
        return "write `again`, or a sentence that says what the call did", told
    if word.lower() in NO:
        return "", Respond(FunctionApprovalRequestContent.create_response(approved=False, reason=reason.strip()))
    approved = Respond(FunctionApprovalRequestContent.create_response(approved=True)) if line.lower() in YES else None
    return "write `yes`, or `no` and a reason", approved
