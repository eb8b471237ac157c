"""Small files over HTTP: a table of two rows in each binary format, beside the same table as CSV.

Each round posts one file of each format, one after the other over one connection, and stores it; a
ratio is to the CSV of the same round. The first round is not counted, because the service starts
the process that reads binary files with the first of them; its time is shown below the table.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from benchmarks.service import ARROW, PARQUET, Server, serving
from benchmarks.tables import HTTP, Table, alternate, milliseconds, ratios, seconds, spread

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def write_files(rows: int) -> dict[str, tuple[bytes, str]]:
    """Write the same table in each format: its bytes and its media type."""
    x = np.arange(float(rows))
    table = pa.table({"x": x, "y1": np.sqrt(x), "y2": np.exp(-x)})
    return {
        "CSV": (_write_csv(table), "text/csv"),
        "Parquet": (_write_parquet(table), PARQUET),
        "Arrow": (_write_arrow(table), ARROW),
        "XLSX": (_write_workbook(table), XLSX),
    }


def _write_csv(table: pa.Table) -> bytes:
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    lines = [",".join(table.column_names), *(",".join(map(repr, row)) for row in rows)]
    return "\n".join(lines).encode()


def _write_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue()


def _write_arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _write_workbook(table: pa.Table) -> bytes:
    import openpyxl  # noqa: PLC0415 - only this table needs it

    workbook, sink = openpyxl.Workbook(), io.BytesIO()
    workbook.active.append(table.column_names)
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        workbook.active.append(row)
    workbook.save(sink)
    return sink.getvalue()


def show(server: Server, rows: int, rounds: int) -> None:
    """Print the table."""
    files = write_files(rows)
    posts = {
        name: (lambda body=body, kind=kind: server.upload(name, body, kind))  # noqa: B023
        for name, (body, kind) in files.items()
    }
    posts["CSV"]()
    first = seconds(posts["Parquet"])
    alternate(posts, 1)
    found = alternate(posts, rounds)
    columns = ["file", "bytes", "ms, stored", "ratio to CSV"]
    note = f"Medians of {rounds} rounds, least and most in brackets."
    table = Table(f"Files of {rows} rows", HTTP, note, columns)
    for name, times in found.items():
        ratio = spread(ratios(times, found["CSV"]))
        table.row(name, len(files[name][0]), milliseconds(times), ratio)
    table.end()
    table.row("The first binary file took", f"{1e3 * first:.0f} ms")


def main(arguments: list[str] | None = None) -> None:
    """Post the files."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks files",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=50)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), workers=0) as server:
        show(server, args.rows, args.rounds)


if __name__ == "__main__":
    main()
