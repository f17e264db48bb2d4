"""What the machine wants of the world."""

from dataclasses import dataclass
from typing import TypeAlias

from relayline.machine.state import State, Turn
from relayline.messages import ToolCall


@dataclass(frozen=True, slots=True)
class CallModel:
    """Get ``agent``'s next reply. ``id`` is the same on every replay."""

    id: str
    turn: int
    agent: str


@dataclass(frozen=True, slots=True)
class RunTool:
    """Run one tool call. ``id`` is the call's own, and with the session's the idempotency key."""

    id: str
    turn: int
    agent: str
    call: ToolCall


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Ask a tool's own hook what became of a call that was cut off."""

    id: str
    turn: int
    agent: str
    call: ToolCall


@dataclass(frozen=True, slots=True)
class Judge:
    """Ask the conditions: is the conversation over, and if not, which guarded ways on from here are open?

    ``turn``: after which turn apart from the conversation; 0: as it stands.
    """

    id: str
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Inside:
    """An effect of the team that has ``turn``, a participant called ``agent``."""

    id: str
    turn: int
    agent: str
    effect: "Effect"


Effect: TypeAlias = CallModel | RunTool | Reconcile | Judge | Inside


def effects(state: State) -> list[Effect]:
    """What should be in flight now, in a fixed order. Empty exactly when the session waits, is finished or failed."""
    if state.rest:
        return []
    wanted: list[Effect] = []
    waiting = {asked.turn for asked in state.requests.values() if asked.ask in ("reply", "review")}
    for turn in state.open.values():
        if turn.part.inner is not None:
            inner = effects(turn.part.inner)
            wanted.extend(Inside(each.id, turn.number, turn.agent, each) for each in inner)
        elif turn.calls:
            for each in turn.calls:
                if each.result is not None:
                    continue
                if each.stage == "started":
                    wanted.append(RunTool(each.call.id, turn.number, turn.agent, each.call))
                elif each.stage == "interrupted":
                    wanted.append(Reconcile(f"{each.call.id}-outcome", turn.number, turn.agent, each.call))
        elif turn.number not in waiting:
            wanted.append(CallModel(model_call(turn), turn.number, turn.agent))
    if state.due and not (state.due.turn and state.due.turn.number in waiting):
        wanted.append(Judge(f"judge-{state.key}{state.seq}"))
    if state.ended:
        for number, each in state.ended.items():
            if each.held is None and not each.joined and number not in waiting:
                wanted.append(Judge(f"judge-{each.turn.key}", number))
    return wanted


def model_call(turn: Turn) -> str:
    """The id of the turn's next model call."""
    # Not by the property: this is asked several times for every reply.
    return f"{turn.part.lane.key if turn.part.lane else turn.part.key or f't{turn.number}'}-s{turn.step + 1}"
