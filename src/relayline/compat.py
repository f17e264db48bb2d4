"""Older spellings of the pattern, as programs for Microsoft Agent Framework were written in them.

Such a program runs with its imports changed to this module and its client to ``ChatClient(any client of ours)``. What
each name is now, and what behaves differently, is in docs/coming-from-agent-framework.md. Nothing imports this file.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from enum import StrEnum
from typing import Any, Literal, Self, TypeVar, cast

from relayline import agent, builders, workflow
from relayline.agent import Agent, Named, Participant
from relayline.errors import BuildError
from relayline.journal.checkpoints import Checkpoint
from relayline.journal.file import FileCheckpointStorage
from relayline.journal.store import InMemoryCheckpointStorage
from relayline.machine.inputs import Response
from relayline.messages import JSON, Message, Part, Text
from relayline.runtime.requests import (
    AgentResponse,
    FunctionApprovalRequestContent,
    HandoffAgentUserRequest,
    InterruptedCallRequest,
)
from relayline.runtime.run import Run
from relayline.runtime.stream import (
    AgentRunUpdateEvent,
    ExecutorCompletedEvent,
    ExecutorFailedEvent,
    ExecutorInvokedEvent,
    HandoffSentEvent,
    RequestInfoEvent,
    RunResult,
    WorkflowEvent,
    WorkflowFailedEvent,
    WorkflowOutputEvent,
    WorkflowRunState,
    WorkflowStartedEvent,
    WorkflowStatusEvent,
)
from relayline.tools import Tool, tool

__all__ = [
    "Agent",
    "AgentRunUpdateEvent",
    "ChatAgent",
    "ChatClient",
    "ChatMessage",
    "Checkpoint",
    "ExecutorCompletedEvent",
    "ExecutorFailedEvent",
    "ExecutorInvokedEvent",
    "FileCheckpointStorage",
    "FunctionApprovalRequestContent",
    "HandoffAgentUserRequest",
    "HandoffBuilder",
    "HandoffSentEvent",
    "InMemoryCheckpointStorage",
    "InterruptedCallRequest",
    "RequestInfoEvent",
    "Role",
    "TextContent",
    "Workflow",
    "WorkflowEvent",
    "WorkflowFailedEvent",
    "WorkflowOutputEvent",
    "WorkflowRunState",
    "WorkflowStartedEvent",
    "WorkflowStatusEvent",
    "ai_function",
    "tool",
]

E = TypeVar("E", bound=WorkflowEvent)

ai_function = tool


class Role(StrEnum):
    """Whose a message is: ``msg.role == Role.ASSISTANT``, ``msg.role.value``."""

    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class TextContent(str):
    """Words in ``message.contents``: the string itself, also as ``.text``."""

    __slots__ = ()

    @property
    def text(self) -> str:
        return str(self)


class ChatMessage(Message):
    """A `Message` with a `Role` and ``contents``. ``ChatMessage(Role.USER, text="...")`` makes one."""

    __slots__ = ()
    role: Role  # pyright: ignore[reportIncompatibleVariableOverride] -- equal to the string it is there

    def __init__(
        self,
        role: Role | str,
        parts: Sequence[Part] = (),
        author_name: str = "",
        metadata: Mapping[str, JSON] | None = None,
        native: Mapping[str, JSON] | None = None,
        *,
        text: str = "",
    ) -> None:
        given = (*parts, Text(text)) if text else tuple(parts)
        super().__init__(cast("Any", Role(role)), given, author_name, metadata or {}, native or {})

    def __str__(self) -> str:
        return self.text

    @property
    def contents(self) -> list[Any]:
        return [TextContent(part.text) if isinstance(part, Text) else part for part in self.parts]


class ChatClient(agent.ChatClient):
    """Any client of ours, or the name of a model, with `create_agent`."""

    def __init__(self, client: agent.ChatClient | str) -> None:
        self.client = agent.as_client(client)
        self.stream = self.client.stream

    def create_agent(
        self,
        *,
        name: str,
        instructions: str = "",
        description: str = "",
        tools: Sequence[Tool | Callable[..., Any]] = (),
    ) -> Agent:
        """An agent that speaks through this client."""
        return ChatAgent(self.client, instructions, name=name, description=description, tools=tools)


def ChatAgent(  # noqa: N802 -- it was a class
    chat_client: agent.ChatClient,
    instructions: str = "",
    *,
    name: str,
    description: str = "",
    tools: Sequence[Tool | Callable[..., Any]] = (),
) -> Agent:
    """An agent that speaks through ``chat_client``."""
    return Agent(name, instructions, description, tools, chat_client)


class HandoffBuilder(builders.HandoffBuilder):
    """Also takes a coordinator and an interaction mode."""

    def __init__(self, *, name: str = "handoff", participants: Sequence[Participant | Agent] = ()) -> None:
        super().__init__(name=name, participants=participants)
        self._coordinator: Named | None = None
        self._mode = "interactive"
        self._follow_ups: bool | None = None

    def set_coordinator(self, agent: Named) -> Self:
        """Who takes a new conversation, and every message of the user. It need not be among the participants.

        Without a handoff of its own it may hand over to everybody.
        """
        self._coordinator = agent
        return self.with_start_agent(agent)

    def with_interaction_mode(self, mode: Literal["autonomous", "interactive", "human_in_loop"]) -> Self:
        """Whether agents go on by themselves (``autonomous``) or ask the user."""
        if mode not in ("autonomous", "interactive", "human_in_loop"):
            raise BuildError(f"interaction mode {mode!r} is neither 'autonomous' nor 'interactive'")
        self._mode = mode
        return self

    def enable_return_to_previous(self, enabled: bool = True) -> Self:
        """Whether the user's next message goes to whoever spoke last, also with a coordinator."""
        self._follow_ups = enabled
        return self.with_return_to_previous(enabled)

    def with_termination_condition(self, condition: Callable[[list[ChatMessage]], bool | Awaitable[bool]]) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """End the conversation when ``condition`` says so. It is given what was said, without calls and results."""
        return super().with_termination_condition(lambda transcript: condition(_said(transcript)))

    @staticmethod
    def terminate() -> Response:
        """A response that ends the conversation."""
        return HandoffAgentUserRequest.terminate()

    def build(self) -> "Workflow":
        if self._mode == "autonomous":
            self.with_autonomous_mode()
        if self._coordinator is not None:
            self._coordinate(self._coordinator)
        built = super().build()
        return Workflow(**{each.name: getattr(built, each.name) for each in fields(built)})

    def _coordinate(self, coordinator: Named) -> None:
        if not isinstance(coordinator, str) and coordinator not in self._participants:
            self.participants([coordinator, *self._participants])
        first = _name(coordinator)
        others = [each for each in self._participants if each.name != first]
        sources = {_name(each.source) for each in self._handoffs}
        if others and first not in sources:
            self.add_handoff(coordinator, others)
        if self._mode != "autonomous":
            # An agent without a way out ends the conversation when it is done; there it asked the user.
            for each in others:
                if each.name not in sources:
                    self.add_handoff(each, coordinator)
        if self._follow_ups is None:
            self.with_return_to_previous(False)


class Workflow(workflow.Workflow):
    """A team and one conversation of it: a run that names no session goes on where the last one was.

    Messages are shown as `ChatMessage`, and an ``output`` is what was said, without calls and results.
    """

    _run: Run | None = None

    def run(
        self,
        message: str | Message | None = None,
        *,
        session_id: str | None = None,
        responses: Mapping[str, Any] | None = None,
        checkpoint_id: str | None = None,
        to: Named | None = None,
        state: Mapping[str, JSON] | None = None,
        stream: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> Run:
        """As `relayline.Workflow.run`."""
        if self._run is not None and session_id is None and responses is None and checkpoint_id is None:
            session_id = self._run.session_id
        run = (
            super()
            .run(
                message,
                session_id=session_id,
                responses=responses,
                checkpoint_id=checkpoint_id,
                to=to,
                state=state,
                stream=stream,
                settings=settings,
            )
            .shown_as(_shown, _result)
        )
        object.__setattr__(self, "_run", run)
        return run

    def run_stream(self, message: str | Message | None = None, *, checkpoint_id: str | None = None) -> Run:
        """``run(message, checkpoint_id=..., stream=True)``."""
        return self.run(message, checkpoint_id=checkpoint_id, stream=True)

    def send_responses_streaming(self, responses: Mapping[str, Any]) -> Run:
        """``run(responses=responses, stream=True)``."""
        return self.run(responses=responses, stream=True)


def _result(result: RunResult) -> RunResult:
    return replace(
        result,
        messages=[_message(each) for each in result.messages],
        conversation=[_message(each) for each in result.conversation],
        requests=[_shown(each) for each in result.requests],
    )


def _name(agent: Named) -> str:
    return agent if isinstance(agent, str) else agent.name


def _message(message: Message) -> ChatMessage:
    return ChatMessage(message.role, message.parts, message.author_name, message.metadata, message.native)


def _said(messages: Iterable[Message]) -> list[ChatMessage]:
    return [_message(each) for each in messages if each.in_words]


def _shown(event: E) -> E:
    match event.type, event.data:
        case "message", message:
            return replace(event, data=_message(message))
        case "output", messages:
            return replace(event, data=_said(messages))
        case "request_info", HandoffAgentUserRequest(AgentResponse(who, messages)):
            return replace(event, data=HandoffAgentUserRequest(AgentResponse(who, tuple(map(_message, messages)))))
        case _:
            return event
