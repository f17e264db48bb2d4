"""The JSON Schema of a team's file, as it is published: ``team.schema.json`` beside this module.

It is made of the models in `relayline.teamfile.form` by ``python -m relayline.teamfile.schema``.
"""

import json
from pathlib import Path

from relayline.teamfile.form import schema

PUBLISHED = Path(__file__).with_name("team.schema.json")


def text() -> str:
    """The published schema."""
    return PUBLISHED.read_text("utf-8")


def made() -> str:
    """The schema of the models as they are now."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PUBLISHED.write_text(made(), "utf-8")
