"""Termination conditions to put together: ``max_messages(50) | text_mentions("goodbye") & said_by("triage")``.

A condition is any function of the transcript; these are some that can be joined by ``&``, ``|`` and ``~``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relayline.errors import UsageError
from relayline.messages import Message


@dataclass(frozen=True, slots=True)
class TerminationCondition:
    """Whether a conversation is over, given its messages, oldest first."""

    holds: Callable[[Sequence[Message]], bool]

    def __call__(self, conversation: Sequence[Message]) -> bool:
        return self.holds(conversation)

    def __and__(self, other: "TerminationCondition") -> "TerminationCondition":
        return TerminationCondition(Both(self, other))

    def __or__(self, other: "TerminationCondition") -> "TerminationCondition":
        return TerminationCondition(Either(self, other))

    def __invert__(self) -> "TerminationCondition":
        return TerminationCondition(Unless(self))


# What a condition is made of is a value, so that a team can be compared and written down.


@dataclass(frozen=True, slots=True)
class MaxMessages:
    """There are so many messages of users and agents."""

    count: int

    def __call__(self, conversation: Sequence[Message]) -> bool:
        # No conversation has more messages than entries, so most are not counted at all.
        return len(conversation) >= self.count and sum(each.role != "tool" for each in conversation) >= self.count


@dataclass(frozen=True, slots=True)
class TextMentions:
    """The last message has this text in it."""

    text: str

    def __call__(self, conversation: Sequence[Message]) -> bool:
        return self.text.casefold() in conversation[-1].text.casefold()


@dataclass(frozen=True, slots=True)
class SaidBy:
    """The last message is of this author."""

    author_name: str

    def __call__(self, conversation: Sequence[Message]) -> bool:
        return conversation[-1].author_name == self.author_name


@dataclass(frozen=True, slots=True)
class Both:
    """One holds and the other."""

    one: TerminationCondition
    other: TerminationCondition

    def __call__(self, conversation: Sequence[Message]) -> bool:
        return self.one(conversation) and self.other(conversation)


@dataclass(frozen=True, slots=True)
class Either:
    """One holds or the other."""

    one: TerminationCondition
    other: TerminationCondition

    def __call__(self, conversation: Sequence[Message]) -> bool:
        return self.one(conversation) or self.other(conversation)


@dataclass(frozen=True, slots=True)
class Unless:
    """The other one does not hold."""

    other: TerminationCondition

    def __call__(self, conversation: Sequence[Message]) -> bool:
        return not self.other(conversation)


def max_messages(count: int) -> TerminationCondition:
    """Once there are ``count`` messages of users and agents; tools' results are not counted.

    Raises:
        UsageError: if ``count`` is not a whole number above 0.
    """
    if type(count) is not int or count < 1:
        raise UsageError(f"max_messages takes a number of messages, 1 or more; got {count!r}")
    return TerminationCondition(MaxMessages(count))


def text_mentions(text: str) -> TerminationCondition:
    """When the last message has ``text`` in it, whoever said it; upper and lower case are the same.

    Raises:
        UsageError: if ``text`` is empty.
    """
    if not text:
        raise UsageError("text_mentions takes a text to look for; it is empty")
    return TerminationCondition(TextMentions(text))


def said_by(author_name: str) -> TerminationCondition:
    """When the last message is of this author: an agent's name, or the user's; ``""`` is a user without a name."""
    return TerminationCondition(SaidBy(author_name))
