"""Signatures: what a function takes, as a JSON Schema a model is shown and as the way back from JSON to a call."""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import UnionType
from typing import Annotated, Any, Protocol, Union, cast, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, create_model
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, JsonSchemaWarningKind
from pydantic_core import SchemaError, core_schema

from relayline.errors import BuildError
from relayline.messages import JSON


class Arguments(Protocol):
    """The way from the JSON text a model wrote to the arguments of a call."""

    def read(self, text: str) -> Any:
        """The JSON ``text``, validated.

        Raises:
            pydantic.ValidationError: if it is not JSON, not an object, or does not fit.
        """
        ...

    def bind(self, values: Any, context: object) -> tuple[list[Any], dict[str, Any]]:
        """The positional and the named arguments of the call, of what `read` gave."""
        ...

    def named(self, values: Any, context: object) -> Mapping[str, Any]:
        """The arguments of the call by name, of what `read` gave."""
        ...


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    json.dumps(values, allow_nan=False)
    return values


_OBJECT = TypeAdapter(Annotated[dict[str, Any], AfterValidator(_finite)], config=ConfigDict(defer_build=True))


class Passed:
    """Arguments that somebody else checks: the JSON object as it is, and the context after it."""

    def read(self, text: str) -> dict[str, Any]:
        return _OBJECT.validate_json(text.strip() or "{}")

    def bind(self, values: dict[str, Any], context: object) -> tuple[list[Any], dict[str, Any]]:
        return [values, context], {}

    def named(self, values: dict[str, Any], context: object) -> Mapping[str, Any]:
        return {"arguments": values}


@dataclass(frozen=True, slots=True)
class Signature:
    """How JSON becomes the arguments of one function.

    ``model`` has a field ``p_<name>`` for each parameter a model is shown: a parameter may be called ``copy`` or
    ``_id``, a pydantic field may not.
    """

    model: type[BaseModel]
    parameters: Sequence[inspect.Parameter]

    @classmethod
    def of(cls, called: str, function: Callable[..., Any], about: Mapping[str, str], filled: type) -> "Signature":
        """The signature of the tool ``called`` so.

        ``about``: descriptions of parameters that do not describe themselves. ``filled``: the type of parameters that
        are not for the model.

        Raises:
            BuildError: if a model could not fill a parameter by name, or not be told of what type it is.
        """
        parameters = _parameters(called, function)
        hints = hints_of(f"tool {called!r}", function)
        shown = [parameter for parameter in parameters if filled not in alternatives(hints[parameter.name])]
        fields: dict[str, Any] = {
            f"p_{parameter.name}": (
                _described(hints[parameter.name], about.get(parameter.name)),
                ... if parameter.default is parameter.empty else parameter.default,
            )
            for parameter in shown
        }
        config = ConfigDict(extra="forbid", allow_inf_nan=False, alias_generator=lambda field: field.removeprefix("p_"))
        try:
            arguments = cls(create_model("Arguments", __config__=config, **fields), parameters)
            arguments.schema()
        except (PydanticUserError, PydanticUndefinedAnnotation, SchemaError, TypeError) as error:
            # Only the first sentence: the next ones give advice about a model the caller never wrote.
            reason = str(error).partition(". ")[0].partition("\n\n")[0]
            raise BuildError(f"RL131 tool {called!r}: its parameters make no JSON Schema: {reason}") from error
        return arguments

    def schema(self) -> dict[str, JSON]:
        """The JSON Schema (draft 2020-12) of the parameters, in their order."""
        schema = _untitled(self.model.model_json_schema(schema_generator=_Schema))
        whole: dict[str, JSON] = {"type": "object", "properties": schema.get("properties", {})}
        return whole | {key: schema[key] for key in ("required", "additionalProperties", "$defs") if key in schema}

    def read(self, text: str) -> BaseModel:
        """The JSON ``text``, validated.

        Raises:
            pydantic.ValidationError: if it is not JSON, not an object, or does not fit.
        """
        # Some models send nothing at all for a function without parameters.
        return self.model.model_validate_json(text.strip() or "{}")

    def bind(self, values: BaseModel, context: object) -> tuple[list[Any], dict[str, Any]]:
        """The positional and the named arguments of the call; ``context`` goes where its type is asked for."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for parameter in self.parameters:
            field, default = f"p_{parameter.name}", parameter.default
            if field not in type(values).model_fields:
                value = context
            elif field in values.model_fields_set or default is parameter.empty or isinstance(default, FieldInfo):
                value = getattr(values, field)
            else:
                # Not pydantic's copy of the default: it may be a sentinel that the function compares with `is`.
                value = default
            if parameter.kind is parameter.POSITIONAL_ONLY:
                args.append(value)
            else:
                kwargs[parameter.name] = value
        return args, kwargs

    def named(self, values: BaseModel, context: object) -> Mapping[str, Any]:
        """The arguments of the call by name."""
        args, kwargs = self.bind(values, context)
        return dict(zip((parameter.name for parameter in self.parameters), args, strict=False)) | kwargs


def _parameters(called: str, function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters still to be filled, in order; refuses what a model could not fill by name."""
    definition = definition_of(function)
    if inspect.isclass(function):
        raise BuildError(
            f"RL125 tool {called!r} is a class: write a function that makes one, so that it can say what for"
        )
    if inspect.isgeneratorfunction(definition) or inspect.isasyncgenfunction(definition):
        raise BuildError(
            f"RL126 tool {called!r} is a generator: a call has one result, so return it whole, as a list for instance"
        )
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError as error:
        raise BuildError(
            f"RL127 tool {called!r} has no signature to read: wrap it in a function that has one"
        ) from error
    # What was bound by name was bound on purpose: it is no business of the model.
    bound: Mapping[str, object] = function.keywords if isinstance(function, partial) else {}
    parameters = [parameter for parameter in parameters if parameter.name not in bound]
    problems: list[str] = []
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            problems.append(f"RL128 tool {called!r}: a model cannot fill {parameter}; take a list or a dict instead")
        elif parameter.annotation is parameter.empty:
            advice = (
                "make a tool of the bound method" if parameter.name == "self" else f"write {parameter.name}: str, say"
            )
            problems.append(f"RL129 tool {called!r}: parameter {parameter.name!r} has no annotation; {advice}")
    if problems:
        raise BuildError(*problems)
    return parameters


def hints_of(called: str, function: Callable[..., Any], *, result: bool = False) -> Mapping[str, Any]:
    """The annotations of the parameters, those written as strings too, and that of the ``result`` if it is wanted.

    Raises:
        BuildError: if one of them cannot be found at run time; ``called`` says whose.
    """
    definition = inspect.unwrap(definition_of(function))
    scope: dict[str, Any] = getattr(definition, "__globals__", {})

    def probe() -> None: ...

    # The type of the result is of no interest, and often one that is imported for type checkers only.
    written: dict[str, Any] = getattr(definition, "__annotations__", {})  # nothing, if it is written in C
    probe.__annotations__ = {name: hint for name, hint in written.items() if result or name != "return"}
    try:
        try:
            return get_type_hints(probe, scope, include_extras=True)
        except NameError:
            return get_type_hints(probe, scope, _enclosing_names(definition), include_extras=True)
    except NameError as error:
        raise BuildError(
            f"RL130 {called}: {error.name!r} in its annotations cannot be found at run time. Import it "
            "outside of `if TYPE_CHECKING:`; if it is defined inside a function, move it to the module."
        ) from error


def _enclosing_names(definition: Callable[..., Any]) -> dict[str, Any]:
    """The local names of the functions this one was defined in, as far as they are still running or closed over."""
    *outer, _ = definition.__qualname__.split(".<locals>.")
    enclosing = {".<locals>.".join(outer[: depth + 1]) for depth in range(len(outer))}
    names: dict[str, Any] = {}
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_qualname in enclosing and frame.f_globals is definition.__globals__:
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names | dict(inspect.getclosurevars(definition).nonlocals)


def schema_of(adapter: TypeAdapter[Any]) -> dict[str, JSON]:
    """The JSON Schema of a type, as those of parameters are."""
    return _untitled(adapter.json_schema(schema_generator=_Schema))


def definition_of(function: Callable[..., Any]) -> Any:
    """The ``def`` beneath partials, bound methods and callable objects."""
    function = _unbound(function)
    if inspect.ismethod(function):
        return function.__func__
    return function if inspect.isroutine(function) or inspect.isclass(function) else type(function).__call__


def name_of(function: Callable[..., Any]) -> str:
    """The function's own name, or that of the class of a callable object."""
    function = _unbound(function)
    return getattr(function, "__name__", type(function).__name__)


def docstring_of(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """The prose of the docstring, and what it says of each parameter."""
    # Not inspect.getdoc: it finds "Call self as a function." for a callable object that says nothing.
    docstring = inspect.cleandoc(definition_of(function).__doc__ or _unbound(function).__doc__ or "")
    section = _SECTION.search(docstring)
    if section is None:
        return docstring.strip(), {}
    import griffe  # noqa: PLC0415  A fifth of a second, paid only by those whose docstrings have sections.

    prose: list[str] = []
    about: dict[str, str] = {}
    style = griffe.Parser(section.lastgroup)
    with griffe.logger.disable():
        parts = griffe.parse(griffe.Docstring(docstring), style, warnings=False)
    for part in parts:
        if isinstance(part, griffe.DocstringSectionText):
            prose.append(part.value)
        elif isinstance(part, griffe.DocstringSectionAdmonition):
            prose.append(f"{part.title}: {part.value.contents}")
        elif isinstance(part, griffe.DocstringSectionParameters | griffe.DocstringSectionOtherParameters):
            about |= {each.name: " ".join(each.description.split()) for each in part.value}
    return "\n\n".join(prose).strip(), about


_SECTION = re.compile(
    r"""^(?P<sphinx>:(?:param|parameter|arg|argument|key|keyword|type|returns?|rtype|raises?|except)\b.*:)
    |^(?P<numpy>(?:Other[ ])?(?:Parameters|Returns|Raises|Yields|Examples)\n-{3,}[ ]*$)
    |^(?P<google>(?:Args|Arguments|Params|Parameters|Keyword[ ]Arg(?:ument)?s|Returns|Raises|Yields|Examples?):[ ]*$)
    """,
    re.MULTILINE | re.VERBOSE,
)


def _unbound(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, partial):
        function = function.func
    return function


def alternatives(hint: Any) -> Iterator[Any]:
    """The types a hint is made of, looking through ``Annotated`` and unions but not into containers."""
    if get_origin(hint) is Annotated:
        yield from alternatives(hint.__origin__)
    elif get_origin(hint) in (Union, UnionType):
        for each in get_args(hint):
            yield from alternatives(each)
    else:
        yield hint


def _described(hint: Any, otherwise: str | None) -> Any:
    """The hint with a description: its own bare string, else ``otherwise``. A ``Field(description=...)`` still wins."""
    text = next(_bare_strings(hint), otherwise)
    if not text:
        return hint
    base, *rest = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    annotated: Any = Annotated
    return annotated[(base, Field(description=text), *rest)]


def _bare_strings(hint: Any) -> Iterator[str]:
    if get_origin(hint) is Annotated:
        yield from (each for each in hint.__metadata__ if isinstance(each, str))
        yield from _bare_strings(hint.__origin__)
    elif get_origin(hint) in (Union, UnionType):
        for each in get_args(hint):
            yield from _bare_strings(each)


class _Schema(GenerateJsonSchema):
    """pydantic's JSON Schema, without what gets in a model's way."""

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        """Say nothing: a default that is not JSON is left out, and the parameter is optional all the same."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        # Of "a number, or a string of this pattern" only the number: the pattern looks ahead, and some providers refuse
        # such a schema. Strings are accepted all the same.
        return super().decimal_schema(schema)["anyOf"][0]


def _untitled(schema: Any, *, named: bool = False) -> Any:
    """The schema without titles, which repeat the names. ``named``: the keys are names somebody chose, not keywords."""
    if isinstance(schema, list):
        return [_untitled(each) for each in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    keywords = cast("dict[str, Any]", schema)
    if named:
        return {name: _untitled(each) for name, each in keywords.items()}
    return {
        key: each
        if key in ("default", "const", "enum", "examples")
        else _untitled(each, named=key in ("properties", "$defs"))
        for key, each in keywords.items()
        if key != "title"
    }
