"""Reading many facts at once without the garbage collector."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def paused() -> Generator[None]:
    """No collection while a long journal is taken in.

    All that comes in stays, and the collector takes each of its runs that it sets off for a reason to look through all
    that the process has: for a conversation of 500 turns that was more than half of the time. Not for what awaits.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
