"""The process that forks readers: what it shares with them, and how either may end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest

from services.errors import TooLarge, UnreadableFile
from services.files import ReadOptions, read_in_sandbox, template
from services.files.limits import ReadLimits
from services.files.template import NUMBER, Template, TemplateGone, standing
from tests.factories import load_table
from tests.files import a_parquet, a_sheet
from tests.waiting import until

ROOT = Path(__file__).parents[3]
COLUMNS = {"x": [0.0, 1.0, 2.0], "y": [1.0, None, 3.0]}


@pytest.fixture
def _new_template():
    """Drop the template that another test left."""
    standing.drop()
    yield
    standing.drop()


def read(data, format="parquet", **options):
    with tempfile.TemporaryFile() as file:
        file.write(data)
        found = read_in_sandbox(file, format, ReadOptions(**options))
    with closing(found):
        return load_table(found.parts[0].curves)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_gone(pid):
    """Tell whether a process ended; it may be a zombie of whoever adopted it."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def open_files(pid):
    """The paths of the descriptors of a process."""
    found = {}
    for path in list(Path(f"/proc/{pid}/fd").iterdir()):
        with suppress(OSError):  # that of the listing itself
            found[path.name] = str(path.readlink())
    return found


class Held:
    """A reader that waits for its options, because they do not end."""

    def __init__(self, of, name):
        self.answers, theirs = socket.socketpair()
        self.file = tempfile.NamedTemporaryFile(prefix=name)  # noqa: SIM115 - closed by `end`
        given = [theirs.fileno(), self.file.fileno(), self.file.fileno(), self.file.fileno()]
        with theirs:
            socket.send_fds(of._orders, [b"r"], given)  # noqa: SLF001 - without options, which `start_reader` sends
        _, (self.process,), _, _ = socket.recv_fds(self.answers, NUMBER.size, 1)
        info = Path(f"/proc/self/fdinfo/{self.process}").read_text()
        self.pid = int(info.split("Pid:")[1].split()[0])

    def end(self):
        for descriptor in (self.process, self.answers.detach()):
            os.close(descriptor)
        self.file.close()


@pytest.fixture
def held():
    """Makes readers that wait."""
    found = []

    def hold(of, name="held"):
        found.append(Held(of, name))
        return found[-1]

    yield hold
    for reader in found:
        reader.end()


def test_one_template_serves_many_files_and_none_of_its_readers_is_left():
    assert read(a_parquet(COLUMNS)).names == ("y",)
    first = standing.template
    assert read(a_sheet(COLUMNS), "xlsx").names == ("y",)
    with pytest.raises(UnreadableFile):
        read(b"PAR1")
    assert standing.template is first
    assert first.process.poll() is None
    until(lambda: children(first.process.pid) == [])


def test_a_template_gathers_no_descriptors():
    read(a_parquet(COLUMNS))
    pid = standing.template.process.pid
    until(lambda: children(pid) == [])
    before, ours = open_files(pid), len(open_files("self"))
    for _ in range(5):
        read(a_parquet(COLUMNS))
    # It may have been closing those of the reader that had ended when it was looked at.
    until(lambda: children(pid) == [] and open_files(pid).keys() <= before.keys())
    assert len(open_files("self")) == ours


def test_a_template_has_one_thread():
    """A fork of a process with several may wait forever for a lock of another one."""
    read(a_parquet(COLUMNS))
    pid = standing.template.process.pid
    assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1


def is_settled(found):
    """Tell whether a reader has closed the files that it inherited."""
    return len(found) == 6 and "0" not in found


def test_a_reader_has_no_file_of_another_one(held):
    of = standing.get()
    first, second = held(of, "secret-of-one"), held(of, "secret-of-two")
    until(lambda: "secret-of-one" not in str(open_files(of.process.pid)))
    # A reader that has just been forked closes what it inherited, one after the other.
    until(lambda: all(is_settled(open_files(one.pid)) for one in (first, second)))
    for one, other in ((first, "secret-of-two"), (second, "secret-of-one")):
        found = open_files(one.pid)
        # The null device twice, the connection, the file thrice; no process, no other connection.
        assert sorted(found)[:2] == ["1", "2"]
        assert len(found) == 6
        assert other not in str(found)
        assert "pidfd" not in str(found)
    assert first.pid != second.pid


@pytest.mark.usefixtures("_new_template")
def test_a_template_has_no_credentials(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@host/name")
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setenv("IDEALFIT_METRICS_TOKEN_FILE", "secret")
    read(a_parquet(COLUMNS))
    environment = Path(f"/proc/{standing.template.process.pid}/environ").read_bytes()
    assert b"PATH=" in environment
    assert b"secret" not in environment


@pytest.mark.usefixtures("_new_template")
def test_a_template_does_not_load_pandas(monkeypatch, tmp_path):
    """The pyarrow of a client's environment would, for two seconds."""
    start = subprocess.Popen

    def popen(command, **options):
        with (tmp_path / "imports").open("wb") as log:
            command = [command[0], "-X", "importtime", *command[1:]]
            return start(command, **options | {"stderr": log})

    monkeypatch.setattr("services.files.template.subprocess.Popen", popen)
    read(a_parquet(COLUMNS))
    imports = (tmp_path / "imports").read_text()
    assert "pyarrow.lib" in imports
    assert "pandas.core" not in imports


def test_a_template_that_died_between_files_is_replaced():
    read(a_parquet(COLUMNS))
    first = standing.template.process
    first.kill()
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    read(a_parquet(COLUMNS))
    assert standing.template.process is not first
    assert first.returncode == -signal.SIGKILL


def test_a_file_whose_template_dies_is_read_by_the_next_one():
    first = standing.get()
    first.process.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, a_parquet(COLUMNS))
        time.sleep(0.05)  # so that it waits, which need not be for the test to hold
        first.process.kill()
        assert reading.result().names == ("y",)
    assert standing.template is not first


@pytest.mark.usefixtures("_new_template")
def test_a_template_that_dies_twice_is_an_error(monkeypatch):
    class Mortal(Template):
        def start_reader(self, *_args):
            self.process.kill()
            raise TemplateGone

    monkeypatch.setattr(template, "Template", Mortal)
    with pytest.raises(TemplateGone):
        read(a_parquet(COLUMNS))
    assert standing.template is None


def test_readers_die_with_their_template(held):
    of = standing.get()
    reader = held(of)
    of.process.kill()
    until(lambda: is_gone(reader.pid))
    assert reader.answers.recv(1) == b""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_template_outlives_a_reader_that_is_killed(held, number):
    of = standing.get()
    reader = held(of)
    os.kill(reader.pid, number)
    assert NUMBER.unpack(reader.answers.recv(NUMBER.size)) == (-number,)
    assert is_gone(reader.pid)
    assert read(a_parquet(COLUMNS)).names == ("y",)
    assert standing.template is of


def test_a_reader_out_of_time_is_killed(monkeypatch):
    monkeypatch.setattr(template.Reader, "wait", lambda *_: (_ for _ in ()).throw(TimeoutError))
    with pytest.raises(TooLarge) as error:
        read(a_parquet(COLUMNS))
    assert error.value.facts[0].code == "too_slow"
    until(lambda: children(standing.template.process.pid) == [])


def test_a_disk_that_is_full_ends_the_reader(held, monkeypatch):
    def refuse(_nbytes):
        raise OSError("full")

    waiting = held(standing.get())
    reader = template.Reader(waiting.answers.dup(), os.dup(waiting.process))
    monkeypatch.setattr(template.scratch, "ask", refuse)
    with pytest.raises(OSError, match="full"):
        reader.wait(60)
    reader.end()
    assert is_gone(waiting.pid)


def test_many_files_are_read_at_once():
    limits = ReadLimits(processes=8, wait_seconds=60)
    data = {number: a_parquet({"x": [0.0, 1.0], "y": [number, -number]}) for number in range(24)}
    barrier = threading.Barrier(8)

    def work(start):
        barrier.wait()
        return [read(data[i], limits=limits).y[0, 0] for i in range(start, 24, 8)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    assert np.array_equal(np.transpose(found).ravel(), np.arange(24.0))
    until(lambda: children(standing.template.process.pid) == [])


def test_a_template_without_the_means_to_fork_says_so():
    """The limit on processes does not bind the superuser, so another one stands for it."""
    code = "import os; from services.files import sandbox_main as m\n"
    code += "def no(): raise BlockingIOError(11, 'no more processes')\n"
    code += "os.fork = no; m.main()"
    ours, theirs = socket.socketpair()
    process = subprocess.Popen([sys.executable, "-c", code], stdin=theirs.fileno(), cwd=ROOT)
    theirs.close()
    of = object.__new__(Template)
    of._orders = ours
    with tempfile.TemporaryFile() as file, pytest.raises(BlockingIOError):
        of.start_reader(b"{}", *[file.fileno()] * 3)
    ours.close()
    assert process.wait() == 0


@pytest.mark.usefixtures("_new_template")
def test_a_template_that_cannot_be_started_is_an_error(monkeypatch):
    def refuse(*_args, **_options):
        raise BlockingIOError("no more processes")

    monkeypatch.setattr("services.files.template.subprocess.Popen", refuse)
    before = len(open_files("self"))
    with pytest.raises(BlockingIOError):
        read(a_parquet(COLUMNS))
    assert len(open_files("self")) == before


START = "import os, time; from services.files.template import standing; of = standing.get();"
START += "print(of.process.pid, flush=True);"


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "", "os._exit(1)"])
def test_a_template_ends_with_the_service(end):
    done = subprocess.run([sys.executable, "-c", START + end], stdout=PIPE, check=False, cwd=ROOT)
    until(lambda: is_gone(int(done.stdout)))


def test_a_fork_of_the_service_has_a_template_of_its_own():
    code = START + "pid = os.fork();"
    code += "print(standing.template, standing.get().process.pid, flush=True) if not pid else 0;"
    code += "time.sleep(600) if not pid else os._exit(0)"
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], stdout=PIPE, cwd=ROOT
    ) as run:
        first = int(run.stdout.readline())
        none, second = run.stdout.readline().split()
        assert none == b"None"
        assert int(second) != first
        # The fork lives, but does not hold the connection of its parent.
        until(lambda: is_gone(first))
        assert not is_gone(int(second))
        parent = int(Path(f"/proc/{int(second)}/stat").read_text().rsplit(")", 1)[1].split()[1])
        os.kill(parent, signal.SIGKILL)
        until(lambda: is_gone(int(second)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_group_leave_the_template_to_the_service(number):
    """Requests that run go on while the service ends, those that read a file included."""
    read(a_parquet(COLUMNS))
    first = standing.template
    first.process.send_signal(number)
    read(a_parquet(COLUMNS))
    assert standing.template is first
