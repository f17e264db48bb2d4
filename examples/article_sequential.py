"""A researcher, a writer and an editor in a row, each once: python examples/article_sequential.py bees

The same job as `article.py`, where the editor sends things back. No model: each step is a function that does a small
job for real. Any of them can be an `Agent` with a model instead:

    writer = Agent("writer", "Write one short paragraph for each note, in your own words.", client=YourModel())
    article = pipeline(researcher, writer, editor)
"""

import asyncio
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from relayline import Agent, Executor, ExecutorError, SequentialBuilder, Workflow, executor

NOTES = {path.stem: path.read_text("utf-8").splitlines() for path in Path(__file__).with_name("notes").glob("*.txt")}


@dataclass
class Note:
    source: str
    text: str


@executor(repeatable=True)
async def researcher(topic: str) -> list[Note]:
    """Finds the notes on a subject."""
    wanted = {word.removesuffix("s") for word in re.findall(r"\w+", topic.lower())}
    names = [name for name in sorted(NOTES) if name.removesuffix("s") in wanted]
    if not names:
        raise LookupError(f"there are no notes on that; there are some on {', '.join(sorted(NOTES))}")
    return [Note(f"{name}:{number}", line) for name in names for number, line in enumerate(NOTES[name], 1)]


@executor(repeatable=True)
async def writer(notes: list[Note]) -> str:
    """Makes a paragraph of each note."""
    return "\n\n".join(f"{note.text} [{note.source}]" for note in notes)


@executor(repeatable=True)
async def editor(draft: str) -> str:
    """Gives it a title, and sees that every paragraph has a source."""
    sources = re.findall(r"\[(\w+):\d+\]$", draft, re.MULTILINE)
    if len(sources) < len(draft.split("\n\n")):
        raise ValueError("a paragraph has no source")
    return f"# {' and '.join(dict.fromkeys(sources)).capitalize()}\n\n{draft}"


def pipeline(researcher: Agent | Executor, writer: Agent | Executor, editor: Agent | Executor) -> Workflow:
    return SequentialBuilder(name="article", participants=[researcher, writer, editor]).build()


article = pipeline(researcher, writer, editor)


async def main(about: str) -> int:
    try:
        print((await article.run(about)).outputs[0].text)
    except ExecutorError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    if not (about := " ".join(sys.argv[1:]).strip()):
        sys.exit(f"Write about what? There are notes on {', '.join(sorted(NOTES))}.")
    sys.exit(asyncio.run(main(about)))
