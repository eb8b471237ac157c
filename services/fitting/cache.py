"""A bounded cache of objects made from content that never changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, TypeVar

T = TypeVar("T")

Key = tuple[Hashable, ...]
"""Fingerprint of the content, then a name of the object made of it."""


class Cache:
    """Values by key; the least recently used are dropped first. Threads may share a cache.

    Keys begin with the fingerprint of the content, so a value is never out of date. Values of one
    content do not push each other out: otherwise a library larger than the cache, read from end
    to end, would find nothing of itself the next time.

    Parameters
    ----------
    most_bytes : int
        Largest sum of the sizes.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held: OrderedDict[Key, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Sum of the sizes of the values."""
        return self._bytes

    def get(self, key: Key) -> Any:
        """Look up a value, None if it is not in the cache."""
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def keep(self, key: Key, value: T, size: int) -> T:
        """Keep a value, unless there is one with that key already.

        Parameters
        ----------
        key : tuple of hashable
            Key of the value.
        value : Any
        size : int
            Bytes of the value; it is not kept if it finds no room beside the other values of its
            content.

        Returns
        -------
        Any
            The value in the cache: two threads that made the same both get the first one's.
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
