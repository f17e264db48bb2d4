"""Leaving while a tool is still at work in a thread, where nothing can stop it."""

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

GRACE = 0.3  # seconds in which a thread that is not really busy is gone


def leave(executor: ThreadPoolExecutor, status: int) -> None:
    """Wait for the threads of tools, and say so; Ctrl-C ends the program with ``status`` without waiting any longer.

    Python waits for them at its end anyway, but silently, and answers Ctrl-C with a traceback.
    """
    executor.shutdown(wait=False)
    busy = [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]
    for each in busy:
        each.join(GRACE)
    if not any(each.is_alive() for each in busy):
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        print("A tool is still running. Waiting for it; Ctrl-C leaves it behind.", file=sys.stderr, flush=True)
        for each in busy:
            each.join()
    except KeyboardInterrupt:
        sys.stdout.flush()
        os._exit(status)
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)
