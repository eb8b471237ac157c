"""A bounded memory of what was made from content that never changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Cache:
    """Values by key, the least recently used forgotten first; threads may share it.

    Keys name content by its fingerprint, so a value is never out of date.

    Parameters
    ----------
    most_bytes : int
        Bound of the sum of the sizes.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Sum of the sizes of what is held."""
        return self._bytes

    def get(self, key: Hashable) -> Any:
        """Look up a value.

        Parameters
        ----------
        key : hashable
            Its name.

        Returns
        -------
        Any
            The value, None if it is not held.
        """
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def keep(self, key: Hashable, value: T, size: int) -> T:
        """Hold a value, unless one of that name is held already.

        Parameters
        ----------
        key : hashable
            Its name.
        value : Any
            What to hold.
        size : int
            Bytes it takes; what is larger than the cache is not held.

        Returns
        -------
        Any
            What is held: of two threads that made the same, both get the first one's.
        """
        with self._lock:
            if key in self._held:
                held: T = self._held[key][0]
                return held
            if size > self._most_bytes:
                return value
            self._held[key] = value, size
            self._bytes += size
            while self._bytes > self._most_bytes:
                _, (_, freed) = self._held.popitem(last=False)
                self._bytes -= freed
        return value
