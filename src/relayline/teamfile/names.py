"""What the names in a team's file stand for: only what the caller allows, and nothing else is ever imported."""

import difflib
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import TypeAlias, cast

from relayline.errors import UsageError
from relayline.executors import Executor, executor
from relayline.tools import Tool, tool

Allowed: TypeAlias = Sequence[str] | Mapping[str, object]
"""Modules (``"shop.tools"``) and single names of them (``"shop.tools:refund"``), or names with what they stand for."""

VIEWS = ("text", "with_results", "full", "words")
"""What a file calls views by themselves: these names mean nothing else."""

TOOL = ("name", "description", "parameters", "approval_mode", "repeatable", "hook")
PARTICIPANT = ("name", "description", "takes", "gives", "repeatable")
"""What makes two tools, or two functions as participants, the same, if they are of one function."""


class Refused(Exception):
    """A name that stands for nothing. ``code``: whether it is not allowed or not there."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class Vocabulary:
    """The names that a file may use, and the way back from an object to its name.

    Raises:
        UsageError: if ``allow`` is no list of names and no mapping, or gives another meaning to the name of a view.
    """

    def __init__(self, allow: Allowed) -> None:
        if isinstance(allow, str) or not isinstance(allow, Sequence | Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"allow is a list of modules, or a mapping of names to objects; got {allow!r}")
        self._given: Mapping[str, object] = allow if isinstance(allow, Mapping) else {}
        self._names = [] if isinstance(allow, Mapping) else list(allow)
        if odd := [each for each in (*self._given, *self._names) if not isinstance(each, str)]:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"allow names modules and names by strings; got {odd[0]!r}")
        if taken := [each for each in self._given if each in VIEWS]:
            raise UsageError(f"{taken[0]!r} is a view in every file; choose another name in allow")

    def stands_for(self, name: str) -> object:
        """What a name in a file means.

        Raises:
            Refused: if it is not allowed, or there is no such thing.
        """
        if name in self._given:
            return self._given[name]
        module, colon, attribute = name.partition(":")
        exactly = name in self._names
        if not colon or not (exactly or module in self._names):
            raise Refused("RL306", self._not_allowed(name))
        found = _imported(module)
        if exactly:
            return _attribute(found, attribute)
        if attribute not in _offered(found):
            raise Refused("RL307", _not_offered(found, attribute))
        return _attribute(found, attribute)

    def name_of(self, value: object) -> str | None:
        """A name that stands for ``value``; None, if none does."""
        for name, each in self._given.items():
            if _same(each, value):
                return name
        for name in self._names:
            module, colon, _ = name.partition(":")
            if colon:
                if _same(self.stands_for(name), value):
                    return name
                continue
            found = _imported(module)
            for attribute in _offered(found):
                if _same(getattr(found, attribute), value):
                    return f"{module}:{attribute}"
        return None

    def _not_allowed(self, name: str) -> str:
        known = [*self._given, *self._names]
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]!r}" if close else f"allowed: {', '.join(map(repr, known)) or 'nothing'}"
        say = "What is, is said where the file is loaded: load(path, allow=[...]), or --allow"
        return f"{name!r} is not allowed; {hint}. {say}"


class Anything(Vocabulary):
    """Where no list of names is given to write with: whatever says itself which module it is from."""

    def __init__(self) -> None:
        super().__init__(())

    def name_of(self, value: object) -> str | None:
        home = getattr(_function(value), "__module__", None)
        module = sys.modules.get(home) if isinstance(home, str) else None
        if module is None:
            return None
        own = (name for name in _offered(module) if _same(getattr(module, name), value))
        return next((f"{home}:{name}" for name in own), None)


def _function(value: object) -> object:
    return cast("object", value.function) if isinstance(value, Tool | Executor) else value


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        why = next(iter(str(error).splitlines()), "")
        raise Refused("RL307", f"the module {name!r} cannot be imported: {type(error).__name__}: {why}") from error


def _attribute(module: ModuleType, path: str) -> object:
    value: object = module
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise Refused("RL307", _not_offered(module, path)) from None
    return value


def _offered(module: ModuleType) -> Sequence[str]:
    """What a module has to offer: what its ``__all__`` names, or else what is public and its own.

    Functions and classes it imported are not: that a module uses ``subprocess.run`` does not make it a tool.
    """
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return [name for name in listed if hasattr(module, name)]
    return [name for name, value in vars(module).items() if not name.startswith("_") and _own(module, value)]


def _own(module: ModuleType, value: object) -> bool:
    if isinstance(value, ModuleType):
        return False
    function = _function(value)
    if function is not value:
        # Of a toolset's tools there is no telling where they were made.
        return not isinstance(function, FunctionType) or _own(module, function)
    qualname = getattr(value, "__qualname__", None)
    if not callable(value) or qualname is None or "<locals>" in qualname:
        return True  # a value, or what a call returned, which somebody put there under this name
    home = getattr(value, "__module__", None)
    return home == module.__name__ or (isinstance(home, str) and home.startswith(f"{module.__name__}."))


def _not_offered(module: ModuleType, name: str) -> str:
    offered = _offered(module)
    close = difflib.get_close_matches(name, offered, 1)
    if name in vars(module):
        return f"{module.__name__!r} does not offer {name!r}: it is private, or imported from elsewhere"
    hint = f"did you mean {close[0]!r}?" if close else f"there is: {', '.join(_some(offered)) or 'nothing'}"
    return f"there is no {name!r} in {module.__name__!r}; {hint}"


def _some(names: Sequence[str]) -> Iterator[str]:
    yield from names[:10]
    if len(names) > 10:
        yield "..."


def _same(named: object, value: object) -> bool:
    """Whether a team that is given ``named`` gets ``value``: a function makes a tool, or a participant, the same one
    each time.
    """
    if named is value:
        return True
    if named is not _function(value):
        return False
    if isinstance(value, Executor):
        return _alike(executor(cast("FunctionType", named)), value, PARTICIPANT)
    return _alike(tool(cast("FunctionType", named)), value, TOOL)


def _alike(made: object, given: object, by: Sequence[str]) -> bool:
    return all(getattr(made, each) == getattr(given, each) for each in by)
