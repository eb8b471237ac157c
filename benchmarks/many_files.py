"""A library from many files: a ZIP archive of text files, as a spectrometer writes them.

Each file has two columns, which differ in x from file to file. The archive is posted as a body with
`grid=400:3800:2`; peak memory is that of the largest process of the service.

    python -m benchmarks many_files --files 5000 --points 2000
"""

from __future__ import annotations

import argparse
import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from benchmarks.service import serving
from benchmarks.tables import HTTP, Table, seconds, spread

ZIP = "application/zip"
ADDRESS = "/v1/datasets?name=library&grid=400:3800:2"


def make_archive(files: int, points: int) -> tuple[bytes, int]:
    """Make an archive of spectra, always the same; and the bytes of its files."""
    random, sink, size = np.random.default_rng(1), io.BytesIO(), 0
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(files):
            x = 400 + 0.01 * random.uniform() + 1.7 * np.arange(points)
            peaks = 1000 * np.exp(-(((x - random.uniform(500, 3000)) / 30) ** 2))
            y = peaks + random.normal(0, 3, points)
            rows = zip(x.tolist(), y.tolist(), strict=True)
            text = "".join(f"{a:.3f}\t{b:.2f}\n" for a, b in rows).encode()
            archive.writestr(f"library/{number // 100}/spectrum {number}.txt", text)
            size += len(text)
    return sink.getvalue(), size


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    data, size = make_archive(options.files, options.points)
    times, peaks = [], []
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        for _ in range(options.rounds):
            server.forget_peak()
            times.append(seconds(lambda: server.request("POST", ADDRESS, data, ZIP)))
            peaks.append(server.peak_mb())
    note = f"ZIP of {len(data) / 1e6:.0f} MB, unpacked {size / 1e6:.0f} MB."
    table = Table("A library from many files", HTTP, note, ["files", "points", "s", "peak MB"])
    table.row(str(options.files), str(options.points), spread(times, 1), spread(peaks, 0))
    table.end()


if __name__ == "__main__":
    main()
