"""Taking a session up again: what failed is wanted anew, and what may have happened is found out, never guessed."""

from relayline.events import Cancelled, Failed, Retried, Stopped, ToolInterrupted, ToolReconciled, ToolStarted
from relayline.machine.calls import tool_done
from relayline.machine.draft import Draft
from relayline.machine.effects import Reconcile, effects
from relayline.machine.inputs import EffectFailed, OutcomeFound, Resumed
from relayline.machine.state import OpenCall, Turn
from relayline.machine.topology import ToolPolicy
from relayline.machine.turns import inside
from relayline.machine.upgrades import caught_up


def resumed(draft: Draft) -> None:
    """Want again what failed, and find out about what may or may not have happened."""
    failed = taken_up(draft)
    for turn in list(draft.state.open.values()):
        inside(draft, turn, Resumed())
        for each in turn.calls:
            # A function that raised is known to have failed: to run the session again is to want it again.
            if each.stage == "started" and each.result is None and each.call.id != failed:
                _cut_off(draft, turn, each)
        if turn.number in draft.state.open:
            caught_up(draft, turn.number)


def taken_up(draft: Draft) -> str:
    """The session rests no more, if it failed or was stopped; the effect that failed, if one did."""
    rest = draft.state.rest
    failed = rest.effect if isinstance(rest, Failed) else ""
    if isinstance(rest, Failed | Stopped | Cancelled):
        draft.add(Retried(failed))
    return failed


def _cut_off(draft: Draft, turn: Turn, each: OpenCall) -> None:
    tools = draft.rules.policies.get(turn.agent, {})
    policy = draft.rules.functions.get(turn.agent) or tools.get(each.call.name, ToolPolicy())
    if policy.reconcile:
        draft.add(ToolInterrupted(turn.number, each.call.id))
    elif not policy.repeatable:
        draft.ask(turn, "outcome", each.call)


def outcome_found(draft: Draft, given: OutcomeFound) -> None:
    """A tool's own hook was asked what became of a call: that is its result, or the call is made again."""
    wanted = _asked_for(draft, given.effect)
    if wanted is None:
        return
    if given.problem:
        draft.ask(draft.state.open[wanted.turn], "outcome", wanted.call, given.problem)
        return
    draft.add(ToolReconciled(wanted.turn, wanted.call.id, given.done is not None))
    if given.done:
        tool_done(draft, given.done)
    else:
        draft.add(ToolStarted(wanted.turn, wanted.call))


def no_outcome(draft: Draft, given: EffectFailed) -> bool:
    """Whether it was a tool's hook that could not be asked; then a person is."""
    if _asked_for(draft, given.effect) is None:
        return False
    outcome_found(draft, OutcomeFound(given.effect, problem=f"{given.error}: {given.message}"))
    return True


def _asked_for(draft: Draft, effect: str) -> Reconcile | None:
    wanted = (each for each in effects(draft.state) if each.id == effect)
    return next((each for each in wanted if isinstance(each, Reconcile)), None)
