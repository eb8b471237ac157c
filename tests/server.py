"""A real server: `idealfit serve` as a separate process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from pathlib import Path

import requests

from tests.waiting import PATIENCE

SERVE = ("-m", "api.cli", "serve")


class Server:
    """`idealfit serve` as a process of its own, or what else Python is to run on a port."""

    def __init__(self, folder: Path, command=None, **environment):
        self.port = self._keep_a_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        names = {"IDEALFIT_DATA": str(folder), "PORT": str(self.port), **environment}
        kept = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
        self.environment = kept | names
        self.command = [sys.executable, *(command(self.port) if command else SERVE)]
        self.start()

    def _keep_a_port(self):
        """Find a free port that nobody else gets, also while the server is stopped.

        On Linux a server with SO_REUSEADDR may listen on it although this socket is bound to it.
        """
        keeper = socket.socket()
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        port = keeper.getsockname()[1]
        if sys.platform == "linux":
            weakref.finalize(self, keeper.close)
        else:
            keeper.close()
        return port

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.session = requests.Session()
        self._wait()

    def _wait(self):
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            with suppress(requests.ConnectionError, requests.Timeout):
                if self.session.get(f"{self.url}/health/ready", timeout=10).ok:
                    return
            time.sleep(0.05)
        # It must not go on without a test that would end it.
        self.stop()
        raise AssertionError(self.log.read_text())

    def request(self, method, path, **options):
        return self.session.request(method, self.url + path, timeout=PATIENCE, **options)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)

    def stop(self):
        self.session.close()
        self.process.terminate()
        self.process.wait(timeout=PATIENCE)
