"""The embedded model as a chat client: it understands what is said, and does not write.

A reply is found by rules in a fixed order, the first that has one wins: tell what a tool returned, go on with our
question, small talk, hand over, call a tool or ask for what it needs, quote what the agent knows, admit not to know.
Which agent, which tool and which sentence is a matter of likeness in meaning. Nothing is kept between replies.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from relayline.agent import ChatClient, ChatRequest, Chunk, ReplyInfo, ToolSpec
from relayline.clients import replies, slots, smalltalk
from relayline.clients.choosing import SURE, choose_tool, closest_knowledge
from relayline.clients.meaning import Alike, Encodes, fit, likeness
from relayline.clients.routing import is_follow_up, route
from relayline.clients.scene import Scene, read
from relayline.clients.schema import properties, valid, variants
from relayline.clients.shapes import evidence
from relayline.clients.values import codes, tidy
from relayline.clients.words import clauses, clip, says_nothing, spaced
from relayline.messages import JSON, ToolCall
from relayline.tools import Tool

MODEL = "embedded:minilm-int8"

ANOTHER_MATTER = 0.45
"""How well a message must fit another tool or colleague to be something else than the answer to our question."""


class EmbeddedClient(ChatClient):
    """Speaks for any agent by choosing: its colleague, its tool, or a sentence it was given to quote.

    Stateless: one client serves any number of agents and conversations, and goes on after a restart from the messages
    alone. The model is loaded at the first reply, once per process. English only.
    """

    about = (
        "embedded MiniLM (22 million parameters, 23 MB, local, English): chooses agents by meaning and quotes their "
        "own texts; it does not write or reason; plug in a real one with --model"
    )

    shares_prefix = False  # it has no cache to gain by, and goes by who said what

    def __init__(self, encoder: Encodes | None = None) -> None:
        """``encoder``: another one than the model of the user's cache, for tests and experiments."""
        self._encoder = encoder

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """The reply word by word, a tool call whole, and how it was decided.

        Raises:
            relayline.clients.weights.MissingModel: the model was not fetched yet.
            MissingExtra: the packages it needs are not installed.
        """
        reply = await asyncio.to_thread(self._answer, request)
        for piece in replies.pieces(reply.text):
            yield piece
        if reply.call is not None:
            yield reply.call
        yield ReplyInfo(MODEL, metadata=reply.metadata)

    def _answer(self, request: ChatRequest) -> "Reply":
        if self._encoder is None:
            from relayline.clients.encoder import Encoder  # numpy, only once it is needed

            self._encoder = Encoder.load()
        return answer(request, likeness(self._encoder))


@dataclass(frozen=True, slots=True)
class Reply:
    """Words or a call, and how they came about."""

    text: str = ""
    call: ToolCall | None = None
    metadata: Mapping[str, JSON] = field(default_factory=dict[str, JSON])


def answer(request: ChatRequest, alike: Alike) -> Reply:
    """The reply to a request; the same for the same request, always."""
    handoffs = {tool.name: tool.target for tool in request.tools if tool.target}
    turn = _Turn(request, read(request.messages, handoffs), alike)
    rules = (
        turn.tell,
        turn.without_words,
        turn.go_on,
        turn.small_talk,
        turn.hand_over,
        turn.act,
        turn.quote,
    )
    for rule in rules:
        reply = rule()
        if reply is not None:
            return reply
    return turn.admit()


class _Turn:
    """One reply in the making. Each rule returns a reply or leaves it to the next."""

    def __init__(self, request: ChatRequest, scene: Scene, alike: Alike) -> None:
        self.agent = request.agent
        self.request = request
        self.scene = scene
        self.alike = alike
        self.own = [tool for tool in request.tools if not tool.target]
        self.handoffs = [tool for tool in request.tools if tool.target]
        self.trace: dict[str, JSON] = {}
        self.doubt = 0.0

    def tell(self) -> Reply | None:
        """Say what our last calls came to."""
        targets = {tool.name for tool in self.handoffs}
        results = [(call, result) for call, result in self.scene.results if call.name not in targets]
        if not results:
            return None
        text = replies.told(results)
        if rest := self._left_over([call for call, _ in results]):
            text += "\n\n" + replies.also_said(rest)
        return self._say("told", text, tools=[call.name for call, _ in results])

    def without_words(self) -> Reply | None:
        said = self.scene.said
        if not said and self.scene.shown:
            return self._say("unsure", replies.only_words(self.agent))
        if not said:
            return self._say("small talk", replies.nothing_said(self.agent))
        if smalltalk.is_other_script(said):
            return self._say("unsure", replies.other_script(self.agent))
        if smalltalk.is_typed_at_random(said) and not self.scene.asked:
            return self.admit()
        return None

    def go_on(self) -> Reply | None:
        """Take the message as the answer to our question, if it is one."""
        asked = self.scene.asked
        tool = self._asked_tool(asked) if asked is not None else None
        if asked is None or tool is None:
            return None
        before = slots.fill(tool.parameters, self._heard(tool, answering=False), self.alike).missing
        after = slots.fill(tool.parameters, self._heard(tool, asked=before), self.alike)
        if len(after.missing) < len(before) and not self._is_another_matter(tool):
            why = "the answer to our question"
            if tool.target:
                return self._hand_over_to(tool, after, self.scene.request, why)
            return self._call(tool, after, why)
        if smalltalk.declines(self.scene.said):
            return self._say("left", replies.left())
        return None

    def small_talk(self) -> Reply | None:
        kind = smalltalk.kind_of(self.scene.said, self.alike)
        match kind:
            case "hello":
                text = replies.greeting(self.agent)
            case "thanks":
                text = replies.thanks(self.agent)
            case "bye":
                text = replies.goodbye(self.agent)
            case "who":
                text = replies.introduction(self.agent, self.own, self.handoffs)
            case "yes" | "no":
                text = replies.go_on(self.agent)
            case _:
                return None
        return self._say("small talk", text, kind=kind)

    def hand_over(self) -> Reply | None:
        if not self.handoffs:
            return None
        found = route(self.scene, self.request, self.alike)
        self.trace |= found.metadata()
        self.doubt = max(self.doubt, *found.scores.values())
        if found.handoff is None:
            return None
        filled = slots.fill(found.handoff.parameters, self._heard(found.handoff), self.alike)
        return self._hand_over_to(found.handoff, filled, self.scene.said, found.why)

    def act(self) -> Reply | None:
        """Call the tool that is meant, or ask for what it needs."""
        scene = self.scene
        if is_follow_up(scene.said) and (again := self._tool(scene.last_tool)) is not None:
            return self._call(again, slots.fill(again.parameters, self._heard(again), self.alike), "as before")
        choice = choose_tool(scene, self.agent, self.own, self.alike)
        self.trace |= choice.metadata()
        self.doubt = max(self.doubt, choice.score)
        if choice.tool is None:
            return None
        filled = slots.fill(choice.tool.parameters, self._heard(choice.tool, said=choice.clause), self.alike)
        return self._call(choice.tool, filled, choice.why)

    def quote(self) -> Reply | None:
        known = closest_knowledge(self.scene, self.agent, self.alike)
        self.doubt = max(self.doubt, known.score)
        if known.index is None or says_nothing(self.scene.said):
            return None
        text = known.sentence if known.score >= SURE else replies.perhaps(known.sentence, known.score)
        source = f"quoted from {self.agent.name}.knowledge[{known.index}]"
        return self._say("quoted", text, source=source, score=round(known.score, 3))

    def admit(self) -> Reply:
        text = replies.unsure(max(self.doubt, 0.0), self.agent, self.own, self.handoffs)
        return self._say("unsure", text, score=round(self.doubt, 3))

    def _say(self, decision: str, text: str, **trace: JSON) -> Reply:
        return Reply(text, None, {"decision": decision, **self.trace, **trace})

    def _call(self, tool: ToolSpec, filled: slots.Filled, why: str) -> Reply | None:
        if filled.missing:
            text = replies.question(tool, filled.missing)
            return self._say("asked", text, tool=tool.name, missing=list(filled.missing), because=why)
        for call, result in self.scene.calls:
            if call.name == tool.name and _same(call, filled.arguments):
                return self._say("told", replies.told([(call, result)]), tools=[tool.name])
        if self._repeats(tool, filled.arguments):
            return None
        arguments = json.dumps(filled.arguments, ensure_ascii=False)
        metadata: dict[str, JSON] = {"decision": "called", **self.trace, "tool": tool.name, "because": why}
        return Reply("", ToolCall("call_1", tool.name, arguments), metadata)

    def _hand_over_to(self, tool: ToolSpec, filled: slots.Filled, said: str, why: str) -> Reply | None:
        arguments = dict(filled.arguments)
        reason = f"the user said: {clip(said, 160)}"
        place = properties(tool.parameters).get("reason")
        if place is not None and any(valid(reason, each, tool.parameters) for each in variants(place, tool.parameters)):
            arguments["reason"] = reason
        missing = [name for name in filled.missing if name not in arguments]
        if missing:
            return self._call(tool, slots.Filled(arguments, tuple(missing)), why)
        metadata: dict[str, JSON] = {"decision": "handed over", **self.trace, "target": tool.target}
        return Reply("", ToolCall("call_1", tool.name, json.dumps(arguments, ensure_ascii=False)), metadata)

    def _heard(self, tool: ToolSpec, said: str = "", answering: bool = True, asked: Sequence[str] = ()) -> slots.Heard:
        scene, purpose = self.scene, f"{spaced(tool.name)} {tool.description}"
        if not answering:
            return slots.Heard(scene.request, scene.request, scene.earlier, scene.facts, purpose=purpose)
        said = said or scene.said
        request = scene.request if asked else said
        return slots.Heard(said, request, (scene.said, *scene.earlier), scene.facts, frozenset(asked), purpose)

    def _is_another_matter(self, asked: ToolSpec) -> bool:
        """Whether a message fits something else so well that it is no answer to our question about ``asked``."""
        said = self.scene.said
        if evidence(asked.parameters, said):
            return False
        fits = {tool.name: fit(said, tool.name, tool.description, self.alike) for tool in self.own}
        others = [each for name, each in fits.items() if name != asked.name]
        others += route(self.scene, self.request, self.alike).colleagues()
        return max(others, default=0.0) >= ANOTHER_MATTER and max(others) > fits.get(asked.name, 0.0)

    def _repeats(self, tool: ToolSpec, arguments: Mapping[str, JSON]) -> bool:
        """Whether this was done before and the message says nothing to have it done again."""
        if any(
            each.name == tool.name and each.repeatable for each in self.request.agent.tools if isinstance(each, Tool)
        ):
            return False
        done = (call for call, result in self.scene.past if call.name == tool.name and result.outcome == "done")
        return any(_same(call, arguments) for call in done) and not evidence(tool.parameters, self.scene.said)

    def _asked_tool(self, asked: Mapping[str, JSON]) -> ToolSpec | None:
        if "tool" in asked:
            return self._tool(str(asked["tool"]))
        # A transcript without metadata: whatever the request was about, we would have chosen the same tool for it.
        return choose_tool(Scene(self.scene.request), self.agent, self.own, self.alike).tool

    def _tool(self, name: str) -> ToolSpec | None:
        return next((tool for tool in self.request.tools if tool.name == name), None)

    def _left_over(self, calls: Sequence[ToolCall]) -> list[str]:
        """What else was asked in the same message, as far as it names something that no call was about."""
        done = " ".join(call.arguments for call in calls).lower()
        several = clauses(tidy(self.scene.said))
        named = [(clause, [code for code, _ in codes(clause)]) for clause in several]
        rest = [clause for clause, found in named if found and not any(code.lower() in done for code in found)]
        return rest if len(rest) < len(several) else []


def _same(call: ToolCall, arguments: Mapping[str, JSON]) -> bool:
    try:
        return call.parse_arguments() == arguments
    except ValueError:
        return False
