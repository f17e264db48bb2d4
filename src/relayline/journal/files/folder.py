"""The folder of a file store: what its files are called, who may write to it now, and how a file is put in place."""

import errno
import hashlib
import os
import re
import stat
import sys
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from relayline.errors import StoreError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

TIMEOUT = 30
"""Seconds to wait for another process's write, which takes milliseconds."""

LOCK = "store.lock"

MOST = 10**19
"""Somebody else's number in the lock file counts for nothing."""

STEM = re.compile(r"(?:[a-z0-9-]{1,40}-)?[0-9a-f]{32}")

# Whoever can write to the folder is trusted no further than that: no file of it leads elsewhere or hangs.
_FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))


@lru_cache(4096)
def stem(session_id: str) -> str:
    """What the files of a session are called: as legible as any file system allows, and different for any other id.

    Raises:
        ValueError: it has half a character, or none.
    """
    if not session_id:
        raise ValueError("a session id is not empty")
    slug = re.sub(r"[^a-z0-9]+", "-", session_id[:200].lower()).strip("-")[:40].strip("-")
    digest = hashlib.sha256(session_id.encode()).hexdigest()[:32]
    return f"{slug}-{digest}" if slug else digest


def opened(path: Path, flags: int) -> BinaryIO:
    """The file, if it is a regular one. Its buffer is for reading; what is written goes by way of `write`.

    Raises:
        OSError: FileNotFoundError among them.
        StoreError: it is a folder, a link, a pipe or the like.
    """
    try:
        number = os.open(path, flags | _FLAGS, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR):
            raise StoreError(f"{path} is not a regular file; what is in a session store is never followed") from error
        raise
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise StoreError(f"{path} is not a regular file; what is in a session store is never followed")
    return os.fdopen(number, "rb")


def write(file: BinaryIO, chunks: Iterable[bytes], *, offset: int = 0, durable: bool) -> None:
    """Write all of it, without a buffer that could write it later."""
    number = file.fileno()
    os.lseek(number, offset, os.SEEK_SET)
    for chunk in chunks:
        left = memoryview(chunk)
        while left:
            left = left[os.write(number, left) :]
    if durable:
        sync(number)


def sync(number: int) -> None:
    """Have the disk keep what was written to a file or a folder."""
    if sys.platform == "darwin":
        fcntl.fcntl(number, fcntl.F_FULLFSYNC)
    else:
        os.fsync(number)


def sync_folder(path: Path) -> None:
    """Have the disk keep the names of the files in a folder."""
    if sys.platform == "win32":
        return  # folders cannot be opened there
    number = os.open(path, os.O_RDONLY)
    try:
        sync(number)
    finally:
        os.close(number)


def put(path: Path, chunks: Iterable[bytes]) -> None:
    """Make a file of ``chunks`` at ``path``, in the place of the one that is there: one or the other, at any moment."""
    new = path.with_name(path.name + ".new")
    with suppress(FileNotFoundError):
        new.unlink()
    try:
        with opened(new, os.O_RDWR | os.O_CREAT | os.O_EXCL) as file:
            write(file, chunks, durable=True)
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    sync_folder(path.parent)


class Lock:
    """The right to write to a folder, held by whoever has its lock file locked."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def count(self, at: datetime) -> int:
        """A number above all that were given out before: writes are counted, as a clock may stand still or go back.

        It is at least the time ``at``, in microseconds, so that the order outlives the loss of the lock file or, when
        the power fails, of its last change.
        """
        text = os.read(self._file.fileno(), 20)
        last = int(text) if text.isdigit() else 0
        number = max(last + 1 if last < MOST else 0, int(at.timestamp() * 1e6))
        write(self._file, [b"%020d\n" % number], durable=False)
        return number


@contextmanager
def locked(folder: Path) -> Generator[Lock]:
    """Be the only one who writes to the folder, which is made if it is not there.

    Raises:
        StoreError: somebody else has been for half a minute.
    """
    try:
        file = opened(folder / LOCK, os.O_RDWR | os.O_CREAT)
    except FileNotFoundError:
        _make(folder)
        file = opened(folder / LOCK, os.O_RDWR | os.O_CREAT)
    with file, _held(folder, file, alone=True):
        yield Lock(file)


def _make(folder: Path) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


@contextmanager
def still(folder: Path) -> Generator[None]:
    """See to it that nobody writes to the folder for a moment."""
    try:
        file = opened(folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        yield  # nobody ever wrote
        return
    with file, _held(folder, file, alone=False):
        yield


@contextmanager
def _held(folder: Path, file: BinaryIO, *, alone: bool) -> Generator[None]:
    deadline, pause = time.monotonic() + TIMEOUT, 0.0002
    while not _take(file.fileno(), alone):
        if time.monotonic() > deadline:
            raise StoreError(f"another process has kept {folder} locked for {TIMEOUT} seconds; nothing was written")
        time.sleep(pause)
        pause = min(pause * 2, 0.005)
    try:
        yield
    finally:
        # Closing would do, were it not for a child that was forked meanwhile and has the file open as well.
        _release(file.fileno())


if sys.platform == "win32":
    _FAR = 1 << 30  # beyond what is in the file, which stays legible

    def _take(number: int, alone: bool) -> bool:
        os.lseek(number, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _release(number: int) -> None:
        os.lseek(number, _FAR, os.SEEK_SET)
        msvcrt.locking(number, msvcrt.LK_UNLCK, 1)

else:

    def _take(number: int, alone: bool) -> bool:
        try:
            fcntl.flock(number, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _release(number: int) -> None:
        fcntl.flock(number, fcntl.LOCK_UN)
