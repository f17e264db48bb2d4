"""What a tool may know and do beside its arguments."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from relayline.errors import UsageError
from relayline.events import Transfer
from relayline.journal.codec import checked
from relayline.journal.store import Store
from relayline.messages import JSON, Message, valid


class SharedState(MutableMapping[str, JSON]):
    """What the team keeps in common, as one tool call sees and changes it.

    Changes are kept when the tool returns, and none of them if it raises. Of two calls that run side by side and change
    the same key, the one that returns later wins.
    """

    def __init__(self, now: Callable[[], Mapping[str, JSON]]) -> None:
        self._now = now
        self._mine: dict[str, JSON] = {}
        self._gone: set[str] = set()
        # What was there when it was read: somebody else may have changed it when the tool returns.
        self._read: dict[str, JSON] = {}
        self._over = False

    def __getitem__(self, key: str) -> JSON:
        if key in self._gone:
            raise KeyError(key)
        if key not in self._mine:
            # A copy, so that a list the tool appends to is a change like any other, and nobody else's list.
            self._read[key] = self._now()[key]
            self._mine[key] = copy.deepcopy(self._read[key])
        return self._mine[key]

    def __setitem__(self, key: str, value: JSON) -> None:
        self._open()
        self._mine[key] = _checked(value, f"state[{key!r}]", key)
        self._read.pop(key, None)
        self._gone.discard(key)

    def setdefault(self, key: str, default: JSON = None) -> JSON:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What is there, set to ``default`` if there is nothing. As of a dict: what is returned may be changed."""
        if key not in self:
            self[key] = default
        return self[key]

    def __delitem__(self, key: str) -> None:
        self._open()
        if key not in self:
            raise KeyError(key)
        self._mine.pop(key, None)
        self._read.pop(key, None)
        self._gone.add(key)

    def __contains__(self, key: object) -> bool:
        return key not in self._gone and (key in self._mine or key in self._now())

    def __iter__(self) -> Iterator[str]:
        return iter([key for key in {**self._now(), **self._mine} if key not in self._gone])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))

    def close(self) -> None:
        """The tool has returned: nobody looks at changes any more."""
        self._over = True

    def _open(self) -> None:
        if self._over:
            raise UsageError("the tool has returned, so what it changes in the state now would be lost")

    def changes(self) -> tuple[Mapping[str, JSON], tuple[str, ...]]:
        """What was set and what was deleted.

        Raises:
            TypeError: if something is no longer JSON that was, a list by now.
        """
        now = self._now()
        mine = {key: _checked(value, "what is left in state") for key, value in self._mine.items()}
        values = {key: value for key, value in mine.items() if not _same(value, self._read.get(key, now.get(key)))}
        return values, tuple(sorted(key for key in self._gone if key in now))


def _same(one: JSON, other: JSON) -> bool:
    """As JSON, where no is not nothing and 1 is not 1.0."""
    return one == other and json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _checked(value: object, what: str, key: str = "") -> JSON:
    """A copy of ``value`` as a journal would give it back."""
    try:
        return checked({key: cast("JSON", value)})[key]
    except (ValueError, TypeError) as error:
        raise TypeError(f"{what} has to be JSON: {error}") from None


@dataclass(frozen=True, slots=True)
class Host:
    """Where a tool is called, for one that is an agent itself.

    ``client``: through which the caller speaks, a `relayline.ChatClient`. ``store``: where its conversation is kept.
    """

    client: Any
    store: Store


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may know about its call. A parameter annotated with it is filled in and never shown to the model.

    ``idempotency_key`` is the same whenever this very call is repeated, and no other call ever has it: hand it to
    whatever must not happen twice. ``transcript``: the conversation when the call was made, oldest first. ``state``:
    JSON values the team keeps in common for this session. ``payload``: what the colleague who handed over gave the
    agent, if the handoff carries something. ``handoffs``: what `handoff` was asked for, for a test that makes a context
    by hand. ``host``: for `Agent.as_tool`. Once the tool has returned, its context is for reading only.
    """

    session_id: str
    agent: str
    call_id: str
    idempotency_key: str
    transcript: Sequence[Message]
    state: MutableMapping[str, Any] = field(default_factory=dict[str, Any])
    payload: JSON = None
    handoffs: list[Transfer] = field(default_factory=list[Transfer])
    _check: Callable[[Transfer], None] | None = field(default=None, repr=False)
    _emit: Callable[[JSON], None] | None = field(default=None, repr=False)
    host: Host | None = field(default=None, repr=False)

    def handoff(self, target: str, reason: str = "", payload: JSON = None) -> None:
        """Hand the conversation over to ``target`` once this tool and the calls beside it are done.

        As if the agent had called the handoff's tool itself: along a declared edge, within the loop limits, the first
        in call order if there are several. Called twice, the last counts; if the tool raises, none does.

        Raises:
            UsageError: if there is no such edge, a person has to approve it, or the payload does not fit.
        """
        if not isinstance(target, str) or not isinstance(reason, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"a handoff has the name of an agent and a reason in words; got {target!r}, {reason!r}")
        try:
            wanted = Transfer(target, valid(reason), _checked(payload, "the payload of a handoff"))
        except TypeError as error:
            raise UsageError(str(error)) from None
        if self._check is not None:
            self._check(wanted)
        self.handoffs[:] = [wanted]

    def emit(self, data: JSON) -> None:
        """Show ``data`` to whoever follows the run, as a ``progress`` event. It is not kept in the journal.

        Raises:
            TypeError: if it is not JSON.
        """
        shown = _checked(data, "what is emitted")
        if self._emit is not None:
            self._emit(shown)
