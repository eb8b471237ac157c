"""Hosts, origins and prefixes: which are well formed, and which a setting accepts."""

from __future__ import annotations

import pytest

from api.addresses import OWN_ROOTS, Authority, is_origin_of, parse_authority
from api.app import create_app
from api.config import SettingError, Settings


def read(**environment):
    return Settings.from_environment(environment)


@pytest.mark.parametrize(
    ("text", "host", "port", "is_ip"),
    [
        ("localhost", "localhost", None, False),
        ("LocalHost.:8000", "localhost", 8000, False),
        ("lab.example:", "lab.example", None, False),
        ("a_b-c.example:0", "a_b-c.example", 0, False),
        ("lab.example:65535", "lab.example", 65535, False),
        ("127.0.0.1:80", "127.0.0.1", 80, True),
        ("[::1]:8000", "[::1]", 8000, True),
        ("[0:0:0:0:0:0:0:1]", "[::1]", None, True),
        ("127.1", "127.1", None, False),
        ("127.0.0.1.evil.example", "127.0.0.1.evil.example", None, False),
    ],
)
def test_an_authority_is_read(text, host, port, is_ip):
    found = parse_authority(text)
    assert found == Authority(host, port)
    assert found.is_ip == is_ip


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", ":8000", "a..b", "-" * 64, "a." * 127 + "bc", "a b", "a,b", "a/b", "a\tb"),
        *("localhost:65536", "localhost:-1", "localhost:8k", "localhost:000001", "localhost:1:2"),
        *("user@localhost", "localhost@evil.example", "localhost#", "localhost?", "localhost\\"),
        *("::1", "[::1", "[::1]x", "[fe80::1%eth0]", "[fe80::1%25eth0]", "[127.0.0.1]", "[]"),
        *("münchen.example", "localhost:٨٠", "http://localhost", "%6cocalhost", "localhost\n"),
    ],
)
def test_no_authority(text):
    assert parse_authority(text) is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8000", "localhost:8000"),
        ("https://lab.example", "lab.example"),
        ("https://lab.example", "lab.example:443"),
        ("http://lab.example", "lab.example:80"),
        ("https://lab.example:8443", "LAB.example.:8443"),
        ("http://[::1]:8000", "[0::1]:8000"),
    ],
)
def test_an_origin_of_the_host(origin, host):
    assert is_origin_of(origin, parse_authority(host))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        *((bad, "localhost:8000") for bad in ("null", "", "localhost:8000", "*", "http://")),
        *((f"http://{bad}", "localhost:8000") for bad in ("localhost", "localhost:8001", "evil")),
        ("http://localhost:8000/", "localhost:8000"),
        ("http://user@localhost:8000", "localhost:8000"),
        ("http://localhost:8000, http://evil", "localhost:8000"),
        ("chrome-extension://localhost:8000", "localhost:8000"),
        ("https://lab.example", "lab.example:80"),
        ("https://lab.example:80", "lab.example"),
        ("https://www.lab.example", "lab.example"),
        ("http://127.0.0.1:8000", "localhost:8000"),
    ],
)
def test_an_origin_of_another_host(origin, host):
    assert not is_origin_of(origin, parse_authority(host))


class TestHosts:
    def test_names_that_can_be_used(self):
        assert read(IDEALFIT_HOSTS=" Lab.example, idealfit.,10.0.0.5,[::2],").hosts == {
            *("lab.example", "idealfit", "10.0.0.5", "[::2]")
        }

    @pytest.mark.parametrize(
        "text",
        [
            *("*", "*.lab.example", ".lab.example", "lab.example:8000", "https://lab.example"),
            *("lab.example/", "user@lab.example", "a b", "a;b", "lab..example", "[::1]:80", "::1"),
        ],
    )
    def test_a_name_that_cannot_be_used(self, text):
        with pytest.raises(SettingError, match="IDEALFIT_HOSTS"):
            read(IDEALFIT_HOSTS=f"good.example,{text}")


class TestCorsOrigins:
    def test_origins_that_can_be_used(self):
        text = "https://lab.example, http://localhost:5173,http://[::1]:5173,https://a.example:80"
        assert read(IDEALFIT_CORS_ORIGINS=text).cors_origins == (
            *("https://lab.example", "http://localhost:5173"),
            *("http://[::1]:5173", "https://a.example:80"),
        )

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("*", "wildcard"),
            ("https://*.corp.example", "wildcard"),
            (r"https://.+\.corp\.example", "malformed"),
            ("https://(a|b).example", "malformed"),
            ("^https://lab.example$", "scheme"),
            ("https://lab.example$", "malformed"),
            ("https://lab.example/", "leave out"),
            ("https://lab.example/path", "leave out"),
            ("https://lab.example?a", "leave out"),
            ("HTTPS://lab.example", "lower case"),
            ("https://Lab.example", "https://lab.example"),
            ("https://lab.example.", "https://lab.example"),
            ("https://lab.example:443", "https://lab.example"),
            ("http://lab.example:080", "http://lab.example"),
            ("https://lab.example:99999", "malformed"),
            ("https://user@lab.example", "malformed"),
            ("lab.example", "scheme"),
            ("ftp://lab.example", "scheme"),
            ("null", "scheme"),
            ("https://", "scheme"),
        ],
    )
    def test_an_origin_that_cannot_be_used(self, text, says):
        with pytest.raises(SettingError, match=says) as raised:
            read(IDEALFIT_CORS_ORIGINS=f"https://good.example,{text}")
        assert "IDEALFIT_CORS_ORIGINS" in str(raised.value)
        assert "\n" not in str(raised.value)


class TestPrefix:
    @pytest.mark.parametrize("text", ["", "/lab", "/lab/curves", "/~me/a.b-c_d"])
    def test_a_path_that_can_be_used(self, text):
        assert read(IDEALFIT_PREFIX=text).prefix == text

    @pytest.mark.parametrize(
        "text",
        [
            *("/", "lab", "lab/", "/lab/", "//lab", "/lab//curves", "/lab/../v2", "/./lab", "/.."),
            *("/a b", "/%6cab", "/lab?a", "/lab#a", "/ä", "http://lab.example/lab", "/lab\n"),
            *(f"/{root}" for root in sorted(OWN_ROOTS)),
            "/v1/lab",
        ],
    )
    def test_a_path_that_cannot_be_used(self, text):
        with pytest.raises(SettingError, match="IDEALFIT_PREFIX"):
            read(IDEALFIT_PREFIX=text)

    def test_no_route_begins_as_a_prefix_may(self, tmp_path):
        rules = create_app(Settings(data=tmp_path)).url_map.iter_rules()
        assert {rule.rule.split("/")[1] for rule in rules} - {""} <= OWN_ROOTS
