"""As much of JSON Schema as tools' parameters use: what may stand in a place, and whether a value may."""

import re
from collections.abc import Mapping, Sequence
from typing import cast

from relayline.messages import JSON

Schema = Mapping[str, JSON]

_DEEPEST = 8
"""References followed inside one another; a schema that refers to itself ends here."""

_FORMATS = {
    "email": re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]{2,}"),
    "date": re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"),
    "time": re.compile(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?(Z|[+-]\d\d:\d\d)?"),
    "date-time": re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?"),
    "uuid": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "uri": re.compile(r"\w+://\S+"),
}

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (dict,),
    "null": (type(None),),
}


def properties(schema: Schema) -> Mapping[str, Schema]:
    """The places of an object, by name."""
    found = schema.get("properties")
    if not isinstance(found, Mapping):
        return {}
    # "True" is a schema too: anything goes.
    return {name: cast("Schema", place) if isinstance(place, Mapping) else {} for name, place in found.items()}


def required(schema: Schema) -> Sequence[str]:
    """The names of the places that must be filled."""
    found = schema.get("required")
    return [str(name) for name in found] if isinstance(found, Sequence) and not isinstance(found, str) else []


def text_of(schema: Schema, key: str) -> str:
    """What a schema says under a key, if it is a text."""
    found = schema.get(key)
    return found if isinstance(found, str) else ""


def variants(schema: Schema, root: Schema, depth: int = 0) -> list[Schema]:
    """The plain schemas a value may follow, in declared order: references resolved, alternatives spread, null left out.

    What is said around a reference or an alternative (its description, say) holds for each of them.
    """
    if depth > _DEEPEST:
        return []
    around = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf", "oneOf", "allOf", "default")}
    if isinstance(reference := schema.get("$ref"), str):
        return [{**each, **around} for each in variants(_resolve(reference, root), root, depth + 1)]
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(choices := schema.get(key), Sequence) and not isinstance(choices, str):
            # Pydantic writes allOf only around a single reference; several at once are as rare as they are hard.
            return [
                {**each, **around} for choice in choices for each in variants(cast("Schema", choice), root, depth + 1)
            ]
    kinds = schema.get("type")
    if isinstance(kinds, Sequence) and not isinstance(kinds, str):
        return [{**around, "type": kind} for kind in kinds if kind != "null"]
    return [] if kinds == "null" else [around]


def valid(value: JSON, schema: Schema, root: Schema) -> bool:
    """Whether a value may stand where ``schema``, one of `variants`, is asked for."""
    kind = schema.get("type")
    if isinstance(kind, str) and kind in _TYPES:
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
            return False
    if "const" in schema and value != schema["const"]:
        return False
    if isinstance(allowed := schema.get("enum"), Sequence) and value not in list(allowed):
        return False
    if isinstance(value, str):
        return _valid_text(value, schema)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _valid_number(value, schema)
    if isinstance(value, Mapping):
        return _valid_object(value, schema, root)
    if isinstance(value, Sequence):
        return _valid_list(value, schema, root)
    return True


def _resolve(reference: str, root: Schema) -> Schema:
    place: JSON = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        place = place.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(place, Mapping) else None
    return cast("Schema", place) if isinstance(place, Mapping) else {}


def _limit(schema: Schema, key: str) -> float | None:
    found = schema.get(key)
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def _within(size: float, schema: Schema, least: str, most: str) -> bool:
    low, high = _limit(schema, least), _limit(schema, most)
    return (low is None or size >= low) and (high is None or size <= high)


def _valid_text(value: str, schema: Schema) -> bool:
    if not _within(len(value), schema, "minLength", "maxLength"):
        return False
    shape = _FORMATS.get(text_of(schema, "format"))
    if shape is not None and not shape.fullmatch(value):
        return False
    try:
        # The limit is for patterns that take for ever on a long text that nearly fits.
        return "pattern" not in schema or (
            len(value) <= 200 and re.search(text_of(schema, "pattern"), value) is not None
        )
    except re.error:
        return False


def _valid_number(value: float, schema: Schema) -> bool:
    above, below, step = (_limit(schema, key) for key in ("exclusiveMinimum", "exclusiveMaximum", "multipleOf"))
    return (
        _within(value, schema, "minimum", "maximum")
        and (above is None or value > above)
        and (below is None or value < below)
        and (not step or abs(value / step - round(value / step)) < 1e-6)
    )


def _valid_object(value: Mapping[str, JSON], schema: Schema, root: Schema) -> bool:
    known = properties(schema)
    return all(name in value for name in required(schema)) and all(
        name in known and any(valid(each, choice, root) for choice in variants(known[name], root))
        for name, each in value.items()
    )


def _valid_list(value: Sequence[JSON], schema: Schema, root: Schema) -> bool:
    items = schema.get("items")
    if not isinstance(items, Mapping):
        return True
    choices = variants(cast("Schema", items), root)
    return _within(len(value), schema, "minItems", "maxItems") and all(
        any(valid(each, choice, root) for choice in choices) for each in value
    )
