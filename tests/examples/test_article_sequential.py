"""The editorial pipeline in a row: real notes, real checks, no model."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import relayline
from examples.article_sequential import NOTES, article, editor, pipeline, researcher
from relayline import Agent, ExecutorError
from relayline.testing import ScriptedClient

ARTICLE = Path(__file__).parents[2] / "examples" / "article_sequential.py"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ARTICLE), *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(Path(relayline.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"},
        timeout=60,
        check=False,
    )


async def test_an_article_has_every_note_with_its_source():
    """In the order of the notes, under a title."""
    result = await article.run("Tell me about bees")
    title, *paragraphs = result.outputs[0].text.split("\n\n")
    assert title == "# Bees"
    assert paragraphs == [f"{line} [bees:{number}]" for number, line in enumerate(NOTES["bees"], 1)]


async def test_a_model_may_take_a_place():
    """It reads what the researcher found; what it leaves out, the editor notices."""
    client = ScriptedClient("Bees are busy. [bees:1]", "Bees are busy.")
    team = pipeline(researcher, Agent("writer", "Write.", client=client), editor)
    assert (await team.run("bees")).outputs[0].text == "# Bees\n\nBees are busy. [bees:1]"
    assert client.requests[0].messages[-1].text.startswith('[researcher] [{"source":"bees:1"')
    with pytest.raises(ExecutorError, match="a paragraph has no source"):
        await team.run("bees")


def test_as_a_script():
    """It ends with the article; nonsense is told what there is, with status 1; and no topic at all as well."""
    done = python("bees")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# Bees\n")
    done = python("xyzzy")
    assert done.returncode == 1
    assert "some on bees, glass, lighthouses, tea" in done.stdout
    assert python().returncode == 1
