"""Which parameters have values of a shape of their own, that can be told from ordinary words."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relayline.clients import values
from relayline.clients.schema import Schema, properties, text_of, variants
from relayline.clients.words import spaced

CODES = frozenset("id number no nr code reference ref key sku serial tracking identifier pnr".split())
"""Words that a parameter is called by when its values are somebody's numbers or references."""

_FORMATS = {
    "email": "email", "mail": "email", "phone": "phone", "telephone": "phone", "mobile": "phone", "date": "date",
    "day": "date", "url": "uri", "link": "uri", "website": "uri", "uuid": "uuid", "time": "time",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """A way to tell a value from ordinary words: a pattern, or a format."""

    pattern: str = ""
    format: str = ""

    def found_in(self, text: str) -> Iterator[str]:
        return values.shaped(self.pattern, text) if self.pattern else values.formatted(self.format, text)


def shape_for(name: str, schema: Schema) -> Shape | None:
    """The shape that a string parameter's values have, by its pattern, format, name or the example it gives."""
    if schema.get("type") != "string" or "enum" in schema or "const" in schema:
        return None
    if (pattern := text_of(schema, "pattern")) and _distinctive(pattern):
        return Shape(pattern=pattern)
    if pattern:
        return None
    called = set(spaced(name).split())
    form = text_of(schema, "format") or next((_FORMATS[word] for word in _FORMATS if word in called), "")
    if form:
        return Shape(format=form)
    samples = schema.get("examples")
    sample = str(samples[0]) if isinstance(samples, Sequence) and samples and not isinstance(samples, str) else ""
    pattern = values.shape_of(sample) or (values.shape_of(text_of(schema, "description")) if called & CODES else None)
    return Shape(pattern=pattern) if pattern else None


def _distinctive(pattern: str) -> bool:
    """Whether a pattern tells its values from ordinary words and numbers."""
    try:
        return not any(re.search(pattern, word) for word in ("order", "Please", "the", "I", "7", "42", "7.50"))
    except re.error:
        return False


def evidence(parameters: Schema, text: str) -> int:
    """How many of a tool's parameters have a shape of their own (a pattern, an address) that a text holds."""
    text = values.tidy(text)
    found = 0
    for name, schema in properties(parameters).items():
        for variant in variants(schema, parameters):
            shape = shape_for(name, variant)
            if shape is not None and next(shape.found_in(text), None) is not None:
                found += 1
                break
    return found
