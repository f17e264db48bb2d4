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
        return TerminationCondition(lambda conversation: self(conversation) and other(conversation))

    def __or__(self, other: "TerminationCondition") -> "TerminationCondition":
        return TerminationCondition(lambda conversation: self(conversation) or other(conversation))

    def __invert__(self) -> "TerminationCondition":
        return TerminationCondition(lambda conversation: not self(conversation))


def max_messages(count: int) -> TerminationCondition:
    """Once there are ``count`` messages of users and agents; tools' results are not counted.

    Raises:
        UsageError: if ``count`` is not a whole number above 0.
    """
    if type(count) is not int or count < 1:
        raise UsageError(f"max_messages takes a number of messages, 1 or more; got {count!r}")

    def holds(conversation: Sequence[Message]) -> bool:
        # No conversation has more messages than entries, so most are not counted at all.
        return len(conversation) >= count and sum(message.role != "tool" for message in conversation) >= count

    return TerminationCondition(holds)


def text_mentions(text: str) -> TerminationCondition:
    """When the last message has ``text`` in it, whoever said it; upper and lower case are the same.

    Raises:
        UsageError: if ``text`` is empty.
    """
    if not text:
        raise UsageError("text_mentions takes a text to look for; it is empty")
    wanted = text.casefold()
    return TerminationCondition(lambda conversation: wanted in conversation[-1].text.casefold())


def said_by(author_name: str) -> TerminationCondition:
    """When the last message is of this author: an agent's name, or the user's; ``""`` is a user without a name."""
    return TerminationCondition(lambda conversation: conversation[-1].author_name == author_name)
