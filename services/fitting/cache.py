"""A bounded memory of what was made from content that never changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, TypeVar

T = TypeVar("T")

Key = tuple[Hashable, ...]
"""Fingerprint of the content, then what was made of it."""


class Cache:
    """Values by key, the least recently used forgotten first; threads may share it.

    Keys are tuples that begin with the fingerprint of the content, so a value is never out of
    date. Values of one content do not push each other out: a library that is read from end to
    end and is larger than the cache would otherwise find nothing of itself the next time.

    Parameters
    ----------
    most_bytes : int
        Bound of the sum of the sizes.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held: OrderedDict[Key, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Sum of the sizes of what is held."""
        return self._bytes

    def get(self, key: Key) -> Any:
        """Look up a value.

        Parameters
        ----------
        key : tuple of hashable
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

    def keep(self, key: Key, value: T, size: int) -> T:
        """Hold a value, unless one of that name is held already.

        Parameters
        ----------
        key : tuple of hashable
            Its name.
        value : Any
            What to hold.
        size : int
            Bytes it takes; it is not held if it finds no room beside what its content has.

        Returns
        -------
        Any
            What is held: of two threads that made the same, both get the first one's.
        """
        with self._lock:
            if key in self._held:
                held: T = self._held[key][0]
                return held
            others = [held for held in self._held if held[0] != key[0]]
            room = self._most_bytes - self._bytes
            if size > room + sum(self._held[other][1] for other in others):
                return value
            for other in others:
                if size <= room:
                    break
                room += self._held.pop(other)[1]
            self._held[key] = value, size
            self._bytes = self._most_bytes - room + size
        return value
