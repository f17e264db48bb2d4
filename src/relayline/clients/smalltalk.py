"""Messages that want no more than courtesy, and messages we cannot read at all. English only."""

import re
from typing import Literal

from relayline.clients.meaning import Alike
from relayline.clients.words import topical, words

Kind = Literal["hello", "thanks", "bye", "who", "yes", "no"]

ALIKE = 0.60
"""How alike a message and a courtesy must be, for one that is not among the words below."""

_WORDS: dict[Kind, frozenset[str]] = {
    "thanks": frozenset("thanks thank thx cheers".split()),
    "bye": frozenset("bye goodbye farewell ciao".split()),
    "hello": frozenset("hello hi hey greetings hiya howdy".split()),
    "no": frozenset("no nope nothing".split()),
    "yes": frozenset("yes yeah yep ok okay sure fine great good".split()),
}
_COURTESIES: frozenset[str] = frozenset[str]().union(*_WORDS.values()) | frozenset(
    "again anyway day evening everything helpful kind lot lots morning much nice".split()
)
_SENTENCES: dict[Kind, tuple[str, ...]] = {
    "hello": ("good morning", "good evening, how are you?", "nice to meet you", "hello there"),
    "thanks": (
        "thank you very much, that helped",
        "great, perfect",
        "you are awesome",
        "wonderful, that is all I needed",
    ),
    "bye": ("goodbye and have a nice day", "see you later", "that is all for today"),
    "who": (
        "who are you?",
        "what can you do?",
        "how can you help me?",
        "are you a robot or a human?",
        "I need some help",
    ),
}
_RANDOM = re.compile(
    r"asdf|sdfg|dfgh|fghj|hjkl|jkl|qwer|wert[zy]|uiop|yxcv|zxcv|xcvb|vbnm|[bcdfghjklmnpqrstvwxz]{6}|([a-z])\1\1"
)
_THANKED = re.compile(
    r"^\W*(?:ok(?:ay)?\W+|great\W+)?(?:many )?thank(?:s| you)\b(?!.*(?:\?|\b(?:but|and|can|could|now|please)\b))",
    re.IGNORECASE,
)
_DECLINED = re.compile(
    r"^\W*(no|nope|never ?mind|forget (it|that|about it)|cancel( (it|that))?|stop|leave it|not now|nothing|"
    r"i changed my mind)( thanks| thank you| please)?\W*$",
    re.IGNORECASE,
)


def kind_of(said: str, alike: Alike) -> Kind | None:
    """Which courtesy a message is, or None if there is more to it."""
    here = words(said[:400])
    if len(here) > 12 or any(map(str.isdigit, said[:400])):
        return None
    rest = [word for word in topical(said) if word not in _COURTESIES]
    if not rest and len(here) <= 8:
        for kind, known in _WORDS.items():
            if known & set(here):
                return kind
    if len(rest) > 3:
        return None
    if _THANKED.match(said[:400]):
        return "thanks"
    kinds: list[Kind] = [kind for kind, sentences in _SENTENCES.items() for _ in sentences]
    scores = alike(said, [sentence for sentences in _SENTENCES.values() for sentence in sentences])
    return kinds[scores.index(max(scores))] if max(scores) >= ALIKE else None


def declines(said: str) -> bool:
    """Whether it is a refusal to answer and nothing else."""
    return bool(_DECLINED.match(said[:80]))


def is_typed_at_random(said: str) -> bool:
    """Whether every word looks as if fingers had just fallen on the keys."""
    here = [word for word in words(said[:400]) if len(word) > 1]
    return bool(here) and all(_RANDOM.search(word) for word in here)


def is_other_script(said: str) -> bool:
    """Whether most letters are of another script than the model has learned."""
    letters = [letter for letter in said[:2000] if letter.isalpha()]
    return bool(letters) and sum(letter < "\u0250" for letter in letters) < len(letters) / 2
