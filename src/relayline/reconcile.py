"""What a tool can say of a call of its own that was cut off: that it took effect, that it did not, or nothing."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from relayline.errors import BuildError
from relayline.signature import alternatives, hints_of


class NotDone(Enum):
    """The type of `NOT_DONE`."""

    NOT_DONE = "not_done"

    def __repr__(self) -> str:
        return self.name


NOT_DONE: Final = NotDone.NOT_DONE
"""What a hook returns for a call that took no effect, and never will by the attempt that was cut off."""


@dataclass(frozen=True, slots=True, eq=False)
class Hook:
    """A function that finds out what became of a call, by the idempotency key that the call was made with.

    ``wanted``: which of the call's arguments it asks for. ``contexts``: its parameters that are given the context.
    """

    function: Callable[..., Any] = field(repr=False)
    wanted: Sequence[str] = ()
    contexts: Sequence[str] = ()

    @classmethod
    def of(cls, called: str, function: object, offered: Collection[str], filled: type) -> "Hook":
        """The hook of the tool ``called`` so, whose parameters are ``offered``.

        Raises:
            BuildError: if it could not be called: the message says what it may take.
        """
        takes = f"the idempotency key, and then any of {', '.join(map(repr, offered)) or 'no arguments'}"
        problem = f"RL135 tool {called!r}: its reconcile is a function of {takes}; got"
        if not callable(function):
            raise BuildError(f"{problem} {function!r}")
        try:
            key, *others = inspect.signature(function).parameters.values()
        except ValueError:  # it has no parameters, or none to read
            raise BuildError(f"{problem} {function!r}") from None
        hints = hints_of(called, function)
        wanted: list[str] = []
        contexts: list[str] = []
        odd = [] if key.kind in (key.POSITIONAL_ONLY, key.POSITIONAL_OR_KEYWORD) else [str(key)]
        for each in others:
            if each.kind is each.VAR_KEYWORD:
                wanted += [name for name in offered if name not in wanted]
            elif filled in alternatives(hints.get(each.name)):
                contexts.append(each.name)
            elif each.name in offered and each.kind is not each.POSITIONAL_ONLY:
                wanted.append(each.name)
            elif each.default is each.empty and each.kind is not each.VAR_POSITIONAL:
                odd.append(repr(each.name))
        if odd:
            raise BuildError(f"{problem} {', '.join(odd)} as well")
        return cls(function, tuple(wanted), tuple(contexts))

    def bind(self, arguments: Mapping[str, Any], context: object) -> dict[str, Any]:
        """What it is called with beside the key."""
        return {name: arguments[name] for name in self.wanted} | dict.fromkeys(self.contexts, context)
