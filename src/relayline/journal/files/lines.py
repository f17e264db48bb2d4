"""A journal as lines of a file: a head, then batches of facts, each closed by a seal.

::

    {"format":1,"session":"ann","started":"2026-11-29T10:00:00.000000Z","crc32":"5ad20c11"}
    {"type":"session_started","workflow":"shop","fingerprint":"6dd6d98aaa98"}
    {"type":"user_spoke","message":{"role":"user","parts":[{"kind":"text","text":"Hi."}]}}
    {"seq":2,"facts":2,"at":"2026-11-29T10:00:00.000000Z","written":1764410400000000,"bytes":156,"crc32":"0b1f7a3c"}

A batch is there once its seal is, with its line end: what a dying process leaves behind the last seal never happened.
Checksums go on from line to line, so that a line that was changed, lost, doubled or moved is noticed. An encrypted fact
is a JSON string. A seal without facts notes a branch. Nothing here opens a file or knows what a fact is.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, NamedTuple, cast
from zlib import crc32

from relayline.journal.codec import VERSION
from relayline.messages import JSON

FORMAT = 1
"""Of the lines around the facts; a fact's own version is kept in its seal, where it is not 1."""

WINDOW = 512
"""Bytes in which a seal is looked for first; hardly any is longer than half of that."""

SEAL = b'{"seq":'
FACT = (b'{"type":', b'"')
HEAD = b'{"format":'
"""How lines begin."""

_CHECKSUM = re.compile(rb',"crc32":"([0-9a-f]{8})"}\n')
_LONG = 21  # bytes of that


class Damage(ValueError):
    """A line is not what was written. ``line``: counted from 1, or 0 where it was not counted."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}" if line else why)


class Head(NamedTuple):
    """The first line. ``shared``: how many facts of ``parent`` come before those of this file."""

    session: str
    started: datetime
    parent: str = ""
    shared: int = 0
    crc: int = 0


class Seal(NamedTuple):
    """The line behind a batch. ``seq``: of its last fact. ``facts``: how many. ``size``: of their lines, in bytes.

    ``written``: counts the writes to the store, whatever the clock says. ``branch``: a session that may share what is
    up to here; such a seal closes no facts.
    """

    seq: int
    facts: int
    at: datetime
    written: int
    size: int
    versions: tuple[int, ...]
    branch: str = ""
    crc: int = 0

    @property
    def before(self) -> int:
        """The number of the last fact before the batch."""
        return self.seq - self.facts


@dataclass(frozen=True, slots=True)
class Batch:
    """Facts that were written together, or the note that there is a ``branch``.

    ``line``: that of the first fact, or 0 where it was not counted.
    """

    seq: int
    at: datetime
    written: int
    versions: tuple[int, ...]
    bodies: tuple[str, ...]
    branch: str = ""
    line: int = 0

    @property
    def before(self) -> int:
        """The number of the last fact before the batch."""
        return self.seq - len(self.bodies)

    def part(self, after: int, upto: int) -> "Batch | None":
        """The facts of it with ``after < seq <= upto``."""
        first, last = max(after - self.before, 0), min(upto, self.seq) - self.before
        if first >= last:
            return None
        if last - first == len(self.bodies):
            return self
        bodies, versions, line = self.bodies[first:last], self.versions[first:last], self.line and self.line + first
        return Batch(self.before + last, self.at, self.written, versions, bodies, line=line)


class Place(NamedTuple):
    """Where a batch begins. ``seq``: of the last fact before it, None before the first. ``crc``: up to there."""

    offset: int
    line: int
    seq: int | None
    crc: int


# --- Writing


def head_line(head: Head) -> tuple[bytes, int]:
    """The first line of a journal, and its checksum."""
    shown: dict[str, JSON] = {"format": FORMAT, "session": head.session, "started": _iso(head.started)}
    if head.parent:
        shown |= {"parent": head.parent, "shared": head.shared}
    return _sealed(b"", _json(shown), 0)


def batch_lines(batch: Batch, crc: int) -> tuple[bytes, int]:
    """The lines of a batch that follows what has the checksum ``crc``, and the checksum with it."""
    facts = b"".join(map(_line, batch.bodies))
    seal: dict[str, JSON] = {
        "seq": batch.seq,
        "facts": len(batch.bodies),
        "at": _iso(batch.at),
        "written": batch.written,
        "bytes": len(facts),
    }
    if any(version != VERSION for version in batch.versions):
        seal["versions"] = batch.versions
    if batch.branch:
        seal["branch"] = batch.branch
    return _sealed(facts, _json(seal), crc)


def journal_lines(head: Head, batches: Iterable[Batch]) -> Iterator[bytes]:
    """A whole journal, piece by piece."""
    lines, crc = head_line(head)
    yield lines
    for batch in batches:
        lines, crc = batch_lines(batch, crc)
        yield lines


def _line(body: str) -> bytes:
    return (body if body.startswith("{") else json.dumps(body)).encode() + b"\n"


def _sealed(facts: bytes, seal: bytes, before: int) -> tuple[bytes, int]:
    crc = crc32(seal[:-1], crc32(facts, before))
    return b'%b%b,"crc32":"%08x"}\n' % (facts, seal[:-1], crc), crc


def _json(shown: dict[str, JSON]) -> bytes:
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode()


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


# --- Reading


def read_head(line: bytes) -> Head:
    """What the first line says.

    Raises:
        Damage: if it is no head of this release or an older one.
    """
    shown, crc = _read(line, (b"", 0), 1)
    number = shown.get("format")
    if type(number) is int and number > FORMAT:
        raise Damage(1, f"written by a newer relayline (format {number}, this one reads up to {FORMAT}); upgrade")
    session, parent, shared = shown.get("session"), shown.get("parent", ""), shown.get("shared", 0)
    if not isinstance(session, str) or not isinstance(parent, str) or not _counts(number, shared):
        raise Damage(1, "not the head of a journal")
    return Head(session, _time(shown.get("started"), 1), parent, cast("int", shared), crc)


def read_seal(line: bytes, number: int = 0, facts_before: tuple[bytes, int] | None = None) -> Seal:
    """What the line behind a batch says.

    ``facts_before``: the lines of the batch and the checksum up to them; if there is None, that is not looked at.

    Raises:
        Damage: if it is no seal, or not of these lines.
    """
    if not line.startswith(SEAL):
        raise Damage(number, "no seal")
    shown, crc = _read(line, facts_before, number)
    seq, facts, written, size = (shown.get(name) for name in ("seq", "facts", "written", "bytes"))
    versions: object = shown.get("versions")
    branch = shown.get("branch", "")
    if not _counts(seq, facts, written, size):
        raise Damage(number, "a seal without its numbers")
    seq, facts, written, size = cast("tuple[int, int, int, int]", (seq, facts, written, size))
    if versions is None and facts <= size:
        versions = [VERSION] * facts
    whole = isinstance(versions, list) and len(cast("list[object]", versions)) == facts
    if not whole or seq < max(facts, 1) or not isinstance(branch, str) or bool(branch) == bool(facts):
        raise Damage(number, "a seal that contradicts itself")
    at = _time(shown.get("at"), number)
    return Seal(seq, facts, at, written, size, tuple(cast("list[int]", versions)), branch, crc)


def following(file: BinaryIO, place: Place, end: int | None = None) -> Iterator[tuple[Batch, Place]]:
    """The batches from ``place`` to ``end``, each with the place behind it; by default to the last that is whole.

    Raises:
        Damage: at what is no batch, unless it may be what a dying process left of one.
    """
    file.seek(place.offset)
    lines: list[bytes] = []
    for line in file:
        lines.append(line)
        if line.startswith(SEAL) and line.endswith(b"\n"):
            yield (found := _batch(lines, place))
            place = found[1]
            lines = []
            if end is not None and place.offset >= end:
                return
    if lines and not _torn(lines):
        raise Damage(place.line and place.line + len(lines) - 1, "neither a fact nor the seal behind one")


def head_torn(line: bytes) -> bool:
    """Whether a file that ends in its first line may be a journal whose first write was cut off."""
    return not line.strip(b"\0") or line.startswith(HEAD) or HEAD.startswith(line)


def _torn(lines: Sequence[bytes]) -> bool:
    """Whether these last lines may be the beginning of a batch. Everything else is damage, and is not thrown away."""
    *whole, last = lines
    if last.endswith(b"\n"):
        whole, last = lines, b""
    sealed = last.startswith(SEAL) and b'"}' in last[:-1]
    return not sealed and all(map(_may_be_fact, whole))


def _may_be_fact(line: bytes) -> bool:
    try:
        json.loads(line.decode())
    except (ValueError, RecursionError):
        return False
    return line.startswith(FACT)


def _batch(lines: list[bytes], place: Place) -> tuple[Batch, Place]:
    number = place.line + len(lines) - 1 if place.line else 0
    facts = b"".join(lines[:-1])
    seal = read_seal(lines[-1], number, (facts, place.crc))
    if (seal.facts, seal.size) != (len(lines) - 1, len(facts)) or (place.seq is not None and place.seq != seal.before):
        raise Damage(number, "the seal of another batch")
    bodies = tuple(_body(line, place.line and place.line + each) for each, line in enumerate(lines[:-1]))
    batch = Batch(seal.seq, seal.at, seal.written, seal.versions, bodies, seal.branch, place.line)
    offset = place.offset + len(facts) + len(lines[-1])
    return batch, Place(offset, place.line and place.line + len(lines), seal.seq, seal.crc)


def _body(line: bytes, number: int) -> str:
    try:
        text = line[:-1].decode()
        if text.startswith('"'):
            token: object = json.loads(text)
            return str(token)
    except ValueError as error:
        raise Damage(number, f"no text ({error})") from error
    return text


def last_seal(file: BinaryIO, end: int, begin: int) -> tuple[Seal, int] | None:
    """The seal that ends at ``end``, and where the batch begins that it closes. None: no seal ends there.

    ``begin``: where the head ends, before which no batch begins.
    """
    room = WINDOW
    while True:
        start = max(end - room, begin)
        file.seek(start)
        tail = file.read(end - start)
        line_start = tail.rfind(b"\n", 0, -1) + 1
        if line_start or start == begin:
            break
        room *= 8
    try:
        seal = read_seal(tail[line_start:])
    except Damage:
        return None
    first = start + line_start - seal.size
    return (seal, first) if first >= begin else None


def place_of(file: BinaryIO, after: int, end: int, begin: Place) -> Place:
    """The place of the batch that has the fact ``after + 1``, or where there is nothing: found from the end backwards.

    ``begin``: the place of the first one.

    Raises:
        Damage: if there is something between that is no batch.
    """
    while end > begin.offset:
        found = last_seal(file, end, begin.offset)
        if found is None:
            raise Damage(0, "no seal where one should be")
        seal, first = found
        if seal.seq <= after:
            return Place(end, 0, seal.seq, seal.crc)
        end = first
    return begin._replace(line=0)


def _read(line: bytes, facts_before: tuple[bytes, int] | None, number: int) -> tuple[dict[str, object], int]:
    """The object of a line that ends with a checksum, and the checksum."""
    found = _CHECKSUM.fullmatch(line, max(len(line) - _LONG, 0))
    if found is None:
        raise Damage(number, "no checksum at its end")
    crc = int(found[1], 16)
    if facts_before is not None and crc32(line[:-_LONG], crc32(*facts_before)) != crc:
        raise Damage(number, "the checksum does not match: something up to here was changed")
    try:
        shown: object = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise Damage(number, f"no JSON ({error!s:.100})") from error
    if not isinstance(shown, dict):
        raise Damage(number, "no JSON object")
    return cast("dict[str, object]", shown), crc


def _counts(*values: object) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def _time(value: object, number: int) -> datetime:
    try:
        if isinstance(value, str) and value.endswith("Z"):
            return datetime.fromisoformat(value)
    except ValueError:
        pass
    raise Damage(number, f"{value!r:.60} is not a time in UTC")
