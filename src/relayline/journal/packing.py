"""A fact as a store keeps it: one line of text, and beside it what is too large for a line.

Images and files are kept by the hash of what is stored, so that whoever reads them knows that they are whole. With a
cipher nobody can read either without its key.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol, TypeAlias, get_args

from relayline.errors import DamagedJournal, StoreError, UsageError
from relayline.events import Fact, Replied, UserSpoke
from relayline.journal.codec import VERSION, decode, encode
from relayline.messages import Media, Message, Part

LARGE = 4096
"""Characters of base64 from which on a medium is kept beside the journal, as the bytes it stands for."""

BESIDE = "sha256:"
"""What stands in the line for what is beside it; no base64 looks like this."""

_NAME = re.compile(r"[0-9a-f]{64}")

WITH_BLOBS = 2
"""The format of a line that refers to something beside it. Releases that know only the first refuse to guess."""


Durability: TypeAlias = Literal["normal", "full"]
"""``normal``: what was acknowledged survives the death of the process. ``full``: and that of the machine."""


def durable(durability: str) -> bool:
    """Whether every batch has to be on the disk before it is acknowledged.

    Raises:
        UsageError: if it is no durability.
    """
    if durability not in get_args(Durability):
        raise UsageError(f"durability is 'normal' or 'full', not {durability!r}")
    return durability == "full"


class Cipher(Protocol):
    """What encrypts and decrypts, as `cryptography.fernet.Fernet` and ``MultiFernet`` do; the tokens are ASCII."""

    def encrypt(self, data: bytes, /) -> bytes: ...
    def decrypt(self, token: bytes, /) -> bytes: ...


class Packed(NamedTuple):
    """``body``: one line without line breaks. ``blobs``: what is kept beside it, by name."""

    version: int
    body: str
    blobs: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Packer:
    """How one store writes facts."""

    cipher: Cipher | None = None

    def pack(self, fact: Fact) -> Packed:
        """The fact as it is kept.

        Raises:
            StoreError: if it holds something that would not be read back.
        """
        blobs: dict[str, bytes] = {}
        if _media(fact):
            fact = _with_media(fact, lambda media: self._aside(media, blobs))
        return Packed(WITH_BLOBS if blobs else VERSION, self.seal(encode(fact)), blobs)

    def seal(self, text: str) -> str:
        """JSON text of an object as it is kept outside of a journal.

        Raises:
            StoreError: if the cipher could not encrypt it.
        """
        return text if self.cipher is None else self._encrypted(text.encode()).decode("ascii")

    def unseal(self, text: str) -> str:
        """What was sealed.

        Raises:
            DamagedJournal: if it cannot be decrypted.
        """
        return text if text.startswith("{") else self._decrypted(text.encode(), "it").decode(errors="replace")

    def open(self, version: int, body: str) -> Fact:
        """The fact of a line; what is beside it is still only named.

        Raises:
            DamagedJournal: if it is no fact of this release or an older one, or cannot be decrypted.
        """
        # A fact is a JSON object; what a cipher makes is not.
        text = body if body.startswith("{") else self.unseal(body)
        return decode(text, VERSION if version == WITH_BLOBS else version)

    def fill(self, fact: Fact, blobs: Mapping[str, bytes]) -> Fact:
        """The fact with all that is beside it put in its place.

        Raises:
            DamagedJournal: if something is missing, or is not what was stored.
        """
        return _with_media(fact, lambda media: self._back(media, blobs))

    def _aside(self, media: Media, blobs: dict[str, bytes]) -> Media:
        if media.data.startswith(BESIDE):
            raise StoreError(
                f"a medium's data cannot begin with {BESIDE!r}; it is base64, as Media.from_bytes gives it"
            )
        if len(media.data) < LARGE:
            return media
        try:
            content = base64.b64decode(media.data, validate=True)
        except ValueError:
            return media
        if base64.b64encode(content).decode() != media.data:
            return media  # it would not come back as it was
        stored = content if self.cipher is None else self._encrypted(content)
        name = hashlib.sha256(stored).hexdigest()
        blobs[name] = stored
        return replace(media, data=BESIDE + name)

    def _back(self, media: Media, blobs: Mapping[str, bytes]) -> Media:
        if not media.data.startswith(BESIDE):
            return media
        name = media.data.removeprefix(BESIDE)
        stored = blobs.get(name)
        if stored is None:
            raise DamagedJournal(f"the content {name:.12}... of {media.note} is missing")
        if hashlib.sha256(stored).hexdigest() != name:
            raise DamagedJournal(f"the content {name:.12}... of {media.note} is damaged")
        content = stored if self.cipher is None else self._decrypted(stored, media.note)
        return replace(media, data=base64.b64encode(content).decode())

    def _encrypted(self, content: bytes) -> bytes:
        assert self.cipher is not None
        try:
            token = self.cipher.encrypt(content)
            if not token or not token.isascii() or token.startswith(b"{") or b"\n" in token:
                raise ValueError("its tokens have to be one line of ASCII, as those of Fernet are")
        except Exception as error:
            raise StoreError(f"the cipher could not encrypt: {type(error).__name__}: {error}") from error
        return token

    def _decrypted(self, token: bytes, what: str) -> bytes:
        if self.cipher is None:
            raise DamagedJournal(f"{what} is encrypted, or no fact at all; open the store with the cipher it had")
        try:
            return self.cipher.decrypt(token)
        except Exception as error:
            raise DamagedJournal(f"{what} cannot be decrypted with this key: {type(error).__name__} {error}") from error


def beside(fact: Fact) -> list[str]:
    """The names of what a fact that was opened has beside it. What is no name, and might lead anywhere, is left out."""
    named = (media.data.removeprefix(BESIDE) for media in _media(fact) if media.data.startswith(BESIDE))
    return [name for name in named if _NAME.fullmatch(name)]


_SPOKEN = (UserSpoke, Replied)


def _media(fact: Fact) -> tuple[Media, ...]:
    return fact.message.media if isinstance(fact, _SPOKEN) else ()


def _with_media(fact: Fact, change: Callable[[Media], Media]) -> Fact:
    assert isinstance(fact, _SPOKEN)
    message: Message = fact.message
    parts: list[Part] = [change(part) if isinstance(part, Media) else part for part in message.parts]
    return replace(fact, message=replace(message, parts=tuple(parts)))
