"""What every test shares: no network, no hub, one compute thread, a cache folder of its own."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

# Before torch is imported: test processes share few cores, and results must not depend on how many.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

# A background job of a shell ignores Ctrl-C, and so would what a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

_LOOPBACK = ("127.", "::1", "localhost")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, and say so."""
    for item in items:
        if item.get_closest_marker("net") and os.environ.get("HOCKET_TEST_NET") != "1":
            item.add_marker(pytest.mark.skip(reason="needs a network: set HOCKET_TEST_NET=1"))
        if item.get_closest_marker("gpu") and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test an empty cache folder, so that nothing is found that another test left."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HOCKET_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections that leave this machine, unless the test is marked ``net``."""
    if request.node.get_closest_marker("net"):
        return
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(_LOOPBACK):
            raise ConnectionRefusedError(f"a test tried to connect to {address}: mark it net")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
