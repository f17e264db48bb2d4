"""Functions as participants: ``@executor`` makes one of a plain function, sync or async.

::

    @executor
    async def count(draft: str) -> Length:
        return Length(words=len(draft.split()))

What it takes, it is given by the annotation of its parameter; what it returns, it says: a text as it stands, all else
as JSON. A run of it is kept in the journal like that of a tool, with the same promises.
"""

import asyncio
import inspect
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast, get_args, get_origin, overload

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic_core import SchemaError, to_json

from relayline.agent import Agent
from relayline.errors import BuildError, UsageError
from relayline.messages import JSON, Message, valid
from relayline.signature import definition_of, docstring_of, hints_of, name_of, schema_of

T = TypeVar("T")


class Wanting(BaseException):
    """A function stops here until somebody told it something. Not an `Exception`: its author must not catch it."""

    def __init__(self, data: JSON, schema: JSON, unfit: str) -> None:
        super().__init__("the function waits for an answer")
        self.data = data
        self.schema = schema
        self.unfit = unfit


@dataclass(frozen=True, slots=True)
class ExecutorContext:
    """What a function may know about its run, and how it asks. A parameter annotated with it is filled in.

    ``idempotency_key`` is the same whenever this very run is repeated: hand it to whatever must not happen twice.
    ``conversation``: what was said before, oldest first, as far as the function may know it. ``state``: JSON values the
    team keeps in common; changes are kept when the function returns.
    """

    session_id: str
    name: str
    idempotency_key: str
    conversation: Sequence[Message] = ()
    state: MutableMapping[str, Any] = field(default_factory=dict[str, Any])
    _answers: list[JSON] = field(default_factory=list[JSON], repr=False)
    _emit: Callable[[JSON], None] | None = field(default=None, repr=False)

    async def request_info(self, data: Any, response_type: type[T]) -> T:
        """Ask a person: ``data`` (JSON, or what pydantic makes JSON of) is what they see, and a ``response_type`` what
        comes back.

        The process need not live that long. Once the answer is there the function is run again from its beginning, and
        each ``request_info`` it comes to returns the answer it was given before, in order: so what comes before the
        first one had better be harmless to repeat, and the questions follow from the input and the answers alone.
        An answer that is no ``response_type`` is asked for again.
        """
        adapter: TypeAdapter[Any] = TypeAdapter(response_type)
        unfit = ""
        while self._answers:
            given = self._answers.pop(0)
            try:
                return cast("T", adapter.validate_json(to_json(given)))
            except ValidationError as error:
                unfit = valid(f"the answer to {self.name!r} does not fit: {error.errors()[0]['msg']}")
        raise Wanting(cast("JSON", _plain(data)), schema_of(adapter), unfit)

    def emit(self, data: JSON) -> None:
        """Show ``data`` to whoever follows the run, as a ``progress`` event. It is not kept in the journal."""
        if self._emit is not None:
            self._emit(data)


def _plain(value: object) -> object:
    """The JSON of a value, as it is read back."""
    return TypeAdapter(object).validate_json(to_json(value))


@dataclass(frozen=True, slots=True, eq=False)
class Executor:
    """A function that can have a turn. Made by `executor`; calling it calls the function.

    ``takes``, ``gives``: the types of what it is given and what it returns. ``repeatable``: running it twice does no
    harm. After a crash such a function is simply run again; for any other a person is asked what became of it.
    """

    name: str
    description: str
    function: Callable[..., Any] = field(repr=False)
    takes: Any
    gives: Any
    repeatable: bool = False
    _input: str = field(default="", repr=False)
    _context: str = field(default="", repr=False)
    _read: TypeAdapter[Any] = field(default_factory=lambda: TypeAdapter(Any), repr=False)
    _write: TypeAdapter[Any] = field(default_factory=lambda: TypeAdapter(Any), repr=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function as if it were no participant."""
        return self.function(*args, **kwargs)

    def read(self, given: Sequence[Message], conversation: Sequence[Message], *, many: bool) -> Any:
        """What it is given, of the last words of those it goes on from. ``many``: it is a list of theirs.

        Raises:
            UsageError: if they are not what it takes.
        """
        several = get_origin(self.takes) in (list, Sequence)
        if several and get_args(self.takes) == (Message,):
            return list(given if many else conversation)
        if self.takes is Message:
            return given[-1]
        if self.takes is str:
            return "\n\n".join(message.text for message in given if message.text)
        if not many:
            return self._fit(given[-1].text, given[-1])
        if several and get_args(self.takes) == (str,):
            return [message.text for message in given]
        return self._fit(_list(given), given[-1])

    def _fit(self, text: str, source: Message) -> Any:
        try:
            return self._read.validate_json(text or "null")
        except ValidationError as error:
            try:
                return self._read.validate_python(text)
            except ValidationError:
                problem = error.errors()[0]
                raise UsageError(
                    f"{self.name!r} takes {_named(self.takes)}, and {source.author_name or 'the user'!r} said "
                    f"{text!r:.80}: {problem['msg']}"
                ) from None

    async def run(self, value: Any, context: ExecutorContext) -> str:
        """Run the function, and return what it returned as text. A function that is not async runs in a thread.

        Raises:
            Wanting: if it waits for an answer. What it raises itself propagates.
        """
        args = [value] if self._input == "/" else []
        kwargs: dict[str, Any] = {}
        if self._input and not args:
            kwargs[self._input] = value
        if self._context:
            kwargs[self._context] = context
        if inspect.iscoroutinefunction(definition_of(self.function)):
            result = await self.function(*args, **kwargs)
        else:
            result = await asyncio.to_thread(self.function, *args, **kwargs)
            if inspect.isawaitable(result):
                result = await result
        return valid(self._text(result))

    def value(self, text: str) -> Any:
        """What was returned, of the text it was kept as; None, if it fits no more."""
        if not text or self.gives is str:
            return text or None
        try:
            return self._write.validate_json(text)
        except ValidationError:
            return text if self.gives is Any else None

    def _text(self, result: Any) -> str:
        if isinstance(result, Message):
            return result.text
        if result is None:
            return ""
        checked = self._write.validate_python(result)
        return str.__str__(checked) if isinstance(checked, str) else self._write.dump_json(checked).decode()


@dataclass(frozen=True)
class FunctionAgent(Agent):
    """A function as it sits in a team, among the agents."""

    function: Executor | None = None


def _list(given: Sequence[Message]) -> str:
    """A JSON list of what each said, JSON or not."""
    values: list[str] = []
    for message in given:
        try:
            values.append(to_json(TypeAdapter(object).validate_json(message.text or "null")).decode())
        except ValidationError:
            values.append(to_json(message.text).decode())
    return f"[{','.join(values)}]"


def _named(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind)) if not get_args(kind) else str(kind)


@overload
def executor(fn: Callable[..., Any], /) -> Executor: ...
@overload
def executor(
    fn: Callable[..., Any], /, *, name: str | None = None, description: str | None = None, repeatable: bool = False
) -> Executor: ...
@overload
def executor(
    *, name: str | None = None, description: str | None = None, repeatable: bool = False
) -> Callable[[Callable[..., Any]], Executor]: ...
def executor(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    repeatable: bool = False,
) -> Executor | Callable[[Callable[..., Any]], Executor]:
    """Make a participant of a function: ``@executor``, or ``@executor(repeatable=True)``.

    It has at most one parameter beside an `ExecutorContext`, and is given by its annotation: ``str`` the words of
    whoever was before it, ``Message`` the message, ``list[Message]`` the conversation, any other type what these words
    are the JSON of. One that waits for several is given a list. What it returns has to fit the annotation of the
    result.

    Raises:
        BuildError: if it has more parameters, or types that pydantic can make nothing of.
    """

    def build(function: Callable[..., Any]) -> Executor:
        called = name or name_of(function)
        prose, _ = docstring_of(function)
        hints = hints_of(f"executor {called!r}", function, result=True)
        parameters = inspect.signature(function).parameters
        names = list(parameters)
        contexts = [each for each in names if hints.get(each) is ExecutorContext]
        inputs = [each for each in names if each not in contexts]
        if len(inputs) > 1 or len(contexts) > 1:
            raise BuildError(
                f"RL140 executor {called!r} takes one value and an ExecutorContext at most; it has {', '.join(names)}"
            )
        takes = hints.get(inputs[0], Any) if inputs else Any
        gives = hints.get("return", Any)
        read, write = (_adapter(called, each) for each in (takes, gives))
        told = prose if description is None else description
        unnamed = inputs and parameters[inputs[0]].kind is inspect.Parameter.POSITIONAL_ONLY
        sides = "/" if unnamed else inputs[0] if inputs else "", contexts[0] if contexts else ""
        return Executor(called, told, function, takes, gives, repeatable, *sides, read, write)

    return build if fn is None else build(fn)


def _adapter(called: str, kind: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(kind)
    except (PydanticUserError, PydanticUndefinedAnnotation, SchemaError, TypeError, NameError) as error:
        raise BuildError(
            f"RL141 executor {called!r}: nothing can be made of {_named(kind)}: {str(error).partition('. ')[0]}"
        ) from error
