"""A file names only what the one who loads it allows."""

import sys
from pathlib import Path

import pytest

from relayline import BuildError, UsageError, Workflow, load, tool
from relayline.teamfile.meaning import VIEWS
from relayline.teamfile.names import Refused, Vocabulary
from tests.teamfile import code

HERE = code.__name__


def refused(name: str, *allow: str) -> tuple[str, str]:
    with pytest.raises(Refused) as raised:
        Vocabulary(allow).stands_for(name)
    return raised.value.code, str(raised.value)


def test_nothing_is_imported_that_is_not_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A module that is only named is not looked at; one that is allowed is imported, and no other of its package."""
    (tmp_path / "naughty.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "team.yaml"
    path.write_text("participants: [{name: a, tools: ['naughty:x', 'naughty.y:x', ':x', 'naughty']}]")
    with pytest.raises(BuildError) as raised:
        load(path, [HERE])
    assert [each[:5] for each in raised.value.problems] == ["RL306"] * 4
    assert "naughty" not in sys.modules
    with pytest.raises(BuildError, match="the module 'naughty' cannot be imported: SystemExit: imported"):
        load(path, ["naughty"])


@pytest.mark.parametrize(
    "name",
    ["_hidden", "tool", "ScriptedClient", "Sequence", "__builtins__", "__name__", "Claim.__init__", "nothing", ""],
)
def test_a_module_offers_what_is_its_own(name: str):
    """Not what is private, what it imported from others, or the insides of what it has."""
    assert refused(f"{HERE}:{name}", HERE)[0] == "RL307"


@pytest.mark.parametrize("name", ["find_order", "weigh", "light", "Claim", "robot", "patient", "short", "over_as_well"])
def test_what_is_its_own(name: str):
    """Functions, tools, classes, and values that were put there."""
    assert Vocabulary([HERE]).stands_for(f"{HERE}:{name}") is getattr(code, name)


def test_a_module_may_say_what_it_offers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With ``__all__``, and that is all then."""
    (tmp_path / "listed.py").write_text("from json import dumps\n__all__ = ['dumps']\ndef mine() -> str: return ''\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert callable(Vocabulary(["listed"]).stands_for("listed:dumps"))
    assert refused("listed:mine", "listed")[0] == "RL307"
    assert callable(Vocabulary(["listed:mine"]).stands_for("listed:mine"))


def test_a_single_name_allows_no_other():
    """``module:name`` allows just that, private or not."""
    assert Vocabulary([f"{HERE}:_hidden"]).stands_for(f"{HERE}:_hidden") is code._hidden
    assert refused(f"{HERE}:weigh", f"{HERE}:_hidden")[0] == "RL306"


def test_a_tool_is_not_named_by_its_function_if_it_is_more_than_that():
    """What `weigh` makes is `weigh`; a tool of it that a crash is asked about is another, and has no name here."""
    more = tool(code.weigh, reconcile=lambda parcel: 1.0)
    assert Vocabulary([HERE]).name_of(tool(code.weigh)) == f"{HERE}:weigh"
    assert Vocabulary([HERE]).name_of(more) is None


def test_names_that_the_caller_gives_a_meaning_to(tmp_path: Path):
    """No module is needed then, and none can be named."""
    path = tmp_path / "team.yaml"
    path.write_text("participants: [{name: a, tools: [scales]}]")
    workflow = load(path, {"scales": code.weigh})
    assert workflow.agents[0].tools[0].function is code.weigh
    assert "tools:\n      - scales" in workflow.to_yaml({"scales": code.weigh})
    path.write_text(f"participants: [{{name: a, tools: ['{HERE}:weigh']}}]")
    with pytest.raises(BuildError, match="RL306"):
        load(path, {"scales": code.weigh})


def test_the_nearest_name_is_told():
    """Of what is allowed, and of what a module has."""
    assert f"did you mean '{HERE}:weigh'" in refused(f"{HERE}:wiegh", f"{HERE}:weigh")[1]
    assert "did you mean 'find_order'?" in refused(f"{HERE}:find_oder", HERE)[1]


@pytest.mark.parametrize("allow", ["shop.tools", 5, [1], {1: 2}, None])
def test_what_cannot_be_allowed(allow: object):
    """A single string is not a list of its letters."""
    with pytest.raises(UsageError, match="allow"):
        load("nothing.yaml", allow)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*VIEWS, "words"])
def test_the_names_of_views_mean_nothing_else(name: str):
    """A view of one's own under such a name would be written down, and read as another."""
    with pytest.raises(UsageError, match=f"'{name}' is a view in every file; choose another name in allow"):
        Vocabulary({name: code.brief})
    assert Vocabulary([name])  # a module may be called so


def test_what_has_no_name_is_told_all_at_once():
    """Lambdas, clients, things of another module: each with what to do."""
    from relayline import Agent, HandoffBuilder

    agents = [Agent("a", tools=[code.weigh], client=code.client), Agent("b", description="B.", settings={"x": (1,)})]
    builder = HandoffBuilder(participants=agents).add_handoff("a", "b", when=lambda *_: True)
    workflow = builder.with_terminal_agents(["b"]).build()
    with pytest.raises(UsageError) as raised:
        workflow.to_yaml()
    said = str(raised.value).splitlines()
    assert [each[:5] for each in said[1:]] == ["RL309"] * 3
    assert [each.split(" has no name")[0][6:] for each in said[1:]] == [
        "the client of 'a'",
        "the setting 'x' of 'b' is no JSON: (1,)",
        "the predicate of the handoff from 'a' to 'b'",
    ]


def test_a_pattern_without_a_form_is_told():
    """Also of a team in a team, and with all else that has no name."""
    from dataclasses import replace

    from relayline import Agent, SequentialBuilder

    class Mine:
        """What somebody thought of."""

    inner = SequentialBuilder(name="inner", participants=[Agent("a")]).build()
    inner = replace(inner, pattern=Mine())
    workflow = SequentialBuilder(name="outer", participants=[inner.as_agent(), lambda text: text]).build()
    assert said(workflow)[1:] == [
        "RL309 the team 'inner' has a pattern of its own, Mine, which has no form as a file; keep it in Python",
        "RL309 the function '<lambda>' has no name to be loaded by",
    ]


def test_what_has_no_name_in_a_graph_is_told():
    """Each condition and selection, with whose edges it is asked for."""
    from relayline import Agent, Case, Default, GroupChatBuilder, WorkflowBuilder

    a, b, c, d, e = map(Agent, "abcde")
    graph = WorkflowBuilder(start_executor=a).add_edge(a, b, lambda _: True)
    graph.add_switch_case_edge_group(b, [Case(lambda _: True, c), Default(d)])
    graph.add_multi_selection_edge_group(c, [d, e], lambda _, names: names)
    assert said(graph.build())[1:] == [
        "RL309 a condition on the edges from 'a' has no name to be loaded by",
        "RL309 a condition on the edges from 'b' has no name to be loaded by",
        "RL309 the selection from 'c' has no name to be loaded by",
    ]
    chat = GroupChatBuilder(participants=[a], selection_func=lambda _: None)
    assert said(chat.build())[1:] == ["RL309 the function that selects the next speaker has no name to be loaded by"]


def test_a_function_is_named_by_what_makes_the_same_participant_of_it():
    """A plain function by itself; what `@executor` made of it under another name is another."""
    from relayline import executor

    names = Vocabulary([HERE])
    assert names.name_of(executor(code.stamp)) == f"{HERE}:stamp"
    assert names.name_of(executor(code.stamp, name="post")) is None
    assert names.name_of(code.count) == f"{HERE}:count"


def test_half_a_character_is_written_into_no_file():
    """Wherever it stands: nothing is written that `load` would refuse."""
    from relayline import Agent, SequentialBuilder

    workflow = SequentialBuilder(name="x\ud800", participants=[Agent("a", settings={"y": {"\udfff": 1}})]).build()
    assert said(workflow)[1:] == [
        "RL309 half a character, as in 'x\\ud800', is no text that a file can have",
        "RL309 half a character, as in '\\udfff', is no text that a file can have",
    ]


def said(workflow: Workflow) -> list[str]:
    with pytest.raises(UsageError) as raised:
        workflow.to_yaml()
    return [each.partition(": <function")[0].partition(": Executor")[0] for each in str(raised.value).splitlines()]
