"""A team that is written down and read again is the same team."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from relayline import (
    Agent,
    Case,
    ConcurrentBuilder,
    Default,
    HandoffBuilder,
    SequentialBuilder,
    Workflow,
    WorkflowBuilder,
    load,
)
from relayline.assembled import TeamBuilder
from relayline.choices import Choices
from relayline.executors import Executor
from relayline.teamfile.names import Vocabulary
from relayline.teamfile.read import team
from relayline.tools import Tool
from relayline.workflow import TeamAgent
from tests.teamfile import code
from tests.teamfile.teams import teams

ALLOW = [code.__name__]


def as_told(tool: Tool) -> tuple[object, ...]:
    return tool.name, tool.description, tool.parameters, tool.function, tool.approval_mode, tool.repeatable


def function(given: Executor) -> tuple[object, ...]:
    return given.name, given.description, given.function, given.takes, given.gives, given.repeatable


def seat(workflow: Workflow, name: str) -> dict[str, Any]:
    """All of a seat that can be compared."""
    seat = workflow.performer.seats[name]
    return {
        "agent": {
            each: getattr(seat.agent, each)
            for each in ("name", "instructions", "description", "knowledge", "examples", "settings", "output_type")
        },
        "kind": type(seat.agent),
        "function": seat.function and function(seat.function),
        "many": seat.many,
        "tools": {key: as_told(tool) for key, tool in seat.tools.items()},
        "client": seat.agent.client,
        "voices": seat.voices,
        "specs": seat.specs,
        "ways": {key: (way.edge, way.when, way.payload and way.payload.parameters) for key, way in seat.ways.items()},
        "onward": [(way.edge, way.when) for way in seat.onward],
        "view": seat.view,
        "views": seat.views,
        "shared": seat.shared and (seat.shared.system, seat.shared.tools, seat.shared.told),
        "output": seat.output and seat.output.schema,
    }


def same(one: Workflow, other: Workflow) -> None:
    assert one.machine == other.machine
    assert [agent.name for agent in one.agents] == [agent.name for agent in other.agents]
    assert one.machine.fingerprint == other.machine.fingerprint
    for name in one.performer.seats:
        assert seat(one, name) == seat(other, name)
    assert one.performer.condition == other.performer.condition
    assert one.performer.choose in (other.performer.choose, Choices((), {}))
    assert one.middleware == other.middleware
    assert one.concurrent == other.concurrent
    assert one.warnings == other.warnings
    assert one.terminal == other.terminal
    for inner, again in zip(one.agents, other.agents, strict=True):
        if isinstance(inner, TeamAgent) and isinstance(again, TeamAgent):
            same(inner.workflow, again.workflow)


@given(teams())
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_nothing_is_lost(workflow: Workflow):
    """Rules, seats, views, conditions, middleware, warnings and the fingerprint; and the text is the same again."""
    text = workflow.to_yaml(ALLOW)
    again = team(text, "team.yaml", Vocabulary(ALLOW))
    same(workflow, again)
    assert again.to_yaml(ALLOW) == text


def test_what_comes_from_its_own_module_needs_no_list_to_be_written(tmp_path: Path):
    """`to_yaml` names functions and classes by their module; `load` is told that it may."""
    agents = [code.robot, code.Agent("desk", tools=[code.find_order, code.weigh], output_type=code.Claim)]
    builder = HandoffBuilder(name="desk", participants=agents).add_handoff("robot", "desk", when=code.broken)
    workflow = builder.with_terminal_agents(["desk"]).with_termination_condition(code.judged).build()
    path = tmp_path / "team.yaml"
    path.write_text(workflow.to_yaml(), "utf-8")
    assert "tests.teamfile.code:find_order" in path.read_text("utf-8")
    same(workflow, load(path, ALLOW))


def odd() -> Iterator[TeamBuilder]:
    """Teams that are nearly as others."""
    a, b, c = Agent("a"), Agent("b", description="B."), Agent("c")
    # Declared, and as if nobody had: but then there is a warning that the function has no way out.
    yield HandoffBuilder(participants=[b, code.stamp]).add_handoff(b, "stamp")
    yield HandoffBuilder(participants=[b, code.stamp])
    yield SequentialBuilder(participants=[a, b, code.count]).with_request_info(["b"])
    yield SequentialBuilder(participants=[a, code.count]).with_request_info()
    yield SequentialBuilder(participants=[a], chain_only_agent_responses=True)
    yield ConcurrentBuilder(participants=[a], on_failure="partial")
    yield ConcurrentBuilder(participants=[a]).with_aggregator(b)
    # Graphs that are nearly a sequence, or all at once.
    yield WorkflowBuilder(start_executor=a, max_turns=None).add_chain([a, b, c])
    yield WorkflowBuilder(start_executor=a, max_turns=None).add_fan_in_edges([a], b).add_fan_in_edges([a], c)
    yield WorkflowBuilder(start_executor=b, participants=[a, b], max_turns=None).add_edge(b, a)
    # Groups of edges, one after the other.
    yield (
        WorkflowBuilder(start_executor=a)
        .add_switch_case_edge_group(a, [Case(code.is_long, b), Case(code.is_claim, b), Default(c)])
        .add_edge(a, code.stamp, code.is_claim)
        .add_edge(a, code.count)
        .add_multi_selection_edge_group(b, [a, c], code.some)
        .add_fan_in_edges([code.stamp, code.count], code.gather)
    )


@pytest.mark.parametrize("builder", [*odd()], ids=lambda builder: type(builder).__name__)
def test_what_is_nearly_as_another_is_not_taken_for_it(builder: Any):
    """A file is written from what a team is, whatever built it."""
    workflow: Workflow = builder.build()
    text = workflow.to_yaml(ALLOW)
    same(workflow, team(text, "team.yaml", Vocabulary(ALLOW)))
