"""The nginx examples of docs/operations.md, run as they stand but for ports and certificates."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.browser.test_pages import CHROMIUM, FLAGS
from tests.calls import next_link
from tests.server import Server

OPERATIONS = (Path(__file__).parents[2] / "docs/operations.md").read_text()
BLOCKS = re.findall(r"^```nginx\n(.*?)^```$", OPERATIONS, re.MULTILINE | re.DOTALL)
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
HOST = re.search(r"server_name (\S+);", BLOCKS[0])[1]
PREFIX = re.search(r"location (\S+)/ \{", BLOCKS[1])[1]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        NGINX is None and not os.environ.get("CI"),
        reason="needs nginx; on Debian: apt install nginx-light",
    ),
]

AROUND = """\
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
daemon off;
worker_processes 1;
events {{}}
http {{
    access_log off;
    {paths}
{servers}
}}
"""
KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Nginx:
    """nginx with these servers, until it is stopped."""

    def __init__(self, folder, servers, port):
        paths = "\n    ".join(f"{kind}_temp_path {folder}/{kind};" for kind in KINDS)
        user = "user root;" if os.geteuid() == 0 else ""
        text = AROUND.format(user=user, folder=folder, paths=paths, servers=servers)
        (folder / "nginx.conf").write_text(text)
        command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError((folder / "error.log").read_text())

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, pem = folder / "idealfit.key", folder / "idealfit.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST},IP:127.0.0.1"),
            *("-keyout", key, "-out", pem),
        ],
        check=True,
        capture_output=True,
    )
    return key, pem


@pytest.fixture(scope="module")
def site(tmp_path_factory, certificate):
    """(session that asks as clients do, address of nginx, the service behind it)."""
    hosts = re.search(r"clients use, here `IDEALFIT_HOSTS=(\S+)`;", OPERATIONS)[1]
    service = Server(
        tmp_path_factory.mktemp("behind"),
        IDEALFIT_HOSTS=hosts,
        WEB_CONCURRENCY="1",
        IDEALFIT_WORKERS="0",
    )
    key, pem = certificate
    port = free_port()
    servers = (
        BLOCKS[0]
        .replace("listen 443", f"listen 127.0.0.1:{port}")
        .replace("127.0.0.1:8000", f"127.0.0.1:{service.port}")
        .replace("/etc/ssl/idealfit.pem", str(pem))
        .replace("/etc/ssl/idealfit.key", str(key))
    )
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), servers, port)
    session = requests.Session()
    # Otherwise the certificates that the environment names are taken instead.
    session.trust_env = False
    session.verify = str(pem)
    session.headers["Host"] = HOST
    yield session, f"https://127.0.0.1:{port}", service
    session.close()
    nginx.stop()
    service.stop()


A_FILE = {"file": ("a.csv", "x,y\n1,2\n2,3\n")}


class TestByName:
    """The service at the root of a host name, with TLS."""

    def test_a_client_uses_it_by_name(self, site):
        session, url, _ = site
        made = session.post(f"{url}/v1/datasets", files=A_FILE, timeout=60)
        assert made.status_code == 201, made.text
        assert made.headers["Location"] == f"/v1/datasets/{made.json()['id']}"
        record = session.get(url + made.headers["Location"], timeout=60)
        assert record.json() == made.json()
        assert record.headers["Strict-Transport-Security"]
        assert session.get(f"{url}/docs", timeout=60).status_code == 200

    def test_its_own_pages_may_change_something_and_others_may_not(self, site):
        session, url, _ = site
        for origin, status in ((f"https://{HOST}", 201), ("https://evil.example", 403)):
            reply = session.post(
                f"{url}/v1/datasets", files=A_FILE, headers={"Origin": origin}, timeout=60
            )
            assert reply.status_code == status

    def test_another_name_is_refused(self, site):
        session, url, _ = site
        for headers in (
            {"Host": "evil.example"},
            {"Host": "evil.example", "X-Forwarded-Host": HOST},
            {"Host": f"www.{HOST}"},
        ):
            reply = session.get(f"{url}/v1/datasets", headers=headers, timeout=60)
            assert reply.status_code == 421

    def test_the_name_is_known_because_of_the_setting(self, site):
        _, _, service = site
        for host, status in ((HOST, 200), ("evil.example", 421)):
            assert service.get("/v1/limits", headers={"Host": host}).status_code == status

    def test_metrics_are_not_for_clients(self, site):
        session, url, _ = site
        assert session.get(f"{url}/metrics", timeout=60).status_code == 403

    def test_what_nginx_limits_is_in_the_example(self):
        for name in ("client_header_timeout 10s", "client_body_timeout 15s", "limit_conn clients"):
            assert f"    {name}" in BLOCKS[0]


@pytest.fixture(scope="module")
def below(tmp_path_factory):
    """Addresses below a path, by the style of the proxy, and the service behind both."""
    service = Server(
        tmp_path_factory.mktemp("below"),
        IDEALFIT_PREFIX=PREFIX,
        WEB_CONCURRENCY="1",
        IDEALFIT_WORKERS="0",
    )
    keeps = BLOCKS[1]
    removes = keeps.replace("proxy_pass http://idealfit;", "proxy_pass http://idealfit/;")
    assert "`proxy_pass http://idealfit/;`" in OPERATIONS
    assert keeps != removes
    ports = {"keeps": free_port(), "removes": free_port()}
    servers = f"upstream idealfit {{ server 127.0.0.1:{service.port}; }}\n" + "".join(
        f"server {{\nlisten 127.0.0.1:{ports[style]};\n{block}}}\n"
        for style, block in (("keeps", keeps), ("removes", removes))
    )
    nginx = Nginx(tmp_path_factory.mktemp("nginx-below"), servers, ports["removes"])
    yield {style: f"http://127.0.0.1:{port}" for style, port in ports.items()}, service
    nginx.stop()
    service.stop()


@pytest.mark.parametrize("style", ["keeps", "removes"])
class TestBelowAPath:
    """The same for a proxy that keeps the path and for one that removes it."""

    def test_links_lead_back(self, below, style):
        url = below[0][style]
        made = requests.post(f"{url}{PREFIX}/v1/datasets", files=A_FILE, timeout=60)
        assert made.headers["Location"] == f"{PREFIX}/v1/datasets/{made.json()['id']}"
        record = requests.get(url + made.headers["Location"], timeout=60)
        assert record.json() == made.json()
        requests.post(f"{url}{PREFIX}/v1/datasets", files=A_FILE, timeout=60)
        page = requests.get(f"{url}{PREFIX}/v1/datasets?limit=1", timeout=60)
        following = requests.get(url + next_link(page), timeout=60)
        assert len(following.json()["items"]) == 1

    def test_pages_find_their_files(self, below, style):
        url = below[0][style]
        for path in ("/", "/docs"):
            page = requests.get(f"{url}{PREFIX}{path}", timeout=60).text
            links = re.findall(r'(?:href|src)="(/[^"]*)"', page)
            assert links
            for link in links:
                assert requests.get(url + link, timeout=60).status_code == 200, link
        document = requests.get(f"{url}{PREFIX}/openapi.json", timeout=60).json()
        assert document["servers"] == [{"url": PREFIX}]

    def test_a_page_of_the_site_may_change_something(self, below, style):
        url = below[0][style]
        for origin, status in ((url, 201), ("http://evil.example", 403)):
            reply = requests.post(
                f"{url}{PREFIX}/v1/datasets", files=A_FILE, headers={"Origin": origin}, timeout=60
            )
            assert reply.status_code == status
        assert reply.json()["type"] == f"{PREFIX}/problems/foreign-origin"

    def test_health_is_heard_through_the_proxy_and_beside_it(self, below, style):
        addresses, service = below
        for health in ("live", "ready"):
            through = requests.get(f"{addresses[style]}{PREFIX}/health/{health}", timeout=60)
            assert through.json() == {"status": "ok"}
            assert service.get(f"/health/{health}").json() == {"status": "ok"}
            assert service.get(f"{PREFIX}/health/{health}").json() == {"status": "ok"}

    def test_the_demo_says_where_to_look(self, below, style):
        command = [sys.executable, "-m", "api.cli", "demo", "--url", below[0][style] + PREFIX]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        addresses = re.findall(r"^ +(http\S+)$", done.stdout, re.MULTILINE)
        assert len(addresses) == 2
        for address in addresses:
            assert requests.get(address, timeout=60).status_code == 200


def test_the_command_line_knows_the_path(below):
    _, service = below
    assert f"{service.url}{PREFIX}/\n" in service.log.read_text()
    command = [sys.executable, "-m", "api.cli", "demo"]
    done = subprocess.run(
        command, env=service.environment, capture_output=True, text=True, check=False
    )
    assert f"{service.url}{PREFIX}/\n" in done.stdout, done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; on Debian: apt install chromium")
def test_the_first_page_shows_commands_for_the_address_it_was_asked_at(site):
    """The service hears http from the proxy; the browser knows that it is https."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    _, url, _ = site
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(ignore_https_errors=True)
        page.goto(url)
        commands = " ".join(page.locator("code").all_text_contents())
        browser.close()
    assert f"{url}/v1/" in commands
    assert "http://" not in commands
