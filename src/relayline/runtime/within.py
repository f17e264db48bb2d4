"""What a team within a team wants, as the outer one sees it: as if it were its own, of ``desk/refunds``."""

from dataclasses import replace
from typing import assert_never

from relayline.machine.effects import CallModel, Effect, Inside, Judge, Reconcile, RunTool
from relayline.machine.inputs import (
    EffectFailed,
    FromTeam,
    Input,
    Judged,
    ModelReplied,
    OutcomeFound,
    OutOfBudget,
    Summary,
    ToolDone,
    Wondered,
    told,
)


def seen(effect: Inside) -> Effect:
    """The effect at the bottom, under the id and the turn it has in the outer team, of its agent's path from there."""
    inner = effect.effect
    under = seen(inner) if isinstance(inner, Inside) else inner
    match under:
        case CallModel() | RunTool() | Reconcile():
            return replace(under, id=effect.id, turn=effect.turn, agent=f"{effect.agent}/{under.agent}")
        case Judge():
            return replace(under, id=effect.id, turn=effect.turn)
        case Inside():
            return under
        case _:
            assert_never(under)


def wanted(effect: Effect, given: Effect) -> Effect:
    """``effect`` as the inner team wants it, with the call that the outer one's middleware may have made another."""
    match effect, given:
        case Inside(), _:
            return replace(effect, effect=wanted(effect.effect, given))
        case (RunTool(), RunTool()) | (Reconcile(), Reconcile()):
            return replace(effect, call=given.call)
        case _:
            return effect


def ran_out(outcome: Input) -> bool:
    """Whether a budget ran out, which is of no effect in particular: the outcome says whose it was."""
    return isinstance(told(outcome), OutOfBudget)


def named(outcome: Input, effect: str) -> Input:
    """The outcome, of whatever team within, as that of the effect with this id."""
    outcome = told(outcome)
    match outcome:
        case ModelReplied() | Summary() | ToolDone() | Wondered() | OutcomeFound() | Judged() | EffectFailed():
            return replace(outcome, effect=effect)
        case _:
            return outcome


def told_by(effect: Effect, outcome: Input) -> Input:
    """What came of ``effect``, for the team that wanted it, however deep."""
    if ran_out(outcome):
        return outcome
    if isinstance(effect, Inside):
        return FromTeam(effect.turn, told_by(effect.effect, outcome))
    return named(outcome, effect.id)
