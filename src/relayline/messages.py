"""Messages and their parts: provider-neutral, frozen, and made of JSON-able values only.

A message is what somebody said. The transcript is a sequence of them; a provider's own shapes never get in here.
"""

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self, TypeAlias, cast

if TYPE_CHECKING:
    JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None
else:
    JSON = object  # the codec reads annotations at run time and cannot follow a recursive one

Role: TypeAlias = Literal["user", "assistant", "tool"]

Outcome: TypeAlias = Literal["done", "error", "refused", "withdrawn", "transferred", "not_taken", "unknown"]
"""What became of a tool call.

``done``: it ran and returned. ``error``: it ran and raised, or could not be run as asked. ``refused``: a person said
no. ``withdrawn``: it never ran, because the user went on while it waited for a person. ``transferred``: a handoff that
happened. ``not_taken``: a handoff that did not. ``unknown``: it was started, and nobody can say whether it took effect.
"""


@dataclass(frozen=True, slots=True)
class Text:
    """Words."""

    text: str
    kind: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class Media:
    """An image, a file or a recording that a user sends along: either ``data``, in base64, or a ``url``.

    ``media_type`` is a MIME type, ``image/png``; ``name`` is what people call it. Data is kept in the journal as it is,
    and so is a url, but not what is behind it.
    """

    media_type: str
    data: str = field(default="", repr=False)
    url: str = ""
    name: str = ""
    kind: Literal["media"] = "media"

    @classmethod
    def from_bytes(cls, data: bytes, media_type: str, name: str = "") -> Self:
        """What a file holds: ``Media.from_bytes(path.read_bytes(), "image/png", path.name)``."""
        return cls(media_type, base64.b64encode(data).decode(), name=name)

    @property
    def sort(self) -> str:
        """``image``, ``audio``, ``video`` or ``file``."""
        sort = self.media_type.partition("/")[0]
        return sort if sort in ("image", "audio", "video") else "file"

    @property
    def note(self) -> str:
        """What stands in its place where only words can: ``[image: bike.png]``."""
        about = self.name or self.url
        return f"[{self.sort}: {about}]" if about else f"[{self.sort}]"

    def problem(self) -> str | None:
        """Why no model could be shown it, or None."""
        if not all(self.media_type.partition("/")) or not self.media_type.isascii():
            return f"a media type is one like 'image/png'; got {self.media_type!r:.80}"
        if bool(self.data) == bool(self.url):
            return "media has either data or a url"
        if self.url and "://" not in self.url:
            return f"a url has a scheme, 'https://...'; got {self.url!r:.80}. Data is given as data="
        try:
            base64.b64decode(self.data, validate=True)
        except (binascii.Error, ValueError) as error:
            return f"the data is not base64 ({error}); Media.from_bytes(...) takes bytes"
        return None


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(f"{number} is not a number that JSON can hold")
    return value


_ARGUMENTS = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model asks for a tool, or for a handoff.

    ``arguments`` is the JSON text as the model wrote it: kept byte for byte, because a model is shown its own calls
    again and because what it wrote may not be JSON at all. In a journal ``id`` is ours, derived from the position in
    the conversation; a provider's own id only serves to notice that a response holds the same call twice.
    """

    id: str
    name: str
    arguments: str = "{}"
    kind: Literal["tool_call"] = "tool_call"

    def parse_arguments(self) -> Mapping[str, JSON]:
        """The arguments as a mapping.

        Raises:
            ValueError: if the model wrote something other than a JSON object.
        """
        try:
            parsed: object = _ARGUMENTS.decode(self.arguments or "{}")
        except RecursionError:
            raise ValueError(f"arguments of {self.name!r} are nested too deep") from None
        if not isinstance(parsed, dict):
            raise ValueError(f"arguments of {self.name!r} are {self.arguments!r}; a JSON object was expected")
        return cast("dict[str, JSON]", parsed)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of one call, told honestly: ``content`` is for the model, ``outcome`` for everybody else."""

    call_id: str
    name: str
    content: str
    outcome: Outcome = "done"
    kind: Literal["tool_result"] = "tool_result"


Part: TypeAlias = Text | ToolCall | ToolResult | Media


def _nothing() -> dict[str, JSON]:
    return {}  # `dict[str, JSON]()` takes eight times as long, and there are more messages than anything else


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation.

    ``author_name`` is the agent that spoke, or the name the user goes by. ``metadata`` is for people and programs
    (a score, a source); it is kept in the journal and never sent to a model. ``native`` is a client's own: what it
    needs to show the same provider its reply again as it was (a signature, a sealed thought). Nobody else reads it.
    """

    role: Role
    parts: tuple[Part, ...] = ()
    author_name: str = ""
    metadata: Mapping[str, JSON] = field(default_factory=_nothing)
    native: Mapping[str, JSON] = field(default_factory=_nothing, repr=False)

    def __post_init__(self) -> None:
        # What a caller goes on appending to must not change what was said.
        if type(self.parts) is not tuple:
            object.__setattr__(self, "parts", tuple(self.parts))

    @property
    def text(self) -> str:
        """The words of the message, its text parts joined as they stand."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def media(self) -> tuple[Media, ...]:
        return tuple(part for part in self.parts if isinstance(part, Media))

    @property
    def in_words(self) -> str:
        """The text, with a note in place of each media: ``What is this?``, then ``[image: bike.png]`` on a line."""
        lines = [""]
        for part in self.parts:
            if isinstance(part, Media):
                lines += [part.note, ""]
            elif isinstance(part, Text):
                lines[-1] += part.text
        return "\n".join(filter(None, lines))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def tool_results(self) -> tuple[ToolResult, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolResult))


def valid(text: str) -> str:
    """The text with a question mark for every half character, which no journal and no provider can encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        # By way of UTF-16, where two halves that were sent in two pieces are one character again.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\ufffd", "?")
    return text


def user(text: str, author_name: str = "") -> Message:
    """A user's message of plain text."""
    return Message("user", (Text(text),), author_name)
