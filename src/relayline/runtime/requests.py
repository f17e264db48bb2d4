"""What a person is asked, and what counts as an answer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

from relayline.errors import UsageError
from relayline.events import Ask, Asked
from relayline.journal.codec import checked
from relayline.machine.inputs import Approval, OutcomeTold, Response, Terminate, Words
from relayline.machine.state import State
from relayline.messages import JSON, Message, Text, ToolCall, user, valid


@dataclass(frozen=True, slots=True)
class AgentResponse:
    """What an agent said since the user last spoke, its tool traffic included."""

    agent: str
    messages: tuple[Message, ...]

    @property
    def text(self) -> str:
        return "\n".join(message.text for message in self.messages if message.role == "assistant" and message.text)


@dataclass(frozen=True, slots=True)
class HandoffAgentUserRequest:
    """An agent has spoken and waits for the user. A plain string, a `Message` or a list of them answers it too."""

    agent_response: AgentResponse

    @staticmethod
    def create_response(answer: str | Message | Sequence[str | Message]) -> Response:
        """The user's words."""
        return _words(answer)

    @staticmethod
    def terminate() -> Response:
        """End the conversation instead of answering."""
        return Terminate()


@dataclass(frozen=True, slots=True)
class FunctionApprovalRequestContent:
    """A tool waits for permission. ``True`` and ``False`` answer it too."""

    function_call: ToolCall

    @staticmethod
    def create_response(approved: bool, reason: str = "", arguments: Mapping[str, JSON] | None = None) -> Response:
        """Allow the call or refuse it.

        The agent's model reads the ``reason`` of a refusal. ``arguments`` replace the model's and are checked like
        them.
        """
        edited = None if arguments is None else valid(json.dumps(arguments, ensure_ascii=False))
        return Approval(approved, valid(reason), edited)


@dataclass(frozen=True, slots=True)
class InterruptedCallRequest:
    """A tool was running when its process ended, and running it again might do harm. What became of it?

    A plain string (what it did, as found out) answers it too.
    """

    function_call: ToolCall

    @staticmethod
    def create_response(result: str) -> Response:
        """What the call did: the agent's model reads this as the tool's result."""
        return OutcomeTold(valid(result))

    @staticmethod
    def run_again() -> Response:
        """Run the call again, with the same idempotency key."""
        return OutcomeTold(None)


RequestData: TypeAlias = HandoffAgentUserRequest | FunctionApprovalRequestContent | InterruptedCallRequest


def request_data(asked: Asked, state: State) -> RequestData:
    """What the one who is asked gets to see."""
    if asked.call is None:
        return HandoffAgentUserRequest(AgentResponse(asked.agent, _last_words(state, asked.agent)))
    kind = FunctionApprovalRequestContent if asked.ask == "approval" else InterruptedCallRequest
    return kind(asked.call)


def _last_words(state: State, agent: str) -> tuple[Message, ...]:
    start = len(state.transcript)
    while start and state.transcript[start - 1].role != "user":
        start -= 1
    return tuple(message for message in state.transcript.since(start) if message.author_name == agent)


ANSWERS: Mapping[Ask, type[Words | Approval | OutcomeTold]] = {
    "user_input": Words,
    "approval": Approval,
    "outcome": OutcomeTold,
}


def as_response(asked: Asked, value: object) -> Response:
    """Take whatever is unambiguous as the answer to ``asked``.

    Raises:
        UsageError: if it is no answer to this kind of request.
    """
    if isinstance(value, (ANSWERS[asked.ask], Terminate)):
        return value
    if asked.ask == "user_input" and isinstance(value, str | Message | list | tuple):
        return _words(cast("str | Message | Sequence[str | Message]", value))
    if asked.ask == "approval" and isinstance(value, bool):
        return Approval(value)
    if asked.ask == "outcome" and isinstance(value, str):
        return OutcomeTold(valid(value))
    takes = {
        "user_input": "a str, a Message, a list of them, or request.data.create_response(...) or .terminate()",
        "approval": "True, False, or request.data.create_response(approved=..., reason=..., arguments=...)",
        "outcome": "a str that says what the call did, or request.data.run_again()",
    }
    raise UsageError(f"request {asked.request!r} is answered with {takes[asked.ask]}; got {value!r}")


def _words(answer: str | Message | Sequence[str | Message]) -> Response:
    several: Sequence[Any] = [answer] if isinstance(answer, str | Message) else answer
    if not several:
        raise UsageError("an answer holds at least one message; .terminate() ends the conversation")
    return Words(tuple(user_message(each) for each in several))


def user_message(value: object) -> Message:
    """A user's message from a string or a message.

    Raises:
        UsageError: if it says nothing, is not the user's, or is not valid Unicode.
    """
    message = user(value) if isinstance(value, str) else value
    if not isinstance(message, Message):
        raise UsageError(f"a message is a str or a Message; got {value!r}")
    if message.role != "user":
        raise UsageError(f"a message to a team has role 'user', not {message.role!r}")
    if not all(isinstance(part, Text) for part in message.parts):
        raise UsageError("a message to a team holds text; calls and results are the agents' own")
    if not message.text.strip():
        raise UsageError("the message is empty; say something, or leave it out to resume")
    try:
        (message.text + message.author_name).encode()
        return replace(message, metadata=checked(message.metadata))
    except UnicodeEncodeError as error:
        raise UsageError(f"the message is not valid Unicode: {error.reason} at character {error.start}") from None
    except ValueError as error:
        raise UsageError(f"the message's metadata cannot be kept: {error}") from None
