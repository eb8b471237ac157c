"""Archives of files."""

from __future__ import annotations

import io
import zipfile

ZIP = "application/zip"


def a_zip(files, method=zipfile.ZIP_DEFLATED):
    """A ZIP archive of the bytes of files by their paths."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for path, data in files.items():
            # Without a time of its own, the time of day would be in the bytes.
            info = path if isinstance(path, zipfile.ZipInfo) else zipfile.ZipInfo(path)
            archive.writestr(info, data, method)
    return sink.getvalue()
