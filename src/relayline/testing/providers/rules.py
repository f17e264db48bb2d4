"""What the judges of several wires share: how a place is named, and the rules that more than one of them has."""

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias, cast

Body: TypeAlias = Mapping[str, Any]
"""What would be posted, as JSON values. A judge looks at the conversation and the tools, and at no other setting."""

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
LONG_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


def items(body: Body, key: str) -> Sequence[Body]:
    """The list under ``key``, which every wire wants and none takes empty."""
    found = several(body.get(key))
    assert found, f"{key} is empty; there has to be at least one"
    return found


def part(body: Body, key: str) -> Body:
    """The object under ``key``; an empty one if there is none."""
    value: object = body.get(key)
    return cast("Body", value) if isinstance(value, Mapping) else {}


def several(value: object) -> Sequence[Body]:
    """The value, if it is a list; else nothing: a string, or what was left out."""
    return cast("Sequence[Body]", value) if isinstance(value, list) else ()


def where(key: str, number: int, kind: object) -> str:
    """How a place is named, after the providers' own messages: ``messages[2] (assistant)``."""
    return f"{key}[{number}] ({kind})"


def check_json(body: Body) -> None:
    """Refuse what is not JSON in UTF-8 (RFC 8259, 8.1): half characters, NaN, objects of Python."""
    if _problem(body) is None:  # the common case, at the speed of C
        return
    for key, value in body.items():
        for number, each in enumerate(several(value)):
            problem = _problem(each)
            assert problem is None, f"{key}[{number}] {problem}"
        problem = _problem(value)
        assert problem is None, f"{key} {problem}"


def _problem(value: object) -> str | None:
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        return f"holds text that is not valid Unicode: {error.object[error.start : error.start + 20]!r}"
    except (TypeError, ValueError) as error:
        return f"is not JSON: {error}"
    return None


def check_name(name: object, pattern: re.Pattern[str], place: str) -> None:
    """Refuse a function's name that is missing or not of the pattern."""
    fits = isinstance(name, str) and pattern.fullmatch(name)
    assert fits, f"{place}: function name {name!r} does not match {pattern.pattern}"


def check_unique(names: Sequence[str], what: str) -> None:
    """Refuse a name or an id that is used twice."""
    twice = [repr(name) for name, times in Counter(names).items() if times > 1]
    assert not twice, f"{what} must be unique; used twice: {', '.join(twice)}"


def check_schema(schema: object, place: str, refused: Collection[str]) -> None:
    """Refuse parameters that are not a schema of an object, or have one of the ``refused`` keywords at the top."""
    assert isinstance(schema, Mapping), f"{place}: the parameters are no JSON Schema but {schema!r:.60}"
    found = cast("Body", schema)
    kind = str(found.get("type")).lower()  # Gemini writes its types in capitals
    assert kind == "object", f"{place}: the parameters' schema has to be of type 'object', not {found.get('type')!r}"
    wrong = [key for key in found if key in refused]
    assert not wrong, f"{place}: the parameters' schema must not have {', '.join(wrong)} at its top level"
