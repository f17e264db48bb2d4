"""Any team that can be written down, for Hypothesis."""

from typing import Any

from hypothesis import strategies as st

from relayline import Agent, BuildError, HandoffBuilder, HumanAgent, Workflow
from relayline.conditions import max_messages, said_by, text_mentions
from relayline.machine.topology import mesh
from relayline.views import full, last, shaped, summary, text, with_results, words
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


@st.composite
def teams(draw: st.DrawFn) -> Workflow:
    """A team that can be built: what cannot is drawn again."""
    called = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    people: list[Agent] = [draw(agents(name)) for name in called]
    if draw(st.booleans()):
        people.append(code.robot)
    everybody = [each.name for each in people]
    builder = HandoffBuilder(
        name=draw(words_of),
        participants=people,
        share_prefix=draw(st.integers(0, 3)) == 0,
        repair_announced_handoffs=draw(st.booleans()),
    )
    some = st.sampled_from(everybody)
    builder.with_start_agent(draw(some)).with_return_to_previous(draw(st.booleans()))
    pairs = [(edge.source, edge.target) for edge in mesh(everybody)]
    if pairs and draw(st.booleans()):
        for source, target in draw(st.lists(st.sampled_from(pairs), unique=True, max_size=6)):
            builder.add_handoff(source, target, **draw(edges()))
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
    builder.with_budget(turns=draw(counts), tokens=draw(counts), seconds=draw(seconds))
    kinds = ("approvals", "questions", "people", "reviews", "functions")
    builder.with_request_expiry(**{each: draw(seconds) for each in kinds})
    builder.with_terminal_agents(draw(st.lists(some, unique=True)))
    if draw(st.booleans()):
        builder.with_fallback_agent(draw(some))
    if draw(st.booleans()):
        builder.with_termination_condition(draw(conditions | st.sampled_from([code.over, code.judged])))
    builder.with_concurrent_input(draw(st.sampled_from(["queue", "reject", "interrupt"])))
    builder.with_upgrades(
        on_change=draw(st.sampled_from(["continue", "refuse"])),
        renamed={f"once {draw(names)}": draw(some) for _ in range(draw(st.integers(0, 2)))},
        renamed_tools=draw(st.sampled_from([{}, {"weigh_it": "weigh"}])),
    )
    builder.with_middleware(*draw(st.lists(st.sampled_from([code.logged, code.patient, code.quick]), max_size=3)))
    try:
        return builder.build()
    except BuildError:
        return draw(st.nothing())


@st.composite
def edges(draw: st.DrawFn) -> dict[str, Any]:
    always = draw(st.integers(0, 4)) == 0
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
