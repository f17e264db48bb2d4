"""The rule of the machine that the import contracts in pyproject.toml cannot say: the standard library, whole list."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "relayline"
PURE = [
    *(SOURCE / "machine").rglob("*.py"),
    *(SOURCE / f"{name}.py" for name in ("events", "messages", "errors")),
]
BELOW = ("relayline.machine", "relayline.events", "relayline.messages", "relayline.errors")


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module)):
                yield module
            case _:
                pass


def is_allowed(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names or module.startswith(BELOW)


@pytest.mark.parametrize("path", sorted(PURE), ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_machine_imports_the_standard_library_and_itself(path: Path):
    """A file of the machine, or of the vocabulary below it, needs nothing that has to be installed."""
    outsiders = [module for module in imports(ast.parse(path.read_text("utf-8"))) if not is_allowed(module)]
    assert outsiders == []


@pytest.mark.parametrize("path", sorted(PURE), ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_machine_is_synchronous(path: Path):
    """Nothing in the machine waits: there is no coroutine, and nothing to await."""
    waits = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    assert [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, waits)] == []
