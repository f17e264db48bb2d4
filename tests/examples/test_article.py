"""The editorial pipeline of the handoff tutorial: real searches, real checks, no model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import relayline
from examples.article import NOTES, SHORTEST, Editor, Researcher, Writer, article, hand_over, pipeline
from relayline import Agent, InMemoryCheckpointStorage, WorkflowRunState
from relayline.testing import Crash, ScriptedClient, check_everywhere, crash_at, handoff_to

ARTICLE = Path(__file__).parents[2] / "examples" / "article.py"


def python(*arguments: str, lines: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        input=lines,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(Path(relayline.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("topic", ["bees", "lighthouses", "Tell me about tea and bees, please!"])
async def test_an_article_is_what_the_editor_wants(topic: str):
    """Long enough, every paragraph with a source, and every paragraph a note word for word."""
    result = await article.run(topic)
    assert result.state is WorkflowRunState.IDLE
    ready, title, *paragraphs = result.conversation[-1].text.split("\n\n")
    assert ready == "Ready to print."
    assert title.startswith("# ")
    assert sum(len(each.split()) for each in paragraphs) >= SHORTEST
    for each in paragraphs:
        text, name, number = re.fullmatch(r"(.*) \[(\w+):(\d+)\]", each).groups()
        assert NOTES[name][int(number) - 1] == text


async def test_it_goes_back_twice():
    """For more notes, and for the sources: each with a reason."""
    sent = [event.data async for event in article.run("bees") if event.type == "handoff_sent"]
    back = [(each.target, each.reason) for each in sent if each.source == "editor"]
    assert back == [
        ("researcher", f"59 words; at least {SHORTEST} are wanted, so find more"),
        ("writer", "no source is named in paragraph 1, 2, 3, 4, 5, 6"),
    ]


async def test_a_new_topic_is_a_new_task():
    """What was found for another topic is not used again, in whatever state that was left."""
    for topic in ("xyzzy", "glass", "bees"):
        await article.run(topic, session_id="again")
    result = await article.run("tea", session_id="again")
    assert result.text.endswith("[tea:6]")
    assert "bees" not in result.text


async def test_after_a_crash_it_comes_to_the_same_end():
    """All that the participants know stands in the conversation."""
    whole = (await article.run("bees")).conversation[-1].text
    append, crashed = 1, 0
    while crashed < append:  # in the first append, the fourth ... until there are no more
        store, crashed = InMemoryCheckpointStorage(), append
        try:
            await article.with_store(crash_at(store, append, written=True)).run("bees", session_id="s")
        except Crash:
            result = await article.with_store(store).run(session_id="s")
            assert result.conversation[-1].text == whole
            append += 3
    assert append > 20


async def test_an_editor_who_is_never_content_is_stopped():
    class NeverContent(Editor):
        async def stream(self, request):
            yield hand_over(request, "writer", "no")

    events = [event async for event in pipeline(Researcher(), Writer(), NeverContent()).run("bees")]
    assert [event.data.code for event in events if event.type == "warning"] == ["hop_budget"]
    assert events[-1].data is WorkflowRunState.IDLE_WITH_PENDING_REQUESTS


async def test_a_model_may_take_a_place():
    """An agent with a client writes instead, sees the notes, and is sent back by the same editor."""
    long = "Bees are busy. " * 30
    client = ScriptedClient(long, handoff_to("editor"), f"{long} [bees:1]", handoff_to("editor"))
    writer = Agent("writer", "Write.", description="writes", client=client)
    result = await pipeline(Researcher(), writer, Editor()).run("bees")
    assert result.state is WorkflowRunState.IDLE
    assert "search_notes returned" in client.requests[0].messages[1].text
    for request in client.requests:
        check_everywhere(request)
    client.assert_done()


def test_as_a_script():
    """It ends with the article; nonsense is told what there is, with status 1; and no topic at all as well."""
    done = python(str(ARTICLE), "bees")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("fan their wings when it is hot. [bees:6]\n")
    there = "bees, glass, lighthouses, tea."
    done = python(str(ARTICLE), "xyzzy", "???")
    assert done.stdout.splitlines()[-1] == f"researcher: I have no notes on that. I have some on {there}"
    assert done.returncode == 1
    for nothing in ([], [" "]):
        done = python(str(ARTICLE), *nothing)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.endswith(f"{there}\n")


def test_as_a_chat(tmp_path: Path):
    done = python("-m", "relayline.cli", "chat", str(ARTICLE), "--store", str(tmp_path / "s.db"), lines="xyzzy\ntea\n")
    assert "plain code, no model" in done.stderr
    assert done.stdout.endswith("a citrus fruit. [tea:6]\n")
    assert done.returncode == 0


def test_the_graph_is_clean():
    done = python("-m", "relayline.cli", "graph", str(ARTICLE), "--check")
    assert (done.returncode, done.stdout) == (0, "article: no warnings\n")
