"""The environment variables hocket reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from hocket import _env
from hocket._errors import ConfigError


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        "NO_COLOR",
        "HOCKET_OFFLINE",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HOCKET_CACHE",
        "XDG_CACHE_HOME",
        "HOCKET_THREADS",
        "RANK",
        "LOCAL_RANK",
        "WORLD_SIZE",
        "SLURM_JOB_ID",
    ]:
        monkeypatch.delenv(name, raising=False)


def test_defaults_are_one_process_alone() -> None:
    assert (_env.rank(), _env.local_rank(), _env.world_size()) == (0, 0, 1)
    assert _env.num_threads() is None
    assert _env.slurm_job_id() is None
    assert not _env.offline()
    assert not _env.no_color()
    assert _env.cache_dir() == Path.home() / ".cache" / "hocket"


def test_values_are_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert (_env.rank(), _env.local_rank(), _env.world_size()) == (3, 1, 4)
    monkeypatch.setenv("RANK", "2")
    assert _env.rank() == 2


@pytest.mark.parametrize(
    ("name", "value", "call"),
    [
        ("HOCKET_THREADS", "0", _env.num_threads),
        ("HOCKET_THREADS", "two", _env.num_threads),
        ("WORLD_SIZE", "0", _env.world_size),
        ("RANK", "-1", _env.rank),
        ("LOCAL_RANK", "1.5", _env.local_rank),
    ],
)
def test_a_bad_number_names_the_variable(
    name: str, value: str, call: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert callable(call)
    with pytest.raises(ConfigError, match=f"{name} is '{value}', but must be a whole number"):
        call()


@pytest.mark.parametrize(("value", "on"), [("1", True), ("TRUE", True), ("0", False), ("", False)])
@pytest.mark.parametrize("name", ["HOCKET_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline(name: str, value: str, on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert _env.offline() is on


def test_cache_dir_prefers_hockets_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    assert _env.cache_dir() == Path("/shared/hocket")
    monkeypatch.setenv("HOCKET_CACHE", "/own")
    assert _env.cache_dir() == Path("/own")
