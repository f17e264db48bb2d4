"""What facts look like, as pydantic's validator wants to know it.

Taken from the dataclasses here and not by pydantic: it takes five times as long for the same, which every process would
pay before it can take up a conversation, and a union would be told apart by trying, as tags cannot be declared where
there is nothing but the standard library.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic_core import CoreSchema, core_schema

PLAIN: Mapping[Any, CoreSchema] = {
    str: core_schema.str_schema(),
    int: core_schema.int_schema(),
    bool: core_schema.bool_schema(),
    object: core_schema.any_schema(),  # JSON
}

TAGS = ("type", "kind")
"""Fields that tell the members of a union apart; each has one in which only its default is allowed."""


def schema_of(hint: Any) -> CoreSchema:
    """The schema of all that ``hint`` allows.

    Raises:
        TypeError: it is made of something that facts are not made of.
    """
    seen: dict[type[Any], CoreSchema] = {}
    return core_schema.definitions_schema(_schema(hint, seen), list(seen.values()))


def _schema(hint: Any, seen: dict[type[Any], CoreSchema]) -> CoreSchema:
    if hint in PLAIN:
        return PLAIN[hint]
    if is_dataclass(hint) and isinstance(hint, type):
        if hint not in seen:
            seen[hint] = PLAIN[object]  # it may have itself within
            seen[hint] = _dataclass(hint, seen)
        return core_schema.definition_reference_schema(hint.__name__)
    origin, within = get_origin(hint), get_args(hint)
    if origin is Literal:
        return core_schema.literal_schema(list(within))
    if origin is Mapping:
        return core_schema.dict_schema(*(_schema(each, seen) for each in within))
    if origin is tuple and within[1:] == (...,):
        return core_schema.tuple_variable_schema(_schema(within[0], seen))
    if origin in (Union, UnionType):
        return _union([each for each in within if each is not NoneType], NoneType in within, seen)
    raise TypeError(f"no fact has {hint!r} in it")


def _dataclass(kind: type[Any], seen: dict[type[Any], CoreSchema]) -> CoreSchema:
    hints, named = get_type_hints(kind), fields(kind)
    parts = [
        core_schema.dataclass_field(each.name, _or_default(each, _schema(hints[each.name], seen))) for each in named
    ]
    return core_schema.dataclass_schema(
        kind,
        core_schema.dataclass_args_schema(kind.__name__, parts),
        [each.name for each in named],
        post_init=False,  # what it makes of what callers give is what JSON is read as
        slots=True,
        ref=kind.__name__,
    )


def _or_default(field: Field[Any], schema: CoreSchema) -> CoreSchema:
    if field.default is not MISSING:
        return core_schema.with_default_schema(schema, default=field.default)
    if field.default_factory is not MISSING:
        return core_schema.with_default_schema(schema, default_factory=field.default_factory)
    return schema


def _union(several: list[Any], optional: bool, seen: dict[type[Any], CoreSchema]) -> CoreSchema:
    if len(several) == 1:
        schema = _schema(several[0], seen)
    else:
        tag = next(tag for tag in TAGS if all(hasattr(each, tag) for each in several))
        choices = {each.__dataclass_fields__[tag].default: _schema(each, seen) for each in several}
        schema = core_schema.tagged_union_schema(choices, tag)
    return core_schema.nullable_schema(schema) if optional else schema
