"""What a drawing is made from, whatever the team: nodes and the lines between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["agent", "person", "step", "team", "hub", "gone"]
"""``step``: what is no agent and does its work without a model, a function. ``team``: a whole team, as one. ``hub``:
not somebody, but where lines of all meet. ``gone``: a session knows it, and the team does not any more."""

Way: TypeAlias = Literal["chosen", "always", "tested", "joined", "back", "jump"]
"""Who has a line taken: ``chosen`` by the source, ``always`` when the source is done, ``tested`` by code when it is,
``joined`` when all are done that have such a line to the target, ``back`` when the target has answered. ``jump``:
nobody declared it, and it was taken all the same."""

MARKS: Mapping[Kind, str] = {
    "person": "a person",
    "step": "a function",
    "team": "a team",
    "gone": "no longer in the team",
}
"""What is said of a node of a kind that is no agent."""


@dataclass(frozen=True, slots=True)
class Node:
    """Somebody who can have the conversation. ``name``: unique in the diagram; empty for a hub.

    ``start``, ``end``: whether a conversation begins or ends here. ``notes``: what is to be known of it. ``here``: what
    it is at, if the conversation is with it now.
    """

    name: str
    kind: Kind = "agent"
    about: str = ""
    start: bool = False
    end: bool = False
    notes: tuple[str, ...] = ()
    here: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A way from ``source`` to ``target``, who may be the same; from both to the other, if ``both``.

    ``label``: what it is for. ``terms``: what there is to it. ``guarded``: it is not always open. ``steps``: which
    steps of a conversation went along it, counted from 1.
    """

    source: str
    target: str
    way: Way = "chosen"
    label: str = ""
    terms: tuple[str, ...] = ()
    guarded: bool = False
    both: bool = False
    steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagram:
    """A team as it is drawn. ``notes``: what holds for the whole. ``path``: who had the conversation, one after the
    other, if a conversation is shown.
    """

    title: str
    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    path: tuple[str, ...] = field(default=())
