"""The page about the command line and the command line say the same."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer", reason="the command line is an extra")

from tests.cli.conftest import TEAM
from tests.cli.kept import call, hold
from tests.docs.command_line import PAGE, SECTION, every_command, help_of, with_help

TEXT = PAGE.read_text("utf-8")


def test_every_command_is_on_the_page_with_its_help():
    """Each has a heading, and below it what --help says; `python -m tests.docs.command_line` writes it anew."""
    described = [tuple(found[2].split()) for found in SECTION.finditer(TEXT)]
    assert described == list(every_command())
    assert with_help(TEXT) == TEXT


@pytest.mark.parametrize("words", list(every_command()), ids=" ".join)
def test_every_help_reads_well(words: tuple[str, ...]):
    """No summary is cut off, no line is too long, and a command that is typed has an example, which can be typed."""
    from typer.main import get_command

    from relayline.cli.commands import app

    text = help_of(*words)
    assert "..." not in text.partition("\nCommands:\n")[2]
    assert max(map(len, text.split("\n"))) <= 80
    if "\nCommands:\n" in text:
        return
    example = re.search(r"^  Example: relayline (.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    assert example, text
    group, typed = get_command(app), shlex.split(example[1].replace("\n", " ").partition(" | ")[0])
    while hasattr(group, "resolve_command"):
        _, group, typed = group.resolve_command(group.make_context("relayline", [], resilient_parsing=True), typed)
    assert group.make_context("relayline", typed) is not None


def keys(command: str) -> list[str]:
    """The keys that the page gives for the JSON of a command."""
    section = TEXT.partition(f"# relayline {command}\n")[2].partition("\n#")[0].partition("| key | |")[2]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def shape(store: Path, *arguments: str) -> list[str]:
    """The keys of what a command prints with --json, of the first if it is a list."""
    shown: Any = json.loads(call(*arguments, "--json", "--store", store).stdout)
    return list(shown[0] if isinstance(shown, list) else shown)


def test_the_keys_of_json(tmp_path: Path):
    """What programs read is on the page, key by key, in the order in which it is printed."""
    store = tmp_path / "sessions.db"
    hold(store, "s", "order", "money")
    hold(store, "t", "order", "money")
    listed = shape(store, "sessions", "list")
    shown = {
        "requests": shape(store, "requests"),
        "deny": shape(store, "deny", "t/r2", TEAM),
        "sessions list": listed,
        "sessions show": [key for key in shape(store, "sessions", "show", "s", "--facts") if key not in listed],
        "sessions check": shape(store, "sessions", "check", TEAM),
        "sessions fork": shape(store, "sessions", "fork", "s"),
        "sessions hold": shape(store, "sessions", "hold", "s", "--reason", "x"),
        "sessions expire": ["session_id", "fate", "why", "dry_run"],
        "sessions compact": shape(store, "sessions", "compact", "t", "--keep", "9"),
        "sessions delete": shape(store, "sessions", "delete", "t", "--yes"),
        "checkpoints list": shape(store, "checkpoints", "list"),
        "checkpoints diff": shape(store, "checkpoints", "diff", "s", "s@6"),
        "doctor": shape(store, "doctor"),
        "model": list(json.loads(call("model", "--json").stdout)),
    }
    assert {command: keys(command) for command in shown} == shown
