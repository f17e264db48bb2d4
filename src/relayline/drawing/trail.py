"""A conversation on the drawing of its team: the way it took, and where it is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias, assert_never

from relayline.drawing.diagram import Diagram, Line, Node
from relayline.events import HandedBack, HandoffSent
from relayline.machine.way import TurnTaken
from relayline.runtime.requests import (
    AgentReviewRequest,
    FunctionApprovalRequestContent,
    FunctionInfoRequest,
    HandoffAgentUserRequest,
    HumanTurnRequest,
)
from relayline.runtime.stream import RequestInfoEvent, WorkflowRunState

Requests: TypeAlias = Sequence[RequestInfoEvent]
"""What a person has to answer."""

PERSON = "this person"
"""What a person is called whose own box says that they are waited for."""


def with_path(diagram: Diagram, steps: Sequence[HandoffSent | HandedBack], active: str, doing: str) -> Diagram:
    """The diagram with the numbers of ``steps`` on its lines, and ``doing`` at ``active``, who has the conversation.

    What went where no line is gets a line, and whoever is not in the team any more a node.
    """
    active, doing = _outer(diagram, active), _told(diagram, active, doing)
    lines = list(_one_way(diagram))
    for number, step in enumerate(steps, 1):
        back = isinstance(step, HandedBack)
        place = next((at for at, line in enumerate(lines) if _goes(line, step, back=back)), None)
        if place is None:
            way = "back" if back else "chosen" if _everybody(diagram) else "jump"
            lines.append(Line(step.source, step.target, way, steps=(number,)))
        else:
            lines[place] = replace(lines[place], steps=(*lines[place].steps, number))
    nodes = [replace(node, here=doing) if node.name == active and active else node for node in diagram.nodes]
    known = {node.name for node in nodes}
    seen = dict.fromkeys([name for step in steps for name in (step.source, step.target)] + [active])
    nodes += [Node(name, "gone", here=doing if name == active else "") for name in seen if name and name not in known]
    return replace(diagram, nodes=tuple(nodes), lines=tuple(lines), path=_path(steps, active))


def with_turns(diagram: Diagram, turns: Sequence[TurnTaken], state: WorkflowRunState, asked: Requests) -> Diagram:
    """The diagram with the way since the user last spoke: the numbers of turns on the lines that led to them, and what
    each is at who has one, or had the last.

    What went where no line is gets a line, and whoever is not in the team any more a node.
    """
    newest = max((each.message for each in turns), default=0)
    turns = [each for each in turns if each.message == newest]
    lines = list(_one_way(diagram))
    for number, sources, target in _steps(diagram, turns):
        for source in sources:
            place = next((at for at, each in enumerate(lines) if (each.source, each.target) == (source, target)), None)
            if place is None:
                lines.append(Line(source, target, "jump", steps=(number,)))
            else:
                lines[place] = replace(lines[place], steps=(*lines[place].steps, number))
    here = _places(diagram, turns, state, asked)
    nodes = [replace(node, here=here.get(node.name, "")) for node in diagram.nodes]
    known = {node.name for node in nodes}
    seen = dict.fromkeys([each.agent for each in turns] + [*here])
    nodes += [Node(name, "gone", here=here.get(name, "")) for name in seen if name not in known]
    return replace(diagram, nodes=tuple(nodes), lines=tuple(lines), path=_stages(turns))


def doing(state: WorkflowRunState, asked: Requests = ()) -> str:
    """What a session is at, in a few words."""
    match state:
        case WorkflowRunState.IDLE_WITH_PENDING_REQUESTS:
            return " and ".join(dict.fromkeys(_asked(each) for each in asked))
        case WorkflowRunState.IN_PROGRESS:
            return "at work"
        case WorkflowRunState.FAILED:
            return "failed"
        case WorkflowRunState.STOPPED:
            return "stopped, out of budget"
        case WorkflowRunState.CANCELLED:
            return "cancelled"
        case WorkflowRunState.IDLE:
            return "finished"
        case _:
            assert_never(state)


def _asked(request: RequestInfoEvent) -> str:
    match request.data:
        case HandoffAgentUserRequest():
            return "waits for the user"
        case FunctionApprovalRequestContent() as content:
            return f"waits for approval of {content.function_call.name}"
        case HumanTurnRequest():
            return f"waits for {PERSON}"
        case AgentReviewRequest():
            return "waits for a person to review it"
        case FunctionInfoRequest():
            return "waits for what it asked a person"
        case _:
            return "interrupted in a call"


def _steps(diagram: Diagram, turns: Sequence[TurnTaken]) -> Iterator[tuple[int, Sequence[str], str]]:
    """The turns that a line leads to, each with whom it goes on from: a hub, if the word is given there.

    Counted from 1, those that begin at once as one.
    """
    agents = {each.turn: each.agent for each in turns}
    number, before = 0, None
    for each in turns:
        sources = [""] if _everybody(diagram) else [*dict.fromkeys(agents[n] for n in each.after if n in agents)]
        if sources:
            number, before = number + (each.after != before), each.after
            yield number, sources, each.agent


def _places(
    diagram: Diagram, turns: Sequence[TurnTaken], state: WorkflowRunState, asked: Requests
) -> Mapping[str, str]:
    """What each is at who has a turn or is asked about one; if nobody is, what became of those who had the last."""
    waiting: dict[str, list[str]] = {}
    for each in asked:
        told = _told(diagram, each.executor_id, _asked(each))
        waiting.setdefault(_outer(diagram, each.executor_id), []).append(told)
    here = {name: " and ".join(dict.fromkeys(told)) for name, told in waiting.items() if name}
    passed = {number for each in turns for number in each.after}
    begun = [each for each in turns if each.state == "open"]
    for each in begun or ([] if here else [each for each in turns if each.turn not in passed]):
        here.setdefault(each.agent, _at(each, state))
    failing = {each.agent: "failed" for each in turns if each.state == "failed" and each.turn not in passed}
    return here | failing


def _at(turn: TurnTaken, state: WorkflowRunState) -> str:
    match state:
        case WorkflowRunState.FAILED if turn.state == "open":
            return "cut off"  # by the failure of another
        case WorkflowRunState.IDLE_WITH_PENDING_REQUESTS:
            return "at work"  # while others wait
        case _:
            return doing(state)


def _stages(turns: Sequence[TurnTaken]) -> tuple[str, ...]:
    """Who had the conversation, those who had it at once together; empty where ways part and do not meet at once."""
    stages: list[tuple[tuple[int, ...], dict[int, str]]] = []
    for each in turns:
        if stages and each.after == stages[-1][0]:
            stages[-1][1][each.turn] = each.agent
        elif not stages or {*each.after} == {*stages[-1][1]}:
            stages.append((each.after, {each.turn: each.agent}))
        else:
            return ()
    return tuple(", ".join(dict.fromkeys(stage.values())) for _, stage in stages)


def _outer(diagram: Diagram, name: str) -> str:
    """Who that is in the diagram: of ``desk/refunds`` the team ``desk``, if it is one there."""
    teams = (node.name for node in diagram.nodes if node.kind == "team" and name.startswith(f"{node.name}/"))
    return next(teams, name)


def _told(diagram: Diagram, name: str, doing: str) -> str:
    """What somebody is at, with who that is, if it is somebody within a team."""
    outer = _outer(diagram, name)
    if outer == name:
        return doing
    who = name.removeprefix(f"{outer}/")
    return doing.replace(PERSON, who) if PERSON in doing else f"{who} {doing}"


def _one_way(diagram: Diagram) -> Iterator[Line]:
    """The lines, those that go both ways as two: a step goes one way."""
    for line in diagram.lines:
        if line.both and line.source:
            yield replace(line, both=False)
            yield replace(line, source=line.target, target=line.source, both=False)
        else:
            yield line


def _goes(line: Line, step: HandoffSent | HandedBack, *, back: bool) -> bool:
    return (line.source, line.target) == (step.source, step.target) and (line.way == "back") is back


def _everybody(diagram: Diagram) -> bool:
    return any(node.kind == "hub" for node in diagram.nodes)


def _path(steps: Sequence[HandoffSent | HandedBack], active: str) -> tuple[str, ...]:
    """Who had the conversation. Between two steps the user may have turned to somebody else."""
    path: list[str] = []
    for step in steps:
        if not path or path[-1] != step.source:
            path.append(step.source)
        path.append(step.target)
    if active and (not path or path[-1] != active):
        path.append(active)
    return tuple(path)
