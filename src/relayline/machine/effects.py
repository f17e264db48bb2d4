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
    """Ask the conditions: is the conversation over, and if not, which guarded ways on from here are open?"""

    id: str


Effect: TypeAlias = CallModel | RunTool | Reconcile | Judge


def effects(state: State) -> list[Effect]:
    """What should be in flight now, in a fixed order. Empty exactly when the session waits, is finished or failed."""
    if state.rest:
        return []
    wanted: list[Effect] = []
    people = {asked.turn for asked in state.requests.values() if asked.ask == "reply"}
    for turn in state.open.values():
        if turn.calls:
            for each in turn.calls:
                if each.result is not None:
                    continue
                if each.stage == "started":
                    wanted.append(RunTool(each.call.id, turn.number, turn.agent, each.call))
                elif each.stage == "interrupted":
                    wanted.append(Reconcile(f"{each.call.id}-outcome", turn.number, turn.agent, each.call))
        elif turn.number not in people:
            wanted.append(CallModel(model_call(turn), turn.number, turn.agent))
    if state.due:
        wanted.append(Judge(f"judge-{state.seq}"))
    return wanted


def model_call(turn: Turn) -> str:
    """The id of the turn's next model call."""
    return f"t{turn.number}-s{turn.step + 1}"
