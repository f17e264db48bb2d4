"""The face of the package: what ``import relayline`` offers, and what it leaves alone."""

import json
import subprocess
import sys
from types import ModuleType

import pytest

import relayline

OPTIONAL = {
    "hypercorn",
    "mcp",
    "numpy",
    "prompt_toolkit",
    "psycopg",
    "pydantic_ai",
    "restate",
    "rich",
    "safetensors",
    "sqlite3",
    "temporalio",
    "threadpoolctl",
    "tokenizers",
    "typer",
    "xllamacpp",
    "yaml",
}


def is_submodule(name: str) -> bool:
    value = vars(relayline).get(name)
    return isinstance(value, ModuleType) and value.__name__ == f"relayline.{name}"


def test_nothing_leaks_into_the_public_names():
    """Whoever types ``relayline.`` is offered the names of ``__all__`` and no other, save the submodules."""
    offered = {name for name in dir(relayline) if not name.startswith("_") and not is_submodule(name)}
    assert offered == {name for name in relayline.__all__ if not name.startswith("_")}


def test_public_names_are_declared_once():
    """``__all__`` lists no name twice."""
    assert len(relayline.__all__) == len(set(relayline.__all__))


@pytest.mark.parametrize("name", relayline.__all__)
def test_every_public_name_is_there(name: str):
    """A name in ``__all__`` can be had, even if it is only loaded when asked for."""
    assert getattr(relayline, name) is not None


def test_importing_relayline_leaves_the_optional_parts_alone():
    """A program that needs only the core pays for nothing else: no extra, no database, no second framework."""
    script = "import json, sys, relayline; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in json.loads(result.stdout)}
    assert loaded & OPTIONAL == set()
