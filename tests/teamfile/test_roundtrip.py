"""A team that is written down and read again is the same team."""

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings

from relayline import HandoffBuilder, Workflow, load
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
