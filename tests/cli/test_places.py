"""Where the command line is and keeps things."""

from pathlib import Path

import pytest

from relayline.cli.places import command


def test_the_line_to_come_back_with_is_one_that_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By name where a shell finds it, else by the way to it, as after `make chat` with its own environment."""
    program = tmp_path / ".venv" / "bin" / "relayline"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.argv", [str(program), "chat"])
    assert command() == ".venv/bin/relayline"
    monkeypatch.setenv("PATH", str(program.parent))
    assert command() == "relayline"
    monkeypatch.setattr("sys.argv", ["/usr/lib/python3/relayline/cli/__main__.py"])
    assert command() == "relayline"
