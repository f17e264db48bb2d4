"""Who may hand over to whom, and what the tool for it is called."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

PREFIX = "handoff_to_"
LONGEST = 64  # the shortest limit any provider sets for a tool name


Returns: TypeAlias = Literal["stay", "caller", "start"]
"""Who has the conversation once the target of a handoff is done.

``stay``: the target keeps it, and the user's next message goes to it. ``caller``: it goes back to the agent that handed
over, with the answer in the transcript. ``start``: the target asks the user, whose answer goes to the start agent.
"""


@dataclass(frozen=True, slots=True)
class Edge:
    """A permission to hand over.

    ``description``: what the source's model is told the target is for. ``approval``: a person is asked before each
    transfer. ``payload``: the source hands something on. ``always``: no model chooses it; it is taken whenever the
    source is done. ``guarded``: it exists only while a predicate holds. ``joins``: the target waits for the sources of
    all such edges to it. ``default``: it is guarded, and open if no other of its switch is.
    """

    source: str
    target: str
    description: str = ""
    approval: bool = False
    returns: Returns = "stay"
    payload: bool = False
    always: bool = False
    guarded: bool = False
    joins: bool = False
    default: bool = False


@dataclass(frozen=True, slots=True)
class ToolPolicy:
    """What the machine knows of a tool: whether a person must approve a call, whether it may be run again unasked,
    whether it can say itself what became of a call.
    """

    approval: bool = False
    repeatable: bool = False
    reconcile: bool = False


def mesh(agents: Sequence[str]) -> tuple[Edge, ...]:
    """Everyone may hand over to everyone else."""
    return tuple(Edge(source, target) for source in agents for target in agents if source != target)


def tool_names(agents: Sequence[str]) -> Mapping[str, str]:
    """The handoff tool's name for each agent, acceptable to every provider and unique in the team.

    A name that is plain already is kept. Where letters had to go or were too many, a hash of the whole name is added.
    It depends on this one name alone, so that a tool means the same agent whoever else joins the team.
    """
    return {agent: PREFIX + (agent if _slug(agent) == agent else _hashed(agent, _slug(agent))) for agent in agents}


@lru_cache
def tool_name(written: str) -> str:
    """What a model called, as a name that a provider takes back when it is shown the call again."""
    plain = re.sub(r"[^a-zA-Z0-9_-]", "_", written) or "unnamed"
    return (plain if re.match("[a-zA-Z_]", plain) else f"_{plain}")[:LONGEST]


def _slug(name: str) -> str:
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", ascii_name).strip("_")[: LONGEST - len(PREFIX)]


def _hashed(name: str, slug: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    room = LONGEST - len(PREFIX) - len(digest) - 1
    return f"{slug[:room]}_{digest}" if slug else digest


LONGEST_KEY = 32
"""Letters of a turn's key; what providers take of a call's id leaves no more."""


def shortened(key: str, most: int = LONGEST_KEY) -> str:
    """The key of a turn, or a digest of it in its place where it has grown too long."""
    return key if len(key) <= most else f"t{hashlib.sha256(key.encode()).hexdigest()[:16]}"
