"""What a person is asked, and what counts as an answer."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import UnionType
from typing import Any, TypeAlias, cast

from pydantic_core import to_json

from relayline.errors import UsageError
from relayline.events import Ask, Asked
from relayline.journal.codec import checked
from relayline.machine.inputs import Approval, OutcomeTold, Response, Terminate, Told, Turned, Words
from relayline.machine.lanes import sight
from relayline.machine.state import State
from relayline.machine.view import view
from relayline.messages import JSON, Media, Message, Text, ToolCall, user, valid


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
    def create_response(
        approved: bool, reason: str = "", arguments: Mapping[str, JSON] | None = None, by: str = ""
    ) -> Response:
        """Allow the call or refuse it.

        The agent's model reads the ``reason`` of a refusal. ``arguments`` replace the model's and are checked like
        them. ``by``: who decided, for the record.
        """
        edited = None if arguments is None else valid(json.dumps(arguments, ensure_ascii=False))
        return Approval(approved, valid(reason), edited, valid(by))


@dataclass(frozen=True, slots=True)
class InterruptedCallRequest:
    """A tool was running when its process ended, and running it again might do harm. What became of it?

    A plain string (what it did, as found out) answers it too. ``problem``: why the tool's own hook could not say.
    """

    function_call: ToolCall
    problem: str = ""

    @staticmethod
    def create_response(result: str, by: str = "") -> Response:
        """What the call did: the agent's model reads this as the tool's result. ``by``: who found out."""
        return OutcomeTold(valid(result), valid(by))

    @staticmethod
    def run_again(by: str = "") -> Response:
        """Run the call again, with the same idempotency key. ``by``: who says so, for the record."""
        return OutcomeTold(None, valid(by))


@dataclass(frozen=True, slots=True)
class HumanTurnRequest:
    """It is the turn of a participant who is a person. A plain string, what they say, answers it too.

    ``messages``: the conversation as they see it, oldest first. ``handoffs``: the colleagues they may hand over to.
    """

    agent: str
    messages: tuple[Message, ...]
    handoffs: tuple[str, ...] = ()

    @staticmethod
    def create_response(text: str = "", handoff_to: str = "") -> Response:
        """What they say, and the colleague they hand over to; one of the two is enough."""
        return _turned(text, to=handoff_to)

    @staticmethod
    def hand_back(text: str = "") -> Response:
        """Give the conversation back to whoever handed it over, with a last word if they like."""
        return _turned(text, back=True)

    @staticmethod
    def terminate() -> Response:
        """End the conversation instead."""
        return Terminate()


@dataclass(frozen=True, slots=True)
class AgentReviewRequest:
    """An agent is done, and what it said goes no further before somebody has looked at it.

    ``True`` lets it go on; a plain string, a `Message` or a list of them says what to change, and the agent speaks
    again.
    """

    agent_response: AgentResponse

    @staticmethod
    def approve(by: str = "") -> Response:
        """Let it go on. ``by``: who says so, for the record."""
        return Approval(True, by=valid(by))

    @staticmethod
    def create_response(feedback: str | Message | Sequence[str | Message]) -> Response:
        """What the agent should do otherwise."""
        return _words(feedback)

    @staticmethod
    def terminate() -> Response:
        """End the conversation instead."""
        return Terminate()


@dataclass(frozen=True, slots=True)
class FunctionInfoRequest:
    """A function wants to know something before it can go on. A value that is JSON answers it too.

    ``data``: what the function shows. ``schema``: the JSON Schema of the answer.
    """

    function: str
    data: JSON
    schema: JSON = None

    @staticmethod
    def create_response(value: Any, by: str = "") -> Response:
        """The answer: JSON, or a value that pydantic makes JSON of. ``by``: who gives it, for the record."""
        return _told(value, by)

    @staticmethod
    def terminate() -> Response:
        """End the conversation instead."""
        return Terminate()


RequestData: TypeAlias = (
    HandoffAgentUserRequest
    | FunctionApprovalRequestContent
    | InterruptedCallRequest
    | HumanTurnRequest
    | AgentReviewRequest
    | FunctionInfoRequest
)


def request_data(asked: Asked, state: State) -> RequestData:
    """What the one who is asked gets to see."""
    state = sight(state, asked.turn)
    if asked.ask == "reply":
        return HumanTurnRequest(asked.agent, tuple(view(state.spoken, asked.agent)), asked.ways)
    if asked.ask == "review":
        return AgentReviewRequest(AgentResponse(asked.agent, _last_words(state, asked.agent)))
    if asked.ask == "info":
        return FunctionInfoRequest(asked.agent, copy.deepcopy(asked.data), copy.deepcopy(asked.schema))
    if asked.call is None:
        return HandoffAgentUserRequest(AgentResponse(asked.agent, _last_words(state, asked.agent)))
    if asked.ask == "approval":
        return FunctionApprovalRequestContent(asked.call)
    return InterruptedCallRequest(asked.call, asked.note)


def _last_words(state: State, agent: str) -> tuple[Message, ...]:
    start = len(state.transcript)
    while start and state.transcript[start - 1].role != "user":
        start -= 1
    return tuple(message for message in state.transcript.since(start) if message.author_name == agent)


ANSWERS: Mapping[Ask, type[Words | Approval | OutcomeTold | Turned | Told] | UnionType] = {
    "user_input": Words,
    "approval": Approval,
    "outcome": OutcomeTold,
    "reply": Turned,
    "review": Approval | Words,
    "info": Told,
}


def as_response(asked: Asked, value: object) -> Response:
    """Take whatever is unambiguous as the answer to ``asked``.

    Raises:
        UsageError: if it is no answer to this kind of request.
    """
    if isinstance(value, (ANSWERS[asked.ask], Terminate)):
        return cast("Response", value)
    if asked.ask == "info":
        return _told(value)
    if asked.ask == "review" and value is True:
        return Approval(True)
    if asked.ask in ("user_input", "review") and isinstance(value, str | Message | list | tuple):
        return _words(cast("str | Message | Sequence[str | Message]", value))
    if asked.ask == "approval" and isinstance(value, bool):
        return Approval(value)
    if asked.ask == "outcome" and isinstance(value, str):
        return OutcomeTold(valid(value))
    if asked.ask == "reply" and isinstance(value, str):
        return _turned(value)
    takes = {
        "user_input": "a str, a Message, a list of them, or request.data.create_response(...) or .terminate()",
        "approval": "True, False, or request.data.create_response(approved=..., reason=..., arguments=...)",
        "outcome": "a str that says what the call did, or request.data.run_again()",
        "reply": "a str, or request.data.create_response(text, handoff_to=...), .hand_back(...) or .terminate()",
        "review": "True, or a str, a Message or a list of them that say what to change",
    }
    raise UsageError(f"request {asked.request!r} is answered with {takes[asked.ask]}; got {value!r}")


def _turned(text: str, to: str = "", *, back: bool = False) -> Response:
    if not (text.strip() or to or back):
        raise UsageError("the reply is empty; say something, hand over, or hand back")
    return Turned(valid(text), to, back)


def _told(value: object, by: str = "") -> Response:
    try:
        plain = json.loads(to_json(value))
        checked({"value": plain})
    except (ValueError, TypeError) as error:
        raise UsageError(f"the answer is JSON, or what pydantic makes JSON of; got {value!r:.80}: {error}") from None
    return Told(plain, valid(by))


def _words(answer: str | Message | Sequence[str | Message]) -> Response:
    several: Sequence[Any] = [answer] if isinstance(answer, str | Message) else answer
    if not several:
        raise UsageError("an answer holds at least one message; .terminate() ends the conversation")
    return Words(tuple(user_message(each) for each in several))


def user_message(value: object) -> Message:
    """A user's message from a string or a message.

    Raises:
        UsageError: if it says and shows nothing, is not the user's, or is not valid Unicode or base64.
    """
    message = user(value) if isinstance(value, str) else value
    if not isinstance(message, Message):
        raise UsageError(f"a message is a str or a Message; got {value!r}")
    if message.role != "user":
        raise UsageError(f"a message to a team has role 'user', not {message.role!r}")
    if not all(isinstance(part, Text | Media) for part in message.parts):
        raise UsageError("a message to a team holds text and media; calls and results are the agents' own")
    if problem := next(filter(None, (each.problem() for each in message.media)), None):
        raise UsageError(f"the message cannot be shown to a model: {problem}")
    if not message.media and not message.text.strip():
        raise UsageError("the message is empty; say something, or leave it out to resume")
    try:
        "".join([message.text, message.author_name, *(each.name + each.url for each in message.media)]).encode()
        return replace(message, metadata=checked(message.metadata)) if message.metadata else message
    except UnicodeEncodeError as error:
        raise UsageError(f"the message is not valid Unicode: {error.reason} at character {error.start}") from None
    except ValueError as error:
        raise UsageError(f"the message's metadata cannot be kept: {error}") from None
