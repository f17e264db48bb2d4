"""Random teams look like mistakes, and nobody needs to read that."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    logger = logging.getLogger("relayline")
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)
