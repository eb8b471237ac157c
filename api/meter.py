"""Counters that all processes of a service share (docs/adr/0019).

The memory is made before the processes that inherit it and count in it. Each process has its own
slot, so none waits for another. When a process has ended, however it died, the next one takes over
its slot and counts on: nothing is lost, and restarts take no more room.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import tempfile
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

log = logging.getLogger(__name__)

Key = tuple[str, ...]
"""The name of a series and the values of its labels."""

SLOTS = 128
SERIES = 1024
"""Most processes that count, and most series of each."""

NUMBERS = 16
"""Numbers of a series: a histogram has 14 bounds, one bucket above them, and the sum."""

KEY_BYTES = 128
SERIES_BYTES = KEY_BYTES + 8 * NUMBERS
HEADER_BYTES = 8 * SLOTS
SLOT_BYTES = SERIES * SERIES_BYTES

SUM = NUMBERS - 1

END = "."
"""Follows the last label, which may be empty; what comes after it is padding."""


class Meter:
    """Counters of this process, and the totals of all processes."""

    def __init__(self, passing: str = "") -> None:
        """Make a meter; `passing` names the series that end with their process."""
        self._passing = passing
        self._file: int | None = None
        self._start()

    def share(self) -> None:
        """Make the memory unless a parent has; processes that are forked later share it."""
        if self._file is None:
            size = HEADER_BYTES + SLOTS * SLOT_BYTES
            self._file = _make_file()
            # A file in memory that has no name and no quota: it cannot become full, and pages that
            # nobody has written take no room.
            os.truncate(self._file, size)
            self._bytes = mmap.mmap(self._file, size)
            self._numbers = memoryview(self._bytes).cast("d")

    def forget(self) -> None:
        """Start again in a forked process, whose slot is its parent's."""
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._slot: int | None = None
        self._is_full = False
        self._places: dict[Key, int] = {}

    # ---- Counting --------------------------------------------------------------------------

    def add(self, key: Key, amount: float = 1.0) -> None:
        """Add to a counter or a gauge."""
        with self._lock:
            if (place := self._place(key)) is not None:
                self._numbers[place] += amount

    def observe(self, key: Key, value: float, bounds: Sequence[float]) -> None:
        """Add a value to a histogram."""
        with self._lock:
            if (place := self._place(key)) is not None:
                self._numbers[place + bisect_left(bounds, value)] += 1
                self._numbers[place + SUM] += value

    def _place(self, key: Key) -> int | None:
        """Return where the numbers of a series begin; None if there is no room for another."""
        place = self._places.get(key)
        if place is None and not self._is_full:
            if self._slot is None:
                self._take_slot()
            place = self._places.get(key) or self._append(key)
        return place

    def _append(self, key: Key) -> int | None:
        text = "\0".join((*key, END)).encode()
        count = len(self._places)
        if self._slot is None or count == SERIES or len(text) > KEY_BYTES:
            self._is_full = True
            log.warning("Some figures of /metrics are not counted: there are too many.")
            return None
        begin = HEADER_BYTES + self._slot * SLOT_BYTES + count * SERIES_BYTES
        self._bytes[begin : begin + KEY_BYTES] = text.ljust(KEY_BYTES, b"\0")
        self._places[key] = place = (begin + KEY_BYTES) // 8
        self._numbers[self._slot] = count + 1
        return place

    def _take_slot(self) -> None:
        """Take the first slot that no living process has, with its counts."""
        self.share()
        self._slot = next((slot for slot in range(SLOTS) if self._lock_slot(slot)), None)
        if self._slot is not None:
            self._places = dict(self._series(self._slot))
            for key, place in self._places.items():
                if key[0] == self._passing:
                    self._numbers[place] = 0.0

    def _lock_slot(self, slot: int) -> bool:
        """Lock a slot; the system unlocks it when the process ends, however it dies."""
        assert self._file is not None  # noqa: S101 - there is a memory
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except OSError:
            return False
        return True

    # ---- Reading ---------------------------------------------------------------------------

    def totals(self) -> dict[Key, list[float]]:
        """Add up the numbers of each series over all processes."""
        self.share()
        sums: dict[Key, list[float]] = defaultdict(lambda: [0.0] * NUMBERS)
        for slot in range(SLOTS):
            if self._numbers[slot] == 0:
                continue
            is_alive = self._is_alive(slot)
            for key, place in self._series(slot):
                if is_alive or key[0] != self._passing:
                    found = self._numbers[place : place + NUMBERS].tolist()
                    sums[key] = [a + b for a, b in zip(sums[key], found, strict=True)]
        return dict(sums)

    def _series(self, slot: int) -> list[tuple[Key, int]]:
        begin = HEADER_BYTES + slot * SLOT_BYTES
        return [
            (self._key(at), (at + KEY_BYTES) // 8)
            for at in range(begin, begin + int(self._numbers[slot]) * SERIES_BYTES, SERIES_BYTES)
        ]

    def _key(self, at: int) -> Key:
        text = self._bytes[at : at + KEY_BYTES].rstrip(b"\0").decode()
        return tuple(text.split("\0")[:-1])

    def _is_alive(self, slot: int) -> bool:
        assert self._file is not None  # noqa: S101 - there is a memory
        with self._lock:
            if slot == self._slot:
                return True
            if not self._lock_slot(slot):
                return True
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot)
            return False


def _make_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("idealfit-metrics")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
