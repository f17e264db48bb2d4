"""What is in the folder of a file store: its sessions, and what is wrong with any of its files."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from relayline.errors import DamagedJournal, StoreError
from relayline.journal.files.folder import STEM, opened, stem, still
from relayline.journal.files.journal import glance, open_journal
from relayline.journal.files.lines import Damage
from relayline.journal.store import SessionSummary


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a file of the store. ``session_id`` is empty where not even that can be read.

    ``torn``: how many bytes at its end a dying process left. They were never acknowledged, and go with the next write.
    """

    path: Path
    session_id: str
    problem: str
    torn: int = 0


class _Seen(NamedTuple):
    """What a journal said when its file looked like ``state``."""

    state: tuple[int, int, int]
    summary: SessionSummary
    written: int


class Listing:
    """The sessions of a folder. What was seen of a file is remembered for as long as it looks the same."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, _Seen] = {}

    def sessions(self) -> list[SessionSummary]:
        """Those whose first line can be read, the one most recently written to last."""
        seen: dict[str, _Seen] = {}
        held: set[str] = set()
        for name, suffix, entry in files(self._folder):
            if suffix == ".hold":
                held.add(name)
            elif suffix == ".jsonl":
                with suppress(Damage, FileNotFoundError, StoreError):
                    if found := self._look(name, entry):
                        seen[name] = found
        self._seen = seen
        in_order = sorted(seen.items(), key=lambda each: each[1].written)
        return [
            replace(found.summary, held=reason(self._folder / f"{name}.jsonl")) if name in held else found.summary
            for name, found in in_order
        ]

    def _look(self, name: str, entry: os.DirEntry[str]) -> _Seen | None:
        now = entry.stat(follow_symlinks=False)
        state = (now.st_ino, now.st_size, now.st_mtime_ns)
        before = self._seen.get(name)
        if before and before.state == state:
            return before
        head, last = glance(Path(entry.path))
        if last is None or stem(head.session) != name:
            return None
        summary = SessionSummary(head.session, last.seq, head.started, last.at, head.parent, head.shared)
        return _Seen(state, summary, last.written)


def files(folder: Path) -> Iterator[tuple[str, str, os.DirEntry[str]]]:
    """The files of a store, each with the name of its session's files and its suffix. Other files are none of ours."""
    try:
        with os.scandir(folder) as entries:
            for each in entries:
                name, suffix = os.path.splitext(each.name)
                while suffix and not STEM.fullmatch(name):
                    name, more = os.path.splitext(name)
                    suffix = more + suffix if more else ""
                if suffix:
                    yield name, suffix, each
    except FileNotFoundError:
        return


def reason(journal: Path) -> str:
    """Why a session is held; empty, if it is not."""
    try:
        with opened(journal.with_suffix(".hold"), os.O_RDONLY) as file:
            return file.read().decode(errors="replace") or "no reason given"
    except FileNotFoundError:
        return ""


def findings(folder: Path) -> Iterator[Finding]:
    """What is wrong with journals as files. Whether what they say is a conversation, `read` says."""
    for name, suffix, entry in files(folder):
        if suffix == ".jsonl" and _wrong(Path(entry.path), name):
            with still(folder):  # a write that is under way looks like one that was cut off
                yield from _wrong(Path(entry.path), name)


def _wrong(path: Path, name: str) -> list[Finding]:
    wrong: list[Finding] = []
    session_id = ""
    try:
        found = open_journal(path, None)
        if found is None:
            return []
        with found:
            session_id = found.head.session if found.head else ""
            if found.torn:
                what = f"{found.torn} bytes at its end are left of a write that was cut off"
                wrong.append(Finding(path, session_id, what, found.torn))
            if found.head and stem(session_id) != name:
                what = f"is called as the journal of another session; its own: {stem(session_id)}"
                wrong.append(Finding(path, session_id, what))
            for _ in found.batches(0, found.seq, counted=True):
                pass
    except (DamagedJournal, StoreError) as error:
        wrong.append(Finding(path, session_id, str(error.__cause__ or error)))
    return wrong
