"""The port to whatever dispatches turns: ids cross it, never content."""

from abc import abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeAlias

from relayline.errors import WorldError

RunTurn: TypeAlias = Callable[[str], Coroutine[Any, Any, None]]
"""Look after the session of this id until it rests. It may be called for one at once here and elsewhere, for one that
rests, and again after it raised: what it does is done once all the same."""


class HandedBack(WorldError):
    """This worker stops, and somebody else goes on with the session."""


CLOCKS = timedelta(seconds=0.1)
"""By how much those of two machines may differ before a message for later has to be swept."""


def time_until(when: datetime | None) -> timedelta | None:
    """How long an engine's timer is to run, so that it is ``when`` on every machine afterwards; None: it is over."""
    left = timedelta(0) if when is None else when + CLOCKS - datetime.now(UTC)
    return left if left > timedelta(0) else None


@dataclass(frozen=True, slots=True)
class Limits:
    """``here``: how many sessions are at work at once in this worker. ``sessions``, ``per_tenant``: in the whole fleet,
    and of each tenant; None: any number.
    """

    here: int = 100
    sessions: int | None = None
    per_tenant: int | None = None


class Dispatcher(Protocol):
    """Calls `RunTurn` for the sessions that are submitted, on some worker, one turn at a time for each.

    It may forget and it may repeat: what was submitted is in the store's inbox, and workers sweep it. ``quiet``: the
    seconds after which a session that nobody looks after was forgotten. ``every``: the seconds between two sweeps.
    ``retries``: a turn that fails is dispatched again, at once and elsewhere if its worker died.
    """

    quiet: float
    every: float
    retries: bool

    @abstractmethod
    async def submit(self, session_id: str, message_id: str, not_before: datetime | None = None) -> None:
        """A session has something to do. Repeating it is harmless.

        ``message_id``: what there is to do, or empty: it may just have been forgotten. ``not_before``: when.

        Raises:
            DispatchError: whoever dispatches could not be reached.
        """
        ...

    @abstractmethod
    async def cancel(self, session_id: str) -> None:
        """A hint: the store says already that the session was cancelled."""
        ...

    @abstractmethod
    async def serve(self, run_turn: RunTurn, limits: Limits) -> None:
        """Do turns until cancelled."""
        ...

    async def aclose(self) -> None:
        """Let go of connections; closing twice is harmless."""
