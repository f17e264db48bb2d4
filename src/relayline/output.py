"""Outputs: what an agent's last word of a turn has to be, if not just words; JSON of a type."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic_core import SchemaError

from relayline.errors import BuildError
from relayline.messages import JSON
from relayline.signature import schema_of

MOST = 8  # problems that are told: a wrong list can have a thousand wrong items, and the first few say it


@dataclass(frozen=True, slots=True)
class Output:
    """A type that a reply has to be JSON of. ``schema`` has its name as ``title``."""

    schema: Mapping[str, JSON]
    adapter: TypeAdapter[Any]

    @classmethod
    def of(cls, kind: Any) -> "Output":
        """The output of the type ``kind``: a pydantic model, a dataclass, a TypedDict.

        Raises:
            BuildError: if it has no JSON Schema, or its JSON is no object, which is all that providers take.
        """
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(kind)
            schema = schema_of(adapter)
        except (PydanticUserError, PydanticUndefinedAnnotation, SchemaError, TypeError, NameError) as error:
            raise BuildError(f"it has no JSON Schema: {str(error).partition('. ')[0].splitlines()[0]}") from error
        if "$ref" in schema:  # of a type that holds itself
            named = cast("Mapping[str, dict[str, JSON]]", schema["$defs"])
            schema = {**named[str(schema["$ref"]).rpartition("/")[2]], "$defs": schema["$defs"]}
        if schema.get("type") != "object":
            raise BuildError("its JSON is no object; give a model or a dataclass that has it as a field")
        title = re.sub(r"\W+", "_", getattr(kind, "__name__", "output"), flags=re.ASCII).strip("_") or "output"
        return cls({"title": title[:64], **schema}, adapter)

    def read(self, text: str) -> tuple[Any, str]:
        """The value that ``text`` is the JSON of, or else what a model should be told about it.

        As lenient as with a tool's arguments: ``"5"`` will do for an int.
        """
        try:
            return self.adapter.validate_json(text), ""
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)[:MOST]
            return None, "\n".join(f"- {_where(each['loc'])}{each['msg']}." for each in found)
        except Exception as error:  # noqa: BLE001  A user's own validator may raise anything.
            return None, f"- It could not be checked: {type(error).__name__}: {error}."


def _where(steps: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, steps))!r}: " if steps else ""
