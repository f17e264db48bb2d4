"""The program in the README, as it stands there."""

import os
import subprocess
import sys
from pathlib import Path

import relayline
from relayline.clients import weights

HELLO = Path(__file__).parents[2] / "examples" / "hello.py"


def test_the_program_of_the_readme_answers():
    """A question, a handoff with a tool, and a handoff back; an empty line ends it."""
    weights.fetch()
    lines = ["when are you open?", 'where do I find the book "Moby Dick"?', "how much is a card?", ""]
    done = subprocess.run(
        [sys.executable, str(HELLO)],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(Path(relayline.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"},
        timeout=60,
        check=True,
    )
    opening, there, found, back, price = done.stdout.replace("you: ", "").splitlines()
    assert opening == "cards: We are open from 9 to 19, and closed on Sundays."
    assert (there, found) == ("-- cards -> shelves", 'shelves: "Moby Dick" is on shelf 1, second floor.')
    assert back == "-- shelves -> cards"
    assert price.startswith("cards: ")
    assert price.endswith("A library card is free; bring a photo ID.")  # it may say how sure it is
