"""Output of a reply: bytes that the client does not take at once are queued, so no thread waits."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import IO, Any

from api.connections.byte_queue import NO_ROOM, ByteBudget, ByteQueue, FilePart, MemoryPart
from api.connections.pace import Pace, Slot, not_taken, wait_for

PIECE_BYTES = 1 << 18
"""Bytes that are read from a file and sent at once."""

LOOK_SECONDS = 1.0
"""Seconds between two checks how much a waiting client has taken."""


class Outbox:
    """Replacement of the socket to which gunicorn writes a reply."""

    def __init__(
        self, sock: socket.socket, room: ByteBudget, slot: Slot, make_pace: Callable[[], Pace]
    ) -> None:
        self._sock, self._room, self._slot, self._make_pace = sock, room, slot, make_pace
        self._parts: deque[ByteQueue | FilePart | MemoryPart] = deque()
        self._sent = 0
        self._taken = 0
        self._together: list[bytes] | None = None
        self.pace: Pace | None = None

    def __bool__(self) -> bool:
        """Tell whether bytes are queued."""
        return bool(self._parts)

    def gettimeout(self) -> float:
        """Return 0: nothing here waits for the client. gunicorn asks before it reports an error."""
        return 0.0

    def has_left(self) -> bool:
        """Tell whether the client has closed its side, without waiting."""
        try:
            return not self._sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True

    def send_together(self, write: Callable[[bytes], object], data: bytes) -> None:
        """Send all that `write` sends of some data in one call of the system."""
        self._together = []
        try:
            write(data)
        finally:
            pieces, self._together = self._together, None
            self.sendall(b"".join(pieces))

    def sendall(self, data: bytes) -> None:
        """Send the bytes that the client takes now, and queue the rest."""
        if self._together is not None:
            self._together.append(data)
            return
        rest = memoryview(data)
        if self.flush():
            while rest and (sent := self._send(rest)):
                rest = rest[sent:]
        if rest:
            self._keep(rest)

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int = 0) -> None:
        """Send a part of a file."""
        self._parts.append(FilePart(file.fileno(), offset, offset + count))
        self.flush()
        self._time()

    def flush(self, pieces: int = 1 << 20) -> bool:
        """Send queued bytes as far as the client takes them; tell whether none is left."""
        while self._parts and pieces:
            data = self._parts[0].peek(PIECE_BYTES)
            if not data:
                self._parts.popleft().close()
                continue
            sent = self._send(data)
            self._parts[0].skip(sent)
            pieces -= 1
            if sent < len(data):
                break
        if not self._parts:
            self.pace = None
        return not self._parts

    def deadline(self) -> float:
        """Return the time at which the client is given up, as far as it is known now."""
        if self.pace is None:
            return float("inf")
        taken = self._sent - not_taken(self._sock)
        self.pace.count(taken - self._taken)
        self._taken = max(taken, self._taken)
        return self.pace.deadline

    def close(self) -> None:
        """Drop the queued bytes."""
        while self._parts:
            self._parts.popleft().close()

    def _send(self, data: Any) -> int:
        if self.pace is not None and not not_taken(self._sock):
            # The client has taken everything: until now it waited for us.
            self.pace.last = time.monotonic()
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        self._sent += sent
        return sent

    def _time(self) -> None:
        """Start the client's deadline if bytes are queued."""
        if self._parts and self.pace is None:
            self._taken = self._sent - not_taken(self._sock)
            self.pace = self._make_pace()

    def _keep(self, data: memoryview) -> None:
        last = self._parts[-1] if self._parts else None
        if not isinstance(last, ByteQueue):
            last = ByteQueue(self._room)
            self._parts.append(last)
        self._time()
        try:
            last.append(data)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self._wait_with(data)

    def _wait_with(self, data: memoryview) -> None:
        """Let this thread wait until the client has taken everything, if it may."""
        if not self._slot.take():
            raise ConnectionAbortedError("too many slow readers, and no room for more of a reply")
        self._parts.append(MemoryPart(data))
        while not self.flush():
            now = time.monotonic()
            if now > (deadline := self.deadline()):
                raise TimeoutError("the client takes the reply too slowly")
            wait_for(self._sock, select.POLLOUT, min(LOOK_SECONDS, deadline - now))
