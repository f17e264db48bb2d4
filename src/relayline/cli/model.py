"""``relayline model``: the embedded model, here or not."""

import sys
import time
from pathlib import Path

from relayline.clients import weights
from relayline.messages import JSON


def describe() -> str:
    """What it is, where it is, how big, and whose."""
    found = weights.status()
    lines = [
        f"model    {weights.MODEL} (22 million parameters)",
        "does     chooses: finds the answer, the tool or the colleague closest in meaning; it does not write",
        "licence  Apache-2.0, by the sentence-transformers project",
        f"folder   {found.path}",
    ]
    if not found.installed:
        return "\n".join([*lines, "state    not here yet: relayline model fetch (84 MB to download, once)"])
    good = "complete" if found.sha256_ok else "damaged: relayline model fetch brings it anew"
    return "\n".join([*lines, f"size     {found.bytes / 1e6:.0f} MB ({found.quantisation})", f"state    {good}"])


def as_json() -> dict[str, JSON]:
    """The same for programs."""
    found = weights.status()
    return {
        "model": weights.MODEL,
        "folder": str(found.path),
        "installed": found.installed,
        "complete": found.installed and found.sha256_ok,
        "bytes": found.bytes if found.installed else 0,
    }


def fetch(source: Path | None) -> None:
    """Bring the model here, and say how that goes: on a terminal in one line, else in a line a second."""
    told = Told(live=sys.stderr.isatty())
    folder = weights.fetch(told, source=source)
    told.end()
    print(f"The embedded model is in {folder}")


class Told:
    """Progress on stderr. ``live``: each line takes the place of the one before."""

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._last = ""
        self._at = 0.0

    def __call__(self, progress: weights.Progress) -> None:
        line = str(progress)
        phase_is_new = line.split()[:1] != self._last.split()[:1]
        if line == self._last or not (self._live or phase_is_new or time.monotonic() - self._at >= 1):
            return
        print(f"\r\x1b[2K{line}" if self._live else line, end="" if self._live else "\n", file=sys.stderr, flush=True)
        self._last, self._at = line, time.monotonic()

    def end(self) -> None:
        """Finish the line."""
        if self._live and self._last:
            print(file=sys.stderr)
