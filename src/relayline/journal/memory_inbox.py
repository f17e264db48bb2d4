"""The inbox of the store that keeps everything in memory."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relayline.journal.deltas import Deltas
from relayline.journal.inbox import ANY, CANCELLED, Claim, Delivery, Inbox, Receipt, Room, gone


@dataclass(slots=True)
class _Letter:
    body: str
    due: datetime
    receipt: Receipt


@dataclass(slots=True)
class _Work:
    """What somebody has to look after: ``due`` says since when, ``until`` how long somebody does."""

    team: str
    tenant: str
    due: datetime
    until: datetime
    owner: str = ""
    attempt: int = 0
    cancelled: bool = False


class MemoryInbox(Inbox):
    """All of an inbox but the appending, which is the store's."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.deltas = Deltas()
        self._clock = clock
        self._letters: dict[str, dict[str, _Letter]] = {}
        self._work: dict[str, _Work] = {}

    async def put(
        self,
        session_id: str,
        message_id: str,
        body: str,
        *,
        team: str,
        tenant: str = "",
        not_before: datetime | None = None,
    ) -> bool:
        letters = self._letters.setdefault(session_id, {})
        if message_id in letters:
            return False
        now = self._clock()
        due = max(not_before or now, now)
        letters[message_id] = _Letter(body, due, Receipt(message_id, "waiting"))
        work = self._work.setdefault(session_id, _Work(team, tenant, due, now))
        work.due = min(work.due, due)
        return True

    async def receipt(self, session_id: str, message_id: str) -> Receipt | None:
        letter = self._letters.get(session_id, {}).get(message_id)
        return letter and letter.receipt

    async def refuse(self, session_id: str, message_id: str, problem: str) -> None:
        letter = self._letters.get(session_id, {}).get(message_id)
        if letter is not None and letter.receipt.state == "waiting":
            self._close(letter, Receipt(message_id, "refused", 0, problem))

    async def claim(
        self, session_id: str, owner: str, *, team: str, seconds: float, force: bool = False, room: Room = ANY
    ) -> Claim | None:
        now, work = self._clock(), self._work.get(session_id)
        if work is None or work.team != team or work.due > now:
            return None
        if work.until > now and work.owner != owner and not force:
            return None
        if not self._has_room(session_id, work.tenant, room):
            return None
        work.owner, work.until, work.attempt = owner, now + timedelta(seconds=seconds), work.attempt + 1
        return Claim(session_id, owner, work.attempt, work.cancelled, self._waiting(session_id, now))

    async def renew(self, owner: str, *, seconds: float) -> Collection[str]:
        until = self._clock() + timedelta(seconds=seconds)
        mine = {key: work for key, work in self._work.items() if work.owner == owner}
        for work in mine.values():
            work.until = until
        return {key for key, work in mine.items() if work.cancelled}

    async def finish(self, claim: Claim) -> bool:
        work = self._held(claim)
        if work is None:
            return False
        left = [each.due for each in self._letters.get(claim.session_id, {}).values() if _waits(each)]
        if not left:
            del self._work[claim.session_id]
            return False
        now = self._clock()
        work.due, work.owner, work.until, work.attempt, work.cancelled = min(left), "", now, 0, False
        return work.due <= now

    async def hand_back(self, claim: Claim, *, seconds: float = 0) -> None:
        work = self._held(claim)
        if work is not None:
            work.owner, work.until = "", self._clock() + timedelta(seconds=seconds)

    async def due(self, team: str, *, quiet: float = 0, most: int = 100) -> list[str]:
        before = self._clock() - timedelta(seconds=quiet)
        found = [
            (work.due, key)
            for key, work in self._work.items()
            if work.team == team and work.due <= before and work.until <= before
        ]
        return [key for _, key in sorted(found)[:most]]

    async def cancel(self, session_id: str) -> bool:
        now, work = self._clock(), self._work.get(session_id)
        if work is None or work.due > now:
            return False
        for letter in self._letters.get(session_id, {}).values():
            if _waits(letter) and letter.due <= now:
                self._close(letter, Receipt(letter.receipt.message_id, "refused", 0, CANCELLED))
        work.cancelled = True
        return True

    async def purge(self, before: datetime) -> int:
        count = 0
        for session_id, letters in list(self._letters.items()):
            old = [key for key, each in letters.items() if not _waits(each) and each.due < before]
            for key in old:
                del letters[key]
            count += len(old)
            if not letters:
                del self._letters[session_id]
        return count

    def take(self, session_id: str, message_ids: Collection[str], seq: int) -> None:
        """The messages became the facts up to number ``seq``.

        Raises:
            SequenceConflict: one of them does not wait any more; nothing was changed.
        """
        letters = self._letters.get(session_id, {})
        if not all(key in letters and _waits(letters[key]) for key in message_ids):
            raise gone(session_id, message_ids)
        for key in message_ids:
            self._close(letters[key], replace(letters[key].receipt, state="taken", seq=seq))

    def forget(self, session_id: str) -> None:
        """The session is deleted."""
        self._letters.pop(session_id, None)
        self._work.pop(session_id, None)

    def _close(self, letter: _Letter, receipt: Receipt) -> None:
        letter.body, letter.due, letter.receipt = "", self._clock(), receipt

    def _held(self, claim: Claim) -> _Work | None:
        work = self._work.get(claim.session_id)
        return work if work and (work.owner, work.attempt) == (claim.owner, claim.attempt) else None

    def _waiting(self, session_id: str, now: datetime) -> list[Delivery]:
        letters = self._letters.get(session_id, {})
        return [Delivery(key, each.body) for key, each in letters.items() if _waits(each) and each.due <= now]

    def _has_room(self, session_id: str, tenant: str, room: Room) -> bool:
        now = self._clock()
        others = [work.tenant for key, work in self._work.items() if work.until > now and key != session_id]
        if room.sessions is not None and len(others) >= room.sessions:
            return False
        return room.per_tenant is None or others.count(tenant) < room.per_tenant


def _waits(letter: _Letter) -> bool:
    return letter.receipt.state == "waiting"
