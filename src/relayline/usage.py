"""What a conversation took: tokens and money, for each call of a model, agent and handoff, summing exactly."""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias, TypeVar

from relayline.errors import DamagedJournal, MissingExtra, UsageError
from relayline.events import Compacted, Entry, HandedBack, HandoffSent, Replied, Summarised, TurnStarted, Within

_Key = TypeVar("_Key")

USER = "user"
"""Where a turn came from that nobody handed over."""

Price: TypeAlias = Callable[[str, int, int, int], Decimal | float | None]
"""What a call cost in US dollars, given the model (``"provider:model"``, as the journal has it), its input tokens,
those of them that a cache had, and its output tokens; None, if nobody knows."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and money. Two of them add up.

    ``input_tokens`` counts cached ones too, ``cached_tokens`` only these. ``cost``: in US dollars, of the calls whose
    price is known. ``unpriced``: the models of the others, so that nobody takes a part for the whole.
    """

    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)
    unpriced: frozenset[str] = frozenset()

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
            self.cost + other.cost,
            self.unpriced | other.unpriced,
        )


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One reply, or one summary made for an agent. ``source``: who handed over to it, ``"user"`` if nobody did.

    ``seq``: its number in the journal.
    """

    seq: int
    agent: str
    source: str
    model: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class SessionUsage:
    """What a session took, call by call, oldest first. The sums are of these calls."""

    calls: Sequence[ModelCall]

    @property
    def total(self) -> Usage:
        return sum((call.usage for call in self.calls), Usage())

    @property
    def by_agent(self) -> Mapping[str, Usage]:
        return _sums((call.agent, call.usage) for call in self.calls)

    @property
    def by_model(self) -> Mapping[str, Usage]:
        return _sums((call.model, call.usage) for call in self.calls)

    @property
    def by_edge(self) -> Mapping[tuple[str, str], Usage]:
        """By who handed over to whom; what ``("user", agent)`` took is the agent's whom the user spoke to."""
        return _sums(((call.source, call.agent), call.usage) for call in self.calls)


def usage_of(entries: Iterable[Entry], price: Price | None = None) -> SessionUsage:
    """What a journal says was taken. ``price``: by default that of `known_price`.

    Raises:
        DamagedJournal: if somebody replied in a turn that nobody had.
    """
    price = price or known_price
    calls: list[ModelCall] = []
    given: dict[str, str] = {}
    agents: dict[str, str] = {}  # by turn: "t3.", "t3.t1." for one of the team that has turn 3
    speaker = ""
    for entry in entries:
        fact, key, path = entry.fact, "", ""
        while isinstance(fact, Within):
            key, fact = f"{key}t{fact.turn}.", fact.fact
            path = f"{_who(agents, key, entry)}/"
        match fact:
            case Compacted(speaker=speaker, arrivals=arrivals):
                given = {each.target: each.source for each in arrivals}
            case HandoffSent(_, source, target) | HandedBack(_, source, target):
                given[path + target] = path + source
                speaker = path + target
            case TurnStarted(turn, agent):
                agent = agents[f"{key}t{turn}."] = path + agent
                if path and speaker == path[:-1]:  # the team was handed it, and this is who begins there
                    given[agent] = given.get(speaker, USER)
                elif agent != speaker:  # the user turned to it
                    given[agent] = USER
                speaker = agent
            case Replied() | Summarised():
                if isinstance(fact, Summarised):
                    agent, cached = path + fact.agent, 0
                else:
                    agent, cached = _who(agents, f"{key}t{fact.turn}.", entry), fact.cached_tokens
                usage = _usage(price, fact.model, fact.input_tokens, cached, fact.output_tokens)
                calls.append(ModelCall(entry.seq, agent, given.get(agent, USER), fact.model, usage))
            case _:
                pass
    return SessionUsage(tuple(calls))


def _who(agents: Mapping[str, str], turn: str, entry: Entry) -> str:
    if turn not in agents:
        raise DamagedJournal(f"entry {entry.seq} is of turn {turn.rstrip('.')}, which nobody had")
    return agents[turn]


def _usage(price: Price, model: str, given: int, cached: int, taken: int) -> Usage:
    cost = priced(price, model, given, cached, taken) if given or taken else Decimal(0)
    unpriced = frozenset[str]() if cost is not None else frozenset({model or "a model without a name"})
    return Usage(1, given, cached, taken, cost or Decimal(0), unpriced)


def priced(price: Price, model: str, given: int, cached: int, taken: int) -> Decimal | None:
    """What ``price`` says, as an exact number.

    Raises:
        UsageError: if it says something that is no price.
    """
    said = price(model, given, cached, taken)
    if said is None:
        return None
    if not isinstance(said, int | float | Decimal) or not 0 <= said < float("inf"):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"a price is a number of US dollars, 0 or more, or None; for {model!r} it was {said!r}")
    return said if isinstance(said, Decimal) else Decimal(str(said))


def known_price(model: str, input_tokens: int, cached_tokens: int, output_tokens: int) -> Decimal | None:
    """The list price, from the package genai-prices (extra ``models``); None without it, or if it does not know."""
    try:
        prices = importlib.import_module("relayline.clients.prices")  # by name: clients are a layer above
    except MissingExtra:
        return None
    found: Decimal | None = prices.list_price(model, input_tokens, cached_tokens, output_tokens)
    return found


def _sums(parts: Iterable[tuple[_Key, Usage]]) -> dict[_Key, Usage]:
    sums: dict[_Key, Usage] = {}
    for key, usage in parts:
        sums[key] = sums.get(key, Usage()) + usage
    return sums
