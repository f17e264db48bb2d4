"""Views: how much of the conversation an agent is given.

The default is `text`. Any other is named for an agent with `HandoffBuilder.with_view`, or for a handoff with
``add_handoff(view=...)``. The journal keeps everything whatever the view; `Workflow.preview` shows what a model gets.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from relayline.agent import ChatClient, as_client
from relayline.errors import UsageError
from relayline.machine import view
from relayline.machine.state import State
from relayline.messages import Message, Text

Shape: TypeAlias = Callable[[Sequence[Message], str], Sequence[Message] | Awaitable[Sequence[Message]]]
"""Chooses from the messages an agent would be given, or writes others; sync or async. The second argument: its name."""


@dataclass(frozen=True, slots=True)
class View:
    """Made by the names of this module.

    ``show``: how each item is shown. ``first``: from which item on. ``shape``: what becomes of the whole. ``client``:
    the model that sums up what is left out.
    """

    show: view.Show = view.text
    first: Callable[[State, str], int] | None = None
    shape: Shape | None = None
    client: ChatClient | None = None


text = View()
"""Everybody's words under their names, and the agent's own tool traffic."""

with_results = View(view.with_results)
"""As `text`, and what colleagues' tools returned, quoted as data."""

full = View(view.full)
"""As `text`, and all that colleagues did: their calls, every result, and their handoffs to others."""


def last(count: int, base: View = text) -> View:
    """The last ``count`` messages of users and agents, and all since the user last spoke if that is more.

    Raises:
        UsageError: if ``count`` is not a whole number above 0.
    """
    if type(count) is not int or count < 1:
        raise UsageError(f"last takes a number of messages, 1 or more; got {count!r}")

    def first(state: State, agent: str) -> int:
        left, place = count, len(state.spoken)
        asked = False
        while place and not (asked and left <= 0):
            place -= 1
            item = state.spoken[place]
            if isinstance(item, Message) and item.role != "tool":
                left -= 1
                asked = asked or item.role == "user"
        return place

    return _narrowed(base, first)


def _answered(state: State, agent: str) -> int:
    """Where the last words of somebody else stand that ``agent`` goes on from, its own later attempts after them."""
    place = len(state.spoken)
    while place:
        place -= 1
        item = state.spoken[place]
        if not isinstance(item, Message) or item.author_name == agent or item.role == "tool":
            continue
        before = state.spoken[place - 1] if place else None
        again = item.role == "user" and isinstance(before, Message) and before.author_name == agent
        if not again and (item.role == "user" or item.text.strip()):
            return place
    return 0


previous = View(first=_answered)
"""The last words of whoever spoke before, or what the user said; and what was said to the agent since."""


def summary(client: ChatClient | str, base: View = text) -> View:
    """What went on before the agent got the conversation, summed up by ``client``; all since then as ``base`` shows it.

    It is summed up once for each handoff, and kept in the journal: a resumed session is not summed up again.

    Raises:
        UsageError: if ``client`` is neither a client nor the name of a model that can be had.
        MissingExtra: the packages of real models are not installed.
    """
    voice = as_client(client)
    if not hasattr(voice, "stream"):
        raise UsageError(f"summary takes a client, or the name of a model; got {client!r}")
    return replace(_narrowed(base, _after_summary), client=voice)


def words(messages: Sequence[Message], agent: str) -> Sequence[Message]:
    """Words alone, for a model that reads nothing else: a note, ``[image: bike.png]``, in place of media.

    ``with_view("ann", views.words)``, or ``views.shaped(views.words, views.full)`` for more than `text`.
    """
    del agent
    return [replace(each, parts=(Text(each.in_words),)) if each.media else each for each in messages]


def shaped(shape: Shape, base: View = text) -> View:
    """What ``shape`` makes of the messages the agent would be given.

    What no provider would take is mended afterwards: a call without its result, say.

    Raises:
        UsageError: if ``shape`` is no function.
    """
    if not callable(shape):
        raise UsageError(f"shaped takes a function of the messages and the agent's name; got {shape!r}")
    before = base.shape
    if before is None:
        return replace(base, shape=shape)

    async def both(messages: Sequence[Message], agent: str) -> Sequence[Message]:
        for each in (before, shape):
            made = each(messages, agent)
            messages = await made if inspect.isawaitable(made) else made
        return messages

    return replace(base, shape=both)


def _narrowed(base: View, first: Callable[[State, str], int]) -> View:
    """``base`` from where ``first`` begins, if it does not begin later itself."""
    own = base.first
    if own is None:
        return replace(base, first=first)

    def later(state: State, agent: str) -> int:
        return max(own(state, agent), first(state, agent))

    return replace(base, first=later)


def _after_summary(state: State, agent: str) -> int:
    made = state.summaries.get(agent)
    return max(made.upto - state.forgotten, 0) if made else 0
