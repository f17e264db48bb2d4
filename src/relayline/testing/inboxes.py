"""What every store with an inbox must keep, as one suite."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol, TypeAlias

from relayline.errors import SequenceConflict
from relayline.events import SessionStarted
from relayline.journal.deltas import Delta
from relayline.journal.inbox import CANCELLED, Claim, Inbox, Room
from relayline.journal.store import Clock, Store
from relayline.testing.fakes import FakeClock
from relayline.testing.stores import ODD_IDS, ODD_TEXTS


class StoreWithInbox(Inbox, Store, Protocol):
    """Both in one."""


MakeInbox: TypeAlias = Callable[[Clock], StoreWithInbox]
Reopen: TypeAlias = Callable[[StoreWithInbox, Clock], StoreWithInbox]


class _Desk:
    """A store, another handle on it, and their clock."""

    def __init__(self, store: StoreWithInbox, other: StoreWithInbox, time: FakeClock) -> None:
        self.store, self.other, self.time = store, other, time

    def after(self, seconds: float) -> None:
        self.time.advance(timedelta(seconds=seconds))

    async def put(self, message: str, session: str = "s", tenant: str = "") -> bool:
        return await self.store.put(session, message, f'{{"said":"{message}"}}', team="team", tenant=tenant)

    async def claim(
        self, owner: str = "me", session: str = "s", *, force: bool = False, room: Room | None = None
    ) -> Claim | None:
        return await self.other.claim(session, owner, team="team", seconds=5, force=force, room=room or Room())

    async def held(self, owner: str = "me", session: str = "s", *, force: bool = False) -> Claim:
        claim = await self.claim(owner, session, force=force)
        assert claim is not None, "A session that has a message could not be claimed."
        return claim


async def check_inbox(make_store: MakeInbox, reopen: Reopen | None = None) -> None:
    """All that a store with an inbox has to do, on an empty store of ``make_store`` for each rule.

    ``make_store`` is given the clock that the store has to use; ``reopen`` opens once more what the given one keeps::

        await check_inbox(lambda clock: MyStore(new_path(), clock), lambda store, clock: MyStore(store.path, clock))

    Raises:
        AssertionError: with the rule that is broken, and how.
    """
    for rule in RULES:
        time = FakeClock(step=timedelta(0))
        store = make_store(time)
        other = store if reopen is None else reopen(store, time)
        try:
            await rule(_Desk(store, other, time))
        except Exception as problem:
            what = (rule.__doc__ or "").partition("\n")[0]
            raise AssertionError(f"{type(store).__name__} breaks a rule of every inbox. {what} {problem}") from problem
        finally:
            await store.aclose()
            await other.aclose()


async def _keeps_in_order(desk: _Desk) -> None:
    """Messages wait in the order they were put, each once, whatever their ids and texts are made of."""
    for number, message in enumerate(ODD_IDS):
        assert await desk.put(message, session="s"), f"{message!r:.40} was not taken for new."
        assert not await desk.store.put("s", message, "{}", team="team"), f"{message!r:.40} was put twice ({number})."
    held = await desk.held()
    assert [each.message_id for each in held.waiting] == list(ODD_IDS), "They are not in order."
    for number, text in enumerate(text for text in ODD_TEXTS if "\0" not in text):
        body = f'{{"{number}":{text!r}}}'
        await desk.store.put(f"t{number}", "m", body, team="team")
        assert (await desk.held(session=f"t{number}")).waiting[0].body == body, "A body came back changed."


async def _takes_once(desk: _Desk) -> None:
    """A message is taken by the append that names it: once, with its facts, or not at all."""
    await desk.put("m")
    await _conflicts(desk, after=3)
    assert (await desk.held()).waiting, "A refused append took a message."
    entries = await desk.other.append("s", [SessionStarted("team", "f")], after=0, taking=["m"])
    receipt = await desk.store.receipt("s", "m")
    assert (receipt and (receipt.state, receipt.seq)) == ("taken", entries[-1].seq), f"Its receipt is {receipt}."
    await _conflicts(desk, after=1)
    await _conflicts(desk, after=1, message="never")
    assert len(await desk.store.read("s")) == 1, "An append that took nothing has written."
    assert not await desk.put("m"), "What was taken was put again."
    assert not (await desk.held()).waiting, "What was taken still waits."


async def _refuses(desk: _Desk) -> None:
    """A message that means nothing is refused, with the reason; what was taken stays taken."""
    await desk.put("m")
    await desk.store.refuse("s", "m", "no such request")
    receipt = await desk.other.receipt("s", "m")
    assert (receipt and (receipt.state, receipt.problem)) == ("refused", "no such request"), (
        f"Its receipt is {receipt}."
    )
    await _conflicts(desk, after=0)
    await desk.put("n")
    await desk.store.append("s", [SessionStarted("team", "f")], after=0, taking=["n"])
    await desk.store.refuse("s", "n", "too late")
    receipt = await desk.store.receipt("s", "n")
    assert (receipt and receipt.state) == "taken", f"Its receipt is {receipt}."
    assert await desk.store.receipt("s", "never") is None, "There is a receipt for what was never put."
    assert await desk.store.receipt("nobody", "m") is None, "There is a receipt for what was never put."


async def _is_claimed_by_one(desk: _Desk) -> None:
    """A session is looked after by one at a time: until its time is over, it is handed back, or taken by force."""
    assert await desk.claim() is None, "A session without messages was claimed."
    await desk.put("m")
    assert await desk.store.claim("s", "me", team="other", seconds=5) is None, "Another team's session was claimed."
    first = await desk.held("a")
    assert first.attempt == 1, f"The first attempt is {first.attempt}."
    assert await desk.claim("b") is None, "Two have claimed one session."
    assert await desk.store.due("team") == [], "A session that is looked after is due."
    desk.after(4)
    await desk.store.renew("a", seconds=5)
    desk.after(4)
    assert await desk.claim("b") is None, "A claim was not renewed."
    desk.after(2)
    second = await desk.held("b")
    assert second.attempt == 2, f"The second attempt is {second.attempt}."
    third = await desk.held("c", force=True)
    for late in (first, second):
        assert not await desk.store.finish(late), "It was finished by somebody who does not have it."
        await desk.store.hand_back(late)
        assert await desk.claim("d") is None, "It was let go by somebody who does not have it."
    await desk.store.hand_back(third)
    assert await desk.other.due("team") == ["s"], "What was handed back is not due."
    fourth = await desk.held("d")
    assert fourth.attempt == 4, "What was handed back begins anew."
    await desk.store.hand_back(fourth, seconds=2)
    assert await desk.claim("e") is None, "What was handed back for later was claimed at once."
    desk.after(3)
    await desk.held("e")


async def _finishes(desk: _Desk) -> None:
    """A session that rests is nobody's work any more, unless something came in meanwhile."""
    await desk.put("m")
    held = await desk.held()
    await desk.store.append("s", [SessionStarted("team", "f")], after=0, taking=["m"])
    await desk.put("n")
    assert await desk.store.finish(held), "What came in meanwhile was overlooked."
    held = await desk.held("b")
    assert (held.attempt, [each.message_id for each in held.waiting]) == (1, ["n"]), f"It is {held}."
    await desk.store.refuse("s", "n", "no")
    assert not await desk.store.finish(held), "There was nothing more."
    assert await desk.claim() is None, "A session at rest was claimed."
    desk.after(100)
    assert await desk.store.due("team") == [], "A session at rest is due."


async def _is_due(desk: _Desk) -> None:
    """What was taken by somebody who is gone is due again, the longest waiting first; quiet for as long as is asked."""
    for session in ("a", "b", "c"):
        await desk.put("m", session)
        desk.after(1)
    await desk.store.put("x", "m", "{}", team="other")
    assert await desk.other.due("team") == ["a", "b", "c"], "They are not in order."
    assert await desk.other.due("team", most=2) == ["a", "b"], "There are too many."
    assert await desk.other.due("team", quiet=2) == ["a", "b"], "One was not quiet for long enough."
    held = await desk.held(session="a")
    await desk.store.append("a", [SessionStarted("team", "f")], after=0, taking=["m"])
    assert await desk.other.due("team") == ["b", "c"], "One is looked after."
    desk.after(6)
    assert await desk.other.due("team") == ["a", "b", "c"], "One was cut off, and nobody takes it up."
    assert await desk.store.finish(held) is False, "There was nothing more."
    assert await desk.other.due("team") == ["b", "c"], "One is at rest."


async def _waits_for_its_time(desk: _Desk) -> None:
    """A message with a time is taken then and not before, and does not hold up others."""
    later = desk.time.time + timedelta(days=3)
    await desk.store.put("s", "later", '{"said":"later"}', team="team", not_before=later)
    assert await desk.store.due("team") == [], "It is due at once."
    assert await desk.claim() is None, "It was claimed at once."
    assert not await desk.store.cancel("s"), "There was nothing to cancel."
    await desk.put("now")
    held = await desk.held()
    assert [each.message_id for each in held.waiting] == ["now"], f"It has {held.waiting}."
    await desk.store.append("s", [SessionStarted("team", "f")], after=0, taking=["now"])
    assert not await desk.store.finish(held), "The later one is not due yet."
    assert await desk.claim() is None, "The later one is not due yet."
    desk.after(3 * 86400)
    assert await desk.store.due("team") == ["s"], "It is not due when its time has come."
    assert [each.message_id for each in (await desk.held()).waiting] == ["later"], "It does not wait."


async def _cancels(desk: _Desk) -> None:
    """Cancelling tells whoever is at work, and refuses what waits; what comes after it is taken as usual."""
    assert not await desk.store.cancel("s"), "There was nothing to cancel."
    await desk.put("m")
    held = await desk.held("a")
    assert not held.cancelled, "It is cancelled from the beginning."
    assert await desk.store.renew("a", seconds=5) == set(), "It is cancelled from the beginning."
    assert await desk.other.cancel("s"), "There was something to cancel."
    assert set(await desk.store.renew("a", seconds=5)) == {"s"}, "Whoever is at work is not told."
    receipt = await desk.store.receipt("s", "m")
    assert (receipt and (receipt.state, receipt.problem)) == ("refused", CANCELLED), f"Its receipt is {receipt}."
    await _conflicts(desk, after=0)
    await desk.put("n")
    again = await desk.held("b", force=True)
    assert again.cancelled, "Whoever takes over is not told."
    assert [each.message_id for each in again.waiting] == ["n"], f"It has {again.waiting}."
    assert await desk.store.finish(again), "What came after the cancelling was lost."
    assert not (await desk.held()).cancelled, "A cancelling counts for what comes after it."


async def _has_room(desk: _Desk) -> None:
    """So many sessions at once, of each tenant and in all, and no more; room is free again at the end."""
    for number in range(4):
        await desk.put("m", f"s{number}", tenant="big" if number < 3 else "small")
    room = Room(sessions=3, per_tenant=2)
    first = await desk.claim("a", "s0", room=room)
    assert first, "There was room for the first."
    assert await desk.claim("a", "s1", room=room), "There was room for the second."
    assert await desk.claim("b", "s2", room=room) is None, "There was no room for another of this tenant."
    assert await desk.claim("b", "s3", room=room), "There was room for another tenant."
    assert await desk.claim("b", "s2", room=Room(sessions=3)) is None, "There was no room for a fourth."
    assert await desk.claim("a", "s0", room=room), "A session does not take room from itself."
    first = await desk.held("a", "s0")
    await desk.store.refuse("s0", "m", "no")
    await desk.store.finish(first)
    assert await desk.claim("b", "s2", room=room), "Room was not free again."


async def _purges(desk: _Desk) -> None:
    """Ids of what was taken long ago are forgotten; what waits never is."""
    await desk.put("m")
    await desk.put("n")
    await desk.store.append("s", [SessionStarted("team", "f")], after=0, taking=["m"])
    desk.after(60)
    assert await desk.store.purge(desk.time.time) == 1, "One was to be forgotten."
    assert await desk.store.receipt("s", "m") is None, "It is remembered."
    assert await desk.store.receipt("s", "n"), "What waits was forgotten."


async def _is_deleted_with_its_session(desk: _Desk) -> None:
    """What waits for a session that is deleted is deleted with it."""
    await desk.put("m")
    await desk.put("n")
    await desk.store.append("s", [SessionStarted("team", "f")], after=0, taking=["m"])
    await desk.store.delete("s")
    assert await desk.claim() is None, "There is work for a session that is gone."
    assert await desk.store.receipt("s", "n") is None, "There is a message for a session that is gone."


async def _races(desk: _Desk) -> None:
    """Of many who claim, put or take at once, exactly one does."""
    puts = await asyncio.gather(*(store.put("s", "m", "{}", team="team") for store in (desk.store, desk.other) * 8))
    assert puts.count(True) == 1, f"{puts.count(True)} of 16 put it."
    claims = await asyncio.gather(
        *(
            store.claim("s", f"{number}", team="team", seconds=5)
            for number, store in enumerate([desk.store, desk.other] * 8)
        )
    )
    assert sum(each is not None for each in claims) == 1, "More than one has claimed it."
    taking: list[Awaitable[object]] = [
        store.append(key, [SessionStarted("team", "f")], after=0, taking=["m"])
        for store in (desk.store, desk.other)
        for key in ["s"] * 4
    ]
    done = await asyncio.gather(*taking, return_exceptions=True)
    assert sum(isinstance(each, SequenceConflict) for each in done) == 7, f"They came to {done!r:.300}."


async def _shows_words(desk: _Desk) -> None:
    """Whoever watches a session is shown the words said in it from then on, and no other's."""
    await desk.store.deltas.publish("s", Delta(1, "triage", 1, "nobody hears"))
    async with desk.store.deltas.watch("s") as words:
        for each in (Delta(1, "triage", 1, "Hel"), Delta(1, "triage", 2, "日" * 5000)):
            await desk.store.deltas.publish("other", each)
            await desk.store.deltas.publish("s", each)
        heard = await asyncio.wait_for(words.get(), 10)
        assert heard == Delta(1, "triage", 1, "Hel"), f"It was {heard!r:.100}."
        text = ""
        while len(text) < 5000:
            heard = await asyncio.wait_for(words.get(), 10)
            assert heard[:3] == (1, "triage", 2), f"It was {heard!r:.100}."
            text += heard.words
        assert text == "日" * 5000, "The words are not the ones that were said."


async def _conflicts(desk: _Desk, *, after: int, message: str = "m") -> None:
    try:
        await desk.store.append("s", [SessionStarted("team", "f")], after=after, taking=[message])
    except SequenceConflict:
        return
    raise AssertionError("An append took what did not wait, or at another position.")


RULES: tuple[Callable[[_Desk], Awaitable[None]], ...] = (
    _keeps_in_order,
    _takes_once,
    _refuses,
    _is_claimed_by_one,
    _finishes,
    _is_due,
    _waits_for_its_time,
    _cancels,
    _has_room,
    _purges,
    _is_deleted_with_its_session,
    _races,
    _shows_words,
)
