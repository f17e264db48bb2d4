"""What a model is shown of a function, and what becomes of what the model sends."""

import enum
import logging
import re
import subprocess
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from uuid import UUID

import pytest
from inline_snapshot import snapshot
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from relayline.errors import BuildError, UsageError
from relayline.messages import user
from relayline.tools import Tool, ToolContext, as_tool, tool

pytestmark = pytest.mark.anyio

CONTEXT = ToolContext("s1", "orders", "t1.c1", "s1/t1.c1", (user("hello"),))


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    """Where somebody lives."""

    title: str
    town: Annotated[str, Field(description="the town", title="Town")] = "Oslo"


@dataclass
class Size:
    width: int
    height: int = 1


class Filter(TypedDict, total=False):
    colour: Colour


def properties(made: Tool) -> Any:
    return made.parameters["properties"]


# What a model is shown


def test_schema_of_everything() -> None:
    """Models, dataclasses, typed dicts, enums, unions, dates and defaults are shown in declaration order, untitled."""

    @tool
    def everything(
        zebra: int,
        address: Address,
        sizes: list[Size],
        colour: Colour = Colour.RED,
        only: Filter | None = None,
        mode: Literal["fast", "slow"] = "fast",
        either: int | str = 1,
        since: date = date(2026, 11, 20),
        at: datetime | None = None,
        price: Decimal = Decimal("9.50"),
        key: UUID | None = None,
        extra: dict[str, float] | None = None,
    ) -> None: ...

    assert everything.parameters == snapshot(
        {
            "type": "object",
            "properties": {
                "zebra": {"type": "integer"},
                "address": {"$ref": "#/$defs/Address"},
                "sizes": {"items": {"$ref": "#/$defs/Size"}, "type": "array"},
                "colour": {"$ref": "#/$defs/Colour", "default": "red"},
                "only": {"anyOf": [{"$ref": "#/$defs/Filter"}, {"type": "null"}], "default": None},
                "mode": {"default": "fast", "enum": ["fast", "slow"], "type": "string"},
                "either": {"anyOf": [{"type": "integer"}, {"type": "string"}], "default": 1},
                "since": {"default": "2026-11-20", "format": "date", "type": "string"},
                "at": {"anyOf": [{"format": "date-time", "type": "string"}, {"type": "null"}], "default": None},
                "price": {"default": "9.50", "type": "number"},
                "key": {"anyOf": [{"format": "uuid", "type": "string"}, {"type": "null"}], "default": None},
                "extra": {
                    "anyOf": [{"additionalProperties": {"type": "number"}, "type": "object"}, {"type": "null"}],
                    "default": None,
                },
            },
            "required": ["zebra", "address", "sizes"],
            "additionalProperties": False,
            "$defs": {
                "Address": {
                    "description": "Where somebody lives.",
                    "properties": {
                        "title": {"type": "string"},
                        "town": {"default": "Oslo", "description": "the town", "type": "string"},
                    },
                    "required": ["title"],
                    "type": "object",
                },
                "Colour": {"enum": ["red", "blue"], "type": "string"},
                "Filter": {
                    "additionalProperties": False,
                    "properties": {"colour": {"$ref": "#/$defs/Colour"}},
                    "type": "object",
                },
                "Size": {
                    "additionalProperties": False,
                    "properties": {"width": {"type": "integer"}, "height": {"default": 1, "type": "integer"}},
                    "required": ["width"],
                    "type": "object",
                },
            },
        }
    )
    assert list(properties(everything)) == snapshot(
        ["zebra", "address", "sizes", "colour", "only", "mode", "either", "since", "at", "price", "key", "extra"]
    )


def test_schema_is_the_same_every_time() -> None:
    """The schema of a function is the same text in every process, whatever the hash seed."""
    code = """
import json, enum
from typing import Literal
from relayline.tools import tool
Kind = enum.Enum("Kind", {"a": "a", "b": "b", "c": "c"})
def f(x: Kind, y: Literal["p", "q", "r"], z: int | str | None = None): ...
print(json.dumps(tool(f).parameters))
"""
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


def test_no_parameters() -> None:
    """A function without parameters takes an object without properties, and nothing at all will do for it."""

    @tool
    def now() -> str:
        return "noon"

    assert now.parameters == snapshot({"type": "object", "properties": {}, "additionalProperties": False})
    assert now.problem("") is None
    assert now.problem('{"zone": 1}') == snapshot("""\
The arguments of 'now' do not fit:
- there is no 'zone'; there is nothing to give.\
""")


def test_descriptions() -> None:
    """A Field describes first, then a bare string, then the docstring."""

    @tool
    def find(  # noqa: D417
        a: Annotated[int, "bare a", Field(description="field a")],
        b: Annotated[int, "bare b"],
        c: Annotated[int, Field(ge=1)],
        d: Annotated[int, "bare d"] | None = None,
        e: Address | None = None,
        f: int = Field(default=3, description="field f", le=9),
    ) -> None:
        """Find it.

        Args:
            a: doc a
            b: doc b
            c: doc c,
                on two lines
            e: doc e
        """

    assert {name: schema.get("description") for name, schema in properties(find).items()} == snapshot(
        {"a": "field a", "b": "bare b", "c": "doc c, on two lines", "d": "bare d", "e": "doc e", "f": "field f"}
    )
    assert properties(find)["c"]["minimum"] == 1


def google(n: int) -> None:
    """Count.

    Slowly.

    Note:
        Not on Sundays.

    Args:
        n: how many

    Returns:
        Nothing.
    """


def numpy(n: int) -> None:
    """Count.

    Slowly.

    Parameters
    ----------
    n : int
        how many

    Returns
    -------
    None
    """  # noqa: D416


def sphinx(n: int) -> None:
    """Count.

    Slowly.

    :param n: how many
    :returns: nothing
    """


def unsectioned(n: Annotated[int, "how many"]) -> None:
    """Count.

    Slowly.
    """


@pytest.mark.parametrize("function", [google, numpy, sphinx, unsectioned])
def test_docstring_styles(function: Any) -> None:
    """Google, NumPy and Sphinx docstrings give the same: prose for the tool, a text for the parameter."""
    made = tool(function)
    assert made.description.startswith("Count.\n\nSlowly.")
    assert "Returns" not in made.description
    assert "how many" not in made.description
    assert properties(made)["n"]["description"] == "how many"


def test_notes_are_kept() -> None:
    """A note in a docstring is part of what a model is told."""
    assert tool(google).description == snapshot("""\
Count.

Slowly.

Note: Not on Sundays.\
""")


def test_docstrings_are_read_quietly(caplog: pytest.LogCaptureFixture) -> None:
    """A docstring that documents a parameter that is not there costs no log line."""

    def f(n: int) -> None:  # noqa: D417
        """Count.

        Args:
            m: no such thing
            malformed
        """

    with caplog.at_level(logging.DEBUG):
        assert properties(tool(f)) == {"n": {"type": "integer"}}
    assert caplog.records == []


def test_griffe_is_imported_only_for_sections() -> None:
    """A tool whose docstring is prose does not pay for a docstring parser."""
    code = """
import sys
from relayline.tools import tool
@tool
def f(n: int):
    '''Count to n.'''
assert "griffe" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=True)


def test_name_and_description_given() -> None:
    """A given name and description replace the function's own, and an empty description is one."""
    made = tool(google, name="count-1", description="")
    assert (made.name, made.description) == ("count-1", "")


def test_context_is_hidden() -> None:
    """A parameter annotated ToolContext is not in the schema, however the annotation is written."""

    @tool
    def f(
        a: ToolContext, n: int, b: ToolContext | None = None, c: Annotated["ToolContext", "x"] | None = None
    ) -> None: ...

    assert list(properties(f)) == ["n"]
    assert f.problem('{"n": 1, "a": {}}') is not None


def test_odd_names_are_parameters_too() -> None:
    """Names that pydantic keeps for itself can be parameters, and an alias can be a Python keyword."""

    @tool
    def f(_id: int, copy: int, model_config: int, p_x: int, x: int, source: Annotated[int, Field(alias="from")]) -> Any:
        return [_id, copy, model_config, p_x, x, source]

    assert list(properties(f)) == ["_id", "copy", "model_config", "p_x", "x", "from"]


def test_defaults_that_are_not_json() -> None:
    """A default that cannot be JSON is left out of the schema, and the parameter stays optional."""

    @tool
    def f(n: Any = object()) -> None:  # noqa: B008
        ...

    assert f.parameters == snapshot({"type": "object", "properties": {"n": {}}, "additionalProperties": False})


# What can be a tool


def test_plain_functions_and_tools() -> None:
    """as_tool takes a function or a tool, and hands a tool back as it is."""
    made = as_tool(google)
    assert made.name == "google"
    assert as_tool(made) is made


async def test_decorated_function_stays_callable() -> None:
    """A decorated function is called as before, with its own arguments and result."""

    @tool(approval_mode="always_require", repeatable=True)
    def double(n: int) -> int:
        return n * 2

    @tool
    async def triple(n: int) -> int:
        return n * 3

    assert (double(4), await triple(n=4)) == (8, 12)
    assert (double.approval_mode, double.repeatable) == ("always_require", True)
    assert (triple.approval_mode, triple.repeatable) == ("never_require", False)


class Shop:
    """A shop."""

    def __init__(self) -> None:
        self.sold: list[str] = []

    def sell(self, item: str) -> str:
        """Sell an item."""
        self.sold.append(item)
        return f"sold {item}"

    async def __call__(self, item: str) -> str:
        return self.sell(item)


async def test_bound_methods_and_callable_objects() -> None:
    """Bound methods and callable objects are tools, named after the method or the class."""
    shop = Shop()
    sell, ask = tool(shop.sell), tool(shop)
    assert [(sell.name, sell.description), (ask.name, ask.description)] == snapshot(
        [("sell", "Sell an item."), ("Shop", "A shop.")]
    )
    assert await sell.call('{"item": "mug"}', CONTEXT) == "sold mug"
    assert await ask.call('{"item": "pan"}', CONTEXT) == "sold pan"
    assert shop.sold == ["mug", "pan"]


async def test_partials() -> None:
    """What a partial has bound, by place or by name, is not the model's to choose."""

    def search(index: str, query: str, limit: int = 3, *, lang: str = "en") -> str:
        """Search."""
        return f"{index} {query} {limit} {lang}"

    made = tool(partial(partial(search, "books"), limit=5))
    assert (made.name, made.description, list(properties(made))) == ("search", "Search.", ["query", "lang"])
    assert await made.call('{"query": "q"}', CONTEXT) == "books q 5 en"
    assert made.problem('{"query": "q", "limit": 9}') is not None


async def test_wrapped_functions() -> None:
    """A function behind a decorator that uses functools.wraps is shown as itself."""

    def loud(function: Any) -> Any:
        @wraps(function)
        def inner(*args: Any, **kwargs: Any) -> str:
            return str(function(*args, **kwargs)).upper()

        return inner

    @tool
    @loud
    def hello(name: str) -> str:
        return f"hello {name}"

    assert list(properties(hello)) == ["name"]
    assert await hello.call('{"name": "ann"}', CONTEXT) == "HELLO ANN"


async def test_positional_only_parameters() -> None:
    """Positional-only parameters are filled by position, defaults before later ones included."""

    @tool
    def f(a: int, b: int = 2, c: int = 3, /) -> str:
        return f"{a} {b} {c}"

    assert await f.call('{"a": 1, "c": 9}', CONTEXT) == "1 2 9"


async def test_annotations_written_as_strings() -> None:
    """Annotations as strings are resolved in the module, and in the functions around while these run."""
    made = as_tool(_defined_inside())
    assert properties(made) == snapshot({"a": {"$ref": "#/$defs/Address"}, "local": {"$ref": "#/$defs/Local"}})


def _defined_inside() -> Any:
    class Local(BaseModel):
        n: int

    def f(a: "Address", local: "Local") -> "Unknown":  # type: ignore[name-defined]  # noqa: F821
        raise NotImplementedError

    return tool(f)


async def test_future_annotations() -> None:
    """A module with `from __future__ import annotations` is read all the same."""
    namespace: dict[str, Any] = {"__name__": "future_module"}
    exec(  # noqa: S102
        "from __future__ import annotations\n"
        "from relayline.tools import tool, ToolContext\n"
        "@tool\n"
        "def f(n: int | None, context: ToolContext) -> Nowhere: return f'{n} {context.agent}'\n"
        "def outer():\n"
        "    import decimal as d\n"
        "    def g(x: d.Decimal): return x + 1\n"
        "    return tool(g)\n",
        namespace,
    )
    made = cast("Tool", namespace["f"])
    assert properties(made) == {"n": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}
    assert await made.call('{"n": 4}', CONTEXT) == "4 orders"
    assert properties(namespace["outer"]()) == {"x": {"type": "number"}}


async def generator(n: int) -> Any:
    yield n


def variadic(*items: int, **options: int) -> None: ...


def unannotated(n, m=1) -> None: ...  # type: ignore[no-untyped-def]


def unresolved(n: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821


def not_json(n: Path | type[Any] | logging.Logger) -> None: ...


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            generator,
            snapshot(
                [
                    "RL126 tool 'generator' is a generator:",
                    "a call has one result, so return it whole, as a list for instance",
                ]
            ),
        ),
        (
            variadic,
            snapshot(
                [
                    "RL128 tool 'variadic':",
                    "a model cannot fill *items:",
                    "int;",
                    "take a list or a dict instead",
                    "RL128 tool 'variadic':",
                    "a model cannot fill **options:",
                    "int;",
                    "take a list or a dict instead",
                ]
            ),
        ),
        (
            unannotated,
            snapshot(
                [
                    "RL129 tool 'unannotated':",
                    "parameter 'n' has no annotation;",
                    "write n:",
                    "str, say",
                    "RL129 tool 'unannotated':",
                    "parameter 'm' has no annotation;",
                    "write m:",
                    "str, say",
                ]
            ),
        ),
        (
            unresolved,
            snapshot(
                [
                    "RL130 tool 'unresolved':",
                    "'Nowhere' in its annotations cannot be found at run time.",
                    "Import it outside of `if TYPE_CHECKING:`;",
                    "if it is defined inside a function, move it to the module.",
                ]
            ),
        ),
        (
            not_json,
            snapshot(
                [
                    "RL131 tool 'not_json':",
                    "its parameters make no JSON Schema:",
                    "Unable to generate pydantic-core schema for <class 'logging.Logger'>",
                ]
            ),
        ),
        (
            Shop,
            snapshot(["RL125 tool 'Shop' is a class:", "write a function that makes one, so that it can say what for"]),
        ),
        (
            Shop.sell,
            snapshot(["RL129 tool 'sell':", "parameter 'self' has no annotation;", "make a tool of the bound method"]),
        ),
        (
            lambda: 1,
            snapshot(
                [
                    "RL123 '<lambda>' cannot be a tool's name, which is 1 to 64 of a-z, A-Z, 0-9, _, - and begins with a letter or _:",
                    "use tool(fn, name=...)",
                ]
            ),
        ),
        (7, snapshot(["RL122 7 is not a tool:", "give a function or what @tool made of one"])),
    ],
)
def test_what_cannot_be_a_tool(value: Any, message: list[str]) -> None:
    """What a model could not be shown or could not fill is refused, with the name, the parameter and the remedy."""
    with pytest.raises(BuildError) as caught:
        as_tool(value)
    assert re.split(r"(?<=[.:;]) |\n+", str(caught.value)) == message


def test_patterns_are_checked() -> None:
    """A pattern that pydantic cannot use (it knows no look-ahead) is refused when the tool is made."""

    def f(n: Annotated[str, Field(pattern="(?=a)b")]) -> None: ...

    with pytest.raises(BuildError, match=r"(?s)tool 'f'.*look-ahead"):
        tool(f)


@pytest.mark.parametrize("name", ["", "a b", "naïve", "x" * 65, "tool\n", "2fa", "-v"])
def test_names(name: str) -> None:
    """A name that providers would refuse is refused here."""
    with pytest.raises(BuildError, match="cannot be a tool's name"):
        tool(lambda: 1, name=name)


def test_approval_mode_is_checked() -> None:
    """A misspelt approval mode is refused: it would have let calls through."""
    with pytest.raises(BuildError, match="'always_require' or 'never_require'"):
        tool(google, approval_mode=cast("Any", "always"))


# What a model sends


@tool
def order(number: Annotated[str, Field(pattern=r"^A-\d{4}$")], size: Size, colour: Colour, count: int = 1) -> Any:
    """Order it."""
    return [number, size, colour, count]


FITTING = '{"number": "A-1042", "size": {"width": 2}, "colour": "blue", "count": "5"}'


async def test_lenient_numbers() -> None:
    """A number written as a string is taken as the number."""
    assert order.problem(FITTING) is None
    assert await order.call(FITTING, CONTEXT) == '["A-1042",{"width":2,"height":1},"blue",5]'


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            "",
            snapshot("""\
The arguments of 'order' do not fit:
- 'number' is missing; expected {"pattern":"^A-\\\\d{4}$","type":"string"}.
- 'size' is missing; expected {"$ref":"#/$defs/Size"}.
- 'colour' is missing; expected {"$ref":"#/$defs/Colour"}.\
"""),
        ),
        (
            "{",
            snapshot("""\
The arguments of 'order' do not fit:
- Invalid JSON: EOF while parsing an object at line 1 column 1; expected one JSON object, given '{'.\
"""),
        ),
        (
            "[1]",
            snapshot("""\
The arguments of 'order' do not fit:
- Input should be an object; expected one JSON object, given [1].\
"""),
        ),
        (
            "null",
            snapshot("""\
The arguments of 'order' do not fit:
- Input should be an object; expected one JSON object, given None.\
"""),
        ),
        (
            "order A-1042 please",
            snapshot("""\
The arguments of 'order' do not fit:
- Invalid JSON: expected value at line 1 column 1; expected one JSON object, given 'order A-1042 please'.\
"""),
        ),
        (
            '{"number": "1042", "size": {"width": "wide"}, "colour": "pink", "color": "red"}',
            snapshot("""\
The arguments of 'order' do not fit:
- 'number': String should match pattern '^A-\\d{4}$'; given "1042".
- 'size.width': Input should be a valid integer, unable to parse string as an integer; given "wide".
- 'colour': Input should be 'red' or 'blue'; given "pink".
- there is no 'color'; there is 'number', 'size', 'colour', 'count'.\
"""),
        ),
        (
            '{"number": "A-1042", "size": {}, "colour": "red", "count": NaN}',
            snapshot("""\
The arguments of 'order' do not fit:
- 'size.width' is missing.
- 'count': Input should be a finite number; given "NaN".\
"""),
        ),
    ],
)
async def test_problems(arguments: str, sentence: str) -> None:
    """A problem tells the model, per parameter, what is wrong and what was expected; and the function is not called."""
    assert order.problem(arguments) == sentence
    with pytest.raises(UsageError) as caught:
        await order.call(arguments, CONTEXT)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "arguments", ["[" * 100_000, "\ud800", '{"n": "\\ud800"}', '{"n": ' + "9" * 5000 + "}", "\x00", "{}{}"]
)
def test_hostile_text(arguments: str) -> None:
    """No text, however odd, is more than a problem."""

    @tool
    def f(n: int) -> None: ...

    assert f.problem(arguments)


def test_many_problems_are_cut_short() -> None:
    """A thousand wrong items are not a thousand lines."""

    @tool
    def f(ns: list[int]) -> None: ...

    sentence = f.problem('{"ns": [' + '"x",' * 999 + '"x"]}')
    assert sentence is not None
    assert len(sentence) < 1500


# What becomes of a call


async def test_context_is_filled_in() -> None:
    """The function is handed the context of its call."""

    @tool
    async def f(n: int, context: ToolContext) -> str:
        return f"{n} {context.idempotency_key} {context.transcript[0].text}"

    assert await f.call('{"n": 1}', CONTEXT) == "1 s1/t1.c1 hello"


async def test_own_defaults() -> None:
    """A parameter left out gets the function's own default, not a copy of it."""
    missing: Any = object()
    seen: list[Any] = []

    @tool
    def f(a: Any = missing, b: int = Field(default=3)) -> None:
        seen.extend([a, b])

    await f.call("{}", CONTEXT)
    assert seen[0] is missing
    assert seen[1] == 3


async def test_sync_functions_run_in_a_thread() -> None:
    """A function that is not async runs in a thread, and sees the caller's context variables."""
    import threading

    tenant: ContextVar[str] = ContextVar("tenant")
    tenant.set("acme")

    @tool
    def f() -> str:
        return f"{tenant.get()} {threading.current_thread() is threading.main_thread()}"

    assert await f.call("{}", CONTEXT) == "acme False"


async def test_awaitables_are_awaited() -> None:
    """A function that is not async but returns an awaitable, as lambdas do, is awaited."""

    async def inner() -> int:
        return 7

    assert await tool(lambda: inner(), name="f").call("{}", CONTEXT) == "7"


class Word(enum.StrEnum):
    YES = "yes"


circle: list[Any] = []
circle.append(circle)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is\n", "as it is\n"),
        (None, "done"),
        ("", ""),
        (Word.YES, "yes"),
        (Colour.RED, '"red"'),
        (True, "true"),
        (Decimal("9.50"), '"9.50"'),
        (date(2026, 11, 20), '"2026-11-20"'),
        (Address(title="Dr"), '{"title":"Dr","town":"Oslo"}'),
        ([Size(2), {"x": (1, None)}], '[{"width":2,"height":1},{"x":[1,null]}]'),
        (b"\xff", '"_w=="'),
        (float("nan"), '"NaN"'),
        (circle, "[[...]]"),
    ],
)
async def test_results(value: Any, text: str) -> None:
    """A string is returned as it is, None as done, everything else as JSON; whatever it is, there is a text for it."""
    assert await tool(lambda: value, name="f").call("{}", CONTEXT) == text


async def test_exceptions_propagate() -> None:
    """What the function raises is what the caller gets."""

    def f() -> None:
        raise LookupError("no such order")

    with pytest.raises(LookupError, match="no such order"):
        await tool(f).call("{}", CONTEXT)


async def test_stop_iteration() -> None:
    """A StopIteration, which a future cannot hold, comes out as a RuntimeError instead of waiting for ever."""

    def f() -> int:
        return next(iter(()))

    with pytest.raises(RuntimeError, match="f raised StopIteration"):
        await tool(f).call("{}", CONTEXT)
