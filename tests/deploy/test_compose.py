"""compose.yaml: the service knows the names it publishes, and it contains no password."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from api.app import create_app
from api.config import Settings
from api.running import running
from tests.calls import over_wsgi

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]


def filled(text):
    """A value as compose fills it in when nothing is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.fixture
def calls(tmp_path):
    names = SERVICES["idealfit"]["environment"]
    environment = {name: filled(text) for name, text in names.items() if name != "DATABASE_URL"}
    app = create_app(Settings.from_environment(environment | {"IDEALFIT_DATA": str(tmp_path)}))
    yield over_wsgi(app)
    running(app).database.close()


def test_what_it_publishes_answers(calls):
    """On this machine, and to other containers by the name of the service."""
    (published,) = SERVICES["idealfit"]["ports"]
    address, port, inside = published.rsplit(":", 2)
    hosts = [f"{address}:{port}", f"localhost:{port}", f"idealfit:{inside}"]
    assert [calls.get("/v1/limits", headers={"Host": host}).status for host in hosts] == [200] * 3
    assert calls.get("/v1/limits", headers={"Host": "evil.example"}).status == 421


def test_more_names_can_be_given():
    name = SERVICES["idealfit"]["environment"]["IDEALFIT_HOSTS"]
    assert re.fullmatch(r"\$\{IDEALFIT_HOSTS:-\w+\}", name)


def test_there_is_no_default_password():
    passwords = re.findall(r"\$\{POSTGRES_PASSWORD([^}]*)\}", TEXT)
    assert len(passwords) == 3
    assert all(default.startswith(":?") for default in passwords)


def test_postgresql_is_the_one_that_is_tested(postgres):
    with postgres.connect() as connection:
        tested = connection.dialect.server_version_info[0]
    assert SERVICES["postgres"]["image"].startswith(f"postgres:{tested}")
    # From 18 on the image keeps its data one folder below this one.
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]


def test_images_are_pinned_to_a_version_and_a_system():
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", bases[0])
