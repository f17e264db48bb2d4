"""The code that examples/library.yaml names."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from relayline import Message, ToolContext, tool

Title = Annotated[str, Field(description="The title of the book, given in quotes.")]


class Case(BaseModel):
    """What the librarian has to know."""

    title: Title
    matter: str


@tool(repeatable=True)
def find_book(title: Title) -> str:
    """Find a book on the shelves by its title, given in quotes."""
    return f'"{title}" is on shelf {len(title) % 9 + 1}, second floor.'


@tool(approval_mode="always_require")
def extend_loan(title: Title, context: ToolContext) -> str:
    """Extend a loan by four weeks, by the book's title, given in quotes."""
    context.state["extended"] = True
    return f'"{title}" is yours for four more weeks.'


def is_extended(transcript: Sequence[Message], state: Mapping[str, object]) -> bool:
    return state.get("extended") is True
