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
class Beginning:
    """From which item on an agent is given the conversation: the last ``count`` messages, what is not summed up, what
    it goes on from, or the least of these.
    """

    count: int | None = None
    summed_up: bool = False
    previous: bool = False

    def __call__(self, state: State, agent: str) -> int:
        made = state.summaries.get(agent) if self.summed_up else None
        newest = 0 if self.count is None else _last(state, self.count)
        goes_on = _answered(state, agent) if self.previous else 0
        return max(newest, goes_on, made.upto - state.forgotten if made else 0)


@dataclass(frozen=True, slots=True)
class Shapes:
    """What several functions make of the messages, one after the other."""

    shapes: tuple[Shape, ...]

    async def __call__(self, messages: Sequence[Message], agent: str) -> Sequence[Message]:
        for shape in self.shapes:
            made = shape(messages, agent)
            messages = await made if inspect.isawaitable(made) else made
        return messages


@dataclass(frozen=True, slots=True)
class View:
    """Made by the names of this module.

    ``show``: how each item is shown. ``first``: from which item on. ``shape``: what becomes of the whole. ``client``:
    the model that sums up what is left out, and ``model`` its name, if it was given by one.
    """

    show: view.Show = view.text
    first: Beginning | None = None
    shape: Shape | None = None
    client: ChatClient | None = None
    model: str = ""


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
    begun = base.first or Beginning()
    return replace(base, first=replace(begun, count=count if begun.count is None else min(count, begun.count)))


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


previous = View(first=Beginning(previous=True))
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
    first = replace(base.first or Beginning(), summed_up=True)
    return replace(base, first=first, client=voice, model=client if isinstance(client, str) else "")


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
    before = base.shape.shapes if isinstance(base.shape, Shapes) else (base.shape,) if base.shape else ()
    return replace(base, shape=Shapes((*before, shape)) if before else shape)


def _last(state: State, count: int) -> int:
    """The place of the first of the last ``count`` messages, or of what the user last said if that is earlier."""
    left, place, asked = count, len(state.spoken), False
    while place and not (asked and left <= 0):
        place -= 1
        item = state.spoken[place]
        if isinstance(item, Message) and item.role != "tool":
            left -= 1
            asked = asked or item.role == "user"
    return place
