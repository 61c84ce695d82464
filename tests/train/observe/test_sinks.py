"""The writers write what their own readers find."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.train.toy_run import build_model, data_spec, recipe, write_rows

from hocket._errors import ConfigError, MissingExtraError, UnknownNameError
from hocket.train.log import read_log
from hocket.train.loop import Report
from hocket.train.recipe import Recipe
from hocket.train.run import Run, train
from hocket.train.state import TrainState


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def chosen(*names: str) -> Recipe:
    plain = recipe(steps=(3, 3), save_every=2)
    return replace(plain, report_to=list(names), log_every=1, monitor_step=2)


class _CrashError(Exception):
    pass


def test_tensorboard_reads_back_every_step_once(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def crash(state: TrainState, report: Report) -> None:
        if (state.stage, state.step) == ("joint", 1):
            raise _CrashError

    run = Run(
        recipe=chosen("tensorboard"), data=data_spec(folder), out=tmp_path, config_yaml="a: 1"
    )
    with pytest.raises(_CrashError):
        train(run, *build_model(folder), [crash])
    train(run, *build_model(folder))
    found = EventAccumulator(str(tmp_path / "logs"), {"histograms": 0, "scalars": 0})
    found.Reload()
    lines = read_log(tmp_path / "log.jsonl")
    scalars = [(one.step, one.value) for one in found.Scalars("loss")]
    assert [step for step, _ in scalars] == [1, 2, 3, 4, 5, 6]
    assert [value for _, value in scalars] == pytest.approx([line["loss"] for line in lines])
    tags = set(found.Tags()["scalars"])
    assert {"grad_norm", "loss/source/media", "lr/all", "norm/update/language"} <= tags
    assert {"norm/embedding/text", "time/data_seconds", "memory/process_gib"} <= tags
    assert {"weight/vision", "gradient/connector"} <= set(found.Tags()["histograms"])
    assert [one.step for one in found.Histograms("weight/connector")] == [2, 5]
    assert found.Histograms("weight/connector")[0].histogram_value.num > 100


def records(data: bytes) -> Iterator[bytes]:
    """Yield the records of wandb's file: LevelDB's log, whose blocks of 32 KiB hold pieces."""
    assert data[:4] == b":W&B"
    at, whole, block = 7, b"", 2**15
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield whole
            whole = b""


def test_wandb_writes_offline_what_its_reader_finds(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    run = Run(recipe=chosen("wandb"), data=data_spec(folder), out=tmp_path, config_yaml="seed: 3")
    train(run, *build_model(folder))
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    history: list[dict[str, Any]] = []
    for data in records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            items = record.history.item
            history.append(
                {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in items}
            )
    lines = read_log(tmp_path / "log.jsonl")
    assert [one["_step"] for one in history] == [1, 2, 3, 4, 5, 6]
    assert [one["loss"] for one in history] == pytest.approx([line["loss"] for line in lines])
    assert any(key.startswith("weight/connector") for key in history[1])
    assert "norm/update/language" in history[5]


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_names_its_extra(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = "torch.utils.tensorboard" if name == "tensorboard" else name
    monkeypatch.setitem(sys.modules, missing, None)
    run = Run(recipe=chosen(name), data=data_spec(folder), out=tmp_path)
    with pytest.raises(MissingExtraError, match=rf"pip install 'hocket\[{name}\]'"):
        train(run, *build_model(folder))
    assert read_log(tmp_path / "log.jsonl") == []


def test_an_unknown_writer_is_told_with_the_known_ones(folder: Path, tmp_path: Path) -> None:
    run = Run(recipe=chosen("tensorbord"), data=data_spec(folder), out=tmp_path)
    with pytest.raises(UnknownNameError, match=r"Did you mean 'tensorboard'.*Known: .*wandb"):
        train(run, *build_model(folder))


def test_an_unknown_mode_of_wandb(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    run = Run(recipe=chosen("wandb"), data=data_spec(folder), out=tmp_path)
    with pytest.raises(ConfigError, match="WANDB_MODE is 'sometimes'"):
        train(run, *build_model(folder))
