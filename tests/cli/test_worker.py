"""`relayline worker` as a process: it works, answers for its health, and stops when it is told to."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from relayline import InterruptedCallRequest, RequestInfoEvent
from relayline.cli.commands import app
from relayline.cli.worker import engine
from relayline.journal.sqlite import SqliteCheckpointStorage
from tests.cli.conftest import TEAM, Relayline
from tests.durable.fleets import answered, until
from tests.durable.servers import free_ports
from tests.kills.desk import team
from tests.kills.fleet import FOLDER
from tests.kills.suite import ROOT


@contextmanager
def a_worker(folder: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """One that has said that it works."""
    command = [
        sys.executable,
        "-m",
        "relayline.cli",
        "worker",
        "tests.kills.fleet:desk",
        *([] if "--store" in options else ["--store", str(folder / "s.db")]),
    ]
    worker = subprocess.Popen(
        [*command, *options],
        cwd=ROOT,
        env={**os.environ, FOLDER: str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert worker.stderr is not None
        at = f", health at http://{options[1]}" if "--health" in options else ""
        assert worker.stderr.readline().endswith(f" of team desk{at}\n")
        yield worker
    finally:
        worker.kill()
        worker.communicate()


async def test_a_worker_does_what_others_submit_until_it_is_told_to_stop(tmp_path: Path):
    """It takes what another process puts into the store, answers for its health, and ends with status 0 on SIGTERM."""
    store = SqliteCheckpointStorage(tmp_path / "s.db")
    caller = team(store, tmp_path).with_dispatcher(engine("local", "desk"))
    (port,) = free_ports(1)
    with a_worker(tmp_path, "--health", f"127.0.0.1:{port}") as worker:
        asked = await caller.run("Message 1.", session_id="s")
        assert asked.requests
        health = await until(lambda: _health(port))
        assert health["stopping"] is False
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    await store.aclose()


async def _health(port: int) -> dict[str, object] | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:  # noqa: ASYNC210
            return json.load(answer)
    except urllib.error.HTTPError:
        return None  # it has not reached its store yet


async def test_a_worker_that_has_no_time_left_hands_its_turn_back(tmp_path: Path):
    """With no grace a turn that goes on is handed back on SIGTERM, and the next worker goes on with it at once."""
    store = SqliteCheckpointStorage(tmp_path / "s.db")
    caller = team(store, tmp_path)
    for number in range(30):
        await caller.submit("Message 1.", session_id=f"s{number}")
    with a_worker(tmp_path, "--grace", "0") as worker:
        await until(lambda: _some(store))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    with a_worker(tmp_path):
        for number in range(30):
            said = await answered(caller, f"s{number}", 1)
            view = await caller.session(f"s{number}")
            cut_off = [each for each in view.requests if isinstance(each.data, InterruptedCallRequest)]
            assert said[0].text == "Message 1."
            assert all(isinstance(each, RequestInfoEvent) for each in cut_off)
    await store.aclose()


async def _some(store: SqliteCheckpointStorage) -> bool:
    return bool(await store.sessions())


def test_a_chat_with_a_fleet_says_how_to_come_back_to_it(
    run: Relayline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Workers answer it, and the line that takes the session up again names the engine."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.chdir(ROOT)
    at = "tests.kills.fleet:desk", "--engine", "local", "--store", str(tmp_path / "s.db"), "--session", "s"
    with a_worker(tmp_path):
        done = run("chat", *at, lines="Message 1.\n")
    assert "?? desk: refund(turn=1)" in done.stdout
    assert done.stderr.endswith(f"resume with: relayline chat {' '.join(at)}\n")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--store", "/proc/none"), "cannot use the session store /proc/none"),
        (("--engine", "restate:http://127.0.0.1:1,http://127.0.0.1:1"), "Restate at http://127.0.0.1:1/deployments"),
        (("--engine", "temporal:127.0.0.1:1"), "Temporal at 127.0.0.1:1 cannot be reached"),
    ],
)
def test_what_a_worker_waits_for_is_said(tmp_path: Path, options: tuple[str, str], told: str):
    """A store or an engine that is away is told of once, tried again every second, and the worker can be stopped."""
    with a_worker(tmp_path, *options, "--listen", "127.0.0.1:0") as worker:
        assert worker.stderr is not None
        assert told in worker.stderr.readline()
        time.sleep(1.5)  # to be told twice
        worker.send_signal(signal.SIGTERM)
        assert worker.stderr.read() == "stopping; at work on 0\n"
        assert worker.wait(30) == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--health", "nowhere"), "--health 'nowhere' is no HOST:PORT to listen at"),
        (("--health", "127.0.0.1:99999"), "--health '127.0.0.1:99999' is no HOST:PORT to listen at"),
        (("--engine", "restate", "--listen", "nowhere"), "'nowhere' is no HOST:PORT where Restate could call"),
    ],
)
def test_what_a_worker_cannot_listen_at_is_refused(run: Relayline, tmp_path: Path, options: tuple[str, ...], told: str):
    """In a sentence, and it ends."""
    done = run("worker", TEAM, "--store", str(tmp_path / "s.db"), *options)
    assert done.returncode == 2
    assert f"relayline: {told}" in done.stderr


def test_an_engine_that_is_none_is_refused_in_a_sentence(tmp_path: Path):
    """A word that names no engine is answered with those that there are."""
    done = CliRunner().invoke(app, ["worker", "--engine", "warp", "--store", str(tmp_path / "s.db")])
    assert done.exit_code == 2
    assert "no engine 'warp'; there are: local, restate, temporal" in done.output
