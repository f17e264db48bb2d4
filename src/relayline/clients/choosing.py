"""Which of its own tools, or which sentence of its own knowledge, an agent answers with."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from relayline.agent import Agent, ToolSpec
from relayline.clients.meaning import Alike, by_word_only, fit
from relayline.clients.routing import QUOTE, is_follow_up
from relayline.clients.scene import Scene
from relayline.clients.schema import properties, required
from relayline.clients.slots import Heard, fill, is_free
from relayline.clients.values import tidy
from relayline.clients.words import FUNCTION_WORDS, clauses, sentences, spaced, stem, stems, topical, words
from relayline.messages import JSON
from relayline.tools import as_tool

# Tuned on the development half of benchmarks/routing; its README has the figures.
ACT = 0.30
"""How well a tool must fit a message for it to be called."""
BRINGS, BRINGS_ALL = 0.10, 0.10
"""What it counts that a message brings something the tool asks for (an order number, say), and that it brings all."""
OF_MINE = 0.08
"""What "my" counts for a tool: "where is my parcel?" wants it looked up, "how long does a parcel take?" does not."""
ASKS = 0.10
"""What a question counts against a tool that it brings nothing for: "how long does a refund take?" is no refund."""
SURE = 0.40
"""From where on a sentence is quoted without saying that it may not be the answer; from `QUOTE` on it is quoted."""

_ASKS = re.compile(
    r"^\W*(?:(?:hi|hello|hey|ok|and|so|but)\W+)*(how|what|when|which|why|who|do|does|is|are|will|must|should|may)\b",
    re.IGNORECASE,
)

_NEGATIONS = frozenset("not no never without don't dont didn't won't wouldn't cannot can't".split())


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """The tool, or None; ``clause``: the part of the message that is for it."""

    tool: ToolSpec | None
    score: float
    clause: str = ""
    why: str = ""
    scores: dict[str, float] = field(default_factory=dict[str, float])

    def metadata(self) -> dict[str, JSON]:
        return {"tools": {name: round(score, 3) for name, score in self.scores.items()}} if self.scores else {}


@dataclass(frozen=True, slots=True)
class Known:
    """The closest sentence an agent knows: ``index`` into its knowledge, or None if it is no answer."""

    index: int | None
    sentence: str
    score: float


def choose_tool(scene: Scene, agent: Agent, own: Sequence[ToolSpec], alike: Alike) -> ToolChoice:
    """The tool the user wants used, unless the agent knows the answer without one."""
    if not own:
        return ToolChoice(None, 0.0)
    whole = topic(scene)
    parts = [part for part in clauses(tidy(scene.said)) if topical(part)]
    texts = [whole] if len(parts) < 2 else parts
    # A person who is asked for approval should not have to wonder who wanted this.
    gated = {tool.name for tool in map(as_tool, agent.tools) if tool.approval_mode == "always_require"}
    # Handed over with "A-1042", it is what that was the answer to that names it.
    said = topic(scene) if scene.arrived else scene.said
    own = [tool for tool in own if tool.name not in gated or asked_for(tool, said)]
    if not own:
        return ToolChoice(None, 0.0)
    scored = {(tool.name, text): _score(tool, text, alike) for text in texts for tool in own}
    scores = {tool.name: max(scored[tool.name, text] for text in texts) for tool in own}
    ranked = dict(sorted(scores.items(), key=lambda each: -each[1]))
    best = max(own, key=lambda tool: scores[tool.name])
    clause = max(texts, key=lambda text: scored[best.name, text])
    score = scores[best.name]
    known = closest_knowledge(scene, agent, alike)
    if score < ACT or (known.index is not None and known.score > score):
        return ToolChoice(None, score, scores=ranked)
    return ToolChoice(best, score, "" if clause == whole else clause, f"closest in meaning ({score:.2f})", ranked)


def asked_for(tool: ToolSpec, said: str) -> bool:
    """Whether a message names what the tool does, and does not say not to: nearness in meaning is no order to act."""
    about = stems(f"{spaced(tool.name)} {tool.description} {' '.join(_options(tool.parameters))}")
    for clause in re.split(r"[,.;:!?]", said):
        heard = words(clause)
        for at, word in enumerate(heard):
            if word not in FUNCTION_WORDS and stem(word) in about and not _NEGATIONS & set(heard[max(0, at - 4) : at]):
                return True
    return False


def _options(schema: object) -> Iterator[str]:
    """The words among which a tool lets choose, wherever they stand in its schema."""
    if isinstance(schema, Mapping):
        for key, value in cast("Mapping[str, object]", schema).items():
            if key == "enum":
                yield from map(str, cast("Sequence[object]", value))
            else:
                yield from _options(value)


def closest_knowledge(scene: Scene, agent: Agent, alike: Alike) -> Known:
    """What the agent knows that is closest to what the user said, word for word."""
    lines = [(index, line) for index, text in enumerate(agent.knowledge) for line in sentences(text)]
    scores = alike(topic(scene), [line for _, line in lines])
    if not scores:
        return Known(None, "", 0.0)
    best = scores.index(max(scores))
    index, sentence = lines[best]
    return Known(index if scores[best] >= QUOTE else None, sentence, scores[best])


def topic(scene: Scene) -> str:
    """What the user is talking about: for a follow-up, with what it follows."""
    return f"{scene.earlier[0]} {scene.said}" if is_follow_up(scene.said) and scene.earlier else scene.said


def _score(tool: ToolSpec, text: str, alike: Alike) -> float:
    brings = _brought(tool, text)
    score = fit(text, tool.name, tool.description, alike) + BRINGS * (brings > 0) + BRINGS_ALL * (brings == 1)
    if not brings and required(tool.parameters):
        score += OF_MINE * ("my" in words(text)) - ASKS * bool(_ASKS.match(text))
    return score


def _brought(tool: ToolSpec, text: str) -> float:
    """The share of what a tool needs that stands in a text, word for word; its own words explain nothing."""
    needed = {name: place for name, place in properties(tool.parameters).items() if name in required(tool.parameters)}
    needed = {name: place for name, place in needed.items() if not is_free(name)}
    if not needed:
        return 0.0
    found = fill({**tool.parameters, "properties": needed, "required": list(needed)}, Heard(text), by_word_only)
    return len(found.arguments) / len(needed)
