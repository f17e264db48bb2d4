"""How alike texts are in meaning."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from relayline.clients.words import spaced, stems

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Alike: TypeAlias = Callable[[str, Sequence[str]], list[float]]
"""The likeness of one text to each of several: about 0 for nothing in common, 1 for the same."""

LONGEST = 1200
"""Characters of a text that are read for its meaning; the model stops at some 250 words anyway."""


SHARED = 0.04
"""What a word counts that stands in both texts, up to three: the model alone makes little of a single rare word."""


class Encodes(Protocol):
    """What is needed of an encoder: rows of length one. `relayline.clients.encoder.Encoder` is one, and remembers the
    vectors of the last 1024 texts, so that what agents say of themselves is worked out once.
    """

    def encode(self, texts: Sequence[str]) -> "NDArray[np.float32]": ...


def likeness(encoder: Encodes) -> Alike:
    """Likeness as an encoder sees it."""

    def alike(text: str, others: Sequence[str]) -> list[float]:
        if not others or not text.strip():
            return [0.0] * len(others)
        row, *rows = encoder.encode([each[:LONGEST] for each in (text, *others)])
        return [float(other @ row) for other in rows]

    return alike


def by_word_only(_: str, others: Sequence[str]) -> list[float]:
    """Nothing is like anything: for where only what was literally said counts."""
    return [0.0] * len(others)


def fit(said: str, name: str, description: str, alike: Alike) -> float:
    """How well a description fits what was said: as a whole, and by the phrase of it that fits best.

    One line often lists ten things ("laptops, screens, printers"); a message is about one of them.
    """
    called = spaced(name)
    whole = f"{called}: {description}" if description else called
    phrases = [part.strip() for part in re.split(r"[,;:.]|\band\b|\bor\b", description) if len(part.strip()) > 2]
    first, *rest = alike(said, [whole, called, *phrases[:40]])
    shared = len(stems(said) & stems(f"{called} {description}"))
    return (first + max(rest)) / 2 + SHARED * min(shared, 3)
