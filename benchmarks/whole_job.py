"""Compare the whole original job over HTTP with a pandas script, alternating in one run.

The script reads the three files with pandas, stores them in SQLite, finds the best function of
the library for each training curve by least squares, maps the test points row by row and stores
the assignments. Over HTTP, the same files are posted, fitted and mapped, and the points are
downloaded. The start of Python and of the server does not count. Both must give the same answer.
Path: request of a user, over HTTP.
Run it with: python -m benchmarks whole_job
"""

from __future__ import annotations

import argparse
import http.client
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
from sqlalchemy import create_engine

from benchmarks.service import serving

ROUNDS = 15
NEAR = 1e-6
"""Zero may be 2.8e-13 in one of the files."""
FILES = ("training", "ideal", "test")
Found = dict[str, set[tuple[float, float, str]]]
"""The function of each training curve, with the points (x, y, training curve) it got."""


def by_script(files: dict[str, Path], folder: Path) -> Found:
    """Do the job as a script does."""
    training, ideal, test = (pd.read_csv(files[name], skipinitialspace=True) for name in FILES)
    engine = create_engine(f"sqlite:///{folder / 'script.db'}")
    training.to_sql("training_data", engine, index=False, if_exists="replace")
    ideal.to_sql("ideal_functions", engine, index=False, if_exists="replace")
    test.to_sql("test_data", engine, index=False, if_exists="replace")
    x = ideal.columns[0]
    chosen: dict[str, tuple[str, float]] = {}
    for column in training.columns[1:]:
        least = math.inf
        for name in ideal.columns[1:]:
            total = np.sum((training[column] - ideal[name]) ** 2)
            if total < least:
                least, best = total, name
        deviation = (training[column] - ideal[best]).abs().max()
        chosen[column] = best, deviation * math.sqrt(2)
    mapped = []
    for _, point in test.iterrows():
        at_x = ideal[(ideal[x] - point.iloc[0]).abs() < NEAR]
        for column, (name, limit) in chosen.items():
            for value in at_x[name]:
                deviation = abs(point.iloc[1] - value)
                if deviation <= limit:
                    mapped.append((point.iloc[0], point.iloc[1], deviation, name, column))
    result = pd.DataFrame(mapped, columns=["X", "Y", "DeltaY", "IdealFunction", "Training"])
    result.to_sql("mapped_test_data", engine, index=False, if_exists="replace")
    engine.dispose()
    return {
        f"{column} {name}": {(a, b, t) for a, b, _, _, t in mapped if t == column}
        for column, (name, _) in chosen.items()
    }


def over_http(files: dict[str, Path], connection: http.client.HTTPConnection) -> Found:
    """Do the job as a client does."""

    def call(method: str, path: str, body: bytes = b"", kind: str = "application/json") -> Any:
        connection.request(method, path, body or None, {"Content-Type": kind} if body else {})
        reply = connection.getresponse()
        data = reply.read()
        if reply.status not in (200, 201):
            raise SystemExit(data.decode())
        return orjson.loads(data)

    ids = {
        name: call("POST", f"/v1/datasets?name={name}", files[name].read_bytes(), "text/csv")["id"]
        for name in FILES
    }
    pair = {"training_id": ids["training"], "ideal_id": ids["ideal"]}
    fit = call("POST", "/v1/fits", orjson.dumps(pair))
    question = {"fit_id": fit["id"], "test_id": ids["test"]}
    mapping = call("POST", "/v1/mappings", orjson.dumps(question))
    page = call("GET", f"/v1/mappings/{mapping['id']}/points?status=mapped&limit=500")
    return {
        f"{match['training']} {match['ideal']}": {
            (p["x"], p["y"], p["training"])
            for p in page["items"]
            if p["training"] == match["training"]
        }
        for match in fit["matches"]["items"]
    }


def timed(job: Callable[[], Found]) -> tuple[float, Found]:
    """Return the milliseconds of a call, and its answer."""
    begin = time.perf_counter()
    found = job()
    return (time.perf_counter() - begin) * 1000, found


def compare(source: Path, connection: http.client.HTTPConnection) -> None:
    """Print one line: both medians, and the ratio."""
    files = {name: source / f"{name}.csv" for name in FILES}
    script, ours = [], []
    for turn in range(ROUNDS + 1):
        with tempfile.TemporaryDirectory() as folder:
            first, expected = timed(lambda: by_script(files, Path(folder)))
        second, found = timed(lambda: over_http(files, connection))
        if found != expected:
            raise SystemExit(f"{source}: the answers differ")
        if turn:  # The first fills caches on both sides.
            script.append(first)
            ours.append(second)
    ratios = [b / a for a, b in zip(script, ours, strict=True)]
    print(
        f"{source!s:32} script {statistics.median(script):6.1f} ms"
        f"   http {statistics.median(ours):6.1f} ms"
        f"   ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


def main() -> None:
    """Start the server, and compare on each folder of files."""
    here = Path(__file__).parents[1]
    folders = [here / "api/examples", here.parent / "shared/data/seed"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="with training, ideal and test.csv")
    chosen = parser.parse_args().folders or [folder for folder in folders if folder.is_dir()]
    with tempfile.TemporaryDirectory() as data, serving(Path(data), workers=0) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        for folder in chosen:
            compare(folder, connection)
        connection.close()


if __name__ == "__main__":
    main()
