"""What a team laid down for its conversations, once and for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relayline.machine.limits import Limits
from relayline.machine.patterns import Pattern
from relayline.machine.topology import ToolPolicy


@dataclass(frozen=True, slots=True)
class Rules:
    """Holds no session: everything that follows from it depends on its arguments alone.

    ``policies``: per agent, its own tools by name. ``condition``: whether there is a termination condition to ask.
    """

    name: str
    pattern: Pattern
    policies: Mapping[str, Mapping[str, ToolPolicy]] = field(default_factory=dict[str, Mapping[str, ToolPolicy]])
    fingerprint: str = ""
    condition: bool = False
    limits: Limits = field(default_factory=Limits)
