"""Runs the application until somebody stops it, and lets answers finish then.

Knows uvicorn and signals; must not know endpoints.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

from hocket._errors import ConfigError, MachineError
from hocket.serve.app import LOOPBACK
from hocket.serve.keys import Keys
from hocket.serve.patience import Patience
from hocket.serve.service import Service

_LOOK_SECONDS = 0.05
# After the answers: what is left are connections that nobody reads.
_LAST_SECONDS = 2
_MOST_HEADER_BYTES = 32 * 2**10


class DrainingServer(uvicorn.Server):
    """A server that takes no more requests when it is told to stop, and leaves when all are done.

    It goes on listening meanwhile, so that who balances the load sees ``/ready`` say no. A second
    signal ends it at once.

    Args:
        config: uvicorn's.
        service: the application's parts.

    Attributes:
        interrupted: whether Ctrl-C was pressed.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.interrupted = False
        self._service = service
        self._draining: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; called by the signal."""
        self.interrupted = self.interrupted or sig == signal.SIGINT
        if self._service.admission.draining:
            self.should_exit = self.force_exit = True
        self._service.admission.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Look for the order to stop; called by uvicorn ten times a second."""
        if self._service.admission.draining and self._draining is None and not self.should_exit:
            self._draining = asyncio.ensure_future(self._drain())
        return await super().on_tick(counter)

    async def _drain(self) -> None:
        end = time.monotonic() + self._service.limits.drain_seconds
        while self._service.admission.active and time.monotonic() < end:
            await asyncio.sleep(_LOOK_SECONDS)
        for running in list(self._service.running):
            running.stop()
        self.should_exit = True


def bind(host: str, port: int, keys: Keys, *, no_auth: bool = False) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: name or address.
        port: 0 takes a free one.
        keys: keys of clients.
        no_auth: whether other machines may come in without a key.

    Raises:
        ConfigError: other machines could come in, and no key keeps them out.
        MachineError: the address cannot be used.
    """
    named = f"[{host}]" if ":" in host and not host.startswith("[") else host
    if named not in LOOPBACK and not keys and not no_auth:
        raise ConfigError(
            f"--host {host} lets other machines in, and no API key keeps them out. Set "
            "HOCKET_API_KEY or --api-key-file, or say --no-auth."
        )
    plain = host.strip("[]")
    family = socket.AF_INET6 if ":" in plain else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((plain, port))
    except OSError as error:
        found.close()
        raise MachineError(
            f"cannot listen on {host}:{port} ({error.strerror or error}). "
            "Choose another with --port or --host; --port 0 takes a free one."
        ) from error
    return found


def run(app: FastAPI, listening: socket.socket) -> None:
    """Serve until a signal says to stop.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; all answers are done.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
        http=Patience,
        timeout_graceful_shutdown=_LAST_SECONDS,
        lifespan="on",
    )
    server = DrainingServer(config, app.state.service)
    # Libraries and models are a million objects that stay: to look through them for garbage would
    # stop all answers for 0.2 s now and then, and take a second more at the end.
    gc.collect()
    gc.freeze()
    server.run(sockets=[listening])
    if server.interrupted:
        raise KeyboardInterrupt
