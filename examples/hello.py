"""A library's front desk in two agents. Type at it: python examples/hello.py"""

import asyncio

from relayline import HandoffBuilder, tool
from relayline.clients.local import EmbeddedClient


@tool(repeatable=True)
def find_book(title: str) -> str:
    """Find a book on the shelves by its title, given in quotes."""
    return f'"{title}" is on shelf {len(title) % 9 + 1}, second floor.'


FACTS = ["A library card is free; bring a photo ID.", "We are open from 9 to 19, and closed on Sundays."]

model = EmbeddedClient()  # or any model of yours: a class with one method
cards = model.as_agent("cards", description="Library cards, opening hours and fees.", knowledge=FACTS)
shelves = model.as_agent("shelves", description="Finds books and says where they stand.", tools=[find_book])
library = HandoffBuilder(name="library", participants=[cards, shelves]).build()


async def main() -> None:
    while text := input("you: "):
        async for event in library.run(text, session_id="me"):
            if event.type == "handoff_sent":
                print(f"-- {event.data.source} -> {event.data.target}")
            elif event.type == "message" and event.executor_id and event.data.text:
                print(f"{event.executor_id}: {event.data.text}")


if __name__ == "__main__":
    asyncio.run(main())
