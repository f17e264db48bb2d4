"""A session that was begun with another team: whether this one takes it, and what becomes of what is open in it."""

from typing import NamedTuple

from relayline.errors import UpgradeRefused, UsageError
from relayline.events import Answered, SessionStarted, TeamChanged
from relayline.machine.draft import Draft
from relayline.machine.handoffs import settle
from relayline.machine.inputs import Opened
from relayline.machine.roster import differences, renamed
from relayline.machine.rules import Rules
from relayline.machine.state import OpenCall, Turn
from relayline.machine.turns import GONE, vacate

_MARKS = str.maketrans("!*?", "   ")


class Change(NamedTuple):
    """How a team differs from the one that began a session, once what it ``renamed`` is taken into account.

    ``told``: whether the journal says what that team was.
    """

    differences: tuple[str, ...]
    renamed: dict[str, str]
    renamed_tools: dict[str, str]
    told: bool


def change(started: SessionStarted, rules: Rules) -> Change:
    """What lies between the team that began a session and this one."""
    agents, tools = dict(rules.upgrades.renamed), dict(rules.upgrades.renamed_tools)
    before = started.roster
    if before is None or rules.roster is None:
        unknown = f"its fingerprint is {rules.fingerprint}, and was {started.fingerprint}"
        return Change((unknown,), agents, tools, told=False)
    agents = {old: new for old, new in agents.items() if old in before.agents}
    here = " ".join(before.agents.values())
    tools = {old: new for old, new in tools.items() if old in here.translate(_MARKS).split() or "#" in here}
    return Change(tuple(differences(renamed(before, agents, tools), rules.roster)), agents, tools, told=True)


def opened(draft: Draft, given: Opened) -> None:
    """A run begins; a team that is not the one the session knows says so first.

    Raises:
        UsageError: the session belongs to a team of another name.
        UpgradeRefused: the team does not go on with sessions of a team that it is not.
    """
    started, rules = draft.state.started, draft.rules
    if started is None:
        return
    if started.workflow != rules.name:
        raise UsageError(
            f"session {given.session!r} belongs to the team {started.workflow!r}, not to {rules.name!r}; "
            "use another session id, or build the team under that name"
        )
    if started.fingerprint == rules.fingerprint:
        return
    found = change(started, rules)
    if found.differences and rules.upgrades.on_change == "refuse":
        raise UpgradeRefused(
            f"session {given.session!r} was begun with another team: {'; '.join(found.differences)}. "
            "Run it with the release that began it, name what is called otherwise now in with_upgrades(renamed=...), "
            "or let such sessions go on with with_upgrades(on_change='continue')",
            found.differences if found.told else (),
        )
    draft.add(TeamChanged(rules.fingerprint, rules.roster, found.renamed, found.renamed_tools))


def caught_up(draft: Draft, number: int) -> None:
    """Settle what an open turn waits for in vain: an agent or a tool that is gone."""
    turn, policies = draft.state.open[number], draft.rules.policies
    known = {*policies.get(turn.agent, {}), *draft.rules.pattern.exits(turn.agent), *draft.rules.functions}
    lost = [
        each for each in turn.calls if each.stage == "asked" and each.result is None and each.call.name not in known
    ]
    for each in lost:
        missing = f"{turn.agent!r} has no tool {each.call.name!r} any more"
        why = f"{turn.agent!r} is {GONE}" if draft.rules.gone(turn.agent) else missing
        _withdraw(draft, turn, each, f"Not run: {why}.")
    if lost:
        settle(draft, number)
    if number in draft.state.open:
        _speaker_caught_up(draft, draft.state.open[number])


def _speaker_caught_up(draft: Draft, turn: Turn) -> None:
    requests = draft.state.requests.values()
    reply = next((each for each in requests if each.ask == "reply" and each.turn == turn.number), None)
    if draft.rules.gone(turn.agent) and not turn.calls:
        if reply:
            draft.add(Answered(reply.request, "withdrawn"))
        vacate(draft, turn)
    elif turn.agent in draft.rules.people and not reply and not turn.calls:
        draft.ask_person(turn.number, turn.agent)  # a model had the turn; of a person it stays theirs to answer


def _withdraw(draft: Draft, turn: Turn, each: OpenCall, told: str) -> None:
    request = next(key for key, asked in draft.state.requests.items() if asked.call and asked.call.id == each.call.id)
    draft.add(Answered(request, "withdrawn"))
    draft.result(turn.number, each.call, told, "withdrawn")
