"""A session in memory: its state, and the one way to change it."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from relayline.errors import SequenceConflict, SessionNotFound
from relayline.events import Entry, Fact, TeamChanged
from relayline.journal import collector
from relayline.journal.checkpoints import asked_since, state_after
from relayline.journal.inbox import inbox_of
from relayline.journal.store import Store
from relayline.machine.decide import Machine
from relayline.machine.inputs import Input, Opened
from relayline.machine.lanes import sight
from relayline.machine.nested import times
from relayline.machine.state import State
from relayline.machine.view import Show, view
from relayline.messages import Message
from relayline.views import View, text

ATTEMPTS = 20
"""How often something is decided anew, where others write to the session at the same moment."""


class Session:
    """Holds nothing the journal does not: dropping one costs a fold, never a fact."""

    def __init__(self, session_id: str, machine: Machine, store: Store) -> None:
        self.id = session_id
        self.state = State()
        self._machine = machine
        self.store = store
        self._first: int | None = None
        self._last: Entry | None = None
        self._asked: dict[str, datetime] = {}
        self._views: dict[tuple[str, Show], tuple[int, int, list[Message]]] = {}
        self._rooms: dict[int, Session] = {}

    def _forget(self) -> None:
        self.state, self._first, self._last = State(), None, None
        self._asked.clear()
        self._views.clear()
        self._rooms.clear()

    def overdue(self) -> list[str]:
        """The requests nobody answered in time, by the store's clock, oldest first.

        Raises:
            UsageError: the team does not take the session.
        """
        late: list[str] = []
        for request, seconds in times(self._taken_up(), self._machine):
            if (self.store.now() - self._asked[request]).total_seconds() > seconds:
                late.append(request)
        return late

    def _taken_up(self) -> State:
        """The state under the names of the team there is: who was called otherwise has what it says of their time."""
        return self._machine.decide(self.state, Opened(self.id)).state

    async def refresh(self) -> None:
        """Catch up with what others wrote.

        Raises:
            DamagedJournal: if what is written does not make a conversation.
        """
        if self._first is not None and self._last is not None:
            if await self.store.stands(self.id, self._first, self._last):
                return
            if not await self.store.read(self.id, upto=self._first):
                self._forget()  # the beginning was: what is forgotten is shown to nobody any more
        state, last = self.state, self._last
        # The last entry once more, to see that it still is: somebody may have deleted the session, and begun another.
        entries = await self.store.read(self.id, after=max(state.seq - 1, 0))
        if last is not None and entries[:1] != [last]:
            self._forget()
            state, last = self.state, None
            entries = await self.store.read(self.id)
        new = entries if last is None else entries[1:]
        with collector.paused():
            self.state = state_after(self.id, new, state)
        self._date(new)

    def deadlines(self) -> dict[str, datetime]:
        """When the time of each request is over that has only so much, by the store's clock.

        Raises:
            UsageError: the team does not take the session.
        """
        limits = times(self._taken_up(), self._machine)
        return {request: self._asked[request] + timedelta(seconds=seconds) for request, seconds in limits}

    async def commit(self, inputs: Sequence[Input], taking: Collection[str] = ()) -> list[Entry]:
        """Decide on ``inputs`` in order and append what follows as one batch; the state moves only if that worked.

        ``taking``: the messages in the store's inbox that the inputs are, taken out with it.
        """
        state = self.state
        facts: list[Fact] = []
        for given in inputs:
            decision = self._machine.decide(state, given)
            facts += decision.facts
            state = decision.state
        if not facts:
            return []
        if taking:
            entries = await inbox_of(self.store).append(self.id, facts, after=self.state.seq, taking=taking)
        else:
            entries = await self.store.append(self.id, facts, after=self.state.seq)
        self.state = state
        self._date(entries)
        return entries

    async def commit_after_others(self, inputs: Sequence[Input]) -> list[Entry]:
        """As `commit`, on what others wrote first; again, while they do, but not for ever."""
        for attempt in range(ATTEMPTS):
            await self.refresh()
            try:
                return await self.commit(inputs)
            except SequenceConflict:
                if attempt == ATTEMPTS - 1:
                    raise
        return []

    def _date(self, entries: Sequence[Entry]) -> None:
        if entries:
            self._first = entries[0].seq if self._first is None else self._first
            self._last = entries[-1]
        self._asked = asked_since(entries, self._asked)
        if any(isinstance(entry.fact, TeamChanged) for entry in entries):
            self._views.clear()  # what was rendered may have other names now
            self._rooms.clear()

    def room(self, turn: int, machine: Machine) -> "Session":
        """The session of the team that has ``turn``, as it goes on."""
        if turn not in self._rooms:
            self._rooms = {number: each for number, each in self._rooms.items() if number in self.state.open}
            self._rooms[turn] = Room(self, turn, machine)
        return self._rooms[turn]

    def view(self, agent: str, given: View = text, turn: int = 0) -> list[Message]:
        """What ``agent`` sees of the conversation now. Only what is new since the last time is rendered.

        ``turn``: the one it has, as others beside it see something else.
        """
        own = self.state.open.get(turn)
        if own is not None and own.lane is not None:
            seen_from = sight(self.state, turn)
            begin = given.first(seen_from, agent) if given.first else 0
            return list(view(seen_from.spoken.since(begin), agent, given.show))
        start = given.first(self.state, agent) if given.first else 0
        begun, seen, shown = self._views.get((agent, given.show), (start, start, list[Message]()))
        if begun != start:
            seen, shown = start, []
        shown.extend(view(self.state.spoken.since(seen), agent, given.show))
        self._views[agent, given.show] = start, len(self.state.spoken), shown
        return shown.copy()


class Room(Session):
    """The session of a team within another's: what it stands at is a part of what the other stands at."""

    def __init__(self, outer: Session, turn: int, machine: Machine) -> None:
        self._outer, self._turn = outer, turn
        super().__init__(f"{outer.id}/t{turn}", machine, outer.store)

    @property
    def state(self) -> State:  # pyright: ignore[reportIncompatibleVariableOverride]
        turn = self._outer.state.open.get(self._turn)
        return (turn and turn.part.inner) or State()

    @state.setter
    def state(self, state: State) -> None:
        """It only moves with the other's."""


async def existing(session_id: str, machine: Machine, store: Store) -> Session:
    """The session, caught up with its journal.

    Raises:
        SessionNotFound: there is none.
    """
    session = Session(session_id, machine, store)
    await session.refresh()
    if not session.state.seq:
        raise not_found(session_id)
    return session


def not_found(session_id: str) -> SessionNotFound:
    """The error for a session that nobody started."""
    # Not which ones there are: an id may be all that somebody needs to answer for somebody else.
    return SessionNotFound(f"no session {session_id!r} in this store; give a message as well to start it")
