"""Any team that can be written down, for Hypothesis."""

from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from relayline import (
    Agent,
    BuildError,
    Case,
    ConcurrentBuilder,
    Default,
    GroupChatBuilder,
    HandoffBuilder,
    HumanAgent,
    SequentialBuilder,
    Workflow,
    WorkflowBuilder,
)
from relayline.assembled import TeamBuilder
from relayline.conditions import max_messages, said_by, text_mentions
from relayline.machine.topology import mesh
from relayline.views import full, last, shaped, summary, text, with_results, words
from relayline.workflow import TeamAgent
from tests.teamfile import code

words_of = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    [
        "no",
        "on",
        "1",
        "0o7",
        "1e3",
        "~",
        "null",
        "true",
        "- a",
        "a: b",
        "# x",
        "line\n\n  two \n",
        "\n",
        " ",
        "{}",
        "&a",
        "*a",
        "!t",
        "%",
        "\x85",
        "\u2028a\n\rb",
        "\ufeff",
    ]
)
names = words_of.filter(str.strip)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words_of,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words_of, inner, max_size=3),
    max_leaves=6,
)
views = st.sampled_from([text, with_results, full])
views |= st.builds(last, st.integers(1, 9), views)
views |= st.builds(summary, st.sampled_from([code.client, code.other_client]), views)
views |= st.builds(shaped, st.sampled_from([words, code.brief]), views)
views |= st.sampled_from([words, code.brief, code.short])

conditions = st.recursive(
    st.builds(max_messages, st.integers(1, 99))
    | st.builds(text_mentions, words_of.filter(bool))
    | st.builds(said_by, words_of)
    | st.just(code.over_as_well),
    lambda inner: (
        st.builds(lambda a, b: a & b, inner, inner)
        | st.builds(lambda a, b: a | b, inner, inner)
        | st.builds(lambda a: ~a, inner)
    ),
    max_leaves=5,
)
seconds = st.none() | st.floats(0.1, 1e6) | st.integers(1, 10**6)
counts = st.none() | st.integers(1, 10**6)


@st.composite
def agents(draw: st.DrawFn, name: str) -> Agent:
    if draw(st.integers(0, 4)) == 0:
        return HumanAgent(name, draw(words_of), draw(words_of), knowledge=draw(st.lists(words_of, max_size=2)))
    clients = st.sampled_from([code.client, code.other_client])
    return Agent(
        name,
        draw(words_of),
        draw(words_of),
        draw(
            st.lists(st.sampled_from([code.find_order, code.refund, code.weigh, code.light]), max_size=3, unique=True)
        ),
        draw(st.none() | clients | st.lists(clients, min_size=1, max_size=2)),
        draw(st.lists(words_of, max_size=2)),
        draw(st.lists(words_of, max_size=2)),
        draw(st.dictionaries(words_of, values, max_size=3)),
        draw(st.none() | st.just(code.Claim)),
    )


class Pool:
    """Whoever is in no team yet: in all teams within a team names differ."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.names = draw(st.lists(names, min_size=1, max_size=4, unique=True))
        self.given = 0
        self.functions: list[Any] = [code.count, code.stamp, code.ask_jo]

    def name(self) -> str:
        """One that nobody has."""
        self.given += 1
        return self.names.pop() if self.names else f"agent {self.given}"

    def members(self, draw: st.DrawFn, depth: int, most: int = 3) -> list[Any]:
        """Agents, people, functions, what is made in code, and, up to ``depth``, teams."""
        found: list[Any] = []
        for kind in draw(st.lists(st.sampled_from(["agent", "agent", "function", "team"]), min_size=1, max_size=most)):
            if kind == "function" and self.functions:
                found.append(self.functions.pop())
            elif kind == "team" and depth:
                inner = any_team(draw, self, depth - 1)
                own = inner.name.strip() and draw(st.booleans())
                found.append(inner.as_agent(None if own else self.name(), draw(words_of)))
            else:
                found.append(draw(agents(self.name())))
        return found


def any_team(draw: st.DrawFn, pool: Pool, depth: int) -> Workflow:
    """A team that can be built: what cannot is drawn again."""
    make = draw(st.sampled_from([handoff, handoff, sequence, panel, discussion, graph]))
    try:
        builder = make(draw, pool.members(draw, depth), pool)
        return rules(draw, builder).build()
    except BuildError:
        return draw(st.nothing())


@st.composite
def teams(draw: st.DrawFn) -> Workflow:
    """A team of any pattern, with teams in it."""
    return any_team(draw, Pool(draw), 2)


def rules(draw: st.DrawFn, builder: TeamBuilder) -> Any:
    """What can be said of any team."""
    builder.with_budget(turns=draw(counts), tokens=draw(counts), seconds=draw(seconds))
    if draw(st.booleans()):
        kinds = ("approvals", "questions", "people", "reviews", "functions")
        builder.with_request_expiry(**{each: draw(seconds) for each in kinds})
        builder.with_concurrent_input(draw(st.sampled_from(["queue", "reject", "interrupt"])))
        builder.with_upgrades(on_change=draw(st.sampled_from(["continue", "refuse"])))
    builder.with_middleware(*draw(st.lists(st.sampled_from([code.logged, code.patient, code.quick]), max_size=3)))
    return builder


def name_of(member: Any) -> str:
    return str(getattr(member, "name", None) or member.__name__)


def handoff(draw: st.DrawFn, members: list[Any], pool: Pool) -> TeamBuilder:
    if draw(st.integers(0, 4)) == 0:
        members.append(code.robot)
    everybody = [*map(name_of, members)]
    builder = HandoffBuilder(
        name=draw(words_of),
        participants=members,
        share_prefix=draw(st.integers(0, 3)) == 0,
        repair_announced_handoffs=draw(st.booleans()),
    )
    some = st.sampled_from(everybody)
    builder.with_start_agent(draw(some)).with_return_to_previous(draw(st.booleans()))
    pairs = [(edge.source, edge.target) for edge in mesh(everybody)]
    choosing = {name_of(each) for each in members if isinstance(each, Agent) and not isinstance(each, TeamAgent)}
    if pairs and draw(st.booleans()):
        for source, target in draw(st.lists(st.sampled_from(pairs), unique=True, max_size=6)):
            builder.add_handoff(source, target, **draw(edges(source in choosing)))
    for name in draw(st.lists(some, unique=True, max_size=2)):
        builder.with_view(name, draw(views))
    if draw(st.booleans()):
        alone = draw(st.lists(some, unique=True))
        told: Any = {name: draw(names) for name in alone if draw(st.booleans())}
        builder.with_autonomous_mode(alone, prompts=told, turn_limits={name: draw(st.integers(0, 60)) for name in told})
    builder.with_loop_control(
        max_hops=draw(counts),
        allow_cycles=draw(st.booleans()),
        on_loop=draw(st.sampled_from(["tell_model", "ask_user", "stop"])),
        fallback=draw(st.none() | some),
    )
    builder.with_terminal_agents(draw(st.lists(some, unique=True)))
    if draw(st.booleans()):
        builder.with_fallback_agent(draw(some))
    builder.with_upgrades(
        renamed={f"once {draw(names)}": draw(some) for _ in range(draw(st.integers(0, 2)))},
        renamed_tools=draw(st.sampled_from([{}, {"weigh_it": "weigh"}])),
    )
    return ended(draw, builder)


def ended(draw: st.DrawFn, builder: Any) -> TeamBuilder:
    if draw(st.booleans()):
        builder.with_termination_condition(draw(conditions | st.sampled_from([code.over, code.judged])))
    return builder


def reviewed(draw: st.DrawFn, builder: Any, members: list[Any]) -> TeamBuilder:
    able = [each.name for each in members if type(each) is Agent]
    if draw(st.booleans()):
        builder.with_request_info(draw(st.none() | st.lists(st.sampled_from(able), unique=True)) if able else None)
    return builder


def sequence(draw: st.DrawFn, members: list[Any], pool: Pool) -> TeamBuilder:
    chained = draw(st.booleans())
    builder = SequentialBuilder(name=draw(words_of), participants=members, chain_only_agent_responses=chained)
    return reviewed(draw, builder, members)


def panel(draw: st.DrawFn, members: list[Any], pool: Pool) -> TeamBuilder:
    policy = draw(st.sampled_from(["fail", "partial"]))
    builder = ConcurrentBuilder(name=draw(words_of), participants=members, on_failure=policy)
    if draw(st.booleans()):
        builder.with_aggregator(draw(st.sampled_from([code.gather, Agent(pool.name())])))
    return reviewed(draw, builder, members)


def discussion(draw: st.DrawFn, members: list[Any], pool: Pool) -> TeamBuilder:
    by: dict[str, Any] = draw(st.sampled_from([{}, {"selection_func": code.in_order}]))
    if draw(st.booleans()):
        by = {"selector": draw(agents(pool.name()))}
    builder = GroupChatBuilder(name=draw(words_of), participants=members, max_rounds=draw(counts), **by)
    return ended(draw, builder)


def graph(draw: st.DrawFn, members: list[Any], pool: Pool) -> TeamBuilder:
    """All are reached from the first, in a chain or by what it fans out to; and any other edges between them."""
    start, *others = members
    some = st.sampled_from(members)
    given = draw(st.sampled_from([{}, {"participants": members[::-1]}]))
    turns = draw(st.sampled_from([100, None, 7]))
    builder = WorkflowBuilder(name=draw(words_of), start_executor=start, max_turns=turns, **given)
    nodes = [*map(name_of, members)]
    taken = {*pairwise(nodes)} if draw(st.booleans()) else {(nodes[0], other) for other in nodes[1:]}
    if taken == {*pairwise(nodes)}:
        builder.add_chain(members)
    else:
        builder.add_fan_out_edges(start, others)
        if draw(st.booleans()):
            builder.add_fan_in_edges(others, code.gather)
    tests = st.sampled_from([code.is_claim, code.is_long])
    for kind in draw(st.lists(st.sampled_from(["if", "switch", "select"]), max_size=3)):
        source = draw(some)
        targets = [each for each in members if (name_of(source), name_of(each)) not in taken]
        taken |= {(name_of(source), name_of(each)) for each in targets}
        match kind:
            case _ if not targets:
                pass
            case "if":
                builder.add_edge(source, targets[0], draw(tests))
                taken -= {(name_of(source), name_of(each)) for each in targets[1:]}
            case "switch":
                cases = [Case(draw(tests), draw(st.sampled_from(targets))) for _ in range(draw(st.integers(1, 3)))]
                builder.add_switch_case_edge_group(source, [*cases, *map(Default, targets[: draw(st.integers(0, 1))])])
            case _:
                builder.add_multi_selection_edge_group(source, targets, code.some)
    return builder


@st.composite
def edges(draw: st.DrawFn, chosen: bool) -> dict[str, Any]:
    always = not chosen or draw(st.integers(0, 4)) == 0
    terms: dict[str, Any] = {"always": always, "description": draw(words_of)}
    if draw(st.booleans()):
        terms["when"] = draw(st.sampled_from([code.broken, code.late]))
    if draw(st.integers(0, 3)) == 0:
        terms["view"] = draw(views)
    if not always:
        terms |= {
            "payload": draw(st.sampled_from([None, code.Claim])),
            "approval": draw(st.sampled_from(["always_require", "never_require"])),
            "returns": draw(st.sampled_from(["stay", "caller", "start"])),
        }
    return terms


def walked(value: Any) -> Any:
    """Every place where something could be put instead."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield value, key
        yield from walked(each)
