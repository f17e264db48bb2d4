"""What a file store does: the journals of a folder, and the branches among them.

Beside ``NAME.jsonl`` there may be ``NAME.media/`` with what is too large for a line, ``NAME.hold`` with the reason why
it is held and, while it is being deleted, ``NAME.deleted`` in its place. ``NAME.sweep`` says that there may be media to
remove. What replaces a file is ``.new`` first.
"""

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from relayline.errors import DamagedJournal
from relayline.events import Compacted, Entry
from relayline.journal import collector
from relayline.journal.files import media
from relayline.journal.files.folder import Lock, locked, put, stem, still, sync_folder
from relayline.journal.files.journal import Journal, damaged, noted, open_journal
from relayline.journal.files.lines import Batch, Head, journal_lines
from relayline.journal.files.listing import files, reason
from relayline.journal.files.media import Part
from relayline.journal.packing import WITH_BLOBS, Packed, Packer
from relayline.journal.store import MOST, check_cut, check_delete, check_fork, conflict, unknown


class Journals:
    """The journals of one folder. What a method does is done or not done, whenever the process dies."""

    def __init__(self, folder: Path, packer: Packer, durable: bool) -> None:
        self.folder = folder
        self._packer = packer
        self._durable = durable
        self._tidied = False

    def append(self, session_id: str, packed: Sequence[Packed], *, after: int, first: int, at: datetime) -> None:
        """Add a batch; see `relayline.journal.store.Store`, for this and what follows."""
        with locked(self.folder) as lock:
            self._tidy()
            self._extend(Head(session_id, at), packed, after, first, at, lock)

    def restore(self, session_id: str, batches: Sequence[tuple[Entry, Sequence[Packed]]]) -> None:
        """Begin a session with these batches, each with its last entry: its file is put in place when it is whole."""
        with locked(self.folder) as lock:
            self._tidy()
            path = self._path(session_id)
            self._check_free(session_id)
            self._finish_deleting(path)
            written = lock.count(batches[-1][0].at)
            whole = [
                Batch(
                    last.seq,
                    last.at,
                    written,
                    tuple(each.version for each in packed),
                    tuple(each.body for each in packed),
                )
                for last, packed in batches
            ]
            kept: list[Path] = []
            try:
                for _, packed in batches:
                    for each in packed:
                        kept += media.keep(path, each.blobs)
                put(path, journal_lines(Head(session_id, whole[0].at), whole))
            except BaseException:
                if not os.path.lexists(path):  # it may be in place already, and only not known to be on the disk
                    media.drop(kept)
                raise

    def read(self, session_id: str, after: int, upto: int) -> list[Entry]:
        """The entries with ``after < seq <= upto``."""
        # Nobody is kept from writing, as a rule: what is written stays as it is. Only what looks wrong, and what is in
        # several files, is looked at while everything stands still, and then that look counts.
        path = self._path(session_id)
        try:
            found = open_journal(path, session_id)
            if found is None:
                return []
            with found:
                if found.head is None:
                    return []
                if after >= found.shared:
                    parts = [Part(path, each) for each in found.batches(after, upto, counted=False)]
                    return self._entries(session_id, parts, media.contents(parts, self._packer), after)
        except DamagedJournal:
            pass
        with still(self.folder):
            parts = self._parts(session_id, after, upto)
            contents = media.contents(parts, self._packer)
        return self._entries(session_id, parts, contents, after)

    def fork(self, session_id: str, branch: str, packed: Packed, *, upto: int, at: datetime) -> None:
        """Begin a branch with a reference to what it shares."""
        with locked(self.folder) as lock:
            self._tidy()
            first, last = self._extent(session_id)
            check_fork(session_id, upto, first, last)
            self._check_free(branch)
            # First, because who cuts or deletes the session has to know of the branch.
            self._note(session_id, branch)
            self._extend(Head(branch, at, session_id, upto), [packed], 0, upto + 1, at, lock)

    def cut(self, session_id: str, fact: Compacted, packed: Packed) -> None:
        """Write the journal anew, with ``fact`` in the place of what is forgotten."""
        with locked(self.folder):
            self._tidy()
            path = self._path(session_id)
            first, last = self._extent(session_id)
            check_cut(session_id, fact.upto, first, last, reason(path))
            # Whoever comes after one who died here has media to remove.
            put(path.with_suffix(".sweep"), [])
            self._free_branches(session_id)
            parts = self._parts(session_id, 0, MOST)
            (cut,) = [each for _, each in parts if each.before < fact.upto <= each.seq]
            stand_in = Batch(fact.upto, cut.at, cut.written, (packed.version,), (packed.body,))
            kept = [Part(place, rest) for place, each in parts if (rest := each.part(fact.upto, MOST))]
            self._rewrite(session_id, [Part(path, stand_in), *kept], [])
            self._sweep(path)

    def delete(self, session_id: str) -> None:
        """Delete a session, damaged or not, with all that is beside it."""
        with locked(self.folder):
            self._tidy()
            path = self._existing(session_id)
            check_delete(session_id, reason(path))
            self._free_branches(session_id)
            path.replace(path.with_suffix(".deleted"))
            sync_folder(self.folder)
            self._finish_deleting(path)

    def hold(self, session_id: str, why: str) -> None:
        """Hold a session, or let go of it."""
        with locked(self.folder):
            self._tidy()
            path = self._existing(session_id).with_suffix(".hold")
            if why:
                put(path, [why.encode()])
            else:
                path.unlink(missing_ok=True)
                sync_folder(self.folder)

    def mend(self) -> list[Path]:
        """Cut off what dying processes left at the ends of journals; returns those that were changed."""
        mended: list[Path] = []
        with locked(self.folder):
            self._tidy()
            for _, suffix, entry in list(files(self.folder)):
                if suffix == ".jsonl" and self._mend(Path(entry.path)):
                    mended.append(Path(entry.path))
        return mended

    # --- Within the lock

    def _extend(self, head: Head, packed: Sequence[Packed], after: int, first: int, at: datetime, lock: Lock) -> None:
        path = self._path(head.session)
        found = open_journal(path, head.session, writes=True)
        if found is None and not after:
            self._finish_deleting(path)
            found = open_journal(path, head.session, writes=True, make=True)
        if found is None:
            raise conflict(head.session, after, 0)
        with found:
            if found.seq != after:
                raise conflict(head.session, after, found.seq)
            self._write(found, head, packed, first, at, lock)

    def _write(
        self, found: Journal, head: Head, packed: Sequence[Packed], first: int, at: datetime, lock: Lock
    ) -> None:
        versions, bodies = tuple(each.version for each in packed), tuple(each.body for each in packed)
        kept: list[Path] = []
        try:
            for each in packed:
                kept += media.keep(found.path, each.blobs)
            found.append(Batch(first + len(packed) - 1, at, lock.count(at), versions, bodies), head, self._durable)
            if found.head is None and self._durable:
                sync_folder(self.folder)
        except BaseException:
            media.drop(kept)
            if found.head is None:
                with suppress(OSError):
                    found.path.unlink()
            raise

    def _note(self, session_id: str, branch: str) -> None:
        """Write into a session's journal that there may be such a branch."""
        found = open_journal(self._path(session_id), session_id, writes=True)
        assert found is not None
        with found:
            assert found.head is not None
            assert found.last is not None
            # Not a write of the session's own: time and place in the order stay.
            note = Batch(found.seq, found.last.at, found.last.written, (), (), branch)
            found.append(note, found.head, durable=True)

    def _free_branches(self, session_id: str) -> None:
        """Give every branch of a session what it shares with it."""
        for branch in noted(self._path(session_id)):
            found = open_journal(self._path(branch), branch)
            if found is not None:
                with found:
                    theirs = found.head is not None and found.head.parent == session_id
                if theirs:
                    self._stand_alone(branch)

    def _stand_alone(self, branch: str) -> None:
        parts = self._parts(branch, 0, MOST)
        if not parts:
            raise damaged(branch, self._path(branch), "it has no facts")
        last = parts[-1].batch
        notes = [Batch(last.seq, last.at, last.written, (), (), each) for each in noted(self._path(branch))]
        self._rewrite(branch, parts, notes)

    def _rewrite(self, session_id: str, parts: Sequence[Part], notes: Sequence[Batch]) -> None:
        """Put all of a journal into its own file."""
        path = self._path(session_id)
        found = open_journal(path, session_id)
        assert found is not None
        with found:
            head = found.head
        assert head is not None
        media.gather(parts, self._packer, path)
        whole = Head(session_id, head.started)
        put(path, journal_lines(whole, [*(part.batch for part in parts), *notes]))

    def _mend(self, path: Path) -> bool:
        with suppress(DamagedJournal):
            found = open_journal(path, None, writes=True)
            if found is not None:
                with found:
                    if found.torn and found.head:
                        os.truncate(found.file.fileno(), found.end)
                    elif found.torn:
                        path.unlink()
                    return bool(found.torn)
        return False

    def _tidy(self) -> None:
        """Once: finish what others had begun when they died. Nobody else is in the middle of anything now."""
        if self._tidied:
            return
        for name, suffix, entry in list(files(self.folder)):
            if suffix == ".deleted":
                self._finish_deleting(self.folder / f"{name}.jsonl")
            elif suffix == ".sweep":
                with suppress(DamagedJournal):  # with another key, say; the next one does it
                    self._sweep(self.folder / f"{name}.jsonl")
            elif suffix.endswith(".new") and entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)
        self._tidied = True

    def _sweep(self, path: Path) -> None:
        """Remove the media that a journal names no more."""
        found = open_journal(path, None)
        if found is not None:
            with found:
                parts = [Part(path, each) for each in found.batches(0, MOST, counted=True)]
            media.remove(path, but=media.names(parts, self._packer))
        path.with_suffix(".sweep").unlink()

    def _finish_deleting(self, path: Path) -> None:
        dead = path.with_suffix(".deleted")
        if os.path.lexists(dead):
            media.remove(path)
            for suffix in (".hold", ".sweep"):
                path.with_suffix(suffix).unlink(missing_ok=True)
            dead.unlink()

    # --- Looking

    def _path(self, session_id: str) -> Path:
        return self.folder / f"{stem(session_id)}.jsonl"

    def _check_free(self, session_id: str) -> None:
        """Refuse the name of a session that is there."""
        found = open_journal(self._path(session_id), session_id)
        if found is not None:
            with found:
                if found.head is not None:
                    raise conflict(session_id, 0, found.seq)

    def _existing(self, session_id: str) -> Path:
        """The journal of a session that is there, in whatever state."""
        path = self._path(session_id)
        with suppress(DamagedJournal):
            found = open_journal(path, session_id)
            if found is None:
                raise unknown(session_id)
            with found:
                if found.head is None:
                    raise unknown(session_id)
        return path

    def _lineage(self, session_id: str, after: int = 0) -> Generator[Journal]:
        """The journals with a session's facts behind ``after``, its own first. Each is closed for the next."""
        wanted, seen = session_id, list[str]()
        while wanted not in seen:
            found = open_journal(self._path(wanted), wanted)
            if found is None:
                break
            with found:
                if found.head is None:
                    break
                yield found
                parent, shared = found.head.parent, found.shared
            if after >= shared:
                return
            seen.append(wanted)
            wanted = parent
        if seen:
            why = f"it shares facts with session {wanted!r:.80}, which is not there, or shares its own with this one"
            raise damaged(session_id, self._path(session_id), why)

    def _extent(self, session_id: str) -> tuple[int, int]:
        """The numbers of its first fact and of its last.

        Raises:
            SessionNotFound: there is no such session.
        """
        last = None
        with closing(self._lineage(session_id)) as lineage:
            for found in lineage:
                last = found.seq if last is None else last
                if not found.shared:
                    for batch in found.batches(0, MOST, counted=True):
                        return batch.before + 1, last
                    raise damaged(session_id, found.path, "it has no facts")
        raise unknown(session_id)

    def _parts(self, session_id: str, after: int, upto: int) -> list[Part]:
        """The facts with ``after < seq <= upto`` from all the journals they are in, oldest first."""
        newest_first: list[list[Part]] = []
        limit = upto
        with closing(self._lineage(session_id, after)) as lineage:
            for found in lineage:
                if newest_first and found.seq < limit:
                    raise damaged(session_id, found.path, f"it has {found.seq} facts; a branch shares {limit} of them")
                newest_first.append([Part(found.path, each) for each in found.batches(after, limit, counted=True)])
                limit = min(limit, found.shared)
        return [part for parts in reversed(newest_first) for part in parts]

    @collector.paused()
    def _entries(
        self, session_id: str, parts: Sequence[Part], contents: Mapping[str, bytes], after: int
    ) -> list[Entry]:
        entries: list[Entry] = []
        for path, batch in parts:
            for place, (version, body) in enumerate(zip(batch.versions, batch.bodies, strict=True)):
                seq = batch.before + 1 + place
                try:
                    fact = self._packer.open(version, body)
                    if version == WITH_BLOBS:
                        fact = self._packer.fill(fact, contents)
                    if not entries and not after and seq != (fact.upto if isinstance(fact, Compacted) else 1):
                        raise DamagedJournal("what is before it is missing")
                except DamagedJournal as error:
                    line = f"line {batch.line + place}, " if batch.line else ""
                    raise damaged(session_id, path, f"{line}entry {seq}: {error}") from error
                entries.append(Entry(seq, batch.at, fact))
        return entries
