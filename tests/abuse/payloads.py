"""Files of a stranger that try to run code when opened: pickles, YAML, configs, headers."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.abuse.suite import Case, Expected, Size, Suite
from tests.toy import toy

from hocket._errors import CheckpointError
from hocket.checkpoint.directory import load_checkpoint, write_checkpoint
from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.checkpoint.import_.weights import open_file
from hocket.checkpoint.loading import Placement
from hocket.cli._compose import compose_data, compose_run

# What a pickle calls, with the canary as CANARY; picklescan and fickling were passed with these.
CALLS: tuple[tuple[str, str, str], ...] = (
    ("os", "system", "touch CANARY"),
    ("posix", "system", "touch CANARY"),
    ("os", "popen", "touch CANARY"),
    ("os", "mkdir", "CANARY"),
    ("os", "mkfifo", "CANARY"),
    ("subprocess", "getoutput", "touch CANARY"),
    ("subprocess", "getstatusoutput", "touch CANARY"),
    ("builtins", "eval", "open('CANARY','w')"),
    ("builtins", "exec", "open('CANARY','w')"),
    ("builtins", "__import__", "antigravity"),
    ("builtins", "getattr", "x"),
    ("timeit", "timeit", "open('CANARY','w')"),
    ("runpy", "run_path", "CANARY.py"),
    ("runpy", "_run_code", "open('CANARY','w')"),
    ("cProfile", "run", "open('CANARY','w')"),
    ("profile", "run", "open('CANARY','w')"),
    ("pdb", "run", "open('CANARY','w')"),
    ("bdb", "Bdb", "x"),
    ("code", "interact", "x"),
    ("pty", "spawn", "true"),
    ("trace", "Trace", "x"),
    ("doctest", "debug_script", "open('CANARY','w')"),
    ("logging", "FileHandler", "CANARY"),
    ("pathlib", "Path.touch", "CANARY"),
    ("io", "open", "/etc/passwd"),
    ("shutil", "rmtree", "CANARY.d"),
    ("ctypes", "CDLL", "libc.so.6"),
    ("torch", "load", "CANARY.pt"),
    ("torch.hub", "load_state_dict_from_url", "https://127.0.0.1/"),
    ("numpy", "load", "CANARY.npy"),
    ("pickle", "loads", "x"),
    ("torch.serialization", "load", "CANARY.pt"),
    ("transformers", "AutoModel", "x"),
    ("asyncio.unix_events", "_UnixSubprocessTransport._start", "x"),
    ("multiprocessing.util", "spawnv_passfds", "true"),
)

TAGS = (
    "!!python/object/apply:os.system ['touch CANARY']",
    "!!python/object/new:os.system ['touch CANARY']",
    "!!python/object/apply:subprocess.getoutput ['touch CANARY']",
    "!!python/object:os.stat_result {}",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/tuple [1, 2]",
    "!!python/bytes aGVsbG8=",
    "!!python/object/apply:builtins.eval [\"open('CANARY','w')\"]",
    "!!python/object/new:type [a, [], {}]",
    "!!binary aGVsbG8=",
    "!include /etc/passwd",
    "!env HOME",
    "!!timestamp 2020-01-01",
    "${oc.env:HOME}",
    "${oc.decode:'x'}",
    "${oc.create:{}}",
    "${oc.select:x}",
    "${oc.dict.keys:datasets}",
    "${oc.deprecated:x}",
    "${hydra:runtime.cwd}",
    "${env:HOME}",
    "${eval:1+1}",
    "${now:%Y}",
    "${oc.env:PATH,x}/../x",
)

TREES = (
    "_target_: os.system",
    "_target_: shutil.copyfile",
    "_partial_: true",
    "_args_: [1]",
    "_recursive_: true",
    "_convert_: all",
    "datasets: {a: {_target_: webbrowser.open}}",
    "datasets: {a: {path: {_target_: builtins.open}}}",
    "datasets: [{_target_: os.system}]",
    "_self_: x",
    "datasets: &a [*a]",
    "\n".join(f"{a}: &{a} [{','.join([b] * 9)}]" for a, b in zip("abcde", "x*****", strict=False)),
    "- a",
    "\t{",
    "a: 1\na: 2",
    "{" * 5000,
)

ARGUMENTS = (
    "hydra.run.dir=CANARY",
    "hydra/launcher=x",
    "+hydra.job.env_set.PATH=x",
    "train.seed=${oc.env:HOME}",
    "+train._target_=os.system",
    "+data._target_=os.system",
    "model=../../../../etc/passwd",
    "data=/etc/passwd",
    "data=file:///etc/passwd",
    "~train",
    "--config-dir=/etc",
    "experiment=pkg://os",
)

# Keys of config.json that a version of something once ran code for.
KEYS: tuple[tuple[str, Any], ...] = (
    ("auto_map", {"AutoConfig": "evil.Evil", "AutoModelForMultimodalLM": "evil.Evil"}),
    ("auto_map", {"AutoConfig": "other/repo--evil.Evil"}),
    ("trust_remote_code", True),
    ("_attn_implementation_internal", "evil/kernel"),
    ("_attn_implementation", "evil/kernel"),
    ("attn_implementation", "../evil"),
    ("_experts_implementation_internal", "evil/kernel"),
    ("model_file", "evil.py"),
    ("custom_pipelines", {"x": {"impl": "evil.Evil"}}),
    ("_name_or_path", "evil/evil"),
    ("_target_", "os.system"),
    ("architectures", ["evil.Evil"]),
    ("model_type", "evil"),
    ("model_type", "../evil"),
    ("quantization_config", {"quant_method": "evil"}),
    ("use_kernels", True),
    ("tokenizer_class", "evil.Evil"),
    ("processor_class", "evil.Evil"),
    ("base_model_tp_plan", {"x": "evil"}),
    ("dtype", "os.system"),
    ("torch_dtype", "__import__('os')"),
    ("text_config", {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}),
    ("text_config", "x"),
    ("transformers_weights", "../evil.bin"),
    ("generation_config", {"custom_generate": "evil"}),
)


def pickled(module: str, name: str, text: str) -> bytes:
    """Return a pickle that calls a function with a text."""
    argument = pickle.dumps(text, protocol=2)[2:-1]
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + argument + b"\x85R."


def archive(data: bytes) -> bytes:
    """Return a file as torch writes it since 1.6, with this pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as box:
        box.writestr("a/data.pkl", data)
        box.writestr("a/version", "3\n")
        box.writestr("a/byteorder", "little")
    return file.getvalue()


def safetensors(header: object, data: bytes = bytes(16), *, told: int | None = None) -> bytes:
    """Return a safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if told is None else told) + text + data


def _tensor(dtype: object = "F32", shape: object = (4,), offsets: object = (0, 16)) -> Any:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


HEADERS: tuple[tuple[str, bytes], ...] = (
    ("empty", b""),
    ("short", b"\1\2\3"),
    ("length of all bits", safetensors({}, told=2**64 - 1)),
    ("length beyond the file", safetensors({}, told=10**6)),
    ("length below the header", safetensors(_tensor(), told=5)),
    ("length of 4 GiB", safetensors({}, told=2**32)),
    ("no object", safetensors([])),
    ("no json", safetensors(b"hello")),
    ("no utf-8", safetensors(b"\xff\xfe{}")),
    ("deep", safetensors(b'{"a":' * 10_000)),
    ("unknown type", safetensors(_tensor("F13"))),
    ("shape that lies", safetensors(_tensor(shape=(5,)))),
    ("shape that overflows", safetensors(_tensor(shape=(2**62, 4)))),
    ("shape below zero", safetensors(_tensor(shape=(-4,)))),
    ("shape of fractions", safetensors(_tensor(shape=(0.5,)))),
    ("offsets beyond the file", safetensors(_tensor(shape=(400,), offsets=(0, 1600)))),
    ("offsets that run back", safetensors(_tensor(offsets=(16, 0)))),
    ("offsets below zero", safetensors(_tensor(offsets=(-16, 0)))),
    ("offsets with a hole", safetensors(_tensor(offsets=(8, 24)), bytes(24))),
    ("one byte more", safetensors(_tensor(), bytes(17))),
    ("metadata that is no text", safetensors({"__metadata__": {"a": 1}, **_tensor()})),
    ("two tensors in one place", safetensors({**_tensor(), "b": _tensor()["a"]})),
)


def cases(count: int, folder: Path) -> Iterator[Case]:
    """Yield the files; each is opened as whoever uses Hocket opens it."""
    canary = folder / "canary"
    for number, (module, name, text) in enumerate(CALLS):
        data = pickled(module, name, text.replace("CANARY", str(canary)))
        for kind, whole in (("pickle", data), ("torch", archive(data))):
            file = folder / f"{number}.{kind}.bin"
            yield Case(f"{kind}: {module}.{name} {text[:8]}", _kept(canary, _file, file, whole))
    for number, (name, whole) in enumerate(HEADERS):
        file = folder / f"{number}.safetensors"
        yield Case(f"safetensors: {name}", _kept(canary, _file, file, whole))
    for tag in TAGS:
        value = tag.replace("CANARY", str(canary))
        tree = f"datasets:\n  a:\n    path: {value}\n    format: json\n"
        yield Case(f"yaml: {tag[:60]}", _kept(canary, _yaml, folder, tree))
    for tree in TREES:
        yield Case(f"tree: {tree[:60]}", _kept(canary, _yaml, folder, tree))
    for one in ARGUMENTS:
        arguments = [one.replace("CANARY", str(canary))]
        yield Case(f"argument: {one}", _kept(canary, compose_run, arguments))
    yield from _configs(folder, canary)


def _configs(folder: Path, canary: Path) -> Iterator[Case]:
    whole = folder / "checkpoint"
    whole.mkdir()
    built = toy()
    write_checkpoint(whole, built.model, built.processor)
    evil = f"open({str(canary)!r}, 'w')\nclass Evil: pass\n"
    for name in ("evil.py", "hub_hocket.py"):
        (whole / name).write_text(evil, encoding="utf-8")
    for number, (key, value) in enumerate(KEYS):
        for file in ("config.json", "tokenizer_config.json"):
            name = f"{file}: {key} {number}"
            case = _kept(canary, _checkpoint, whole, file, {key: value})
            yield Case(name, case, Expected.EITHER)
    for key, value in KEYS[:8]:
        case = _kept(canary, _imported, whole, folder / "out", {"model_type": "evil", key: value})
        yield Case(f"import: {key} {str(value)[:40]}", case)


def _kept(canary: Path, call: Callable[..., object], *args: object) -> Callable[[], object]:
    """Return a call after which the canary must not be there."""

    def run() -> object:
        try:
            return call(*args)
        finally:
            made = canary.exists()
            assert not made, "it ran code"

    return run


def _file(file: Path, data: bytes) -> object:
    file.write_bytes(data)
    found = open_file(file)
    return [item.read() for item in found.values()]


def _yaml(folder: Path, text: str) -> object:
    file = folder / "data.yaml"
    file.write_text(text, encoding="utf-8")
    return compose_data([f"data={file}"])


def _checkpoint(whole: Path, name: str, change: dict[str, Any]) -> object:
    """Open a checkpoint with a key more; what its weights are is not looked at."""
    file = whole / name
    before = file.read_text(encoding="utf-8")
    file.write_text(json.dumps(json.loads(before) | change), encoding="utf-8")
    try:
        return type(load_checkpoint(whole, Placement(device="meta")).model)
    finally:
        file.write_text(before, encoding="utf-8")


def _imported(whole: Path, out: Path, change: dict[str, Any]) -> object:
    source = out.with_name("source")
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(whole, source)
    file = source / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | change), encoding="utf-8")
    try:
        return import_checkpoint("auto", source, out)
    finally:
        if os.path.lexists(out):
            raise CheckpointError(f"{out} was written")


SUITE = Suite(
    name="payloads",
    tries="pickles that call, lying safetensors, YAML tags, _target_, config.json keys",
    means="nothing runs: the canary is never made",
    counts={Size.CI: 203, Size.NIGHTLY: 203},
    cases=cases,
    seconds=20.0,
)
