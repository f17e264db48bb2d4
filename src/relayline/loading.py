"""Teams from files, without loading what reads them before it is needed."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from relayline.workflow import Workflow


def load(path: str | Path, allow: Sequence[str] | Mapping[str, object] = ()) -> Workflow:
    """The team that a YAML file describes (the extra ``yaml``).

    ``allow``: what the file may name of code: modules (``"shop.tools"``: what that module lists in ``__all__``, else
    what is public and its own), single names (``"shop.tools:refund"``), or a mapping of names to objects. Nothing else
    is imported, and nothing of the file is executed. Importing a module that is allowed executes it, as always.

    Raises:
        BuildError: with everything that is wrong, each with its code and line.
        MissingExtra: pyyaml is not installed.
    """
    # By name: the core does without YAML.
    return cast("Workflow", importlib.import_module("relayline.teamfile.read").load(path, allow))
