"""English words, as far as choosing and quoting needs them: which carry a topic, which are the same word."""

import re
from collections.abc import Iterable

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_ADDRESS = re.compile(r"\S{1,64}@\S+|\b\w{1,16}://\S+")  # bounded in front: a megabyte without a space is read once
_CODE = re.compile(r"\b[^\W\d_]{1,4}-\d{2,}\w*")  # A-1042, ORD-77: its letters are no words
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

FUNCTION_WORDS = frozenset(
    """a about again ah all also am an and another any anyone anything are as at be because been but by can can't
    cannot could did do does doesn't doing don't done else er for from get go going got had has have he hello help
    her here hey hi him his how i i'd i'll i'm i've if in into is isn't it it's its just know let let's like look
    made make many may maybe me mine more much my need no nope not now of off ok okay on once one ones only or other
    our out over please she should so some something still such sure take tell than thank thanks that that's the
    their them then there these they thing things this those to too two um up us very want was we well were what
    what's when where where's which who whose why will with would yeah yep yes yet you your yours""".split()
)
"""Words that say nothing about a topic by themselves."""


LONGEST = 4000
"""Characters of one text that are read; of a longer one the beginning and the end."""


def ends(text: str) -> str:
    """A text of bounded length: itself, or its beginning and its end."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}\n{text[-LONGEST // 2 :]}"


def spaced(name: str) -> str:
    """A programmer's name as words: ``lookup_order`` and ``lookupOrder`` are ``lookup order``."""
    return " ".join(re.split(r"[\s_\-.]+", _CAMEL.sub(" ", name))).strip().lower()


def stem(word: str) -> str:
    """A word without the ending that English bends it by; crude, and the same for all forms is all that is asked."""
    for ending in ("ing", "ies", "ed", "es", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def words(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return _WORD.findall(text.lower())


def stems(text: str | Iterable[str]) -> set[str]:
    """The stems of the words that carry a topic."""
    each = words(text) if isinstance(text, str) else text
    return {stem(word) for word in each if word not in FUNCTION_WORDS}


def says_nothing(text: str) -> bool:
    """Whether a text is only addresses, numbers and marks."""
    return all(any(map(str.isdigit, word)) for word in words(_ADDRESS.sub(" ", text)))


def topical(text: str) -> list[str]:
    """The words of a text that carry a topic: no function words, addresses, codes or numbers."""
    return [
        word
        for word in words(_CODE.sub(" ", _ADDRESS.sub(" ", text)))
        if word not in FUNCTION_WORDS and not any(map(str.isdigit, word))
    ]


def sentences(text: str) -> list[str]:
    """A text cut after each sentence or line; nothing is lost but the space between."""
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+(?=[A-Z0-9\"'(])|\n+", text) if part.strip()]


def clauses(text: str) -> list[str]:
    """A message cut where another request may begin: "where is A-1 and I want to return A-2" is two."""
    begins = (
        r"(?:i|i'd|i'll|we|can|could|please|where|what|when|how|do|does|is|my|track|cancel|send|return|refund|book)"
    )
    cut = rf"(?<=[.!?;])\s+|\n+|,?\s+(?:and|then|plus)\s+(?:also\s+|then\s+)?(?={begins}\b)"
    return [part.strip() for part in re.split(cut, text, flags=re.IGNORECASE) if part.strip()]


def clip(text: str, longest: int) -> str:
    """The beginning of a text in one line."""
    line = " ".join(text[: longest * 2].split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
