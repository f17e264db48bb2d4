"""Who should have the user's message: this agent or a colleague. All the thresholds of that decision are here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from relayline.agent import Agent, ChatRequest, ToolSpec
from relayline.clients.meaning import Alike, fit
from relayline.clients.scene import Scene
from relayline.clients.shapes import evidence
from relayline.clients.words import FUNCTION_WORDS, sentences, spaced, topical, words
from relayline.messages import JSON

# Tuned on the development half of benchmarks/routing; its README has the figures.
ENOUGH = 0.15
"""How well a colleague must fit a message for anything to be handed over."""
LEAD = 0.05
"""By how much a colleague must be ahead of a specialist: leaving the one who is at work costs the user something."""
LEAD_ON_ARRIVAL = 0.15
"""The same when a colleague has just handed this very message over. With `Scene.via` it keeps two from playing ball."""
DOUBT_ON_ARRIVAL = 0.10
"""How much better than `ENOUGH` it must then be."""
LOST = 0.15
"""Below this a message is none of a specialist's business, and the one who knows who does what should see it."""
FRONT = 0.35
"""How alike a description must be to that of somebody who knows who does what."""
NAMED = 0.15
"""What it counts for a colleague to be called by name."""
EXAMPLES = 0.90
"""What likeness to an example counts beside the fit of a description; examples are messages and so closer by nature."""
OWN_EXAMPLE = 0.50
"""How alike an example of the front itself must be; "I need help" is like all that people ever ask."""
KNOWLEDGE = 0.85
"""What likeness to a sentence of its own knowledge counts for a specialist's staying."""
TOOLS = 0.90
"""The same for the fit of one of its tools."""

SHAPED = 0.10
"""What it counts for staying that a message holds something of the shape one of its tools asks for."""
QUOTE = 0.30
"""How alike a message and a sentence must be for the sentence to be an answer."""

_RECEPTION = (
    "Receives everybody first, finds out what they need and hands them to the right specialist.",
    "First point of contact: triage and routing to the right colleague.",
    "Front desk and reception, general questions.",
)


@dataclass(frozen=True, slots=True)
class Route:
    """A decision: the handoff to take, or None to stay. ``scores`` by agent, best first, this agent among them."""

    handoff: ToolSpec | None
    agent: str
    scores: Mapping[str, float]
    why: Literal["best", "lost", "follow-up", "stay"]

    def colleagues(self) -> list[float]:
        """The scores of the others."""
        return [score for name, score in self.scores.items() if name != self.agent]

    def metadata(self) -> dict[str, JSON]:
        return {"scores": {name: round(score, 3) for name, score in self.scores.items()}, "why": self.why}


def route(scene: Scene, request: ChatRequest, alike: Alike) -> Route:
    """Choose who should have the user's last message."""
    agent, said = request.agent, scene.said
    handoffs = [tool for tool in request.tools if tool.target and tool.target not in scene.via]
    own = [tool for tool in request.tools if not tool.target]
    front = not own and receives(agent.name, _described(agent), alike)
    there = {tool.target: _fit_of_colleague(tool, said, alike) for tool in handoffs}
    here = _use_of_front(agent, said, alike) if front else _fit_of_specialist(agent, own, said, alike)
    scores = dict(sorted({**there, agent.name: here}.items(), key=lambda each: -each[1]))
    best = max(handoffs, key=lambda tool: there[tool.target], default=None)
    if best is None:
        return Route(None, agent.name, scores, "stay")
    if is_follow_up(said) and not _called(best, said):
        # It says too little to leave for. Only the front goes by whom the user was just talking to.
        back = next((tool for tool in handoffs if front and tool.target == scene.was_with), None)
        return Route(back, agent.name, scores, "follow-up")
    lead = 0.0 if front else LEAD_ON_ARRIVAL if scene.arrived else LEAD
    if (
        there[best.target] >= ENOUGH + (DOUBT_ON_ARRIVAL if scene.arrived else 0.0)
        and there[best.target] - here >= lead
    ):
        return Route(best, agent.name, scores, "best")
    if (
        here < LOST
        and len(topical(said)) > 1
        and not scene.arrived
        and not front
        and (desk := _front_desk(handoffs, alike))
    ):
        return Route(desk, agent.name, scores, "lost")
    return Route(None, agent.name, scores, "stay")


def is_follow_up(said: str) -> bool:
    """Whether a message says too little by itself: "yes", "A-1042", "and the other one?"."""
    return len(topical(said)) == 0 or (
        len(words(said)) <= 6 and words(said)[0] in {"and", "also"} and len(topical(said)) < 3
    )


def receives(name: str, description: str, alike: Alike) -> bool:
    """Whether an agent is the one who receives everybody and knows who does what."""
    return max(alike(f"{spaced(name)}: {description}", _RECEPTION)) >= FRONT


def _described(agent: Agent) -> str:
    return agent.description or " ".join(sentences(agent.instructions[:600])[:3])


def _use_of_front(agent: Agent, said: str, alike: Alike) -> float:
    """How well an agent at the front knows the answer: that a message fits its description says nothing."""
    known = max(alike(said, agent.knowledge), default=0.0)
    shown = max((EXAMPLES * each for each in alike(said, agent.examples)), default=0.0)
    return max(known if known >= QUOTE else 0.0, shown if shown >= OWN_EXAMPLE else 0.0)


def _fit_of_specialist(agent: Agent, own: Sequence[ToolSpec], said: str, alike: Alike) -> float:
    """How well all that an agent is, knows and can do fits a message."""
    tools = [
        TOOLS * fit(said, tool.name, tool.description, alike) + SHAPED * (evidence(tool.parameters, said) > 0)
        for tool in own
    ]
    known = [KNOWLEDGE * each for each in alike(said, agent.knowledge)]
    shown = [EXAMPLES * each for each in alike(said, agent.examples)]
    return max(fit(said, agent.name, _described(agent), alike), *tools, *known, *shown, 0.0)


def _fit_of_colleague(tool: ToolSpec, said: str, alike: Alike) -> float:
    shown = [EXAMPLES * each for each in alike(said, tool.examples)]
    return max(fit(said, tool.target, _purpose(tool), alike), *shown, 0.0) + _called(tool, said)


def _purpose(tool: ToolSpec) -> str:
    # "Hand the conversation over to returns: ..." is the same for all of them and only blurs the rest.
    _, found, purpose = tool.description.partition(f"{tool.target}: ")
    return purpose if found else tool.description


def _called(tool: ToolSpec, said: str) -> float:
    name = [word for word in spaced(tool.target).split() if word not in {"agent", "team", "desk", "specialist"}]
    here = set(words(said))
    return NAMED if name and all(word in here and word not in FUNCTION_WORDS for word in name) else 0.0


def _front_desk(handoffs: Sequence[ToolSpec], alike: Alike) -> ToolSpec | None:
    return next((tool for tool in handoffs if receives(tool.target, _purpose(tool), alike)), None)
