"""Processes of `relayline worker` to be killed, and the engine between them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.durable import servers
from tests.kills.suite import ROOT


@dataclass(frozen=True, slots=True)
class Engine:
    """``word``: for ``--engine``. ``listen``: where it calls workers, if it does. ``server``: None if there is none."""

    word: str
    listen: str = ""
    server: servers.Engine | None = None

    @property
    def options(self) -> Sequence[str]:
        """What a worker has to be told."""
        return ["--engine", self.word, *(["--listen", self.listen] if self.listen else [])]


def of_server(server: servers.Engine) -> Engine:
    """What a fleet has to know of a server that runs; one of Restate's gets a port of its own."""
    match server:
        case servers.RestateServer(ingress=ingress, admin=admin):
            (port,) = servers.free_ports(1)
            return Engine(f"restate:{ingress},{admin}", f"127.0.0.1:{port}", server)
        case servers.TemporalServer(address=address):
            return Engine(f"temporal:{address}", "", server)
        case _:
            raise AssertionError(f"no fleet has a server like {server}")


@contextmanager
def an_engine(kind: str) -> Iterator[Engine]:
    """A server of its own, if a fleet of this kind has one."""
    match kind:
        case "restate":
            with servers.restate() as restate:
                yield of_server(restate)
        case "temporal":
            with servers.temporal() as temporal:
                yield of_server(temporal)
        case _:
            yield Engine("local")


@dataclass(frozen=True, slots=True)
class Workers:
    """``team``: what they work for, MODULE:NAME. What they say goes to a log in ``folder``."""

    team: str
    where: str
    engine: Engine
    folder: Path
    processes: list[asyncio.subprocess.Process]

    async def start(self, **settings: str) -> asyncio.subprocess.Process:
        """One more, with these variables set; it works on return."""
        command = [sys.executable, "-m", "relayline.cli", "worker", self.team, "--store", self.where]
        command += ["--sessions", "4", *self.engine.options]
        with self._log.open("ab") as log:
            before = log.tell()
            environment: Mapping[str, str] = {**os.environ, "PYTHONUNBUFFERED": "1", **settings}
            worker = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        self.processes.append(worker)
        for _ in range(600):
            if b"of team desk" in self._log.read_bytes()[before:]:
                return worker
            assert worker.returncode is None, self._said()
            await asyncio.sleep(0.05)
        raise AssertionError("a worker did not begin to work")

    async def kill(self, worker: asyncio.subprocess.Process) -> None:
        worker.kill()
        await worker.wait()
        self.processes.remove(worker)

    async def stop(self) -> None:
        """Tell all to stop, and see that they do."""
        for worker in self.processes:
            worker.terminate()
        for worker in self.processes:
            ended = await asyncio.wait_for(worker.wait(), 60)
            assert ended == 0, f"{ended}: {self._said()}"
        self.processes.clear()

    @property
    def _log(self) -> Path:
        return self.folder / "workers.log"

    def _said(self) -> str:
        return self._log.read_text()[-3000:]


@asynccontextmanager
async def workers(team: str, where: str, engine: Engine, folder: Path) -> AsyncIterator[Workers]:
    """None at first, and none in the end."""
    made = Workers(team, where, engine, folder, [])
    try:
        yield made
    finally:
        for worker in made.processes:
            with suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()
