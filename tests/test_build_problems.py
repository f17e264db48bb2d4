"""Every code that a declaration can be refused or warned with, and what it says."""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import snapshot

import relayline
from relayline import (
    Agent,
    BuildError,
    Case,
    Default,
    GroupChatBuilder,
    HandoffBuilder,
    HumanAgent,
    SequentialBuilder,
    WorkflowBuilder,
    executor,
    tool,
    views,
)
from relayline.assembled import TeamBuilder
from relayline.testing import ScriptedClient

A, B, C = (Agent(name, description=words) for name, words in zip("abc", ("First.", "Bills.", "Boxes."), strict=True))


@tool
def find() -> str:
    """Find it."""
    return ""


@tool(name="handoff_to_b")
def disguised() -> str:
    """Look like a handoff."""
    return ""


def team(*agents: object) -> HandoffBuilder:
    return HandoffBuilder(participants=agents or (A, B, C))  # type: ignore[arg-type]


def problems(build: Callable[[], object]) -> list[str]:
    with pytest.raises(BuildError) as raised:
        build()
    return list(raised.value.problems)


def kinds(builder: Any, *wrong: tuple[str, dict[str, Any]]) -> list[str]:
    """What one method after the other says to something it cannot use."""
    found: list[str] = []
    for method, given in wrong:
        found += problems(getattr(builder(), method)(**given).build)
    return found


# What cannot be built


def test_rl101_an_agent_nobody_knows() -> None:
    """In whatever place it is named, with the nearest name or all of them."""
    builder = team().add_handoff("a", ["bb", "nobody at all"]).with_start_agent("A").with_view("d", views.full)
    builder.with_autonomous_mode(["e"], prompts={"f": "Go on."}, turn_limits={"a": 3}).with_terminal_agents(["g"])
    assert problems(builder.with_loop_control(fallback="h").build) == snapshot(
        [
            "RL101 unknown agent 'bb' in add_handoff; did you mean 'b'?",
            "RL101 unknown agent 'nobody at all' in add_handoff; participants: 'a', 'b', 'c'",
            "RL101 unknown agent 'A' in with_start_agent; participants: 'a', 'b', 'c'",
            "RL101 unknown agent 'e' in with_autonomous_mode; participants: 'a', 'b', 'c'",
            "RL101 unknown agent 'f' in with_autonomous_mode; participants: 'a', 'b', 'c'",
            "RL101 'a' has a prompt or a limit in with_autonomous_mode, but is not autonomous",
            "RL101 unknown agent 'h' in with_loop_control; participants: 'a', 'b', 'c'",
            "RL101 unknown agent 'g' in with_terminal_agents; participants: 'a', 'b', 'c'",
            "RL101 unknown agent 'd' in with_view; participants: 'a', 'b', 'c'",
        ]
    )


def test_rl102_two_of_one_name() -> None:
    """Also where one of them is a person."""
    assert problems(team(A, A, HumanAgent("a")).build) == snapshot(
        [
            "RL102 two participants are called 'a'; names must differ",
            "RL102 two participants are called 'a'; names must differ",
        ]
    )


def test_rl103_something_of_the_wrong_kind() -> None:
    """Whatever is given, the sentence says what it should have been."""
    found = kinds(
        team,
        ("participants", {"participants": [7]}),
        ("participants", {"participants": [Agent(7)]}),  # type: ignore[arg-type]
        ("participants", {"participants": [Agent("a", client=7)]}),  # type: ignore[arg-type]
        ("with_termination_condition", {"condition": "soon"}),
        ("with_checkpointing", {"storage": "file.db"}),
        ("with_loop_control", {"allow_cycles": "yes"}),
        ("with_loop_control", {"on_loop": "panic"}),
        ("with_autonomous_mode", {"agents": "a"}),
        ("with_terminal_agents", {"agents": "a"}),
        ("with_view", {"agent": "a", "view": "full"}),
        ("add_handoff", {"source": "a", "targets": "b", "view": 3}),
        ("add_handoff", {"source": "a", "targets": "b", "description": 7}),
        ("add_handoff", {"source": "a", "targets": "b", "approval": "maybe"}),
        ("add_handoff", {"source": "a", "targets": "b", "returns": "never"}),
        ("add_handoff", {"source": "a", "targets": "b", "when": lambda transcript: True}),
    )
    lambda_at = [each for each in found if "<lambda>" in each]
    assert [each.partition(" is <")[0] for each in lambda_at] == ["RL103 when"]
    assert [each for each in found if each not in lambda_at] == snapshot(
        [
            "RL103 participants are agents, functions, or objects with a name and stream(request); got 7",
            "RL103 an agent's name is a string; got 7",
            "RL103 the client of 'a' has no stream(request); got 7",
            "RL103 with_termination_condition takes a function of the transcript; got 'soon'",
            "RL103 with_checkpointing takes a store, such as InMemoryCheckpointStorage(); got 'file.db'",
            "RL103 allow_cycles is 'yes'; it is True or False",
            "RL103 on_loop is 'panic'; allowed: tell_model, ask_user, stop",
            "RL103 with_autonomous_mode takes a list of agents; got 'a'",
            "RL103 with_terminal_agents takes a list of agents; got 'a'",
            "RL103 a view is one of relayline.views or a function of the messages; got 'full' in with_view",
            "RL103 a view is one of relayline.views or a function of the messages; got 3 in add_handoff",
            "RL103 description is 7 in add_handoff; it is a text",
            "RL103 approval is 'maybe' in add_handoff; allowed: always_require, never_require",
            "RL103 returns is 'never' in add_handoff; allowed: stay, caller, start",
        ]
    )


def test_rl104_an_agent_without_a_name() -> None:
    """Spaces are none."""
    assert problems(team(A, Agent(" \n")).build) == snapshot(
        ["RL104 an agent has no name; names are how agents and people tell each other apart"]
    )
    assert problems(team(A, Agent("half \ud83d")).build) == snapshot(
        ["RL104 the name 'half \\ud83d' is not valid Unicode; half a character is in it"]
    )


def test_rl105_nobody() -> None:
    """A team is somebody."""
    assert problems(HandoffBuilder().build) == snapshot(
        ["RL105 a team needs at least one participant: HandoffBuilder(participants=[...])"]
    )


def test_rl106_to_itself() -> None:
    """Also among several."""
    assert problems(team().add_handoff("a", ["b", "a"]).build) == snapshot(
        ["RL106 add_handoff from 'a' to itself: an agent that wants to go on just answers"]
    )


def test_rl107_to_nobody() -> None:
    """An empty list of targets."""
    assert problems(team().add_handoff("a", []).build) == snapshot(["RL107 add_handoff from 'a' names no target"])


def test_rl108_numbers_and_words_that_cannot_be_meant() -> None:
    """Limits, budgets, times and prompts."""
    found = kinds(
        team,
        ("with_loop_control", {"max_hops": 0}),
        ("with_autonomous_mode", {"prompts": {"a": " "}, "turn_limits": {"a": -1, "b": True}}),
        ("with_budget", {"turns": 0, "tokens": 1.5, "seconds": float("inf")}),
        ("with_budget", {"turns": True, "tokens": None, "seconds": -1}),
        ("with_request_expiry", {"approvals": 0, "questions": "1h", "people": True}),
        ("with_request_expiry", {"approvals": 1e300, "questions": timedelta.max, "people": 3_155_760_000.5}),
        ("with_budget", {"seconds": 1e300}),
    )
    assert found == snapshot(
        [
            "RL108 max_hops is 0; it is a number of handoffs, 1 or more, or None for any number",
            "RL108 the prompt of 'a' is ' '; it is what the agent is told, and not empty",
            "RL108 the turn limit of 'a' is -1; it is a number of turns, 0 or more",
            "RL108 the turn limit of 'b' is True; it is a number of turns, 0 or more",
            "RL108 the budget of turns is 0; it is a whole number, 1 or more, or None",
            "RL108 the budget of tokens is 1.5; it is a whole number, 1 or more, or None",
            "RL108 the budget of seconds is inf; it is a number above 0, 3155760000 at most, or None",
            "RL108 the budget of turns is True; it is a whole number, 1 or more, or None",
            "RL108 the budget of seconds is -1; it is a number above 0, 3155760000 at most, or None",
            "RL108 a request expires after 0; it is seconds or a timedelta above 0, up to 3155760000 seconds (a hundred years), or None",
            "RL108 a request expires after '1h'; it is seconds or a timedelta above 0, up to 3155760000 seconds (a hundred years), or None",
            "RL108 a request expires after True; it is seconds or a timedelta above 0, up to 3155760000 seconds (a hundred years), or None",
            "RL108 a request expires after 1e+300; it is seconds or a timedelta above 0, up to 3155760000 seconds (a hundred years), or None",
            "RL108 a request expires after datetime.timedelta(days=999999999, seconds=86399, microseconds=999999); it is seconds or a timedelta above 0, up to 3155760000 seconds (a hundred years), or None",
            "RL108 a request expires after 3155760000.5; it is seconds or a timedelta above 0, up to 3155760000 seconds (a hundred years), or None",
            "RL108 the budget of seconds is 1e+300; it is a number above 0, 3155760000 at most, or None",
        ]
    )


def test_rl109_tools_of_one_name() -> None:
    """Two tools, or a tool and a handoff."""
    assert problems(team(Agent("a", tools=[find, find, disguised]), B).build) == snapshot(
        [
            "RL109 agent 'a' has two tools called 'find'",
            "RL109 agent 'a' has a tool called 'handoff_to_b', which is the name of a handoff",
        ]
    )


def test_rl110_a_payload_without_a_schema() -> None:
    """What pydantic cannot describe; what is wrong with it has no code of its own here."""
    assert problems(team().add_handoff("a", "b", payload=logging.Logger).build) == snapshot(
        [
            "RL110 <class 'logging.Logger'> cannot be the payload of handoff_to_b: it has no JSON Schema (tool 'handoff_to_b': its parameters make no JSON Schema: Unable to generate pydantic-core schema for <class 'logging.Logger'>)"
        ]
    )


def test_rl111_two_ways_that_nobody_chooses() -> None:
    """Two without a predicate, or one that is never reached."""
    builder = team().add_handoff("a", "b", always=True).add_handoff("a", "c", always=True)
    builder.add_handoff("b", "c", always=True).add_handoff("b", "a", always=True, when=lambda t, s: True)
    assert problems(builder.build) == snapshot(
        [
            "RL111 'a' always hands over to 'b' and to 'c'; it can to one only",
            "RL111 'b' always hands over to 'c', so nothing declared after it is reached; declare the guarded ones first",
        ]
    )


def test_rl112_a_contract_nobody_could_keep() -> None:
    """No model chooses the edge, so none fills in or asks for anything."""
    builder = team()
    for given in ({"payload": dict[str, str]}, {"approval": "always_require"}, {"returns": "caller"}):
        builder.add_handoff("a", "b", always=True, **given)  # type: ignore[arg-type]
    assert [each[:5] for each in problems(builder.build)].count("RL112") == 3
    assert problems(builder.build)[0] == snapshot(
        "RL112 no model chooses the handoff from 'a', so it has no payload, no approval and no way back"
    )


def test_rl113_declared_twice() -> None:
    """Even in the same words; beside one that nobody chooses it is another edge."""
    builder = team().add_handoff("a", ["b", "b"]).add_handoff("a", "c").add_handoff("a", "c", always=True)
    assert problems(builder.build) == snapshot(["RL113 the handoff from 'a' to 'b' is declared twice; keep one"])


def test_rl114_a_person_is_no_model() -> None:
    """One example; tests/test_people.py has them all."""
    assert problems(team(A, HumanAgent("jo", tools=[find])).build) == snapshot(
        ["RL114 'jo' is a person, who has no tools, no client and no output_type"]
    )


def test_rl115_a_model_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name: no such provider, or no key for it."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    agents = Agent("a", client="opnai:gpt-5-mini"), Agent("b", client="openai:gpt-5-mini")
    assert problems(team(*agents).build) == snapshot(
        [
            "RL115 the client of 'a': there is no provider 'opnai'; did you mean 'openai'? There are openai, openai-chat, openai-responses, azure, azure-responses, anthropic, google, groq, mistral, deepseek, openrouter, ollama.",
            "RL115 the client of 'b': no key for openai-responses: set OPENAI_API_KEY, or give api_key=",
        ]
    )


def test_rl116_one_list_of_two_tools() -> None:
    """One name, and not one tool; or a handoff that is described in two ways."""
    builder = HandoffBuilder(participants=[A, B, C], share_prefix=True).add_handoff("a", "b").add_handoff("b", "a")
    assert problems(builder.add_handoff("c", "b", description="For bills that are late.").build) == snapshot(
        [
            "RL116 with share_prefix all agents see one list of tools, and 'handoff_to_b' of 'c' is not as that of a colleague; rename one, or describe both alike"
        ]
    )


def test_rl117_one_conversation_of_two_views() -> None:
    """A view would show one agent something else."""
    builder = HandoffBuilder(participants=[A, B, C], share_prefix=True).with_view("a", views.full)
    assert problems(builder.build) == snapshot(
        ["RL117 with share_prefix all agents are given the same conversation; leave out the view of 'a'"]
    )


def test_rl118_an_output_that_is_no_object() -> None:
    """Or is no type at all."""
    agents = Agent("a", output_type=list[int]), Agent("b", output_type=7)
    assert problems(team(*agents).build) == snapshot(
        [
            "RL118 list[int] cannot be the output of 'a': its JSON is no object; give a model or a dataclass that has it as a field",
            "RL118 7 cannot be the output of 'b': it has no JSON Schema: Unable to generate pydantic-core schema for 7",
        ]
    )


def test_rl119_a_name_that_is_old_and_new() -> None:
    """Of agents and of tools."""
    builder = team(Agent("a", tools=[find]), B)
    found = kinds(
        lambda: builder,
        ("with_upgrades", {"renamed": {"b": "a", "z": "y"}}),
        ("with_upgrades", {"renamed_tools": {"look": "search", "find": "find"}}),
        ("with_upgrades", {"on_change": "ask"}),
    )
    assert found == snapshot(
        [
            "RL119 'b' is renamed in with_upgrades, and is still in the team; leave one out",
            "RL101 unknown agent 'y' in with_upgrades; participants: 'a', 'b'",
            "RL119 'look' is renamed to 'search' in with_upgrades, and nobody has such a tool",
            "RL119 'find' is renamed in with_upgrades, and is still a tool; leave one out",
            "RL103 on_change is 'ask' in with_upgrades; allowed: continue, refuse",
        ]
    )


def test_rl119_an_old_name_that_is_not_one_teams_alone() -> None:
    """In a tree of teams: another one still has it, or it was something else there; however deep, agents and tools."""

    def of(name: str, agent: str, tools: Sequence[object] = (), **taken: Any) -> Agent:
        member = Agent(agent, description=agent, tools=tools)
        return SequentialBuilder(name=name, participants=[member]).with_upgrades(**taken).build().as_agent()

    def tree(*inner: Agent, **taken: Any) -> TeamBuilder:
        deep = SequentialBuilder(name="middle", participants=inner[1:]).build().as_agent()
        whole = SequentialBuilder(name="outer", participants=[inner[0], deep, Agent("w", tools=[find])])
        return whole.with_upgrades(**taken)

    @tool
    def search() -> str:
        return ""

    renamed = {"renamed": {"x": "a"}}
    still = tree(of("one", "a", **renamed), of("two", "x"))
    tools = tree(of("one", "a"), of("two", "b", [search], renamed_tools={"find": "search"}))
    three = tree(of("one", "a", **renamed), of("two", "b", renamed={"x": "b"}), renamed={"x": "w"})
    assert [problems(each.build) for each in (still, tools, three)] == snapshot(
        [
            [
                "RL119 'x' is renamed in with_upgrades of 'one', and 'two' still has an agent of that name, which would be renamed with it; call that one otherwise, or leave it out"
            ],
            [
                "RL119 'find' is renamed in with_upgrades of 'two', and 'outer' still has a tool of that name, which would be renamed with it; rename it there too, or leave it out"
            ],
            [
                "RL119 'x' is renamed to 'w' in with_upgrades of 'outer', and to 'a' in that of 'one'; in one conversation nobody can tell the two apart, so leave one out",
                "RL119 'x' is renamed to 'w' in with_upgrades of 'outer', and to 'b' in that of 'two'; in one conversation nobody can tell the two apart, so leave one out",
                "RL119 'x' is renamed to 'a' in with_upgrades of 'one', and to 'b' in that of 'two'; in one conversation nobody can tell the two apart, so leave one out",
            ],
        ]
    )
    both = [of(name, agent, [search], renamed_tools={"seek": "search"}) for name, agent in (("one", "a"), ("two", "b"))]
    assert tree(*both, renamed={"v": "w"}, renamed_tools={"look": "find"}).build()


# What cannot be a tool, or an agent


def test_rl121_a_string_where_a_list_belongs() -> None:
    """It would have been taken for a list of letters."""
    given: list[dict[str, Any]] = [{"tools": "find"}, {"knowledge": "One."}, {"examples": "Hi."}]
    assert [problems(partial(Agent, "a", **each)) for each in given] == snapshot(
        [
            ["RL121 tools of agent 'a' is a list; got one string"],
            ["RL121 knowledge of agent 'a' is a list; got one string"],
            ["RL121 examples of agent 'a' is a list; got one string"],
        ]
    )


def test_rl135_and_rl136_a_hook_that_could_not_be_asked() -> None:
    """Because of what it takes, or because nobody would ask; tests/test_reconcile.py has more of the first."""
    found = [
        *problems(partial(tool, find.function, reconcile=lambda key, price: key)),
        *problems(partial(tool, find.function, reconcile=lambda key: key, repeatable=True)),
    ]
    assert found == snapshot(
        [
            "RL135 tool 'find': its reconcile is a function of the idempotency key, and then any of no arguments; got 'price' as well",
            "RL136 tool 'find' is repeatable, so it is run again and nobody asks what became of a call; leave out repeatable or reconcile",
        ]
    )


def test_rl122_to_rl131_what_cannot_be_a_tool() -> None:
    """One code for each kind of problem; several of one function are told together."""

    class Thing: ...

    def plain() -> None: ...

    def generator() -> Iterator[str]:
        yield ""

    def several(self: object, number, *rest: str, **named: str) -> str:  # type: ignore[no-untyped-def]
        return ""

    def unknown(thing: "Nowhere") -> str:  # type: ignore[name-defined]  # noqa: F821
        return ""

    def undescribed(logger: logging.Logger) -> str:
        return ""

    wrong: list[Callable[[], object]] = [
        lambda: Agent("a", tools=[7]),  # type: ignore[list-item]
        lambda: tool(plain, name="2fa"),
        lambda: tool(plain, approval_mode="sometimes"),  # type: ignore[call-overload]
        lambda: tool(Thing),
        lambda: tool(generator),
        lambda: tool(max),
        lambda: tool(several),
        lambda: tool(unknown),
        lambda: tool(undescribed),
    ]
    found = [problem for each in wrong for problem in problems(each)]
    assert found == snapshot(
        [
            "RL122 7 is not a tool: give a function or what @tool made of one",
            "RL123 '2fa' cannot be a tool's name, which is 1 to 64 of a-z, A-Z, 0-9, _, - and begins with a letter or _: use tool(fn, name=...)",
            "RL124 tool 'plain': approval_mode is 'sometimes'; it has to be 'always_require' or 'never_require'",
            "RL125 tool 'Thing' is a class: write a function that makes one, so that it can say what for",
            "RL126 tool 'generator' is a generator: a call has one result, so return it whole, as a list for instance",
            "RL127 tool 'max' has no signature to read: wrap it in a function that has one",
            "RL129 tool 'several': parameter 'number' has no annotation; write number: str, say",
            "RL128 tool 'several': a model cannot fill *rest: str; take a list or a dict instead",
            "RL128 tool 'several': a model cannot fill **named: str; take a list or a dict instead",
            "RL130 tool 'unknown': 'Nowhere' in its annotations cannot be found at run time. Import it outside of `if TYPE_CHECKING:`; if it is defined inside a function, move it to the module.",
            "RL131 tool 'undescribed': its parameters make no JSON Schema: Unable to generate pydantic-core schema for <class 'logging.Logger'>",
        ]
    )


def two(one: int, other: int) -> None: ...


def odd(thing: logging.Logger) -> None: ...


def sized(text: str) -> int:
    return len(text)


def test_rl140_functions() -> None:
    """A function as a member takes one value of a type that has JSON, and chooses nobody."""
    found = [each for function in (two, odd) for each in problems(lambda function=function: executor(function))]
    found += problems(HandoffBuilder(participants=[sized, A]).add_handoff("sized", A).build)
    assert found == snapshot(
        [
            "RL140 executor 'two' takes one value and an ExecutorContext at most; it has one, other",
            "RL141 executor 'odd': nothing can be made of Logger: Unable to generate pydantic-core schema for <class 'logging.Logger'>",
            "RL142 'sized' is a function or a team, which chooses nobody: say always=True, with when=... if it depends",
        ]
    )


def test_rl144_names_in_teams_of_a_team() -> None:
    """In one conversation a name tells who spoke, however deep."""
    inner = HandoffBuilder(name="inner", participants=[A, B]).build()
    assert problems(HandoffBuilder(participants=[A, inner.as_agent(), C]).build) == snapshot(
        ["RL144 'a' is the name of several in the teams within this team; names must differ"]
    )


def test_rl145_names_that_read_as_paths() -> None:
    """A request, an event or a failure of ``inner/a`` is that of ``a`` in the team ``inner``, and of nobody else."""
    inner = SequentialBuilder(name="inner", participants=[A]).build().as_agent()
    beside = [inner, Agent("inner/a"), Agent("inner's"), Agent("x/y")]
    assert problems(SequentialBuilder(participants=beside).build) == snapshot(
        ["RL145 'inner/a' reads as somebody within 'inner'; no name may begin with another and '/'"]
    )


def listed(values: list[float]) -> str:
    return ""


def test_rl143_and_rl150_discussions_and_graphs() -> None:
    """A chat that nobody ends, and edges that cannot be meant."""
    graph = (
        WorkflowBuilder(start_executor=sized).add_edge(sized, A).add_edge(sized, A).add_edge(A, listed).add_edge(B, A)
    )
    graph = graph.add_switch_case_edge_group(sized, [Default(B), Case(bool, C)])
    found = problems(GroupChatBuilder(participants=[A, B]).build) + problems(graph.build)
    lonely = WorkflowBuilder(start_executor=sized).add_edge(sized, listed).add_fan_in_edges([A, B], listed)
    assert found + problems(lonely.build) == snapshot(
        [
            "RL143 nobody ever ends this chat: give it max_rounds, a termination condition or a budget",
            "RL150 the edge from 'sized' to 'a' is there twice; keep one",
            "RL153 the cases of 'sized' end with their one Default; what comes after is never met",
            "RL152 no way leads to 'a'; it begins with 'sized'",
            "RL152 no way leads to 'b'; it begins with 'sized'",
            "RL154 'listed' waits for several, and 'sized' leads to it by itself; let it wait for that as well",
            "RL151 'sized' gives int, and 'listed' takes list[float]",
            "RL151 'a' gives str, and 'listed' takes list[float], one list of what all it waits for give; give 'a' an output_type",
            "RL151 'b' gives str, and 'listed' takes list[float], one list of what all it waits for give; give 'b' an output_type",
        ]
    )


def test_every_code_is_shown_here() -> None:
    """A code that is added is shown as well."""
    sources = Path(relayline.__file__).parent
    names = ("builders", "declared", "review", "agent", "tools", "signature", "reconcile", "assembled", "executors")
    names += ("pipelines", "groupchat", "graphs")
    given = set(re.findall(r"RL\d{3}", "".join((sources / f"{name}.py").read_text("utf-8") for name in names)))
    shown = set(re.findall(r"\"(RL\d{3}) ", Path(__file__).read_text("utf-8")))
    assert given == shown


# What can be built, and looks like a mistake


def warned(builder: HandoffBuilder) -> list[str]:
    return list(builder.build().warnings)


def test_rl201_nobody_hands_over() -> None:
    """Shown for each that cannot be reached from the start; not for the start, nor for who breaks loops."""
    builder = team().add_handoff("a", "b").add_handoff("b", "a").add_handoff("c", "a")
    assert warned(builder) == snapshot(["RL201 nobody hands over to 'c', so it is only reached by run(to='c')"])
    assert warned(builder.with_loop_control(fallback="c")) == []
    assert warned(team().add_handoff("a", "b").add_handoff("b", ["a", "c"]).add_handoff("c", "a")) == []
    assert warned(team()) == []


def test_rl202_no_way_out() -> None:
    """Not for one alone, for who gives back, or where it is said to be meant."""
    builder = team(A, B).add_handoff("a", "b")
    assert warned(builder) == snapshot(
        [
            "RL202 'b' has no way out: once it has answered, the conversation is finished. If that is meant, say so: .with_terminal_agents(['b'])"
        ]
    )
    assert warned(builder.with_terminal_agents(["b"])) == []
    assert warned(team(A, B).add_handoff("a", "b", returns="caller")) == []
    assert warned(team(A, B).add_handoff("a", "b").add_handoff("b", "a", always=True)) == []
    assert warned(team(A)) == []


def test_rl203_told_nothing() -> None:
    """A model chooses by descriptions: the target's, or the edge's. A person is shown none, and nobody chooses `always`."""
    mute, jo = Agent("mute"), HumanAgent("jo", description="Signs.")
    assert warned(team(A, mute)) == snapshot(
        ["RL203 'a' is told nothing of 'mute' but its name; give 'mute' a description"]
    )
    assert warned(team(Agent("a"), Agent("b"), Agent("c"), Agent("d"), Agent("e")))[:2] == snapshot(
        [
            "RL203 4 agents ('b', 'c', 'd', ...) are told nothing of 'a' but its name; give 'a' a description",
            "RL203 4 agents ('a', 'c', 'd', ...) are told nothing of 'b' but its name; give 'b' a description",
        ]
    )
    assert warned(team(A, mute).add_handoff(A, mute, description="Is quiet.").with_terminal_agents([mute])) == []
    assert warned(team(A, mute).add_handoff(A, mute, always=True).with_terminal_agents([mute])) == []
    people = team(A, mute, jo).add_handoff(A, jo).add_handoff(jo, [A, mute]).with_terminal_agents([mute])
    assert warned(people) == []


def test_rl204_told_the_same() -> None:
    """Case and spaces make no difference; a word that does makes one, and so does the edge."""
    bills, boxes = Agent("bills", description="Answers all questions of customers."), Agent("boxes")
    for words in ("answers  all questions of CUSTOMERS.", "Answers all questions of customer."):
        alike = Agent("boxes", description=words)
        assert len(warned(team(A, bills, alike))) == 1
    assert warned(team(A, bills, Agent("boxes", description="Answers all questions of customers."))) == snapshot(
        ["RL204 'a' can hardly tell 'bills' and 'boxes' apart: their descriptions are alike"]
    )
    edges = team(A, bills, boxes).add_handoff(A, bills).add_handoff(A, boxes, description="Parcels.")
    assert warned(edges.with_terminal_agents([bills, boxes])) == []


def test_rl204_many_told_the_same() -> None:
    """Each two are named once, however many choose between them, and only the first few of them."""
    three = [Agent(name, description="Helps.") for name in ("a", "b", "c")]
    assert warned(team(*three, Agent("d", description="Signs."))) == snapshot(
        [
            "RL204 'a', 'd' can hardly tell 'b' and 'c' apart: their descriptions are alike",
            "RL204 'b', 'd' can hardly tell 'a' and 'c' apart: their descriptions are alike",
            "RL204 'c', 'd' can hardly tell 'a' and 'b' apart: their descriptions are alike",
        ]
    )
    assert warned(team(*(Agent(f"a{number}", description="Helps.") for number in range(12)))) == snapshot(
        [
            "RL204 'a0', 'a3', 'a4', 'a5', 'a6' and 5 more can hardly tell 'a1' and 'a2' apart: their descriptions are alike",
            "RL204 'a0', 'a2', 'a4', 'a5', 'a6' and 5 more can hardly tell 'a1' and 'a3' apart: their descriptions are alike",
            "RL204 'a0', 'a2', 'a3', 'a5', 'a6' and 5 more can hardly tell 'a1' and 'a4' apart: their descriptions are alike",
            "RL204 'a0', 'a2', 'a3', 'a4', 'a6' and 5 more can hardly tell 'a1' and 'a5' apart: their descriptions are alike",
            "RL204 'a0', 'a2', 'a3', 'a4', 'a5' and 5 more can hardly tell 'a1' and 'a6' apart: their descriptions are alike",
            "RL204 and 61 more pairs can hardly be told apart: their descriptions are alike",
        ]
    )


def test_rl205_round_for_ever() -> None:
    """Without any limit; each budget is one, and so is every setting of loop control."""

    def free() -> HandoffBuilder:
        return team(A, B).with_loop_control(max_hops=None, allow_cycles=True)

    assert warned(free()) == snapshot(["RL205 a -> b -> a can go round for ever: give it max_hops or with_budget(...)"])
    assert warned(free().with_budget(turns=10)) == []
    assert warned(free().with_budget(tokens=10_000)) == []
    assert warned(free().with_budget(seconds=60)) == []
    assert warned(team(A, B).with_loop_control(max_hops=None)) == []
    assert warned(team(A, B).with_loop_control(allow_cycles=True)) == []
    line = free().add_handoff(A, B).with_terminal_agents([B])
    assert warned(line) == []


def test_rl206_always_round() -> None:
    """A circle that nobody can leave, however long; a predicate, a choice and a condition are ways out."""
    circle = team().add_handoff("a", "b", always=True).add_handoff("b", "c", always=True)
    assert warned(circle.add_handoff("c", "a", always=True)) == snapshot(
        ["RL206 a -> b -> c -> a always goes round: no one in it ever has the last word"]
    )
    chosen = team().add_handoff("a", "b", always=True).add_handoff("b", "c", always=True).add_handoff("c", "a")
    assert warned(chosen) == []
    guarded = team(A, B).add_handoff("a", "b", always=True)
    assert warned(guarded.add_handoff("b", "a", always=True, when=lambda transcript, state: False)) == []

    def pair() -> HandoffBuilder:
        return team().add_handoff("a", "b", always=True).with_terminal_agents(["c"])

    accepted = pair().add_handoff("b", "c", always=True, when=lambda transcript, state: False)
    assert warned(accepted.add_handoff("b", "a", always=True)) == []
    assert warned(pair().add_handoff("b", "a", always=True).add_handoff("b", "c")) == []
    condition = pair().add_handoff("b", "a", always=True).with_termination_condition(lambda transcript: True)
    assert [each[:5] for each in warned(condition)] == ["RL201"]


def test_warnings_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Each once, under the name of the team; and a team without any is silent."""
    with caplog.at_level(logging.WARNING, logger="relayline"):
        workflow = HandoffBuilder(name="desk", participants=[A, Agent("mute")]).build()
    assert [(each.name, each.levelname, each.getMessage()) for each in caplog.records] == snapshot(
        [
            (
                "relayline",
                "WARNING",
                "team 'desk': RL203 'a' is told nothing of 'mute' but its name; give 'mute' a description",
            )
        ]
    )
    assert workflow.warnings == workflow.with_client(ScriptedClient()).warnings
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        team().build()
    assert caplog.records == []


def test_a_team_that_is_refused_is_not_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    """First the one, then the other."""
    with pytest.raises(BuildError):
        team(A, Agent("mute"), A).build()
    assert caplog.records == []
