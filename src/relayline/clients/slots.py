"""The arguments of a tool, found in what was said; what is not found is missing and never made up.

A value is looked for in the user's last message first, then in the earlier ones, then in what tools have returned.
Every value that is given out is valid under its schema.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from relayline.clients import values
from relayline.clients.meaning import Alike
from relayline.clients.schema import Schema, properties, required, text_of, valid, variants
from relayline.clients.shapes import CODES, shape_for
from relayline.clients.words import LONGEST, spaced, stem, stems, topical, words
from relayline.messages import JSON

CHOSEN, CLEARLY = 0.28, 0.12
"""How alike a message and a choice must be when the choice itself was not said, and by how much more than any other."""
CHOSEN_WHEN_ASKED, CLEARLY_WHEN_ASKED = 0.25, 0.05
"""The same once the user was shown the choices: the answer is one of them."""

_FREE = frozenset(
    """reason details detail description message note notes comment comments summary question query issue problem
    symptom symptoms explanation complaint feedback request justification concern text""".split()
)
_MONEY = frozenset(
    "amount price cost total sum fee refund budget money payment balance usd eur gbp dollars euros".split()
)
_LAST_RESORT = frozenset("other none unknown unspecified misc general".split())
_YES = re.compile(r"^\W*(yes|yep|yeah|sure|ok(ay)?|please|of course|correct|right|true|absolutely)\b", re.IGNORECASE)
_NO = re.compile(r"^\W*(no|nope|not|never|false)\b", re.IGNORECASE)
_ANOTHER = re.compile(r"\b(another|other|different|second|else|new one)\b", re.IGNORECASE)
_EVASIVE = re.compile(
    r"(i|i'm|i've|i'd|we|you|can|could|would|do|does|did|don't|no|not|none|nothing|never|why|what|how|which|when|where|"
    r"who|is|are|was|has|have|will|wait|sorry|hello|hi|thanks|please|cancel|stop|yes|ok|okay|sure)\b",
    re.IGNORECASE,
)
_LEAD_IN = re.compile(
    r"^\W*((ok(ay)?|well|sure|yes|so|um+|er)\b\W*)*"
    r"((it|that|this|they)('s| is| was| are)|its|i (want|need|mean|meant|said)|"
    r"(my|the|our) [\w ]{1,30}? (is|are|was)|i'm (in|at|from)|in|from|to|for|at|on|by|called|say)?\s+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Heard:
    """What values are looked for in: ``request`` is the message that began the matter, ``earlier`` and ``facts`` the
    user's other messages and the tools' results, newest first; ``asked`` names the parameters we have just asked for;
    ``purpose`` is what the tool says of itself.
    """

    said: str
    request: str = ""
    earlier: Sequence[str] = ()
    facts: Sequence[str] = ()
    asked: frozenset[str] = frozenset()
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Filled:
    """The arguments found, and the required parameters that were not."""

    arguments: Mapping[str, JSON]
    missing: tuple[str, ...]


def fill(parameters: Schema, heard: Heard, alike: Alike) -> Filled:
    """Find the arguments of a tool whose parameters are the JSON Schema ``parameters``."""
    filling = _Filling(parameters, heard, alike)
    arguments, missing = filling.object(parameters)
    return Filled(arguments, tuple(missing))


def is_free(name: str) -> bool:
    """Whether a parameter of that name wants the user's own words."""
    return bool(set(spaced(name).split()) & _FREE)


@dataclass(slots=True)
class _Filling:
    root: Schema
    heard: Heard
    alike: Alike
    taken: set[str] = field(default_factory=set[str])

    def object(self, schema: Schema) -> tuple[dict[str, JSON], list[str]]:
        found: dict[str, JSON] = {}
        missing: list[str] = []
        needed = required(schema)
        for name, place in properties(schema).items():
            value = self._value(name, place, name in needed)
            if value is not None:
                found[name] = value
            elif name in needed:
                missing.append(name)
        missing += [name for name in needed if name not in properties(schema)]
        return found, missing

    def _value(self, name: str, schema: Schema, needed: bool) -> JSON:
        for variant in variants(schema, self.root):
            for value in self._candidates(name, variant, needed):
                if str(value) not in self.taken and valid(value, variant, self.root):
                    if isinstance(value, str) and any(map(str.isdigit, value)):
                        self.taken.add(value)  # Two parameters of one shape are two things: "swap A-1 for A-2".
                    return value
        return None

    def _candidates(self, name: str, schema: Schema, needed: bool) -> Iterator[JSON]:
        if "const" in schema:
            return iter([schema["const"]] if needed else [])
        if "enum" in schema:
            return self._choices(name, schema, needed)
        match schema.get("type"):
            case "boolean":
                return self._yes_or_no(name)
            case "integer" | "number" as kind:
                return self._quantities(name, schema, needed, kind == "integer")
            case "array":
                return self._lists(name, schema, needed)
            case "object":
                found, missing = self.object(schema)
                return iter([found] if found and not missing else [])
            case _:
                return self._texts(name, schema, needed)

    def _places(self, needed: bool) -> list[str]:
        """Where a thing with a shape may stand. "And my other order?" does not mean the one spoken of before."""
        here = [self.heard.said, self.heard.request]
        if needed and not _ANOTHER.search(self.heard.said):
            here += [*self.heard.earlier, *self.heard.facts]
        return [values.tidy(text) for text in dict.fromkeys(here) if text]

    def _recorded(self, name: str) -> Iterator[JSON]:
        """What tools have returned under this name."""
        for fact in self.heard.facts:
            try:
                yield from _under(name, json.loads(fact), 0) if len(fact) <= 100_000 else ()
            except (ValueError, RecursionError):
                continue

    def _choices(self, name: str, schema: Schema, needed: bool) -> Iterator[JSON]:
        options = [each for each in cast("Sequence[JSON]", schema["enum"]) if each is not None]
        for text in dict.fromkeys((self.heard.said, self.heard.request)):
            said = {stem(word) for word in words(values.tidy(text))}
            literal = [
                each for each in options if (meant := {stem(w) for w in words(spaced(str(each)))}) and meant <= said
            ]
            if literal:
                yield max(literal, key=lambda each: len(str(each)))
        if needed:
            yield from self._meant(name, [each for each in options if spaced(str(each)) not in _LAST_RESORT])

    def _meant(self, name: str, options: Sequence[JSON]) -> Iterator[JSON]:
        """The choice that is clearly the closest in meaning, or, in an answer, in words."""
        asked = name in self.heard.asked
        if asked:
            shared = [len(stems(self.heard.said) & stems(spaced(str(each)))) for each in options]
            if shared and max(shared) and shared.count(max(shared)) == 1:
                yield options[shared.index(max(shared))]
        for text in dict.fromkeys((self.heard.said, self.heard.request)):
            asked_here = asked and text == self.heard.said
            if not asked_here and not self._says_more(text, options):
                continue
            least, clearly = (CHOSEN_WHEN_ASKED, CLEARLY_WHEN_ASKED) if asked_here else (CHOSEN, CLEARLY)
            scores = self.alike(text, [spaced(str(each)) for each in options])
            first, *others = sorted(scores, reverse=True) or [0.0]
            if first >= least and first - max(others, default=0.0) >= clearly:
                yield options[scores.index(first)]

    def _says_more(self, text: str, options: Sequence[JSON]) -> bool:
        """Whether a message says more than that the tool is wanted: "send it back" is like "wrong item sent", and no
        reason.
        """
        explained = stems(self.heard.purpose) - stems(" ".join(spaced(str(each)) for each in options))
        return bool({stem(word) for word in topical(text)} - explained)

    def _yes_or_no(self, name: str) -> Iterator[JSON]:
        if name in self.heard.asked:
            if _NO.match(self.heard.said):
                yield False
            elif _YES.match(self.heard.said):
                yield True
        label = [
            word for word in spaced(name).split() if word not in {"is", "has", "with", "include", "wants", "needs"}
        ]
        for text in dict.fromkeys((self.heard.said, self.heard.request)):
            said = words(values.tidy(text))
            where = [at for at, word in enumerate(said) if label and stem(word) == stem(label[0])]
            if where and all(stem(word) in map(stem, said) for word in label):
                yield not {"no", "not", "without", "don't", "never", "skip"} & set(
                    said[max(0, where[0] - 3) : where[0]]
                )

    def _quantities(self, name: str, schema: Schema, needed: bool, whole: bool) -> Iterator[JSON]:
        about = [*spaced(name).split(), *words(text_of(schema, "description"))]
        label, money = stems(about), bool(_MONEY & set(about)) and not whole
        asked = name in self.heard.asked
        for text in dict.fromkeys((self.heard.said, self.heard.request, *(self.heard.earlier if needed else ()))):
            here = list(values.numbers(values.tidy(text)))
            for number in sorted(here, key=lambda each: -_fit(each, label, money)):
                fits = _fit(number, label, money)
                alone = (
                    len([each for each in here if not each.spelled]) == 1 and not number.spelled and not number.counts
                )
                guess = text == self.heard.said and needed and number.money <= money and (asked or alone)
                if (fits > 0 or guess) and (not whole or number.value == int(number.value)):
                    yield int(number.value) if number.value == int(number.value) else float(number.value)
        if needed:
            yield from self._recorded(name)

    def _lists(self, name: str, schema: Schema, needed: bool) -> Iterator[JSON]:
        items = schema.get("items")
        found: list[JSON] = []
        for variant in variants(cast("Schema", items), self.root) if isinstance(items, Mapping) else ():
            shape = shape_for(name.removesuffix("s"), variant)
            for text in self._places(needed) if shape else ():
                found = list(dict.fromkeys(shape.found_in(text))) if shape else []
                if found:
                    break
            if not found and (value := self._value(name, variant, needed)) is not None:
                found = [value]
        return iter([found] if found else [])

    def _texts(self, name: str, schema: Schema, needed: bool) -> Iterator[JSON]:
        shape = shape_for(name, schema)
        called = spaced(name)
        if shape is not None:
            for text in self._places(needed):
                yield from shape.found_in(text)
            yield from self._recorded(name) if needed else ()
            return
        if is_free(name) and "pattern" not in schema:
            yield from self._own_words(schema, needed)
            return
        if set(called.split()) & CODES:
            yield from self._codes(called, name in self.heard.asked)
        yield from self._names(name, called, needed)

    def _own_words(self, schema: Schema, needed: bool) -> Iterator[JSON]:
        """The user's own sentence, as it stands, for a parameter that wants to know in words."""
        for text in (self.heard.request, self.heard.said):
            if text.strip() and (needed or re.search(r"\b(because|since|reason)\b", text)):
                longest = schema.get("maxLength")
                yield text.strip()[: longest if isinstance(longest, int) else LONGEST]

    def _codes(self, called: str, asked: bool) -> Iterator[JSON]:
        label = {stem(word) for word in called.split()} | {"number", "numb", "no"}
        for text in self._places(needed=True):
            found = list(values.codes(text))
            yield from (code for code, before in found if before & label)
            mixed = [
                code for code, _ in found if re.search("[A-Za-z]", code) and not re.fullmatch(r"\d+[a-z]{1,3}", code)
            ]
            yield from mixed
            yield from _pointed_at(text)
            if asked and text == values.tidy(self.heard.said):
                yield from (code for code, _ in found)

    def _names(self, name: str, called: str, needed: bool) -> Iterator[JSON]:
        if name in self.heard.asked:
            answer = _LEAD_IN.sub("", f" {self.heard.said[:400]} ").strip(" \n.,;:!\"'")
            answer = re.sub(r"[, ]+(please|thanks|thank you)$", "", answer, flags=re.IGNORECASE)
            if answer and len(answer.split()) <= 8 and not _EVASIVE.match(answer) and "?" not in self.heard.said[:400]:
                yield answer
        for text in dict.fromkeys((self.heard.said, self.heard.request, *(self.heard.earlier if needed else ()))):
            found = values.named(called, values.tidy(text))
            inside = values.quoted(values.tidy(text))
            yield from [found] if found else inside if needed and len(inside) == 1 else ()
        yield from self._recorded(name) if needed else ()


def _pointed_at(text: str) -> list[str]:
    """The bare number that "a refund for 1240" or "and 1240?" is about: the only one, and counting nothing."""
    found = re.findall(r"\b(?:for|of|is|and|about|with)\s+#?(\d{3,})(?=\W*$|[.,;!?])", text, re.IGNORECASE)
    return found if len(found) == 1 and not any(each.money for each in values.numbers(text)) else []


def _fit(number: values.Number, label: set[str], money: bool) -> int:
    """How well a number suits a parameter: by the word it counts, by being money, by the words before it."""
    if number.money and not money:
        return 0
    return (
        4 * (number.counts in label)
        + 2 * bool(number.after & label)
        + 2 * (number.money and money)
        + (bool(number.before & label) and not number.counts)
    )


def _under(name: str, value: JSON, depth: int) -> Iterator[JSON]:
    if depth > 6:
        return
    if isinstance(value, Mapping):
        for key, each in value.items():
            if spaced(key) == spaced(name) and each is not None:
                yield each
            yield from _under(name, each, depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for each in value[:50]:
            yield from _under(name, each, depth + 1)
