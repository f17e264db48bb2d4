"""What every test gets: asyncio to run on, and a Hypothesis profile that suits where it runs."""

import os

import pytest
from hypothesis import settings

pytest_plugins = ["tests.postgres"]  # its server is started by the first test that asks for it

# No deadline per example: a busy machine is not a failure, and pytest-timeout catches a hang.
settings.register_profile("dev", max_examples=60, deadline=None)
# Derandomized: a change fails because of what it changes, not because of the day it runs on.
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")  # --hypothesis-profile=NAME wins


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The core is written on asyncio, so its tests run there and nowhere else."""
    return "asyncio"
