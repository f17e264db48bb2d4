"""``relayline doctor``: is everything here, and is everything kept in order?"""

import asyncio
import importlib.metadata
import platform
from collections.abc import Iterator, Sequence
from typing import Literal

from relayline.cli.finding import Finding
from relayline.cli.health import health, mended
from relayline.clients import weights
from relayline.journal.opening import Place

CORE = ("pydantic", "griffelib", "typing-extensions")
EXTRAS = {
    "cli": ("typer", "rich", "prompt-toolkit"),
    "embedded": weights.PACKAGES,
    "local-llm": ("xllamacpp",),
    "mcp": ("mcp",),
    "models": ("pydantic-ai-slim", "genai-prices"),
    "otel": ("opentelemetry-api",),
    "postgres": ("psycopg", "psycopg-binary"),
    "restate": ("restate-sdk", "hypercorn"),
    "temporal": ("temporalio",),
    "yaml": ("pyyaml",),
}


def version() -> str:
    """This relayline's version, as far as it is known."""
    return _version("relayline") or "(not installed, running from its source)"


def findings(place: Place, *, fix: bool = False) -> list[Finding]:
    """Everything worth knowing; what is wrong says what to do. ``fix``: mend first what can be without a loss."""
    done = asyncio.run(mended(place)) if fix else []
    return [*_packages(), _model(), *done, *asyncio.run(health(place))]


def _packages() -> Iterator[Finding]:
    yield Finding("ok", "python", f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("ok", "package", f"relayline {version()}")
    yield _group("core", CORE, "problem", "pip install --upgrade relayline")
    for extra, packages in EXTRAS.items():
        yield _group(f"extra {extra}", packages, "absent", f"pip install 'relayline[{extra}]'")


def _group(name: str, packages: Sequence[str], unless: Literal["absent", "problem"], remedy: str) -> Finding:
    versions = {package: _version(package) for package in packages}
    missing = [package for package, found in versions.items() if found is None]
    if missing:
        return Finding(unless, "package", f"{name}: without {', '.join(missing)}. To have it: {remedy}")
    return Finding("ok", "package", f"{name}: {', '.join(f'{package} {found}' for package, found in versions.items())}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _model() -> Finding:
    found = weights.status()
    if found.sha256_ok:
        return Finding("ok", "model", f"embedded model: {found.bytes / 1e6:.0f} MB in {found.path}")
    if found.installed:
        return Finding("problem", "model", f"embedded model in {found.path} is damaged. Type: relayline model fetch")
    wanted = all(_version(package) for package in weights.PACKAGES)
    what = f"embedded model: not in {found.path}. Type: relayline model fetch"
    return Finding("problem" if wanted else "absent", "model", what)
