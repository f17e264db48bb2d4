"""Tools: a function, what a model is shown of it, and the way from a model's JSON to a call and back to text.

What a model is shown comes from the signature and the docstring, so a tool is described in one place. A function must
therefore say what it takes: every parameter is annotated, and ``*args`` and ``**kwargs`` are refused.
"""

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeAlias, cast, get_args, overload

from pydantic import ValidationError
from pydantic_core import ErrorDetails, to_json
from typing_extensions import ParamSpec, TypeVar

from relayline.context import ToolContext
from relayline.errors import BuildError, ToolError, UsageError
from relayline.messages import JSON
from relayline.reconcile import Hook, NotDone
from relayline.signature import Arguments, Passed, Signature, definition_of, docstring_of, name_of

ApprovalMode: TypeAlias = Literal["always_require", "never_require"]

P = ParamSpec("P", default=...)
R = TypeVar("R", default=Any)


@dataclass(frozen=True, slots=True, eq=False)
class Tool(Generic[P, R]):
    """A function a model can call. Made by `tool`, or by `Tool.from_schema`; calling it calls the function.

    ``parameters`` is a JSON Schema (draft 2020-12) of type object. ``repeatable``: running the same call twice does no
    harm, as for reads, or for writes keyed by `ToolContext.idempotency_key`. After a crash such a call is simply run
    again. ``hook``: what finds out what became of a call that was cut off. Any other waits for a person.
    """

    name: str
    description: str
    parameters: Mapping[str, JSON]
    function: Callable[P, R] = field(repr=False)
    signature: Arguments = field(repr=False)
    approval_mode: ApprovalMode = "never_require"
    repeatable: bool = False
    hook: Hook | None = None

    @classmethod
    def from_schema(
        cls,
        name: str,
        description: str,
        parameters: Mapping[str, JSON],
        function: Callable[[dict[str, Any], ToolContext], Awaitable[object]],
        *,
        approval_mode: ApprovalMode = "never_require",
        repeatable: bool = False,
        reconcile: Callable[..., Any] | None = None,
    ) -> "Tool":
        """A tool that is described elsewhere, by a server for instance.

        ``function`` is given the JSON object a model wrote and checks itself whether it fits ``parameters``; what it
        raises is the result that the model is shown. ``reconcile`` is as in `tool`; it may take that object as
        ``arguments``.

        Raises:
            BuildError: if the name or the approval mode is none, or ``reconcile`` cannot be called.
        """
        _checked(name, approval_mode)
        hook = _hook(name, reconcile, ["arguments"], repeatable)
        schema: dict[str, JSON] = {"type": "object", "properties": dict[str, JSON](), **parameters}
        return Tool(name, description, schema, function, Passed(), approval_mode, repeatable, hook)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function as if it were no tool."""
        return self.function(*args, **kwargs)

    def problem(self, arguments: str) -> str | None:
        """What a model should be told about the JSON text ``arguments``, or None if the tool can be called with it.

        As lenient as pydantic is by default: ``"5"`` will do for an int. Names that are not parameters are a problem.
        """
        try:
            self.signature.read(arguments)
        except ValidationError as error:
            return self._explain(error)
        return None

    async def call(self, arguments: str, context: ToolContext) -> str:
        """Call the function, and return what it returns as text for the model.

        A string is returned as it is, None as ``done``, all else as JSON. A function that is not async runs in a thread
        with the caller's contextvars; cancelling ends the waiting, not the thread. What the function raises propagates.

        Raises:
            UsageError: if there is a `problem` with the arguments; the function was not called.
        """
        args, kwargs = self.signature.bind(self._read(arguments), context)
        return _as_text(await _called(self.function, args, kwargs))

    async def outcome(self, arguments: str, context: ToolContext) -> str | NotDone:
        """Ask the tool's own hook what became of a call that was cut off: what `call` would have returned, or NOT_DONE.

        Raises:
            ToolError: if it has no hook, or the hook says nothing. What the hook raises propagates.
            UsageError: if there is a `problem` with the arguments.
        """
        if self.hook is None:
            raise ToolError(f"{self.name!r} cannot say what became of a call")
        given = self.hook.bind(self.signature.named(self._read(arguments), context), context)
        found = await _called(self.hook.function, [context.idempotency_key], given)
        if found is None:
            # Not "done", as of a call: it is what a search returns that found nothing and looked in one place only.
            raise ToolError(f"the reconcile of {self.name!r} returned None; it returns what was done, or NOT_DONE")
        return found if isinstance(found, NotDone) else _as_text(found)

    def _read(self, arguments: str) -> Any:
        try:
            return self.signature.read(arguments)
        except ValidationError as error:
            raise UsageError(self._explain(error)) from None

    def _explain(self, error: ValidationError) -> str:
        # A wrong list can have a thousand wrong items; the first few say it.
        problems = error.errors(include_url=False, include_context=False)[:8]
        return "\n".join(
            [f"The arguments of {self.name!r} do not fit:", *(f"- {self._line(each)}." for each in problems)]
        )

    def _line(self, problem: ErrorDetails) -> str:
        properties = cast("Mapping[str, JSON]", self.parameters.get("properties", {}))
        where = ".".join(str(step) for step in problem["loc"])
        match problem["type"]:
            case "missing":
                return f"{where!r} is missing" + (
                    f"; expected {_json(properties[where])}" if where in properties else ""
                )
            case "extra_forbidden" if where not in properties:
                return f"there is no {where!r}; there is {', '.join(map(repr, properties)) or 'nothing to give'}"
            case _ if not where:
                return f"{problem['msg']}; expected one JSON object, given {problem['input']!r:.80}"
            case _:
                return f"{where!r}: {problem['msg']}; given {_json(problem['input'])[:80]}"


@overload
def tool(fn: Callable[P, R], /) -> Tool[P, R]: ...
@overload
def tool(
    fn: Callable[P, R],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    approval_mode: ApprovalMode = "never_require",
    repeatable: bool = False,
    reconcile: Callable[..., Any] | None = None,
) -> Tool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    approval_mode: ApprovalMode = "never_require",
    repeatable: bool = False,
    reconcile: Callable[..., Any] | None = None,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    approval_mode: ApprovalMode = "never_require",
    repeatable: bool = False,
    reconcile: Callable[..., Any] | None = None,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function: ``@tool``, ``@tool(approval_mode="always_require")`` or ``tool(shop.refund)``.

    The name is the function's, the description its docstring's prose. A parameter is described by
    ``Field(description=...)``, else by ``Annotated[T, "text"]``, else by the docstring (Google, NumPy or Sphinx style).
    Methods are made tools once they are bound; what a `functools.partial` has bound is not shown to the model.

    ``approval_mode="always_require"``: a person is asked before each call.

    ``reconcile``: a function, async or not, that is asked what became of a call that a crash cut off. It is given the
    call's idempotency key, then whichever of the tool's parameters it names, and a `ToolContext` if it has a parameter
    of that type. It returns what the call would have returned, or `NOT_DONE`: then the call is made again, with the
    same key. If it raises or returns None a person is asked. It may be asked more than once.

    Raises:
        BuildError: if a model could not be shown the function as it stands; the message says what to change.
    """

    def build(function: Callable[..., Any]) -> Tool:
        called = name or name_of(function)
        _checked(called, approval_mode)
        prose, about = docstring_of(function)
        signature = Signature.of(called, function, about, filled=ToolContext)
        text = prose if description is None else description
        offered = [each.name for each in signature.parameters]
        hook = _hook(called, reconcile, offered, repeatable)
        return Tool(called, text, signature.schema(), function, signature, approval_mode, repeatable, hook)

    return build if fn is None else build(fn)


class Toolset(Protocol):
    """Several tools from one place, such as an MCP server."""

    @property
    def tools(self) -> Sequence[Tool]: ...


def as_tools(values: Sequence[Tool | Callable[..., Any] | Toolset]) -> Iterator[Tool]:
    """All the tools, those of toolsets in their place.

    Raises:
        BuildError: if something is neither.
    """
    for each in values:
        several: object = None if callable(each) or hasattr(each, "as_tool") else getattr(each, "tools", None)
        if several is None:
            yield as_tool(each)
        else:
            yield from map(as_tool, cast("Sequence[Tool]", several))


def as_tool(value: Tool | Callable[..., Any] | Toolset) -> Tool:
    """The tool itself, or the tool made of a plain function.

    Raises:
        BuildError: if it is neither, or as `tool` does.
    """
    if isinstance(value, Tool):
        return cast("Tool", value)
    if not callable(value):
        instead = "its .as_tool()" if hasattr(value, "as_tool") else "a function or what @tool made of one"
        raise BuildError(f"RL122 {value!r} is not a tool: give {instead}")
    return tool(value)


def _checked(name: str, approval_mode: str) -> None:
    # A digit or a hyphen in front is what Gemini alone refuses.
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}", name):
        raise BuildError(
            f"RL123 {name!r} cannot be a tool's name, which is 1 to 64 of a-z, A-Z, 0-9, _, - and begins with "
            "a letter or _: use tool(fn, name=...)"
        )
    if approval_mode not in get_args(ApprovalMode):
        modes = " or ".join(map(repr, get_args(ApprovalMode)))
        raise BuildError(f"RL124 tool {name!r}: approval_mode is {approval_mode!r}; it has to be {modes}")


def _hook(called: str, function: object, offered: Collection[str], repeatable: bool) -> Hook | None:
    if function is None:
        return None
    if repeatable:
        raise BuildError(
            f"RL136 tool {called!r} is repeatable, so it is run again and nobody asks what became of a call; "
            "leave out repeatable or reconcile"
        )
    return Hook.of(called, function, offered, ToolContext)


async def _called(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    if inspect.iscoroutinefunction(definition_of(function)):
        return await function(*args, **kwargs)
    result = await asyncio.to_thread(_in_thread, function, args, kwargs)
    return await result if inspect.isawaitable(result) else result


def _in_thread(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    try:
        return function(*args, **kwargs)
    except StopIteration as error:
        # A future cannot hold it: asyncio would wait for ever.
        raise RuntimeError(f"{name_of(function)} raised StopIteration") from error


def _as_text(value: Any) -> str:
    if value is None:
        return "done"
    if isinstance(value, str):
        return str.__str__(value)  # The words themselves, also of an enum of strings.
    return _json(value)


def _json(value: Any) -> str:
    try:
        return to_json(value, bytes_mode="base64", inf_nan_mode="strings", fallback=str).decode()
    except ValueError:
        # Something that holds itself, say. The tool has run, and a model must not be told otherwise.
        return str(value)
