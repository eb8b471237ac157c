"""ZIP archives of files: their members, with everything checked that an archive can lie about."""

from __future__ import annotations

import errno
import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from services.errors import Fact, InvalidTable, TooLarge, UnreadableFile, error_from, quote
from services.files.limits import ReadLimits

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

WORKBOOK_MEMBER = "[Content_Types].xml"
"""Member that a workbook has, which is a ZIP archive too."""

_DIRECTORY_BYTES = 512
"""Bytes of the directories of archives for each file that is allowed.

A library makes an object of each entry before any can be counted, so the directories are bounded
first. An entry takes 46 bytes and its name.
"""

_PATH_LENGTH = 1000
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED = 0x1
_HIDDEN = 0x2  # an attribute of MS-DOS
_MS_DOS, _UNIX, _NTFS = 0, 3, 10
_LOCAL_HEADER_BYTES = 30
_DRIVE = re.compile("[A-Za-z]:")

_HIDDEN_NAMES = {"__MACOSX", "Thumbs.db", "desktop.ini"}
"""Names that operating systems give to files that nobody asked for."""


class Archive:
    """A ZIP archive.

    Parameters
    ----------
    file : BinaryIO
        The whole archive, which can be sought in. It is not closed.
    limits : ReadLimits
        Most files, and how large they may become.
    room : int
        How long its directory may be. [bytes]

    Raises
    ------
    UnreadableFile
        It is damaged, or a member is a link, overlaps another or has a path out of the archive.
    TooLarge
        It has too many members, or unpacked they are too large.
    """

    def __init__(self, file: BinaryIO, limits: ReadLimits, room: int) -> None:
        self._size = file.seek(0, io.SEEK_END)
        self._limits = limits
        guarded = _Guarded(file, room)
        with _translated():
            self._zip = zipfile.ZipFile(cast("BinaryIO", guarded))
        guarded.most_bytes = self._size
        self.directory_bytes = self._size - self._zip.start_dir
        """Length of the directory."""
        self.is_workbook = WORKBOOK_MEMBER in self._zip.NameToInfo
        """Whether this is a workbook (XLSX)."""

    def find_files(self) -> dict[str, zipfile.ZipInfo]:
        """Find the members that are files, but for hidden ones.

        Returns
        -------
        dict of str to ZipInfo
            By their paths, in the order of the archive.
        """
        self._refuse_overlaps()
        files: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            path = _check_path(info)
            if path.endswith("/") or _is_hidden(path, info):
                continue
            if path in files:
                raise _unreadable(f"Pack {quote(path)} once; the archive has it twice.")
            files[path] = info
        check_count(len(files), self._limits)
        self._limits.check_expansion(self._size, sum(info.file_size for info in files.values()))
        if not files:
            detail = "Pack the files of curves; the archive holds none."
            raise error_from(InvalidTable, Fact(detail, "no_files"))
        return files

    def _refuse_overlaps(self) -> None:
        """Refuse members that share bytes, of which a small archive can have very many."""
        ordered = sorted(self._zip.infolist(), key=lambda info: info.header_offset)
        starts = [*(info.header_offset for info in ordered), self._zip.start_dir]
        for info, after in zip(ordered, starts[1:], strict=True):
            if info.header_offset + _LOCAL_HEADER_BYTES + info.compress_size > after:
                raise _unreadable(f"Pack it again; {quote(info.filename)} overlaps another file.")

    def open(self, info: zipfile.ZipInfo) -> BinaryIO:
        """Open a member.

        Parameters
        ----------
        info : ZipInfo
            One of `find_files`.

        Returns
        -------
        BinaryIO
            Its bytes, no more than the directory says; reading raises `UnreadableFile` if they
            are damaged.
        """
        if info.flag_bits & _ENCRYPTED:
            raise _unreadable("Pack it without a password; it is encrypted.")
        if info.compress_type not in _METHODS:
            raise _unreadable("Pack it with the method deflate, which all programs have.")
        with _translated():
            member = self._zip.open(info)
        return cast("BinaryIO", _Member(cast("BinaryIO", member)))


def measure_room(limits: ReadLimits) -> int:
    """Return how long the directories of all archives of an upload may be together.

    Parameters
    ----------
    limits : ReadLimits
        Most files.

    Returns
    -------
    int
        [bytes]
    """
    return _DIRECTORY_BYTES * max(limits.max_files, 16)


def check_count(count: int, limits: ReadLimits) -> None:
    """Refuse more files than one upload may have.

    Parameters
    ----------
    count : int
        Number of files.
    limits : ReadLimits
        Most files.

    Raises
    ------
    TooLarge
        There are more.
    """
    if count > limits.max_files:
        detail = f"Send at most {limits.max_files} files at once, and append the others; there"
        raise error_from(TooLarge, Fact(f"{detail} are {count}.", "too_many_files"))


class _Guarded(io.RawIOBase):
    """A file of which only a limited number of bytes can be read at once."""

    def __init__(self, file: BinaryIO, most_bytes: int) -> None:
        super().__init__()
        self._file = file
        self.most_bytes = most_bytes

    def read(self, size: int = -1, /) -> bytes:
        if size > self.most_bytes:
            detail = "Pack fewer files; the directory of the archive is too long."
            raise error_from(TooLarge, Fact(detail, "too_many_files"))
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class _Member(io.RawIOBase):
    """The bytes of a member."""

    def __init__(self, member: BinaryIO) -> None:
        super().__init__()
        self._member = member

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        with _translated():
            data = self._member.read(len(target))
        target[: len(data)] = data
        return len(data)


@contextmanager
def _translated() -> Iterator[None]:
    """Make one error of all that the library raises for a damaged archive."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,
        OverflowError,
        RuntimeError,
        ValueError,
    ) as error:
        raise _unreadable(f"This is no ZIP archive, or it is damaged: {error}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place before the beginning
            raise
        raise _unreadable("This is no ZIP archive, or it is damaged.") from None


def _unreadable(detail: str) -> UnreadableFile:
    return error_from(UnreadableFile, Fact(detail, "bad_archive"))


def _check_path(info: zipfile.ZipInfo) -> str:
    """Return the path of a member; refuse one that leads out of the archive."""
    path = info.filename.replace("\\", "/")
    if not path:
        raise _unreadable("Pack it again; a file in the archive has no name.")
    if len(path) > _PATH_LENGTH:
        raise _unreadable(f"Shorten the path {quote(path)}; it has {len(path)} characters.")
    if path.startswith("/") or ".." in path.split("/") or _DRIVE.match(path):
        raise _unreadable(f"Pack it again; the path {quote(path)} leads out of the archive.")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.create_system == _UNIX and kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _unreadable(f"Pack the files themselves; {quote(path)} is a link or a device.")
    return path


def _is_hidden(path: str, info: zipfile.ZipInfo) -> bool:
    marked = info.create_system in (_MS_DOS, _NTFS) and bool(info.external_attr & _HIDDEN)
    return marked or is_hidden(path)


def is_hidden(path: str) -> bool:
    """Tell whether a file is hidden, or one that an operating system made.

    Parameters
    ----------
    path : str
        Its path, with slashes.

    Returns
    -------
    bool
        True if a part of the path begins with a full stop, or is such a name.
    """
    return any(part.startswith(".") or part in _HIDDEN_NAMES for part in path.split("/"))
