"""Serve models to OpenAI's clients and on a page, for text, pictures, sounds and videos."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.status import Status

from hocket._env import api_keys, for_child
from hocket._errors import ConfigError, MissingExtraError
from hocket._log import console
from hocket.cli._session import start_session

if TYPE_CHECKING:
    from hocket.infer.engine import Engine
    from hocket.serve.app import ServeOptions
    from hocket.serve.fetch import FetchOptions
    from hocket.serve.keys import Keys

_PACKAGES = {
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "python_multipart": "python-multipart",
    "prometheus_client": "prometheus-client",
}
_MIB = 2**20
_THIS_MACHINE = "127.0.0.1"
_ENGINES = ("hocket", "vllm")

Models = Annotated[
    list[str], typer.Argument(metavar="DIR", help="Checkpoints or run folders; NAME=DIR too.")
]
Host = Annotated[str, typer.Option(help="Address; others than this machine need a key.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")]
Which = Annotated[str, typer.Option(help="hocket, or vllm for many users on GPUs.")]
VllmArg = Annotated[list[str] | None, typer.Option(help="A word for vLLM; may be repeated.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16 or auto.")]
MaxRows = Annotated[int, typer.Option(min=1, help="Answers at the same time.")]
KvMb = Annotated[int, typer.Option(min=1, help="MiB of keys and values.")]
Queue = Annotated[int, typer.Option(min=0, help="Answers that may wait; more get a 429.")]
MaxTokens = Annotated[int, typer.Option(min=1, help="Longest answer.")]
Temperature = Annotated[
    float, typer.Option(min=0, help="For requests that say none; OpenAI's is 1.")
]
KeyFile = Annotated[
    Path | None, typer.Option(help="File of keys, one a line; or set HOCKET_API_KEY.")
]
PerKey = Annotated[int, typer.Option(min=0, help="Requests of a key at a time; 0 for all.")]
NoAuth = Annotated[bool, typer.Option("--no-auth", help="Let other machines in without a key.")]
AllowHost = Annotated[
    list[str] | None, typer.Option(help="A name of this server; may be repeated.")
]
Origin = Annotated[
    list[str] | None, typer.Option(help="A site whose pages may ask; may be repeated.")
]
OpenMetrics = Annotated[bool, typer.Option("--public-metrics", help="/metrics needs no key.")]
MediaHost = Annotated[
    list[str] | None,
    typer.Option(help="A host that media are downloaded from, or *; may be repeated."),
]
AllowHttp = Annotated[bool, typer.Option("--allow-http", help="Download media over http too.")]
MediaRoot = Annotated[Path | None, typer.Option(help="Folder that file:// URLs may name files of.")]
BodyMb = Annotated[int, typer.Option(min=1, help="MiB of a request.")]
PartMb = Annotated[int, typer.Option(min=1, help="MiB of one medium.")]
DecodeSeconds = Annotated[float, typer.Option(min=0.1, help="Time to decode one medium.")]
DrainSeconds = Annotated[
    float, typer.Option(min=0, help="How long answers may go on after SIGTERM.")
]


def command(
    models: Models,
    host: Host = _THIS_MACHINE,
    port: Port = 8000,
    engine: Which = "hocket",
    vllm_arg: VllmArg = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    max_rows: MaxRows = 32,
    kv_mb: KvMb = 4096,
    queue: Queue = 64,
    max_tokens: MaxTokens = 8192,
    temperature: Temperature = 1.0,
    api_key_file: KeyFile = None,
    per_key: PerKey = 8,
    no_auth: NoAuth = False,
    allow_host: AllowHost = None,
    cors_origin: Origin = None,
    public_metrics: OpenMetrics = False,
    allow_media_host: MediaHost = None,
    allow_http: AllowHttp = False,
    media_root: MediaRoot = None,
    max_body_mb: BodyMb = 32,
    max_part_mb: PartMb = 20,
    decode_seconds: DecodeSeconds = 10.0,
    drain_seconds: DrainSeconds = 30.0,
) -> None:
    """Serve models: OpenAI's interface at /v1, a page at /, numbers at /metrics.

    The first model answers requests that name none. Ctrl-C or SIGTERM lets answers finish.
    """
    _check_installed()
    from hocket.serve.app import ServeOptions
    from hocket.serve.keys import read_keys
    from hocket.serve.limits import ServeLimits
    from hocket.serve.models import named_folders

    keys, folders = read_keys(api_keys(), api_key_file), named_folders(models)
    if engine != _ENGINES[0]:
        _become_vllm(engine, folders, host, port, keys, no_auth, vllm_arg or [])
    limits = ServeLimits(
        body_bytes=max_body_mb * _MIB,
        part_bytes=max_part_mb * _MIB,
        decode_seconds=decode_seconds,
        max_tokens=max_tokens,
        queue=queue,
        per_key=per_key,
        drain_seconds=drain_seconds,
    )
    options = ServeOptions(
        limits=limits,
        keys=keys,
        hosts=_hosts(host, allow_host or []),
        origins=tuple(cors_origin or ()),
        public_metrics=public_metrics,
        fetch=_fetch(allow_media_host or [], allow_http, limits.part_bytes),
        media_root=_folder(media_root),
        temperature=temperature,
    )
    _serve(options, host, port, no_auth, lambda: _opened(folders, device, dtype, max_rows, kv_mb))


def _serve(
    options: ServeOptions,
    host: str,
    port: int,
    no_auth: bool,
    opened: Callable[[], Mapping[str, Engine]],
) -> None:
    from hocket.serve.app import create_app
    from hocket.serve.run import bind, run

    # Before the models are read: a port that is taken is told at once.
    listening = bind(host, port, options.keys, no_auth=no_auth)
    start_session()
    engines = opened()
    app = create_app(engines, options)
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    number = listening.getsockname()[1]
    typer.echo(f"serving {', '.join(engines)} at http://{shown}:{number} (API: /v1)")
    run(app, listening)


def _opened(
    folders: Mapping[str, Path], device: str, dtype: str, max_rows: int, kv_mb: int
) -> dict[str, Engine]:
    from hocket.checkpoint.loading import Placement
    from hocket.infer.engine import Engine
    from hocket.infer.options import EngineOptions

    made = {}
    for name, folder in folders.items():
        with Status(f"opening {folder}", console=console()):
            placement = Placement(device=device, dtype=dtype)
            limits = EngineOptions(max_rows=max_rows, kv_mb=kv_mb)
            made[name] = Engine.load(folder, placement, limits)
    return made


def _fetch(hosts: list[str], allow_http: bool, most_bytes: int) -> FetchOptions:
    from hocket.serve.fetch import FetchOptions

    return FetchOptions(hosts=tuple(hosts), allow_http=allow_http, max_bytes=most_bytes)


def _hosts(host: str, named: list[str]) -> frozenset[str] | None:
    """Return the names that a request may give this server; None for any.

    A key keeps strangers out where the server listens for other machines.
    """
    from hocket.serve.app import LOOPBACK

    names = frozenset(one.lower() for one in named)
    return names | LOOPBACK if names or host in LOOPBACK else None


def _folder(path: Path | None) -> Path | None:
    if path is not None and not path.is_dir():
        raise ConfigError(f"--media-root {path}: no such folder. Name one that is there.")
    return path


def _check_installed() -> None:
    for module, package in _PACKAGES.items():
        if find_spec(module) is None:
            raise MissingExtraError(package, "serve")


def _become_vllm(
    engine: str,
    folders: Mapping[str, Path],
    host: str,
    port: int,
    keys: Keys,
    no_auth: bool,
    more: list[str],
) -> NoReturn:
    """Become vLLM's server.

    Raises:
        ConfigError: another engine, several models, or an open door.
        MachineError: vLLM is not installed, or the port is taken.
    """
    from hocket.checkpoint.directory import find_checkpoint
    from hocket.serve.run import bind
    from hocket.vllm.command import vllm_command

    if engine not in _ENGINES:
        raise ConfigError(f"--engine is {engine!r}, expected {' or '.join(_ENGINES)}.")
    if len(folders) != 1:
        raise ConfigError(f"vLLM serves one model, but {len(folders)} were named. Name one.")
    with bind(host, port, keys, no_auth=no_auth) as listening:
        number = int(listening.getsockname()[1])
    ((name, folder),) = folders.items()
    words = vllm_command(find_checkpoint(folder), name, host=host, port=number, more=more)
    key = api_keys()
    os.execve(words[0], words, for_child({"VLLM_API_KEY": key} if key else {}))
