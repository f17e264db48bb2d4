"""What a tool may know and do beside its arguments."""

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

from relayline.events import Transfer
from relayline.journal.codec import checked
from relayline.messages import JSON, Message


class SharedState(MutableMapping[str, JSON]):
    """What the team keeps in common, as one tool call sees and changes it.

    Changes are kept when the tool returns, and none of them if it raises. Of two calls that run side by side and change
    the same key, the one that returns later wins.
    """

    def __init__(self, now: Callable[[], Mapping[str, JSON]]) -> None:
        self._now = now
        self._mine: dict[str, JSON] = {}
        self._gone: set[str] = set()

    def __getitem__(self, key: str) -> JSON:
        if key in self._gone:
            raise KeyError(key)
        if key not in self._mine:
            # A copy, so that a list the tool appends to is a change like any other, and nobody else's list.
            self._mine[key] = copy.deepcopy(self._now()[key])
        return self._mine[key]

    def __setitem__(self, key: str, value: JSON) -> None:
        try:
            kept = checked({key: value})
        except (ValueError, TypeError) as error:
            raise TypeError(f"state[{key!r}] has to be JSON: {error}") from None
        self._mine.update(kept)
        self._gone.discard(key)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._mine.pop(key, None)
        self._gone.add(key)

    def __contains__(self, key: object) -> bool:
        return key not in self._gone and (key in self._mine or key in self._now())

    def __iter__(self) -> Iterator[str]:
        return iter([key for key in {**self._now(), **self._mine} if key not in self._gone])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def changes(self) -> tuple[Mapping[str, JSON], tuple[str, ...]]:
        """What was set and what was deleted.

        Raises:
            TypeError: if something is no longer JSON that was, a list by now.
        """
        now = self._now()
        try:
            values = checked({key: value for key, value in self._mine.items() if key not in now or now[key] != value})
        except (ValueError, TypeError) as error:
            raise TypeError(f"what is left in state has to be JSON: {error}") from None
        return values, tuple(sorted(key for key in self._gone if key in now))


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may know about its call. A parameter annotated with it is filled in and never shown to the model.

    ``idempotency_key`` is the same whenever this very call is repeated, and no other call ever has it: hand it to
    whatever must not happen twice. ``transcript``: the conversation when the call was made, oldest first. ``state``:
    JSON values the team keeps in common for this session. ``payload``: what the colleague who handed over gave the
    agent, if the handoff carries something.
    """

    session_id: str
    agent: str
    call_id: str
    idempotency_key: str
    transcript: Sequence[Message]
    state: MutableMapping[str, JSON] = field(default_factory=dict[str, JSON])
    payload: JSON = None
    handoffs: list[Transfer] = field(default_factory=list[Transfer])
    _check: Callable[[Transfer], None] | None = field(default=None, repr=False)
    _emit: Callable[[JSON], None] | None = field(default=None, repr=False)

    def handoff(self, target: str, reason: str = "", payload: JSON = None) -> None:
        """Hand the conversation over to ``target`` once this tool and the calls beside it are done.

        As if the agent had called the handoff's tool itself: along a declared edge, within the loop limits, the first
        in call order if there are several. Called twice, the last counts; if the tool raises, none does.

        Raises:
            UsageError: if there is no such edge, a person has to approve it, or the payload does not fit.
        """
        wanted = Transfer(target, reason, payload)
        if self._check is not None:
            self._check(wanted)
        self.handoffs[:] = [wanted]

    def emit(self, data: JSON) -> None:
        """Show ``data`` to whoever follows the run, as a ``progress`` event. It is not kept in the journal."""
        if self._emit is not None:
            self._emit(data)
