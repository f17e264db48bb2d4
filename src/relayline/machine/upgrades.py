"""A session that was begun with another team: whether this one takes it, and what becomes of what is open in it."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from relayline.errors import UpgradeRefused, UsageError
from relayline.events import Answered, Fact, Roster, Routed, SessionStarted, TeamChanged, TurnEnded, Within
from relayline.machine.draft import Draft
from relayline.machine.handoffs import settle
from relayline.machine.inputs import Interrupted, Opened
from relayline.machine.roster import all_tools, differences, everybody, renamed
from relayline.machine.rules import Rules, Team
from relayline.machine.state import OpenCall, State, Turn
from relayline.machine.turns import GONE, begin_within, inside, start, vacate

_MARKS = str.maketrans("!*?", "   ")


class Change(NamedTuple):
    """How a team differs from the one that began a session, once what it ``renamed`` is taken into account.

    ``told``: whether the journal says what that team was. ``refused``: those that this team, or one within it, does not
    go on with.
    """

    differences: tuple[str, ...]
    renamed: dict[str, str]
    renamed_tools: dict[str, str]
    told: bool
    refused: tuple[str, ...]


def change(started: SessionStarted, rules: Rules) -> Change:
    """What lies between the team that began a session and this one."""
    agents, tools = _called(rules)
    before = started.roster
    if before is None or rules.roster is None:
        unknown = (f"its fingerprint is {rules.fingerprint}, and was {started.fingerprint}",)
        refused = unknown if rules.upgrades.on_change == "refuse" else ()
        return Change(unknown, agents, tools, told=False, refused=refused)
    known, here = set(everybody(before)), all_tools(before)
    agents = {old: new for old, new in agents.items() if old in known}
    tools = {old: new for old, new in tools.items() if old in here.translate(_MARKS).split() or "#" in here}
    now = renamed(before, agents, tools)
    found = tuple(differences(now, rules.roster))
    return Change(found, agents, tools, told=True, refused=tuple(_refused(now, rules)))


def _called(rules: Rules | Team) -> tuple[dict[str, str], dict[str, str]]:
    """What agents and tools were called before, in this team and in those within it."""
    agents, tools = dict[str, str](), dict[str, str]()
    for each in rules.teams.values():
        inner = _called(each)
        agents |= inner[0]
        tools |= inner[1]
    return agents | dict(rules.upgrades.renamed), tools | dict(rules.upgrades.renamed_tools)


def _refused(before: Roster, rules: Rules | Team, path: str = "") -> Iterator[str]:
    """The differences that a team does not go on with; to refuse is to refuse what is within it as well."""
    if rules.upgrades.on_change == "refuse" and rules.roster is not None:
        yield from differences(before, rules.roster, path)
        return
    for name, team in rules.teams.items():
        if name in before.teams:
            yield from _refused(before.teams[name], team, f"{path}{name}/")


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
    if found.refused:
        raise UpgradeRefused(
            f"session {given.session!r} was begun with another team: {'; '.join(found.refused)}. "
            "Run it with the release that began it, name what is called otherwise now in with_upgrades(renamed=...), "
            "or let such sessions go on with with_upgrades(on_change='continue')",
            found.refused if found.told else (),
        )
    draft.add(TeamChanged(rules.fingerprint, rules.roster, found.renamed, found.renamed_tools))
    for fact in _changed_within(draft.state, rules.teams):
        draft.add(fact)


def _changed_within(state: State, teams: Mapping[str, Team]) -> Iterator[Fact]:
    """That teams which have a turn now are not as they were, either."""
    for turn in state.open.values():
        team, inner = teams.get(turn.agent), turn.part.inner
        if team and inner and inner.started and inner.started.fingerprint != team.fingerprint:
            yield Within(turn.number, TeamChanged(team.fingerprint, team.roster))
            for fact in _changed_within(inner, team.teams):
                yield Within(turn.number, fact)


def caught_up(draft: Draft, number: int) -> None:
    """Settle what an open turn waits for in vain: an agent or a tool that is gone."""
    turn, policies = draft.state.open[number], draft.rules.policies
    if turn.part.inner is not None:
        if turn.agent not in draft.rules.teams:
            _no_team(draft, turn)
        return
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
    elif turn.agent in draft.rules.teams and turn.part.inner is None and not turn.calls:
        begin_within(draft, turn)


def _no_team(draft: Draft, turn: Turn) -> None:
    """A team had the turn that is none any more: whoever has its name now goes on."""
    inside(draft, turn, Interrupted())
    if draft.rules.gone(turn.agent):
        vacate(draft, draft.state.open[turn.number])
        return
    draft.add(TurnEnded(turn.number, turn.agent))
    if turn.lane:
        draft.add(Routed(turn.number))
        start(draft, turn.agent, (turn.number,), apart=True, key=f"{turn.key}r")
    else:
        start(draft, turn.agent)


def _withdraw(draft: Draft, turn: Turn, each: OpenCall, told: str) -> None:
    request = next(key for key, asked in draft.state.requests.items() if asked.call and asked.call.id == each.call.id)
    draft.add(Answered(request, "withdrawn"))
    draft.result(turn.number, each.call, told, "withdrawn")
