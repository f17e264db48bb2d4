"""The one question the machine answers: what does this input mean?"""

from typing import NamedTuple, assert_never

from relayline.events import Cancelled, Fact, Stopped
from relayline.machine import calls, functions, people, recovery, turns, upgrades
from relayline.machine.draft import Draft
from relayline.machine.effects import effects
from relayline.machine.inputs import (
    Answer,
    Cancel,
    EffectFailed,
    Entered,
    Expired,
    FromTeam,
    Input,
    Interrupted,
    Judged,
    ModelReplied,
    Opened,
    OutcomeFound,
    OutOfBudget,
    Resumed,
    Summary,
    ToolDone,
    UserSaid,
    Wondered,
)
from relayline.machine.limits import Budget
from relayline.machine.rules import Rules
from relayline.machine.state import State

UNLIMITED = Budget()


class Decision(NamedTuple):
    """One atomic batch of facts, oldest first, and the state they lead to."""

    facts: list[Fact]
    state: State


class Machine(Rules):
    """The rules of one team at work."""

    __slots__ = ()

    def decide(self, state: State, given: Input) -> Decision:
        """What ``given`` means. No facts: it came too late to mean anything.

        Raises:
            RequestNotOpen: an answer to a request that is not waiting for one.
            UsageError: an answer of a kind the request does not take, or a session of another team.
            UpgradeRefused: the session was begun with a team that this one is not, and it goes on with no such.
        """
        draft = Draft(self, state)
        match given:
            case UserSaid():
                people.user_said(draft, given)
            case Answer():
                people.answer(draft, given)
            case ModelReplied():
                calls.model_replied(draft, given)
            case ToolDone():
                calls.tool_done(draft, given)
            case Judged():
                turns.judged(draft, given)
            case FromTeam():
                if turn := state.open.get(given.turn):
                    turns.inside(draft, turn, given.given)
            case Entered():
                turns.entered(draft, given)
            case Interrupted():
                turns.clear(draft, "withdrawn")
            case Wondered():
                functions.wondered(draft, given)
            case Summary():
                calls.summarised(draft, given)
            case OutcomeFound():
                recovery.outcome_found(draft, given)
            case EffectFailed():
                if not recovery.no_outcome(draft, given):
                    calls.effect_failed(draft, given)
            case Opened():
                upgrades.opened(draft, given)
            case Resumed():
                recovery.resumed(draft)
            case Expired():
                people.expired(draft, given)
            case Cancel():
                if effects(state):
                    draft.add(Cancelled())
            case OutOfBudget(budget, message):
                if effects(state):
                    draft.add(Stopped(budget, message))
            case _:
                assert_never(given)
        if draft.facts and self.budget != UNLIMITED:
            turns.stop_if_spent(draft)
        return Decision(draft.facts, draft.state)
