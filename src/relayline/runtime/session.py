"""A session in memory: its state, and the one way to change it."""

from collections.abc import Sequence

from relayline.events import Entry, Fact
from relayline.journal.checkpoints import after
from relayline.journal.store import Store
from relayline.machine.decide import Machine
from relayline.machine.inputs import Input
from relayline.machine.state import State
from relayline.machine.view import view
from relayline.messages import Message


class Session:
    """Holds nothing the journal does not: dropping one costs a fold, never a fact."""

    def __init__(self, session_id: str, machine: Machine, store: Store) -> None:
        self.id = session_id
        self.state = State()
        self._machine = machine
        self._store = store
        self._views: dict[str, tuple[int, list[Message]]] = {}

    async def refresh(self) -> None:
        """Catch up with what others wrote.

        Raises:
            DamagedJournal: if what is written does not make a conversation.
        """
        state = self.state
        for entry in await self._store.read(self.id, after=state.seq):
            state = after(state, entry, self.id)
        self.state = state

    async def commit(self, inputs: Sequence[Input]) -> list[Entry]:
        """Decide on ``inputs`` in order and append what follows as one batch; the state moves only if that worked."""
        state = self.state
        facts: list[Fact] = []
        for given in inputs:
            decision = self._machine.decide(state, given)
            facts += decision.facts
            state = decision.state
        if not facts:
            return []
        entries = await self._store.append(self.id, facts, after=self.state.seq)
        self.state = state
        return entries

    def view(self, agent: str) -> Sequence[Message]:
        """What ``agent``'s model is given now. Only what is new since the last time is rendered."""
        seen, shown = self._views.get(agent, (0, []))
        shown.extend(view(self.state.spoken.since(seen), agent))
        self._views[agent] = len(self.state.spoken), shown
        return tuple(shown)
