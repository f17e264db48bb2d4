"""Words on their way out of a worker: gathered for a moment, and only while they are news."""

import asyncio

import pytest

from relayline.durable import words
from relayline.durable.words import Words
from relayline.journal.deltas import Delta, Deltas
from relayline.messages import Message
from relayline.runtime.stream import AgentRunUpdateEvent, WorkflowEvent


class Heard(Deltas):
    """Keeps what is published. ``anybody``: whether somebody listens."""

    def __init__(self, anybody: bool = True) -> None:
        super().__init__()
        self.anybody = anybody
        self.sent: list[Delta] = []
        self.rang = asyncio.Event()

    async def publish(self, session_id: str, delta: Delta) -> bool:
        self.sent.append(delta)
        self.rang.set()
        return self.anybody

    async def next(self) -> Delta:
        await asyncio.wait_for(self.rang.wait(), 10)
        self.rang.clear()
        return self.sent[-1]


def said(agent: str, what: str) -> WorkflowEvent:
    return AgentRunUpdateEvent("s", what, agent, attempt=1)


def on_record(agent: str, seq: int) -> WorkflowEvent:
    return WorkflowEvent("message", "s", Message("assistant", "..."), agent, seq=seq)


async def test_words_are_gathered_for_a_moment():
    """What is said in one moment is sent together, with the number of the last fact before it."""
    heard = Heard()
    async with Words(heard, "s") as out:
        show = out.after(4)
        for each in ("It ", "left ", "yesterday."):
            await show(said("desk", each))
        assert await heard.next() == Delta(4, "desk", 1, "It left yesterday.")
    assert len(heard.sent) == 1


async def test_what_is_on_record_is_not_sent_as_words():
    """A reply that is there already is not said as well; the words of others beside it go on behind it."""
    heard = Heard()
    async with Words(heard, "s") as out:
        show = out.after(4)
        await show(said("desk", "It left."))
        await show(said("shop", "We ha"))
        await show(on_record("desk", 5))
        await show(said("shop", "ve it."))
        assert await heard.next() == Delta(5, "shop", 1, "We have it.")
    assert len(heard.sent) == 1


async def test_where_nobody_listens_words_are_sent_rarely_and_none_is_lost(monkeypatch: pytest.MonkeyPatch):
    """After words that nobody heard the next are gathered for longer, and whoever came meanwhile hears all of them."""
    monkeypatch.setattr(words, "UNHEARD", 1000)
    heard = Heard(anybody=False)
    async with Words(heard, "s") as out:
        show = out.after(4)
        await show(said("desk", "It "))
        await heard.next()
        await show(said("desk", "left "))
        await asyncio.sleep(2 * words.MOMENT)
        assert [each.words for each in heard.sent] == ["It "]
    monkeypatch.setattr(words, "UNHEARD", 3 * words.MOMENT)
    async with Words(heard, "s") as out:
        show = out.after(4)
        await show(said("desk", "It "))
        await heard.next()
        heard.anybody = True
        for each in ("left ", "yesterday."):
            await show(said("desk", each))
        assert (await heard.next()).words == "left yesterday."
