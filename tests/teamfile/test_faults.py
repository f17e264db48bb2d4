"""Everything that is wrong with a file is told at once, with its line and what was allowed."""

import copy
import re
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from relayline import BuildError, Workflow, load
from relayline.teamfile import document
from relayline.teamfile.names import Vocabulary
from relayline.teamfile.read import team
from tests.teamfile import code
from tests.teamfile.teams import teams, walked

ALLOW = [code.__name__]


def problems(text: str, allow: list[str] = ALLOW) -> list[str]:
    with pytest.raises(BuildError) as raised:
        team(text, "team.yaml", Vocabulary(allow))
    return list(raised.value.problems)


def test_all_at_once_from_top_to_bottom():
    """What YAML cannot be, keys, values, names, and what a build finds; nothing is told that only follows from another."""
    text = """\
name: library
participants:
  - name: no
    descripton: Front desk.
    tools:
      - tests.teamfile.code:find_order
      - os:system
      - tests.teamfile.code:SECRET
      - tests.teamfile.code:find_ordr
  - name: loans
    model: {client: tests.teamfile.code:_hidden, name: x}
  - name: loans
    view: {last: 0}
  - {name: jo, person: true}
handoffs:
  - from: no
    to: [loans, lons]
  - from: loans
    to: loans
  - from: no
    to: loans
    aproval: yes
    returns: callr
  - {from: jo, to: no, payload: tests.teamfile.code:Claim}
  - {to: x}
start: nobody
budget: {turns: "5"}
loop_control:
  max_hops: -1
  fallback: [jo]
autonomous: {jo: {turns: 1}}
termination:
  any:
    - {max_messages: 5, said_by: x}
    - tests.teamfile.code:judged
    - 7
budget: {}
colour: green
"""
    assert problems(text) == snapshot(
        [
            "RL303 team.yaml, line 4: there is no 'descripton' in participants[0]; did you mean 'description'?",
            "RL306 team.yaml, line 7: 'os:system' is not allowed; allowed: 'tests.teamfile.code'. What is, is said where the file is loaded: load(path, allow=[...]), or --allow",
            "RL122 team.yaml, line 8: 'a value, and no tool' is not a tool: give a function or what @tool made of one",
            "RL307 team.yaml, line 9: there is no 'find_ordr' in 'tests.teamfile.code'; did you mean 'find_order'?",
            "RL303 team.yaml, line 11: there is no 'name' in 'model'; allowed: 'client'",
            "RL307 team.yaml, line 11: 'tests.teamfile.code' does not offer '_hidden': it is private, or imported from elsewhere",
            "RL102 team.yaml, line 12: two participants are called 'loans'; names must differ",
            "RL305 team.yaml, line 13: 'last' is 0; it has to be greater than or equal to 1",
            "RL101 team.yaml, line 17: unknown agent 'lons' in handoffs; did you mean 'loans'?",
            "RL106 team.yaml, line 17: handoffs from 'loans' to itself: an agent that wants to go on just answers",
            "RL113 team.yaml, line 20: the handoff from 'no' to 'loans' is declared twice; keep one",
            "RL303 team.yaml, line 22: there is no 'aproval' in handoffs[2]; did you mean 'approval'?",
            "RL305 team.yaml, line 23: 'returns' is 'callr'; allowed: 'stay', 'caller', 'start'",
            "RL114 team.yaml, line 24: 'jo' is a person, who fills in no payload and needs nobody's approval; leave them out of the handoff to 'no'",
            "RL304 team.yaml, line 25: 'from' is missing in handoffs[4]",
            "RL101 team.yaml, line 26: unknown agent 'nobody' in start; participants: 'no', 'loans', 'jo'",
            "RL305 team.yaml, line 27: 'turns' is '5'; it has to be a whole number",
            "RL305 team.yaml, line 29: 'max_hops' is -1; it has to be greater than or equal to 1",
            "RL305 team.yaml, line 30: 'fallback' is a list; it has to be a text",
            "RL114 team.yaml, line 31: 'jo' is a person and does not go on alone; leave it out of autonomous",
            "RL305 team.yaml, line 34: any[0]: a condition is one of any, all, not, max_messages, text_mentions and said_by",
            "RL308 team.yaml, line 35: 'tests.teamfile.code:judged' is no function of the transcript that answers at once, as one that is joined with others has to be",
            "RL305 team.yaml, line 36: any[2] is 7; it has to be a text",
            "RL302 team.yaml, line 37: 'budget' is there twice, first in line 27; keep one",
            "RL303 team.yaml, line 38: there is no 'colour' in a team; allowed: 'pattern', 'name', 'participants', 'start', 'handoffs', 'return_to_previous', 'autonomous', 'loop_control', 'termination', 'terminal_agents', 'fallback_agent', 'share_prefix', 'repair_announced_handoffs', 'relayline', 'budget', 'expiry', 'upgrades', 'concurrent_input', 'middleware'",
        ]
    )


def test_all_patterns_tell_all_at_once():
    """Also what is wrong within a team in the team, and nothing that only follows from it."""
    text = """\
pattern: graph
participants:
  - function: tests.teamfile.code:count
  - function: tests.teamfile.code:SECRET
  - function: os:system
  - name: writer
    view: full
  - name: desk
    team:
      pattern: concurrent
      participants:
        - {name: one, person: yes}
        - agent: tests.teamfile.code:robt
        - team:
            pattern: group_chat
            participants: [{name: late}, {name: late}]
            max_rounds: 0
      aggregator: {function: tests.teamfile.code:is_cliam}
      request_info: [one, nobody]
      on_failure: go on
      start: one
  - name: talk
    team: {pattern: chat, participants: [{nam: x}]}
start: counter
edges:
  - {from: count, to: [writer, desk], condition: tests.teamfile.code:is_clam}
  - {from: [writer], to: [desk]}
  - {from: writer, to: desk, conditon: x}
  - {from: writer, to: desk}
  - from: desk
    default: writer
  - from: desk
    cases:
      - {condition: tests.teamfile.code:is_claim, to: wrter}
      - {to: writer}
    default: SECRET
  - {from: desk, selection_func: tests.teamfile.code:some}
  - {from: talk, to: system}
max_turns: none
handoffs: []
"""
    assert problems(text) == snapshot(
        [
            "RL308 team.yaml, line 4: 'tests.teamfile.code:SECRET' is no function: give one, or what @executor made of one",
            "RL306 team.yaml, line 5: 'os:system' is not allowed; allowed: 'tests.teamfile.code'. What is, is said where the file is loaded: load(path, allow=[...]), or --allow",
            "RL303 team.yaml, line 7: there is no 'view' in participants[3]; allowed: 'name', 'description', 'instructions', 'person', 'model', 'tools', 'knowledge', 'examples', 'settings', 'output'",
            "RL305 team.yaml, line 12: 'person' is 'yes'; it has to be true or false",
            "RL307 team.yaml, line 13: there is no 'robt' in 'tests.teamfile.code'; did you mean 'robot'?",
            "RL102 team.yaml, line 16: two participants are called 'late'; names must differ",
            "RL305 team.yaml, line 17: 'max_rounds' is 0; it has to be greater than or equal to 1",
            "RL307 team.yaml, line 18: there is no 'is_cliam' in 'tests.teamfile.code'; did you mean 'is_claim'?",
            "RL101 team.yaml, line 19: unknown agent 'nobody' in request_info; participants: 'one'",
            "RL305 team.yaml, line 20: 'on_failure' is 'go on'; allowed: 'fail', 'partial'",
            "RL303 team.yaml, line 21: there is no 'start' in 'team'; allowed: 'pattern', 'name', 'participants', 'on_failure', 'aggregator', 'request_info', 'relayline', 'budget', 'expiry', 'upgrades', 'concurrent_input', 'middleware'",
            "RL305 team.yaml, line 23: 'pattern' is 'chat'; allowed: 'handoff', 'sequential', 'concurrent', 'group_chat', 'graph'",
            "RL101 team.yaml, line 24: unknown agent 'counter' in start; did you mean 'count'?",
            "RL307 team.yaml, line 26: there is no 'is_clam' in 'tests.teamfile.code'; did you mean 'is_claim'?",
            "RL305 team.yaml, line 27: 'to' is a list; it has to be a text",
            "RL303 team.yaml, line 28: there is no 'conditon' in edges[2]; did you mean 'condition'?",
            "RL150 team.yaml, line 29: the edge from 'writer' to 'desk' is there twice; keep one",
            "RL304 team.yaml, line 30: 'cases' is missing in edges[4]",
            "RL101 team.yaml, line 34: unknown agent 'wrter' in edges; did you mean 'writer'?",
            "RL304 team.yaml, line 35: 'condition' is missing in cases[1]",
            "RL304 team.yaml, line 37: 'to' is missing in edges[6]",
            "RL305 team.yaml, line 39: 'max_turns' is 'none'; it has to be a whole number",
            "RL303 team.yaml, line 40: there is no 'handoffs' in a team; allowed: 'pattern', 'name', 'participants', 'start', 'edges', 'max_turns', 'relayline', 'budget', 'expiry', 'upgrades', 'concurrent_input', 'middleware'",
        ]
    )


def test_what_a_build_finds_has_the_line_of_its_edge():
    """Types that do not fit, two ways into one, a node that nothing leads to; and a chat without an end."""
    text = """\
pattern: graph
participants:
  - function: tests.teamfile.code:count
  - function: tests.teamfile.code:gather
  - name: writer
  - name: lost
  - function: tests.teamfile.code:pay
  - team:
      pattern: group_chat
      name: endless
      participants:
        - name: talker
edges:
  - {from: count, to: gather}
  - from: gather
    to: writer
  - from: [writer]
    to: gather
  - {from: writer, to: endless}
  - from: writer
    cases: []
    default: pay
"""
    assert problems(text) == snapshot(
        [
            "RL152 team.yaml, line 6: no way leads to 'lost'; it begins with 'count'",
            "RL143 team.yaml, line 11: nobody ever ends this chat: give it max_rounds, a termination condition or a budget",
            "RL154 team.yaml, line 14: 'gather' waits for several, and 'count' leads to it by itself; let it wait for that as well",
            "RL151 team.yaml, line 20: 'writer' gives str, and 'pay' takes Claim; give 'writer' an output",
        ]
    )


def test_a_switch_without_a_case_has_the_line_of_its_edge():
    """Though the problem names nobody but its source."""
    text = "pattern: graph\nparticipants: [{name: a}]\nedges:\n  - from: a\n    cases: []\n"
    assert [each[:26] for each in problems(text)] == ["RL153 team.yaml, line 4: t"]


def test_a_pattern_that_nobody_knows():
    """Nothing else is said of a team then."""
    assert problems("name: x\npattern: handof\ncolour: green\nparticipants: []") == snapshot(
        [
            "RL305 team.yaml, line 2: 'pattern' is 'handof'; allowed: 'handoff', 'sequential', 'concurrent', 'group_chat', 'graph'"
        ]
    )
    assert problems("participants: [{team: {pattern: [graph]}}]") == snapshot(
        [
            "RL305 team.yaml, line 1: 'pattern' is a list; allowed: 'handoff', 'sequential', 'concurrent', 'group_chat', 'graph'"
        ]
    )


def test_a_key_of_another_pattern():
    """Where no pattern is said, that is what is missing; a key that no pattern has is told as everywhere."""
    text = "participants: [{team: {participants: [{name: a}], max_turns: 3}}, {name: b}]\nrequest_info: true\ncolour: x"
    assert [each.partition(": ")[2].partition("allowed: ")[0] for each in problems(text)] == [
        "there is no 'max_turns' in a handoff team; give it a 'pattern' that has it: 'graph'",
        "there is no 'request_info' in a handoff team; give it a 'pattern' that has it: 'sequential', 'concurrent'",
        "there is no 'colour' in a team; ",
    ]
    assert "give it" not in problems("pattern: handoff\nparticipants: [{name: a}]\nrequest_info: true")[0]


def test_what_may_be_of_two_kinds():
    """Both are told, and an end by itself is not said to be joined with others."""
    head = "participants: [{name: a}]\n"
    assert problems(f"pattern: sequential\n{head}request_info: a") == [
        "RL305 team.yaml, line 3: 'request_info' is 'a'; it has to be true, false or a list"
    ]
    name = f"{ALLOW[0]}:SECRET"
    assert problems(f"{head}termination: {name}") == [
        f"RL308 team.yaml, line 2: {name!r} is no function of the transcript, and no condition"
    ]


def test_a_file_that_is_no_data():
    """Nothing but plain data is read, and where YAML says no, its line is told."""
    for text, said in {
        "": "RL301 team.yaml, line 1: it is empty",
        "a:\n  - [": "RL301 team.yaml, line 2: expected the node content, but found '<stream end>'",
        "--- 1\n--- 2": "RL301 team.yaml, line 2: but found another document",
        "[" * 5000: "RL301 team.yaml, line 1: it is nested too deeply",
        "a: \x00": "RL301 team.yaml, line 1: unacceptable character #x0000: special characters are not allowed in",
        "a: &a [x]\nb: *a": "RL301 team.yaml, line 2: an alias, such as *this, is not read: write it out",
        "participants:\n- !!python/object/apply:os.system [ls]": "RL302 team.yaml, line 2: the tag "
        "tag:yaml.org,2002:python/object/apply:os.system is not read: there is plain data only",
        "name: !mine x": "RL302 team.yaml, line 1: the tag !mine is not read: there is plain data only",
        "name: !!int x": "RL302 team.yaml, line 1: the tag int does not fit 'x', which is no whole number",
        "name: !!int ' 5 '": "RL302 team.yaml, line 1: the tag int does not fit ' 5 ', which is no whole number",
        "a: !!bool maybe": "RL302 team.yaml, line 1: the tag bool does not fit 'maybe', which is neither true nor false",
        "a: !!null none": "RL302 team.yaml, line 1: the tag null does not fit 'none', which is not null",
        "a: !!float ''": "RL302 team.yaml, line 1: the tag float does not fit '', which is no number",
        "1: x": "RL302 team.yaml, line 1: a key is a text; put it in quotes",
        "name: a\nname: b": "RL302 team.yaml, line 2: 'name' is there twice, first in line 1; keep one",
        'name: "\\ud800"': "RL302 team.yaml, line 1: half a character, such as \\ud800, is no text",
        '"\\ud800": 1': "RL302 team.yaml, line 1: half a character, such as \\ud800, is no text",
        f"name: {'9' * 5000}": "RL302 team.yaml, line 1: a whole number of 5000 digits is not read; put it in quotes",
        "- name": "RL305 team.yaml, line 1: the file is a list; it has to be a mapping",
    }.items():
        assert any(each.startswith(said) for each in problems(text)), text[:60]


@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.text("abc:-[]{},'\"#&*!|>%@?\n 01~", max_size=60))
def test_any_text_is_a_team_or_is_told_why_not(text: str):
    """Whatever stands in a file, nothing but a `BuildError` comes of it, each problem with a code and a line."""
    for said in problems(text):
        assert re.match(r"RL3\d\d team.yaml, line \d+: .", said)


@given(teams(), st.data())
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_a_team_with_something_changed_is_a_team_or_is_told_why_not(workflow: Workflow, drawn: st.DataObject):
    """Some values of a good file are others, or are gone."""
    read = document.read(workflow.to_yaml(ALLOW), [])
    assert read
    value: Any = copy.deepcopy(read.value)
    for _ in range(drawn.draw(st.integers(1, 3))):
        holder, key = drawn.draw(st.sampled_from([*walked(value)]))
        if drawn.draw(st.booleans()):
            holder[key] = drawn.draw(
                st.sampled_from([None, 0, 1.5, "", "x", True, [], ["x"], {}, {"x": 1}, f"{ALLOW[0]}:weigh"])
            )
        else:
            del holder[key]
    found: tuple[str, ...] = ()
    try:
        team(document.write(value), "team.yaml", Vocabulary(ALLOW))
    except BuildError as error:
        found = error.problems
    assert all(re.match(r"RL\d\d\d team.yaml, line \d+: .", said) for said in found), found


def test_a_short_file_cannot_become_a_long_one():
    """Nine lines of aliases would be a thousand million names."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert problems("\n".join(lines)) == ["RL301 team.yaml, line 2: an alias, such as *this, is not read: write it out"]


def test_a_predicate_that_is_not_known_is_told_once():
    """And not a second time as one that takes the wrong arguments."""
    text = """\
name: desk
participants: [{name: a}, {name: b}]
handoffs: [{from: a, to: b, when: "os:system"}]
"""
    assert [each[:40] for each in problems(text)] == ["RL306 team.yaml, line 3: 'os:system' is "]


def test_a_file_that_cannot_be_read(tmp_path: Path):
    """Because it is not there, or is no text."""
    with pytest.raises(BuildError, match="RL301 .*nothing.yaml cannot be read: No such file"):
        load(tmp_path / "nothing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(BuildError, match="RL301 5 is no path of a file"):
        load(cast("str", 5))
    with pytest.raises(BuildError, match="cannot be read: it is not UTF-8"):
        load(tmp_path / "latin.yaml")
    for path in ("a\0b", "\ud800"):
        with pytest.raises(BuildError) as raised:
            load(path)
        assert str(raised.value) == f"RL301 {path!r} cannot be read: it is no name of a file"


def test_no_is_a_name():
    """By the rules of YAML 1.2 ``no``, ``on`` and ``12:30`` are texts, and ``0o17`` is a number."""
    names = [
        agent.name for agent in team("participants: [{name: no}, {name: on}, {name: 12:30}]", "", Vocabulary(())).agents
    ]
    assert names == ["no", "on", "12:30"]
    settings = "{a: 0o17, b: 0x1F, c: 1e3, d: .inf, e: ~, f: True, g: yes, h: -.5}"
    workflow = team(f"participants: [{{name: a, settings: {settings}}}]", "", Vocabulary(()))
    assert workflow.agents[0].settings == {
        "a": 15, "b": 31, "c": 1000.0, "d": float("inf"), "e": None, "f": True, "g": "yes", "h": -0.5
    }  # fmt: skip


def test_a_list_where_one_would_do():
    """What may be a name or a list of names is told apart before it is checked: one sentence, and the right one."""
    text = "participants: [{name: a}, {name: b, model: [5]}]\nhandoffs: [{from: a, to: []}, {from: b, to: {a: 1}}]"
    assert problems(text) == snapshot(
        [
            "RL305 team.yaml, line 1: model[0] is 5; it has to be a text",
            "RL305 team.yaml, line 2: 'to' is a mapping; it has to be a text or a list",
            "RL305 team.yaml, line 2: 'to' is an empty list; it has to have one item or more",
        ]
    )


def test_times_that_nothing_can_count_to():
    """A hundred years at most; for ever is to leave it out."""
    text = """
participants: [{name: a}]
expiry: {approvals: 1e300, questions: 3155760000}
budget: {seconds: 3155760001}
"""
    assert problems(text) == snapshot(
        [
            "RL305 team.yaml, line 3: 'approvals' is 1e+300; it has to be less than or equal to 3155760000",
            "RL305 team.yaml, line 4: 'seconds' is 3155760001; it has to be less than or equal to 3155760000",
        ]
    )
