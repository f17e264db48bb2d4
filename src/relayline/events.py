"""Facts: what happened in a session, in the past tense, each one line of its journal.

Facts are a public, durable format: every release reads the facts of every earlier one. A field may be added with a
default that means "as before"; nothing is ever renamed, removed or given another meaning. Fields at their default are
left out of the journal, so a default is a part of the format as well.

Ids are local to the session (turn 3 is ``3``, its second model call ``t3-s2``, the first tool call of that reply
``t3-s2-c0``, the fourth request ``r4``): a fork of a session needs no rewriting. In the team
that has turn 3, the second model call of its first turn is ``t3w1-s2``: there is one conversation, and no two calls in
it are called alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from relayline.messages import JSON, Message, ToolCall, ToolResult

Ask: TypeAlias = Literal["user_input", "approval", "outcome", "reply", "review", "info"]
"""What a person is asked for.

``user_input``: an agent waits for the user. ``approval``: a tool waits for permission. ``outcome``: a tool was
interrupted, must not simply be run again, and a person is asked what became of it. ``reply``: the conversation is with
a participant who is a person, whose turn it is. ``review``: an agent is done, and a person looks at what it said before
the next one begins. ``info``: a function needs to know something.
"""

Settled: TypeAlias = Literal["replied", "terminated", "approved", "refused", "told", "rerun", "withdrawn", "expired"]
"""How a request ended.

``told``: a person said what the interrupted tool did. ``rerun``: a person said to run it again.
``withdrawn``: the user went on without answering, or the answer came by itself. ``expired``: nobody answered in time.
"""

Ending: TypeAlias = Literal["terminal", "terminated", "condition", "stopped", "expired"]
"""Why a conversation is finished.

``terminal``: a terminal agent was done. ``terminated``: a person ended it. ``condition``: its termination condition
held. ``stopped``: a limit was reached whose policy is to stop; the warning before it says which. ``expired``: nobody
answered an agent's question in time.
"""

Spent: TypeAlias = Literal["turns", "tokens", "seconds", "money"]
"""What there was a budget of."""


@dataclass(frozen=True, slots=True)
class Roster:
    """A team as far as its conversations depend on it.

    ``agents``: each with its tools in a line: ``pay!`` asks a person first, ``find*`` may be repeated, ``post?`` can
    say what became of a call; ``@`` is a person. ``edges``: by source and target the terms of the handoff; an empty
    name is everybody else. ``start``: who begins; empty: the first. Of what is long there is ``#`` and a digest.
    ``teams``: of the agents that are teams, what each of these is.
    """

    agents: Mapping[str, str]
    edges: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    start: str = ""
    teams: Mapping[str, "Roster"] = field(default_factory=dict[str, "Roster"])

    def __hash__(self) -> int:
        return hash((tuple(self.agents.items()), self.start))


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """Always the first fact. ``fingerprint`` changes when what is in the ``roster`` of the team does."""

    workflow: str
    fingerprint: str
    roster: Roster | None = None
    type: Literal["session_started"] = "session_started"


@dataclass(frozen=True, slots=True)
class UserSpoke:
    """The user said something, unasked or in answer to a request. ``to``: the agent that must take it, if one was
    named.
    """

    message: Message
    to: str = ""
    type: Literal["user_spoke"] = "user_spoke"


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """``agent`` has the conversation now. Turns count from 1.

    ``after``: the turns it goes on from, in declared order, where that is not simply the one before. ``apart``: others
    may have theirs at the same time, so what is said in it joins the conversation later. ``key``: what its ids begin
    with, where its number depends on who was faster.
    """

    turn: int
    agent: str
    after: tuple[int, ...] = ()
    apart: bool = False
    key: str = ""
    type: Literal["turn_started"] = "turn_started"


@dataclass(frozen=True, slots=True)
class Replied:
    """A model answered, with words, calls or both. ``cached_tokens``: those of ``input_tokens`` that a cache had."""

    turn: int
    message: Message
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    type: Literal["replied"] = "replied"


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool may run from here on: the intent, on record before the effect.

    ``call`` holds the arguments it runs with, which a person may have edited.
    """

    turn: int
    call: ToolCall
    type: Literal["tool_started"] = "tool_started"


@dataclass(frozen=True, slots=True)
class ToolInterrupted:
    """A tool was found started and without a result; its own hook is asked what became of the call ``call_id``."""

    turn: int
    call_id: str
    type: Literal["tool_interrupted"] = "tool_interrupted"


@dataclass(frozen=True, slots=True)
class ToolReconciled:
    """The hook of an interrupted tool said whether the call ``call_id`` took effect.

    ``done``: it did, and its result comes next; else the call is started again, with the same key.
    """

    turn: int
    call_id: str
    done: bool
    type: Literal["tool_reconciled"] = "tool_reconciled"


@dataclass(frozen=True, slots=True)
class Transfer:
    """A tool asks for a handoff by the agent that called it."""

    target: str
    reason: str = ""
    payload: JSON = None


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """A call got its one and only result. ``transfer``: where the tool wants the conversation to go."""

    turn: int
    result: ToolResult
    transfer: Transfer | None = None
    type: Literal["tool_returned"] = "tool_returned"


@dataclass(frozen=True, slots=True)
class StateChanged:
    """What the team keeps in common changed: ``values`` were set and ``removed`` deleted, by the tool call ``call_id``
    or, if that is empty, by the caller of the run.
    """

    values: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    removed: tuple[str, ...] = ()
    call_id: str = ""
    type: Literal["state_changed"] = "state_changed"


@dataclass(frozen=True, slots=True)
class HandoffSent:
    """The conversation went from one agent to another along a declared edge.

    ``payload``: what the source's model handed on, if the edge declares it. ``returns``: who is next once the target is
    done: the target itself (``stay``), the source (``caller``) or the start agent (``start``).
    """

    turn: int
    source: str
    target: str
    reason: str = ""
    payload: JSON = None
    returns: Literal["stay", "caller", "start"] = "stay"
    type: Literal["handoff_sent"] = "handoff_sent"


@dataclass(frozen=True, slots=True)
class HandedBack:
    """An agent was done, and the conversation went back to the one that had handed over to it."""

    turn: int
    source: str
    target: str
    reason: str = ""
    type: Literal["handed_back"] = "handed_back"


@dataclass(frozen=True, slots=True)
class Prompted:
    """The team told an agent something: to go on by itself, say. Only that agent sees it; it is no part of the
    transcript. ``code``: what was wrong with its reply, as in a warning; ``go_on``: nobody spoke since it did;
    ``handed_over``: what its team was handed; empty: it goes on by itself.
    """

    turn: int
    agent: str
    text: str
    code: str = ""
    type: Literal["prompted"] = "prompted"


@dataclass(frozen=True, slots=True)
class Summarised:
    """What went on before ``agent`` got the conversation, in a model's words, for that agent only.

    ``upto``: how many messages and notes of the conversation it stands for, the oldest first.
    """

    agent: str
    upto: int
    text: str
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    type: Literal["summarised"] = "summarised"


@dataclass(frozen=True, slots=True)
class Warned:
    """Something went on that should be looked at. ``code`` is stable, ``message`` is for people."""

    code: str
    message: str
    agent: str = ""
    type: Literal["warned"] = "warned"


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """``agent`` gave the conversation up: finished, handed over, or interrupted. ``failed``: why it came to nothing,
    where the others go on without it.
    """

    turn: int
    agent: str
    failed: str = ""
    type: Literal["turn_ended"] = "turn_ended"


@dataclass(frozen=True, slots=True)
class Routed:
    """What a turn came to while others go on: ``held`` names who waits for it, and for others beside it."""

    turn: int
    held: tuple[str, ...] = ()
    type: Literal["routed"] = "routed"


@dataclass(frozen=True, slots=True)
class Joined:
    """What was said in these turns, apart until now, is part of the conversation from here on, in this order."""

    turns: tuple[int, ...]
    type: Literal["joined"] = "joined"


@dataclass(frozen=True, slots=True)
class Asked:
    """A person is asked. ``call`` is the tool call in question, if there is one; ``ways``: whom a participant who is a
    person may hand over to. ``note``: why the tool could not say itself what became of the call. ``data``: what a
    function shows, ``schema``: the JSON Schema of what it wants to know.
    """

    request: str
    ask: Ask
    turn: int
    agent: str
    call: ToolCall | None = None
    ways: tuple[str, ...] = ()
    note: str = ""
    data: JSON = None
    schema: JSON = None
    type: Literal["asked"] = "asked"


@dataclass(frozen=True, slots=True)
class Answered:
    """A request ended. ``note`` is the reason a person gave, or what they say the tool did; ``by`` is who they said
    they are; ``value`` what a function wanted to know.
    """

    request: str
    settled: Settled
    note: str = ""
    by: str = ""
    value: JSON = None
    type: Literal["answered"] = "answered"


@dataclass(frozen=True, slots=True)
class Failed:
    """An effect could not be had; the session rests until it is retried or the user says something else."""

    effect: str
    agent: str
    error: str
    message: str
    type: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class Retried:
    """What failed is wanted again; ``effect`` is empty where it was not a failure but a budget that ran out."""

    effect: str
    type: Literal["retried"] = "retried"


@dataclass(frozen=True, slots=True)
class Stopped:
    """A budget ran out. The session rests as it is until it is run again, or the user says something else."""

    budget: Spent
    message: str
    type: Literal["stopped"] = "stopped"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody stopped what was going on. The session rests as it is until it is run again, or the user says something
    else.
    """

    type: Literal["cancelled"] = "cancelled"


@dataclass(frozen=True, slots=True)
class Finished:
    """The conversation reached an end. A later message takes it up again."""

    reason: Ending
    type: Literal["finished"] = "finished"


@dataclass(frozen=True, slots=True)
class Forked:
    """This session is a branch: all before this it has in common with the first ``upto`` facts of ``session``."""

    session: str
    upto: int
    type: Literal["forked"] = "forked"


@dataclass(frozen=True, slots=True)
class Compacted:
    """The first ``upto`` facts were forgotten; this stands for what has to be known of them.

    Only ever the first entry of a journal, numbered ``upto``; what comes next is a user's message. ``turns``,
    ``asked``, ``items``: how many there were, the last being messages and notes of the conversation. ``speaker``,
    ``callers``, ``sticky``, ``arrivals``: whose the conversation was, who waited to get it back, whether the speaker
    keeps it, and the handoff by which each agent last got it. ``shared``: what the team kept in common. ``summaries``:
    what agents were told of the conversation. ``teams``: the same of each team within the team, as it was left.
    """

    upto: int
    workflow: str
    fingerprint: str
    turns: int = 0
    asked: int = 0
    speaker: str = ""
    callers: tuple[str, ...] = ()
    sticky: bool = True
    arrivals: tuple[HandoffSent, ...] = ()
    shared: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    summaries: tuple[Summarised, ...] = ()
    items: int = 0
    roster: Roster | None = None
    teams: Mapping[str, "Compacted"] = field(default_factory=dict[str, "Compacted"])
    type: Literal["compacted"] = "compacted"


@dataclass(frozen=True, slots=True)
class TeamChanged:
    """The session goes on with a team that is not as it was; all after this was written under the ``roster``.

    ``renamed``, ``renamed_tools``: what was called otherwise before, old name to new. From here on it is as if it had
    always been called so.
    """

    fingerprint: str
    roster: Roster | None = None
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])
    renamed_tools: Mapping[str, str] = field(default_factory=dict[str, str])
    type: Literal["team_changed"] = "team_changed"


@dataclass(frozen=True, slots=True)
class Within:
    """Something happened in the team that has this turn. Its turns and requests count for themselves."""

    turn: int
    fact: "Fact"
    type: Literal["within"] = "within"


Fact: TypeAlias = (
    SessionStarted
    | UserSpoke
    | TurnStarted
    | Replied
    | ToolStarted
    | ToolInterrupted
    | ToolReconciled
    | ToolReturned
    | StateChanged
    | HandoffSent
    | HandedBack
    | Prompted
    | Summarised
    | Warned
    | TurnEnded
    | Routed
    | Joined
    | Asked
    | Answered
    | Failed
    | Retried
    | Stopped
    | Cancelled
    | Finished
    | Forked
    | Compacted
    | TeamChanged
    | Within
)


def innermost(fact: Fact) -> Fact:
    """What happened, in whatever team of teams."""
    return placed(fact)[1]


def placed(fact: Fact) -> tuple[str, Fact]:
    """The fact at the bottom, and where it was taken: ``t3.`` in the team that has turn 3. Ids of requests begin so."""
    place = ""
    while isinstance(fact, Within):
        place, fact = f"{place}t{fact.turn}.", fact.fact
    return place, fact


class Entry(NamedTuple):
    """A fact in its journal. ``seq`` counts from 1, or from where it was compacted, without gaps; ``at`` is when the
    store took it, in UTC.
    """

    seq: int
    at: datetime
    fact: Fact
