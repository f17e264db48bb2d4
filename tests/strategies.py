"""Anything that may be in a journal, for Hypothesis."""

from typing import Any, get_args

from hypothesis import strategies as st

from relayline.events import (
    Answered,
    Ask,
    Asked,
    Cancelled,
    Compacted,
    Ending,
    Fact,
    Failed,
    Finished,
    Forked,
    HandedBack,
    HandoffSent,
    Joined,
    Prompted,
    Replied,
    Retried,
    Roster,
    Routed,
    SessionStarted,
    Settled,
    Spent,
    StateChanged,
    Stopped,
    Summarised,
    TeamChanged,
    ToolInterrupted,
    ToolReconciled,
    ToolReturned,
    ToolStarted,
    Transfer,
    TurnEnded,
    TurnStarted,
    UserSpoke,
    Warned,
    Within,
)
from relayline.messages import Media, Message, Outcome, Role, Text, ToolCall, ToolResult

texts = st.text(st.characters(codec="utf-8"), max_size=40)
"""Valid Unicode, NUL and noncharacters included."""

numbers = st.integers(0, 2**40)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)

calls = st.builds(ToolCall, texts, texts, texts)
results = st.builds(ToolResult, texts, texts, texts, st.sampled_from(get_args(Outcome)))
media = st.builds(Media, texts, texts, texts, texts)
messages = st.builds(
    Message,
    st.sampled_from(get_args(Role)),
    st.lists(st.builds(Text, texts) | calls | results | media, max_size=4).map(tuple),
    texts,
    st.dictionaries(texts, json_values, max_size=3),
)

_handoffs = st.builds(
    HandoffSent, numbers, texts, texts, texts, json_values, st.sampled_from(["stay", "caller", "start"])
)
_summaries = st.builds(Summarised, texts, numbers, texts, texts, numbers, numbers)

_names = st.dictionaries(texts, texts, max_size=3)
_flat = st.builds(Roster, _names, st.dictionaries(texts, _names, max_size=2), texts)
_deep = st.builds(Roster, _names, st.just({}), texts, st.dictionaries(texts, _flat, max_size=2))
_rosters = st.none() | _flat | _deep

FACTS: dict[type[Fact], st.SearchStrategy[Fact]] = {
    SessionStarted: st.builds(SessionStarted, texts, texts, _rosters),
    UserSpoke: st.builds(UserSpoke, messages),
    TurnStarted: st.builds(TurnStarted, numbers, texts, st.lists(numbers, max_size=3).map(tuple), st.booleans(), texts),
    Replied: st.builds(Replied, numbers, messages, texts, numbers, numbers),
    ToolStarted: st.builds(ToolStarted, numbers, calls),
    ToolInterrupted: st.builds(ToolInterrupted, numbers, texts),
    ToolReconciled: st.builds(ToolReconciled, numbers, texts, st.booleans()),
    ToolReturned: st.builds(ToolReturned, numbers, results, st.none() | st.builds(Transfer, texts, texts, json_values)),
    StateChanged: st.builds(
        StateChanged, st.dictionaries(texts, json_values, max_size=3), st.lists(texts, max_size=3).map(tuple), texts
    ),
    HandoffSent: _handoffs,
    HandedBack: st.builds(HandedBack, numbers, texts, texts, texts),
    Prompted: st.builds(Prompted, numbers, texts, texts, texts),
    Summarised: _summaries,
    Warned: st.builds(Warned, texts, texts, texts),
    TurnEnded: st.builds(TurnEnded, numbers, texts, texts),
    Routed: st.builds(Routed, numbers, st.lists(texts, max_size=3).map(tuple)),
    Joined: st.builds(Joined, st.lists(numbers, max_size=3).map(tuple)),
    Asked: st.builds(
        Asked,
        texts,
        st.sampled_from(get_args(Ask)),
        numbers,
        texts,
        st.none() | calls,
        st.lists(texts, max_size=3).map(tuple),
        texts,
        json_values,
        json_values,
    ),
    Answered: st.builds(Answered, texts, st.sampled_from(get_args(Settled)), texts, texts, json_values),
    Failed: st.builds(Failed, texts, texts, texts, texts),
    Retried: st.builds(Retried, texts),
    Stopped: st.builds(Stopped, st.sampled_from(get_args(Spent)), texts),
    Cancelled: st.builds(Cancelled),
    Finished: st.builds(Finished, st.sampled_from(get_args(Ending))),
    Forked: st.builds(Forked, texts, numbers),
    Compacted: st.builds(
        Compacted,
        numbers,
        texts,
        texts,
        numbers,
        numbers,
        texts,
        st.lists(texts, max_size=3).map(tuple),
        st.booleans(),
        st.lists(_handoffs, max_size=2).map(tuple),
        st.dictionaries(texts, json_values, max_size=3),
        st.lists(_summaries, max_size=2).map(tuple),
        numbers,
        _rosters,
    ),
    TeamChanged: st.builds(TeamChanged, texts, _rosters, _names, _names),
}

FACTS[Within] = st.builds(Within, numbers, st.one_of(*FACTS.values()))

facts = st.one_of(*FACTS.values())
