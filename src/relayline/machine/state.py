"""The state of a conversation: the fold of its facts (see `fold`).

Its parts are named tuples, not dataclasses: facts make changed copies, and copying these costs a third.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from relayline.events import (
    Asked,
    Cancelled,
    Failed,
    Finished,
    HandoffSent,
    SessionStarted,
    Stopped,
    Summarised,
    Transfer,
)
from relayline.machine.log import Log
from relayline.machine.names import Spoken
from relayline.messages import JSON, Message, ToolCall, ToolResult


class OpenCall(NamedTuple):
    """A call of the reply that is being worked off.

    ``parked``: a handoff waits for the calls beside it. ``asked``: a person decides whether it runs. ``started``: it
    may be running. ``interrupted``, ``unclear``: it was cut off, and its tool or a person is asked what became of it.
    """

    call: ToolCall
    stage: Literal["parked", "asked", "started", "interrupted", "unclear"] = "parked"
    result: ToolResult | None = None


class Lane(NamedTuple):
    """Where the words of a turn stand while others have theirs beside it.

    ``key``: what the ids of the turn begin with; it does not depend on who was faster. ``level``: how many turns in a
    row led here since the ways parted. ``said``: what was said in it.
    """

    key: str
    level: int = 1
    said: tuple[Spoken, ...] = ()


class Part(NamedTuple):
    """What a turn has to do with others, and with the function that has it.

    ``after``: the turns it goes on from, ``given``: the last words of each. ``answers``: what the function was told so
    far. ``lane``: where the words of the turn stand; None: in the conversation. ``inner``: the session of the team that
    has the turn. ``key``: what its ids begin with, in a team within a team.
    """

    after: tuple[int, ...] = ()
    given: tuple[Message, ...] = ()
    answers: tuple[JSON, ...] = ()
    lane: Lane | None = None
    inner: "State | None" = None
    key: str = ""


ALONE = Part()


class Turn(NamedTuple):
    """One agent's hold on the conversation.

    ``step`` counts its model calls; ``calls`` is empty between them. ``misses``: how many replies in a row came to
    nothing but errors. ``wishes``: the handoffs tools asked for, each with the place of its call in the reply.
    ``nudged``: whether the team told the agent something while it had the turn, but for what its output has to be.
    ``part``: what is rarely needed, kept apart because every fact copies a turn.
    """

    number: int
    agent: str
    step: int = 0
    calls: tuple[OpenCall, ...] = ()
    misses: int = 0
    wishes: tuple[tuple[int, Transfer], ...] = ()
    nudged: bool = False
    part: Part = ALONE

    def calling(self, calls: tuple[OpenCall, ...]) -> "Turn":
        """With these calls. What `_replace` does, in less time: most facts do this."""
        return Turn(self.number, self.agent, self.step, calls, self.misses, self.wishes, self.nudged, self.part)

    @property
    def lane(self) -> Lane | None:
        """Where its words stand; None: in the conversation."""
        return self.part.lane

    @property
    def key(self) -> str:
        """What the ids of its calls begin with."""
        return self.part.lane.key if self.part.lane else self.part.key or f"t{self.number}"

    def saying(self, item: Spoken) -> "Turn":
        """With one more item in its lane."""
        lane = self.part.lane
        return (
            self
            if lane is None
            else self._replace(part=self.part._replace(lane=lane._replace(said=(*lane.said, item))))
        )


class Ended(NamedTuple):
    """A turn that is over, and may be gone on from.

    ``last``: its last words. ``held``: who waits for what it came to, None as long as nobody has said where it goes.
    ``joined``: its words are part of the conversation. ``failed``: it came to nothing.
    """

    turn: Turn
    last: Message | None = None
    held: tuple[str, ...] | None = None
    joined: bool = False
    failed: bool = False


class Due(NamedTuple):
    """Somebody has to speak next: after a turn, or after the user (``turn`` is None), who may have said who
    (``to``).
    """

    turn: Turn | None = None
    to: str = ""


class Arrival(NamedTuple):
    """How an agent last got the conversation. ``at``: how many items of the conversation there were before; 0, if that
    was forgotten.
    """

    handoff: HandoffSent
    at: int


class Floor(NamedTuple):
    """Whose the conversation is. ``speaker``: who had it last.

    ``callers``: who gets it back when the speaker is done, the last first. ``sticky``: whether the speaker takes the
    user's next message. ``arrivals``: how each agent got it the last time somebody handed over to it.
    """

    speaker: str = ""
    callers: tuple[str, ...] = ()
    sticky: bool = True
    arrivals: Mapping[str, Arrival] = {}


class Since(NamedTuple):
    """What went on since the user last spoke: ``turns``, ``tokens`` (of models, in and out) and ``hops`` (handoffs).

    Turns and tokens count from when a budget last ran out, if that was later. ``taken``: the tokens of each model since
    then: in, those of them from a cache, and out. ``walked``: the edges taken since
    anything new came in, be it words of the user, a tool's result or the turn of a person in the team. ``alone``: how
    often the active agent went on by itself since it got the conversation. ``begun``: the turns of this team's own
    members, whatever budgets ran out; ``turns`` are those of teams within it as well.
    """

    turns: int = 0
    tokens: int = 0
    hops: int = 0
    walked: frozenset[tuple[str, str]] = frozenset()
    alone: int = 0
    taken: Mapping[str, tuple[int, int, int]] = {}
    begun: int = 0


@dataclass
class State:
    """All that is known of a session. Every field but the two logs is small: bounded by what is open now, by the number
    of agents, or by what the team keeps in common.

    Only the fold changes one, and only a copy of its own: a long journal is folded into one object. What is in the
    fields is never changed, only replaced.

    ``seq``: how many facts were folded. ``turns``, ``asked``: how many there were. ``requests``: unanswered, oldest
    first. ``rest``: why nothing goes on, if nothing does. ``shared``: what the team keeps in common. ``summaries``: the
    last one made for each agent that is given one. ``forgotten``: how many items of the conversation there were before
    the first of ``spoken``. ``past``: the turn in the conversation that ended last. ``ended``: the turns apart from it
    that did, until nothing goes on from them any more. ``teams``: how each team among the participants was left.
    ``key``: what the ids of turns begin with, in a team within a team.
    """

    seq: int = 0
    started: SessionStarted | None = None
    spoken: Log[Spoken] = field(default_factory=Log[Spoken])
    transcript: Log[Message] = field(default_factory=Log[Message])
    turns: int = 0
    asked: int = 0
    open: Mapping[int, Turn] = field(default_factory=dict[int, Turn])
    requests: Mapping[str, Asked] = field(default_factory=dict[str, Asked])
    due: Due | None = None
    rest: Failed | Stopped | Cancelled | Finished | None = None
    floor: Floor = field(default_factory=Floor)
    since: Since = field(default_factory=Since)
    shared: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    summaries: Mapping[str, Summarised] = field(default_factory=dict[str, Summarised])
    forgotten: int = 0
    past: Ended | None = None
    ended: Mapping[int, Ended] = field(default_factory=dict[int, Ended])
    teams: Mapping[str, "State"] = field(default_factory=dict[str, "State"])
    key: str = ""

    def copied(self) -> "State":
        """Another one of the same fields, whatever becomes of this one."""
        other = object.__new__(State)
        vars(other).update(vars(self))  # a third of what `copy` takes; this is done for every fact that is new
        return other

    @property
    def items(self) -> int:
        """How many items the conversation has, with what was forgotten."""
        return self.forgotten + len(self.spoken)

    @property
    def workflow(self) -> str:
        """The name of the team, empty before the first fact."""
        return self.started.workflow if self.started else ""

    @property
    def failure(self) -> Failed | None:
        """What the session rests because of, if it is a failure."""
        return self.rest if isinstance(self.rest, Failed) else None
