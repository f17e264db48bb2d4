"""What the embedded model says in its own name: fixed sentences around what agents and tools say of themselves."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import cast

from relayline.agent import Agent, ToolSpec
from relayline.clients.schema import Schema, properties, text_of, variants
from relayline.clients.words import clip, sentences, spaced
from relayline.messages import JSON, ToolCall, ToolResult

LONGEST = 4000
"""Characters of a tool's result that are repeated to the user, and of a list its first `MOST` lines."""
MOST = 20


def greeting(agent: Agent) -> str:
    """Hello."""
    return f"Hello, this is {spaced(agent.name)}. {_purpose(agent)}What can I do for you?"


def introduction(agent: Agent, own: Sequence[ToolSpec], handoffs: Sequence[ToolSpec]) -> str:
    """Who this is, what it can do and whom it can bring in."""
    return f"This is {spaced(agent.name)}. {_purpose(agent)}{abilities(own, handoffs)}".strip()


def thanks(agent: Agent) -> str:
    """You are welcome."""
    return f"You are welcome. If there is anything else, {spaced(agent.name)} is here."


def goodbye(agent: Agent) -> str:
    """Goodbye."""
    return f"Goodbye. {spaced(agent.name).capitalize()} is here when you need us again."


def go_on(agent: Agent) -> str:
    """To a yes or no that answers nothing."""
    return f"All right. {_purpose(agent)}What would you like to do?"


def left() -> str:
    """To somebody who does not want to answer our question."""
    return "All right, I will leave that. What else can I do for you?"


def nothing_said(agent: Agent) -> str:
    """To a message without a word in it."""
    return f"I did not get any words. {_purpose(agent)}What can I do for you?"


def only_words(agent: Agent) -> str:
    """To an image or a file without a word beside it."""
    return f"I only read words, sorry, and cannot look at what you sent. {_purpose(agent)}What is it about?"


def other_script(agent: Agent) -> str:
    """To a message that the model cannot read."""
    return f"I only understand English, sorry. {_purpose(agent)}"


def perhaps(sentence: str, score: float) -> str:
    """A sentence that is near, but not near enough to be sold as the answer."""
    return f"I am not sure ({score:.2f}), but this may help: {sentence}"


def unsure(score: float, agent: Agent, own: Sequence[ToolSpec], handoffs: Sequence[ToolSpec]) -> str:
    """That there is no good answer, how near the nearest one was, and what could be asked instead."""
    return (
        f"I am not sure ({score:.2f}) and would rather not guess. {_purpose(agent)}{abilities(own, handoffs)}".strip()
    )


def abilities(own: Sequence[ToolSpec], handoffs: Sequence[ToolSpec]) -> str:
    """What the agent can do, and whom it can bring in."""
    said = ""
    if own:
        said += f"I can do this: {_listed([spaced(tool.name) for tool in own])}. "
    if handoffs:
        said += f"I can bring in {_listed([spaced(tool.target) for tool in handoffs], 'or')}."
    return said.strip()


def question(tool: ToolSpec, missing: Sequence[str]) -> str:
    """Ask for what a tool needs, in the words of its schema. `scene.read` knows the form again."""
    return f"I need {_listed([_wanted(name, tool) for name in missing])} for that."


def _wanted(name: str, tool: ToolSpec) -> str:
    """A parameter as one asks for it: "the order number (for example A-1042)", "to know why it goes back"."""
    place = properties(tool.parameters).get(name, {})
    nothing: Schema = {}
    variant = next(iter(variants(place, tool.parameters)), nothing)
    described = next(iter(sentences(text_of(place, "description") or text_of(variant, "description"))), spaced(name))
    found = _SAMPLE.fullmatch(described.strip().rstrip("."))
    described, sample = found.groups("") if found else (described, "")
    first, _, rest = described.partition(" ")
    # "The order number" becomes "the order number", and "UUID of it" stays.
    wanted = f"{first.lower() if first[1:].islower() or len(first) == 1 else first} {rest}".strip()
    if re.match(r"(why|what|when|where|who|whom|which|how|whether)\b", wanted):
        wanted = f"to know {wanted}"
    elif not wanted.startswith(_ARTICLES):
        wanted = f"the {wanted}"
    wanted = wanted.removesuffix(" for")  # "... to check the status for" would be followed by "for that".
    hint = sample or _hint(variant)
    return f"{wanted} ({hint})" if hint else wanted


_SAMPLE = re.compile(r"(.*?)(?:,?\s*\(?((?:for example|for instance|such as|e\.g\.)[^()]+)\)?)?", re.DOTALL)
_ARTICLES = ("the ", "a ", "an ", "your ", "any ", "one ", "all ")


def _hint(variant: Schema) -> str:
    if isinstance(choices := variant.get("enum"), Sequence):
        return _listed([spaced(str(choice)) if " " not in str(choice) else str(choice) for choice in choices], "or")
    if variant.get("type") == "boolean":
        return "yes or no"
    samples = variant.get("examples")
    if isinstance(samples, Sequence) and samples:
        return f"for example {samples[0]}"
    if variant.get("format") == "date":
        return "as 2026-03-31"
    return ""


def also_said(clauses: Sequence[str]) -> str:
    """One message, two requests: the second is not forgotten, but it is for the user to bring it up."""
    named = _listed([f"“{clip(each, 200)}”" for each in clauses])
    return f"You also said: {named} I took one thing at a time; say it again and it is next."


def told(results: Sequence[tuple[ToolCall, ToolResult]]) -> str:
    """What calls came to, in their order."""
    return "\n\n".join(_outcome(result) for _, result in results)


def _outcome(result: ToolResult) -> str:
    what = spaced(result.name)
    content = _shown(result.content)
    match result.outcome:
        case "done":
            return content if content and content != "done" else f"Done: {what}."
        case "error":
            return f"That did not work ({what}): {content}" if content else f"That did not work ({what})."
        case "refused":
            return f"That was not done ({what}): {content.removeprefix('Not run: ') or 'it was not approved.'}"
        case "withdrawn":
            return f"That was not done ({what}): it was withdrawn before anybody approved it."
        case "unknown":
            return f"I cannot say whether that was done ({what}). {content}".strip()
        case "transferred" | "not_taken":
            return content


def _shown(content: str) -> str:
    """A result as a person reads it: text as it stands, JSON as short lines."""
    text = content.strip()
    if text[:1] in {"{", "["} and len(text) <= 200_000:
        with suppress(ValueError, RecursionError):
            text = "\n".join(_lines(cast("JSON", json.loads(text))))
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rstrip()} … (and {len(text) - LONGEST} more characters)"


def _lines(value: JSON) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield f"{spaced(key)}: {_brief(each)}"
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for each in value[:MOST]:
            yield f"- {_brief(each)}"
        if len(value) > MOST:
            yield f"… and {len(value) - MOST} more"
        if not value:
            yield "Nothing was found."
    else:
        yield _brief(value)


def _brief(value: JSON) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{spaced(key)} {_brief(each)}" for key, each in value.items())
        case str() | int() | float():
            return str(value)
        case _:
            return "; ".join(_brief(each) for each in value[:MOST]) or "none"


def pieces(text: str) -> list[str]:
    """A text word by word, the space behind each word with it."""
    return re.findall(r"\S+\s*|\s+", text)


def _purpose(agent: Agent) -> str:
    described = agent.description.strip()
    if not described:
        return ""
    return f"{described[0].upper()}{described[1:]}{'' if described[-1] in '.!?' else '.'} "


def _listed(names: Sequence[str], word: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}" if names else ""
