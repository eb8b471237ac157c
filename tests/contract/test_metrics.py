"""`/metrics` and the log of a service of two web processes and a worker, over real HTTP."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
from collections import Counter

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.calls import CURVES, LIBRARY
from tests.server import Server
from tests.waiting import until

pytestmark = pytest.mark.slow

NAME = "Unobtainium"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    server = Server(
        tmp_path_factory.mktemp("metrics"),
        WEB_CONCURRENCY="2",
        IDEALFIT_WORKERS="1",
        IDEALFIT_INLINE_SECONDS="0",
        IDEALFIT_LOG_FORMAT="json",
    )
    yield server
    server.stop()


def scrape(service):
    reply = service.get("/metrics")
    assert reply.status_code == 200
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def value(found, name, **labels):
    return found.get((name, frozenset(labels.items())), 0.0)


def requests_of(found, method, route, status):
    return value(
        found,
        "http_server_request_duration_seconds_count",
        http_request_method=method,
        http_route=route,
        http_response_status_code=str(status),
    )


def lines(service):
    """The complete lines of the log that are JSON: all but three, which say where to look."""
    complete, *_ = service.log.read_text().rpartition("\n")
    return [json.loads(x) for x in complete.splitlines() if x.startswith("{")]


def lines_about(service, identifier):
    """The lines about a request or a job."""
    return [line for line in lines(service) if line.get("id") == identifier]


def line_of(service, request_id):
    """The only line about a request, once it is there."""
    (line,) = until(lambda: lines_about(service, request_id))
    return line


def ask(service, method, path, **headers):
    """A request on a connection of its own, so that any web process may get it."""
    with socket.create_connection(("127.0.0.1", service.port)) as sock:
        head = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
        head = f"Host: localhost\r\nConnection: close\r\n{head}\r\n"
        sock.sendall(f"{method} {path} HTTP/1.1\r\n{head}".encode())
        while sock.recv(65536):
            pass


def children(service, kind):
    """Pids of the web processes, or of the workers."""
    supervisor = psutil.Process(service.process.pid)
    starts = [line for line in lines(service) if line["message"] == "process started"]
    pid = next(x["child"] for x in reversed(starts) if x["name"].startswith(kind))
    found = psutil.Process(pid)
    assert found.parent() == supervisor
    return [child.pid for child in found.children()] if kind == "web" else [pid]


def test_all_web_processes_count_together(service):
    before = scrape(service)
    for _ in range(40):
        ask(service, "GET", "/v1/limits")
    after = scrape(service)
    assert requests_of(after, "GET", "/v1/limits", 200) == 40 + requests_of(
        before, "GET", "/v1/limits", 200
    )
    served = Counter(x["process"] for x in lines(service) if x.get("route") == "/v1/limits")
    assert sum(served.values()) >= 40
    assert value(after, "http_server_active_requests", http_request_method="GET") == 1


def test_labels_are_bounded(service):
    before = {key for key in scrape(service) if key[0].startswith("http_server")}
    for _ in range(30):
        ask(service, "GET", f"/{secrets.token_hex(8)}/{secrets.token_hex(8)}")
        ask(service, "GET", f"/v1/fits/{secrets.token_hex(8)}")
        ask(service, secrets.choice(["BREW", "PROPFIND", "X-Y"]), f"/{secrets.token_hex(8)}")
    found = scrape(service)
    after = {key for key in found if key[0].startswith("http_server")}
    assert len(after - before) < 5 * 17
    assert requests_of(found, "_OTHER", "", 404) == 30
    assert requests_of(found, "GET", "/v1/fits/{fit_id}", 404) == 30


def test_jobs_are_counted_and_logged_without_names(service):
    train, ideal = (
        service.post("/v1/datasets", json={"name": NAME, "columns": columns}).json()
        for columns in (CURVES, LIBRARY)
    )
    body = {"training_id": train["id"], "ideal_id": ideal["id"], "name": NAME}
    reply = service.post("/v1/fits", json=body)
    assert reply.status_code == 202
    fit = reply.json()
    path = f"/v1/fits/{fit['id']}"
    until(lambda: service.get(path).json()["state"] == "succeeded")
    until(lambda: "job ended" in [line["message"] for line in lines_about(service, fit["id"])])
    found = scrape(service)
    ended = {"kind": "fit", "outcome": "succeeded"}
    assert value(found, "idealfit_jobs_finished_total", **ended) == 1
    assert value(found, "idealfit_job_duration_seconds_count", **ended) == 1
    said = lines_about(service, fit["id"])
    assert [line["message"] for line in said] == ["job started", "job ended"]
    assert said[1]["outcome"] == "succeeded"
    # The figures from the database are kept for a while.
    until(lambda: value(scrape(service), "idealfit_jobs", kind="fit", state="succeeded") == 1)
    assert NAME not in service.log.read_text()


def test_what_it_says_of_the_service(service):
    def found_up():
        found = scrape(service)
        return found if value(found, "idealfit_database_up") == 1 else None

    # A scrape waits for the database for two seconds only, and the machine may be busy.
    found = until(found_up)
    assert value(found, "idealfit_database_bytes", part="main") > 0
    assert value(found, "idealfit_disk_free_bytes", folder="data") > 0
    assert value(found, "idealfit_disk_free_bytes", folder="tmp") > 0
    assert value(found, "idealfit_queue_age_seconds", kind="fit") == 0
    assert value(found, "idealfit_process_starts_total", process="web") >= 2
    assert value(found, "idealfit_process_starts_total", process="worker") >= 1
    assert any(name == "idealfit_build_info" for name, _ in found)


@pytest.mark.parametrize("kind", ["web", "worker"])
def test_a_process_that_is_killed_breaks_no_scrape_and_loses_no_count(service, kind):
    for _ in range(10):
        ask(service, "GET", "/v1/limits")
    before = scrape(service)
    killed = children(service, kind)[0]
    os.kill(killed, signal.SIGKILL)
    # Before that it may still take a connection.
    until(lambda: not psutil.pid_exists(killed))
    starts = value(before, "idealfit_process_starts_total", process=kind)

    def is_started_again():
        service.session.close()
        found = scrape(service)
        return value(found, "idealfit_process_starts_total", process=kind) > starts

    until(is_started_again)
    after = scrape(service)
    counted = [key for key in before if key[0].endswith(("_total", "_count", "_bucket"))]
    assert all(after[key] >= before[key] for key in counted)
    # A request of a connection that is closed may not have ended.
    until(
        lambda: (
            value(scrape(service), "http_server_active_requests", http_request_method="GET") == 1
        )
    )


def test_a_line_for_a_request(service):
    trace = secrets.token_hex(16)
    identifier = secrets.token_hex(8)
    header = {"X-Request-ID": identifier, "traceparent": f"00-{trace}-{'1' * 16}-01"}
    reply = service.get("/v1/limits?token=hidden", headers=header)
    line = line_of(service, identifier)
    assert line["message"] == "answered"
    assert line["method"] == "GET"
    assert line["route"] == line["path"] == "/v1/limits"
    assert line["status"] == reply.status_code == 422
    assert line["bytes"] == len(reply.content)
    assert line["client"] == "127.0.0.1"
    assert line["trace"] == trace
    assert line["seconds"] > 0
    assert "hidden" not in service.log.read_text()


def test_a_client_cannot_write_lines(service):
    identifier = secrets.token_hex(8)
    evil = "/v1/%0a%0dhttp%1b%5b31m%e2%80%a8"
    ask(service, "GET", evil, **{"X-Request-ID": identifier, "traceparent": "00-\t-"})
    line = line_of(service, identifier)
    assert line["path"] == "/v1/%0A%0Dhttp%1B%5B31m%E2%80%A8"
    assert "trace" not in line
    assert "\x1b" not in service.log.read_text()
    said = [text for text in service.log.read_text().splitlines() if not text.startswith("{")]
    assert len(said) == 3, said


def test_what_the_server_refuses_itself_is_counted_and_logged(service):
    before = scrape(service)
    with socket.create_connection(("127.0.0.1", service.port)) as sock:
        sock.sendall(b"GET /?token=hidden-too\x1b HTTP/1.1\r\nBad Header\r\n\r\n")
        reply = b""
        while data := sock.recv(65536):
            reply += data
    identifier = re.search(rb"X-Request-ID: (\w+)", reply)[1].decode()
    line = line_of(service, identifier)
    assert line["status"] == 400
    assert line["bytes"] == len(reply)
    assert line["client"] == "127.0.0.1"
    assert requests_of(scrape(service), "_OTHER", "", 400) >= 1 + requests_of(
        before, "_OTHER", "", 400
    )
    assert "hidden-too" not in service.log.read_text()


def test_probes_are_not_in_the_log(service):
    service.get("/health/live")
    identifier = secrets.token_hex(8)
    service.get("/v1/limits", headers={"X-Request-ID": identifier})
    line_of(service, identifier)
    assert not [x for x in lines(service) if str(x.get("route")).startswith("/health")]
    assert requests_of(scrape(service), "GET", "/health/live", 200) >= 1
