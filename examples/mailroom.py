"""The code that examples/mailroom.yaml names."""

import re

from pydantic import BaseModel

from relayline import executor


class Bill(BaseModel):
    """What is asked of us, and by whom."""

    sender: str
    euros: float


@executor(repeatable=True)
def sort(text: str) -> str | Bill:
    """Tell bills from other letters."""
    found = re.fullmatch(r"bill from (.+): ([\d.]+) euros", text.strip(), re.IGNORECASE)
    return Bill(sender=found[1], euros=float(found[2])) if found else text


def is_bill(letter: str | Bill) -> bool:
    return isinstance(letter, Bill)


@executor(repeatable=True)
def known_sender(bill: Bill) -> str:
    return f"{bill.sender} {'has built our shelves' if 'Oak' in bill.sender else 'is nobody we know'}"


@executor(repeatable=True)
def fair_price(bill: Bill) -> str:
    return f"{bill.euros:g} euros is {'as agreed' if bill.euros <= 200 else 'more than we agreed on'}"


@executor(repeatable=True)
def findings(said: list[str]) -> str:
    return f"{'; '.join(said)}. Will you sign?"


@executor(repeatable=True)
def stamp(answer: str) -> str:
    return f"{answer} (The library, by return of post)"
