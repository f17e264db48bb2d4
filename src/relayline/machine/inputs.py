"""What the world tells the machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from relayline.events import Spent, Transfer
from relayline.messages import JSON, Message, Text, ToolCall


@dataclass(frozen=True, slots=True)
class UserSaid:
    """A message that answers no request by name.

    It answers an agent's open question, withdraws every other request and interrupts what was going on. ``to``: the
    agent that takes it, instead of whom the pattern would choose. ``values``: what the team's common state is told
    first.
    """

    message: Message
    to: str = ""
    values: Mapping[str, JSON] = field(default_factory=dict[str, JSON])


@dataclass(frozen=True, slots=True)
class Words:
    """The user's answer to an agent that waits for one. ``messages``: at least one."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Terminate:
    """The person ends the conversation."""


@dataclass(frozen=True, slots=True)
class Approval:
    """Permission for a call, or its refusal, ``by`` whom. ``arguments``: JSON text to run the tool with instead of the
    model's.
    """

    approved: bool
    reason: str = ""
    arguments: str | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class OutcomeTold:
    """What became of an interrupted call: ``result`` as a person found it, or None to run it again."""

    result: str | None
    by: str = ""


@dataclass(frozen=True, slots=True)
class Turned:
    """A participant who is a person takes their turn: says ``text``, or hands over ``to`` a colleague, or both.

    ``back``: to whoever handed over to them.
    """

    text: str = ""
    to: str = ""
    back: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What a function wanted to know, ``by`` whom."""

    value: JSON
    by: str = ""


Response: TypeAlias = Words | Terminate | Approval | OutcomeTold | Turned | Told


@dataclass(frozen=True, slots=True)
class Answer:
    """A response to one request, by its local id."""

    request: str
    response: Response


@dataclass(frozen=True, slots=True)
class ModelReplied:
    """A model's reply. ``problems``: what is wrong with calls that cannot run as written, by position among the
    calls. ``shut``: the names of handoffs that did not exist when it was asked. ``unfit``: why it is not the output it
    has to be, if it is not.
    """

    effect: str
    parts: tuple[Text | ToolCall, ...]
    problems: Mapping[int, str] = field(default_factory=dict[int, str])
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    metadata: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    native: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    cached_tokens: int = 0
    shut: frozenset[str] = frozenset()
    unfit: str = ""


@dataclass(frozen=True, slots=True)
class ToolDone:
    """A tool returned or raised. ``values``, ``removed``: what it did to the team's common state. ``transfer``: the
    handoff it wants.
    """

    effect: str
    content: str
    outcome: Literal["done", "error"] = "done"
    values: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    removed: tuple[str, ...] = ()
    transfer: Transfer | None = None


@dataclass(frozen=True, slots=True)
class Wondered:
    """A function wants to know something before it can go on. ``data``: what it shows; ``schema``: the JSON Schema of
    the answer. ``unfit``: why the answer it was given last is none.
    """

    effect: str
    data: JSON
    schema: JSON = None
    unfit: str = ""


@dataclass(frozen=True, slots=True)
class OutcomeFound:
    """A tool's own hook was asked what became of a call.

    ``done``: what it did, as the tool would have returned it; None: it took no effect, and none will come of that
    attempt. ``problem``: why it could not say.
    """

    effect: str
    done: ToolDone | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """The conditions answered: is the conversation over, and where do the guarded ``ways`` on that are open lead?"""

    effect: str
    stop: bool
    ways: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Summary:
    """What was said before an agent got the conversation, in a model's words; its reply is still wanted.

    ``upto``: how many items of the conversation it stands for.
    """

    effect: str
    agent: str
    upto: int
    text: str
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class EffectFailed:
    """An effect could not be had. ``error``: the name of the exception's class; ``cause``: itself, for this process.

    ``model``: whether it was a model that failed, and not what the team's own code or settings got wrong.
    """

    effect: str
    error: str
    message: str
    cause: BaseException | None = field(default=None, compare=False)
    model: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """A run of ``session`` begins, with the team as it is now.

    Before anything else, so that all else is decided on what the session has become.
    """

    session: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """Whoever had this session's effects in flight is gone; somebody takes it up again."""


@dataclass(frozen=True, slots=True)
class Expired:
    """Nobody answered this request, by its local id, in time."""

    request: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Somebody does not want what is going on."""


@dataclass(frozen=True, slots=True)
class OutOfBudget:
    """A budget ran out that somebody else counts: of seconds, or of money."""

    budget: Spent
    message: str


@dataclass(frozen=True, slots=True)
class Entered:
    """The team has a turn in another: whoever is to begin does, on the conversation as it stands. ``note``: what it is
    told, if the team was handed something.
    """

    note: str = ""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The turn of the team ends as it is: nothing is left open."""


@dataclass(frozen=True, slots=True)
class FromTeam:
    """What the world tells the team that has ``turn``."""

    turn: int
    given: "Input"


Input: TypeAlias = (
    UserSaid
    | Answer
    | ModelReplied
    | Summary
    | ToolDone
    | Wondered
    | OutcomeFound
    | Judged
    | EffectFailed
    | Opened
    | Resumed
    | Expired
    | Cancel
    | OutOfBudget
    | Entered
    | Interrupted
    | FromTeam
)


def told(given: Input) -> Input:
    """What is told, to whatever team of teams."""
    while isinstance(given, FromTeam):
        given = given.given
    return given
