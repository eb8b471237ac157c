"""Invalid settings are refused in one line that names them."""

from __future__ import annotations

import pytest

from api.config import SettingError, Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IDEALFIT_LEASE_SECONDS", "0"),
        ("IDEALFIT_LEASE_SECONDS", "1.9"),
        ("IDEALFIT_INLINE_SECONDS", "soon"),
        ("IDEALFIT_INLINE_SECONDS", "-1"),
        ("IDEALFIT_ROWS", "0"),
        ("IDEALFIT_PAGE", "501"),
        ("IDEALFIT_NAME_LENGTH", "10"),
        ("IDEALFIT_TOP_K", "2147483648"),
        ("IDEALFIT_DASK_SCHEDULER", "tcp://10.0.0.5"),
        ("IDEALFIT_DASK_SCHEDULER", "10.0.0.5:8786"),
    ],
)
def test_a_value_that_cannot_be_used(name, value):
    with pytest.raises(SettingError, match=name):
        Settings.from_environment({name: value})


def test_values_that_can_be_used():
    settings = Settings.from_environment(
        {
            "IDEALFIT_LEASE_SECONDS": "2",
            "IDEALFIT_INLINE_SECONDS": "0",
            "IDEALFIT_DASK_SCHEDULER": "tls://dask.example:8786",
        }
    )
    assert (settings.lease_seconds, settings.inline_seconds) == (2.0, 0.0)
    assert settings.dask_scheduler == "tls://dask.example:8786"
