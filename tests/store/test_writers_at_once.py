"""Several processes write to one SQLite file, and no update is lost."""

from __future__ import annotations

import subprocess
import sys

from api.store.base import Database, find
from api.store.datasets import Dataset, add_dataset
from services.files import Source
from tests.factories import a_table

WRITERS, INCREMENTS = 4, 50

COUNT = """
import sys
from api.store.base import Database, find_version
from api.store.datasets import Dataset

database = Database(sys.argv[1])
for _ in range(int(sys.argv[3])):
    with database.writing() as session:
        dataset = find_version(session, Dataset, sys.argv[2], None)
        dataset.attributes = {"count": dataset.attributes["count"] + 1}
"""


def test_four_writers_lose_no_increment(new_database_url):
    url = new_database_url("sqlite")
    database = Database(url)
    source, table = Source("json", None, None, None, None), a_table([1.0], [1.0])
    with database.writing() as session:
        made = add_dataset(session, table, source, name="counter", attributes={"count": 0})
    command = [sys.executable, "-c", COUNT, url, made.id, str(INCREMENTS)]
    writers = [subprocess.Popen(command) for _ in range(WRITERS)]
    assert [writer.wait() for writer in writers] == [0] * WRITERS
    with database.reading() as session:
        counted = find(session, Dataset, made.id)
        assert counted.attributes == {"count": WRITERS * INCREMENTS}
        assert counted.version == 1 + WRITERS * INCREMENTS
    database.close()
