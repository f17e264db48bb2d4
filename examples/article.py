"""A researcher, a writer and an editor who sends things back: python examples/article.py bees

No model: each of them is a class that does a small job for real. Any of them can be an `Agent` with a model instead:

    writer = Agent("writer", "Write one short paragraph for each note, in your own words.", client=YourModel())
    article = pipeline(Researcher(), writer, Editor())
"""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from relayline import (
    Agent,
    ChatRequest,
    HandoffBuilder,
    Message,
    Participant,
    ToolCall,
    Workflow,
    WorkflowRunState,
    tool,
)
from relayline.conditions import max_messages, said_by, text_mentions
from relayline.views import with_results

NOTES = {path.stem: path.read_text("utf-8").splitlines() for path in Path(__file__).with_name("notes").glob("*.txt")}
FILLERS = frozenset(
    "a about an and article are can do for how i in is it me of on please some tell the to what write you".split()
)
GO_ON = "Go on: write the next paragraph, or hand over to the editor once every note has one."
AT_ONCE, SHORTEST = 3, 80  # notes that a search returns, words that an article has


def subject(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text.lower()) if word not in FILLERS]


@tool(repeatable=True)
def search_notes(about: str, skip: int = 0) -> list[dict[str, str]]:
    """Search the notes: the lines about something, each with where it stands; three at a time."""
    wanted = {word.removesuffix("s") for word in subject(about)}
    found = [
        {"source": f"{name}:{number}", "text": line}
        for number, name, line in sorted((at, name, line) for name in NOTES for at, line in enumerate(NOTES[name], 1))
        if wanted & {word.removesuffix("s") for word in [name, *re.findall(r"\w+", line.lower())]}
    ]
    return found[skip : skip + AT_ONCE]


# A participant is given what a model would be: a transcript. All that it knows stands there, so a crash loses nothing.


def task(request: ChatRequest) -> Sequence[Message]:
    """The conversation since the user last spoke."""
    theirs = [at for at, each in enumerate(request.messages) if each.role == "user" and not each.author_name]
    return request.messages[theirs[-1] :]


def notes(messages: Sequence[Message]) -> list[dict[str, str]]:
    """What the searches came to, the researcher's own or as a colleague is shown them."""
    shown = "[researcher] search_notes returned "
    own = [each.content for message in messages for each in message.tool_results if each.name == "search_notes"]
    seen = [json.loads(each.text.removeprefix(shown)) for each in messages if each.text.startswith(shown)]
    return [note for found in own + seen for note in json.loads(found)]


def hand_over(request: ChatRequest, to: str, reason: str) -> ToolCall:
    name = next(tool.name for tool in request.tools if tool.target == to)
    return ToolCall("1", name, json.dumps({"reason": reason}))


class Researcher:
    name, description = "researcher", "finds notes on a subject, and more of them"
    tools = (search_notes,)
    about = "plain code, no model"

    async def stream(self, request: ChatRequest) -> AsyncIterator[str | ToolCall]:
        said, found = task(request), notes(task(request))
        if said[-1].role != "tool":
            yield ToolCall("1", "search_notes", json.dumps({"about": said[0].text, "skip": len(found)}))
        elif json.loads(said[-1].tool_results[-1].content):
            yield hand_over(request, "writer", f"{len(found)} notes")
        elif found:
            yield f"There are only {len(found)} notes on this, which is too little for an article."
        else:
            yield f"I have no notes on that. I have some on {', '.join(sorted(NOTES))}."


class Writer:
    name, description = "writer", "makes paragraphs of notes, and changes them"
    about = "plain code, no model"

    async def stream(self, request: ChatRequest) -> AsyncIterator[str | ToolCall]:
        said = task(request)
        arrivals = [at for at, each in enumerate(said) if "handed the conversation over to you" in each.text]
        written = sum(each.role == "assistant" for each in said[arrivals[-1] :])
        found, cite = notes(said), any("no source" in each.text for each in said)
        if written < len(found):
            yield found[written]["text"] + (f" [{found[written]['source']}]" if cite else "")
        else:
            yield hand_over(request, "editor", f"{written} paragraphs")


class Editor:
    name, description = "editor", "checks length and sources, and prints or sends back"
    about = "plain code, no model"

    async def stream(self, request: ChatRequest) -> AsyncIterator[str | ToolCall]:
        said = task(request)
        arrivals = [at for at, each in enumerate(said) if each.text.startswith("[writer] handed")]
        last = said[arrivals[-2] + 1 if len(arrivals) > 1 else 0 : arrivals[-1]]
        draft = [each.text.removeprefix("[writer] ") for each in last if each.author_name == "writer"]
        words = sum(len(paragraph.split()) for paragraph in draft)
        known = {note["source"] for note in notes(said)}
        bare = [str(at) for at, each in enumerate(draft, 1) if not known & set(re.findall(r"\[([\w:]+)\]$", each))]
        if words < SHORTEST:
            yield hand_over(request, "researcher", f"{words} words; at least {SHORTEST} are wanted, so find more")
        elif bare:
            yield hand_over(request, "writer", f"no source is named in paragraph {', '.join(bare)}")
        else:
            yield "Ready to print.\n\n" + "\n\n".join([f"# {' and '.join(subject(said[0].text)).capitalize()}", *draft])


def pipeline(researcher: Participant | Agent, writer: Participant | Agent, editor: Participant | Agent) -> Workflow:
    return (
        HandoffBuilder(name="article", participants=[researcher, writer, editor])
        .add_handoff(researcher, writer, description="makes paragraphs of the notes")
        .add_handoff(writer, editor, description="checks the whole once it is written")
        .add_handoff(editor, writer, description="when paragraphs have to be changed")
        .add_handoff(editor, researcher, description="when more notes are needed")
        .with_view(writer, with_results)
        .with_view(editor, with_results)
        .with_autonomous_mode([writer], prompts={writer.name: GO_ON}, turn_limits={writer.name: 10})
        .with_loop_control(max_hops=12, allow_cycles=True, on_loop="ask_user")
        .with_termination_condition(said_by(editor.name) & text_mentions("ready to print") | max_messages(100))
        .with_return_to_previous(False)
        .build()
    )


article = pipeline(Researcher(), Writer(), Editor())


async def main(topic: str) -> int:
    run = article.run(topic)
    async for event in run:
        if event.type == "handoff_sent":
            print(f"-- {event.data.source} -> {event.data.target}: {event.data.reason}")
        elif event.type == "tool_call":
            print(f"   {event.data.name} {event.data.arguments}")
        elif event.type == "message" and event.executor_id and event.data.text:
            print(f"{event.executor_id}: {event.data.text}")
        elif event.type == "warning":
            print(f"!! {event.data.message}")
    return 0 if (await run).state is WorkflowRunState.IDLE else 1


if __name__ == "__main__":
    if not (about := " ".join(sys.argv[1:]).strip()):
        sys.exit(f"Write about what? python examples/article.py TOPIC; there are notes on {', '.join(sorted(NOTES))}.")
    sys.exit(asyncio.run(main(about)))
