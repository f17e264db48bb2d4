"""A conversation on the drawing of its team: the way it took, and where it is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from relayline.drawing.diagram import Diagram, Line, Node
from relayline.events import HandedBack, HandoffSent
from relayline.runtime.requests import (
    AgentReviewRequest,
    FunctionApprovalRequestContent,
    FunctionInfoRequest,
    HandoffAgentUserRequest,
    HumanTurnRequest,
)
from relayline.runtime.stream import RequestInfoEvent, WorkflowRunState


def with_path(diagram: Diagram, steps: Sequence[HandoffSent | HandedBack], active: str, doing: str) -> Diagram:
    """The diagram with the numbers of ``steps`` on its lines, and ``doing`` at ``active``, who has the conversation.

    What went where no line is gets a line, and whoever is not in the team any more a node.
    """
    active = _outer(diagram, active)
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


def with_places(diagram: Diagram, places: Mapping[str, str]) -> Diagram:
    """The diagram with what its nodes are at, and without the way: which turn led to which is not told by handoffs."""
    found: dict[str, list[str]] = {}
    for place, at in places.items():
        found.setdefault(_outer(diagram, place), []).append(at)
    here = {name: " and ".join(dict.fromkeys(at)) for name, at in found.items() if name}
    nodes = tuple(replace(node, here=here.get(node.name, "")) for node in diagram.nodes)
    gone = tuple(Node(name, "gone", here=at) for name, at in here.items() if all(name != node.name for node in nodes))
    return replace(diagram, nodes=nodes + gone)


def waits(requests: Sequence[RequestInfoEvent]) -> Mapping[str, str]:
    """What each is at of whom a person has something to answer."""
    names = dict.fromkeys(each.executor_id for each in requests if each.executor_id)
    return {name: doing_of([each for each in requests if each.executor_id == name]) for name in names}


def doing_of(requests: Sequence[RequestInfoEvent]) -> str:
    """What is waited for, in a few words."""
    return " and ".join(dict.fromkeys(_asked(each) for each in requests))


def doing(state: WorkflowRunState, requests: Sequence[RequestInfoEvent]) -> str:
    """What a session is at, in a few words."""
    match state:
        case WorkflowRunState.IDLE_WITH_PENDING_REQUESTS:
            return doing_of(requests)
        case WorkflowRunState.IN_PROGRESS:
            return "at work"
        case WorkflowRunState.FAILED:
            return "failed"
        case WorkflowRunState.STOPPED:
            return "stopped, out of budget"
        case _:
            return "finished"


def _asked(request: RequestInfoEvent) -> str:
    match request.data:
        case HandoffAgentUserRequest():
            return "waits for the user"
        case FunctionApprovalRequestContent() as content:
            return f"waits for approval of {content.function_call.name}"
        case HumanTurnRequest():
            return "waits for this person"
        case AgentReviewRequest():
            return "waits for a person to review it"
        case FunctionInfoRequest():
            return "waits for what it asked a person"
        case _:
            return "interrupted in a call"


def _outer(diagram: Diagram, name: str) -> str:
    """Who that is in the diagram: of ``desk/refunds`` the team ``desk``, if it is one there."""
    teams = (node.name for node in diagram.nodes if node.kind == "team" and name.startswith(f"{node.name}/"))
    return next(teams, name)


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
