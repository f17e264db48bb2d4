"""What is submitted to a session, as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast, get_args

from pydantic import TypeAdapter, ValidationError

from relayline.errors import DamagedJournal, UsageError
from relayline.journal.codec import checked
from relayline.machine.inputs import Response, UserSaid
from relayline.messages import JSON

FORMAT = 1

RESPONSES: Mapping[str, type[Response]] = {each.__name__: each for each in get_args(Response)}


@dataclass(frozen=True, slots=True)
class Letter:
    """Words, or answers by the local ids of the requests; neither: the session is to be taken up again.

    ``team``: whom it is for. ``settings``: those of the run. ``expired``: the request whose time is over, if that is
    all it says.
    """

    team: str
    said: UserSaid | None = None
    responses: Mapping[str, Response] = field(default_factory=dict[str, Response])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    expired: str = ""

    def written(self) -> str:
        """As JSON text.

        Raises:
            UsageError: the settings are no JSON.
        """
        try:
            settings = checked(self.settings)
        except (TypeError, ValueError) as error:
            raise UsageError(f"settings that are submitted are JSON values: {error}") from None
        names = {kind: name for name, kind in RESPONSES.items()}
        responses = {
            request: {"kind": names[type(each)], **_adapter(type(each)).dump_python(each, mode="json")}
            for request, each in self.responses.items()
        }
        said = self.said and _adapter(UserSaid).dump_python(self.said, mode="json")
        parts = {"team": self.team, "said": said, "responses": responses, "settings": settings, "expired": self.expired}
        return json.dumps({"format": FORMAT, **{key: part for key, part in parts.items() if part}}, ensure_ascii=False)


def read_letter(text: str) -> Letter:
    """A letter as it was written.

    Raises:
        DamagedJournal: it is none, or one of a newer release.
    """
    try:
        given = cast("dict[str, Any]", json.loads(text))
        if given["format"] > FORMAT:
            raise DamagedJournal("a message was submitted by a newer relayline; a worker of that release can take it")
        said = given.get("said")
        answers = cast("Mapping[str, dict[str, JSON]]", given.get("responses", {}))
        return Letter(
            given["team"],
            said and _adapter(UserSaid).validate_json(json.dumps(said), strict=True),
            {request: _response(each) for request, each in answers.items()},
            given.get("settings", {}),
            given.get("expired", ""),
        )
    except (ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedJournal(f"not a message of this release: {text[:80]!r} ({error!s:.300})") from error


def _response(given: dict[str, JSON]) -> Response:
    kind = RESPONSES[str(given.pop("kind"))]
    return _adapter(kind).validate_json(json.dumps(given), strict=True)


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
