"""What is too large for a line: beside its journal, in files that are called by the hash of what is in them."""

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from relayline.errors import DamagedJournal, StoreError
from relayline.journal.files.folder import opened, put
from relayline.journal.files.lines import Batch
from relayline.journal.packing import WITH_BLOBS, Packer, beside


class Part(NamedTuple):
    """Facts that were written together, and the journal they are in."""

    path: Path
    batch: Batch


def folder(journal: Path) -> Path:
    """Where the media of a journal are."""
    return journal.with_suffix(".media")


def keep(journal: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Put contents beside a journal, on the disk before it names them; returns the files that were not there yet."""
    made: list[Path] = []
    try:
        for name, content in contents.items():
            path = _place(journal) / name
            if not _is_there(path, len(content)):
                put(path, [content])
                made.append(path)
    except OSError:
        drop(made)
        raise
    return made


def drop(files: Iterable[Path]) -> None:
    """Remove files that nothing names, as far as that is possible."""
    for path in files:
        with suppress(OSError):
            path.unlink()


def contents(parts: Iterable[Part], packer: Packer) -> Mapping[str, bytes]:
    """What these facts have beside them, as far as it is there."""
    found: dict[str, bytes] = {}
    for path, name in _named(parts, packer, strict=False):
        if name not in found:
            with suppress(FileNotFoundError, NotADirectoryError), opened(folder(path) / name, os.O_RDONLY) as file:
                found[name] = file.read()
    return found


def gather(parts: Iterable[Part], packer: Packer, journal: Path) -> set[str]:
    """Put beside ``journal`` what these facts have beside the journals they are in; returns the names of it all.

    Raises:
        DamagedJournal: a fact that has something beside it cannot be read.
    """
    found: set[str] = set()
    for path, name in _named(parts, packer):
        found.add(name)
        if path != journal:
            with suppress(FileNotFoundError, NotADirectoryError), opened(folder(path) / name, os.O_RDONLY) as file:
                keep(journal, {name: file.read()})
    return found


def names(parts: Iterable[Part], packer: Packer) -> set[str]:
    """The names of what these facts have beside them.

    Raises:
        DamagedJournal: a fact that has something beside it cannot be read.
    """
    return {name for _, name in _named(parts, packer)}


def remove(journal: Path, but: Collection[str] = ()) -> None:
    """Remove what is beside a journal, but for what has one of these names."""
    place = folder(journal)
    if place.is_symlink():
        place.unlink()
    elif place.is_dir():
        for each in place.iterdir():
            if each.name not in but:
                each.unlink()
        if not but:
            place.rmdir()


def _named(parts: Iterable[Part], packer: Packer, *, strict: bool = True) -> Iterable[tuple[Path, str]]:
    for path, batch in parts:
        for version, body in zip(batch.versions, batch.bodies, strict=True):
            if version != WITH_BLOBS:
                continue
            try:
                fact = packer.open(version, body)
            except DamagedJournal as error:
                if strict:  # else told by whoever reads the fact
                    raise DamagedJournal(f"{path}, up to entry {batch.seq}: {error}") from error
                continue
            yield from ((path, name) for name in beside(fact))


def _place(journal: Path) -> Path:
    place = folder(journal)
    if place.is_symlink():
        raise StoreError(f"{place} is a link; what is in a session store is never followed")
    place.mkdir(exist_ok=True)
    return place


def _is_there(path: Path, size: int) -> bool:
    try:
        return path.stat(follow_symlinks=False).st_size == size
    except FileNotFoundError:
        return False
