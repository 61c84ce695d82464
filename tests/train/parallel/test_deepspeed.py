"""DeepSpeed's files set what has an equal here and say what has none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hocket._errors import ConfigError, MissingExtraError
from hocket.model.sequence import SequenceSpec
from hocket.train.parallel import ComputeDtype, FsdpSpec, Sharding
from hocket.train.parallel import deepspeed as reader
from hocket.train.parallel.deepspeed import engine_options, with_deepspeed
from hocket.train.precision import with_formats
from hocket.train.recipe import HeadSpec, LossSpec, PreferenceSpec, Recipe, Stage

AUTO = {
    "train_micro_batch_size_per_gpu": "auto",
    "fp16": {"enabled": "auto", "loss_scale": 0},
    "gradient_clipping": "auto",
}


def read(folder: Path, document: dict[str, Any], **options: Any) -> Recipe:
    file = folder / "zero.json"
    file.write_text(json.dumps(document), "utf-8")
    stage = Stage(data={}, trainable={}, steps=1, max_norm=0.5)
    return with_deepspeed(Recipe(stages={"only": stage}, deepspeed=str(file), **options))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let DeepSpeed be found, installed or not."""
    monkeypatch.setattr(reader, "find_spec", lambda name: name)


def test_zero_3_with_bfloat16_and_offloading(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        AUTO
        | {
            "bf16": {"enabled": True},
            "compile": {"enabled": True, "backend": "inductor"},
            "gradient_clipping": 2.0,
            "zero_optimization": {
                "stage": 3,
                "offload_param": {"device": "cpu", "pin_memory": True},
                "overlap_comm": True,
                "reduce_bucket_size": "auto",
            },
        },
    )
    assert found.sharding is Sharding.FSDP
    assert found.fsdp == FsdpSpec(
        compute_dtype="bfloat16", reduce_dtype="float32", cpu_offload=True, reshard=True
    )
    assert found.compile_blocks and found.stages["only"].max_norm == 2.0
    assert found.deepspeed == ""


def test_zero_2_keeps_weights_and_zero_0_shares_gradients_alone(tmp_path: Path) -> None:
    two = read(tmp_path, AUTO | {"zero_optimization": {"stage": 2}})
    assert (two.sharding, two.fsdp.reshard) == (Sharding.FSDP, False)
    assert two.stages["only"].max_norm == 0.5
    zero = read(tmp_path, AUTO | {"zero_optimization": {"stage": 0}})
    assert zero.sharding is Sharding.DDP


def test_bfloat16_without_shares_is_the_runs_own(tmp_path: Path) -> None:
    found = read(tmp_path, AUTO | {"bf16": {"enabled": True}, "compile": {"enabled": "auto"}})
    assert (found.sharding, found.fsdp) == (Sharding.DDP, FsdpSpec())
    assert found.compute_dtype is ComputeDtype.BFLOAT16 and not found.compile_blocks
    assert with_formats(found) == found


@pytest.mark.parametrize(
    ("zero", "reshard", "told"),
    [
        ({"stage": 1}, False, "ZeRO-1 is taken as fsdp with reshard=false"),
        ({"stage": 3, "mics_shard_size": 8}, True, "mics_shard_size: shares lie over all"),
        (
            {"stage": 3, "zero_hpz_partition_size": 8, "zero_quantized_weights": False},
            True,
            "zero_hpz_partition_size: shares lie over all",
        ),
        ({"stage": 3, "mics_shard_size": -1, "zero_hpz_partition_size": 1}, True, ""),
    ],
)
def test_another_layout_of_the_same_is_told(
    tmp_path: Path,
    zero: dict[str, Any],
    reshard: bool,
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = read(tmp_path, AUTO | {"bf16": {"enabled": True}, "zero_optimization": zero})
    assert (found.sharding, found.fsdp.reshard) == (Sharding.FSDP, reshard)
    assert with_formats(found).fsdp.compute_dtype == found.compute_dtype == "bfloat16"
    read_as = "read as train.sharding=fsdp; DeepSpeed itself does not run"
    assert told in caplog.text and read_as in caplog.text
    assert len(caplog.records) == 1 + bool(told)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"fp16": {"enabled": True}}, "fp16.enabled has no equal"),
        ({"zero_optimization": {"stage": 4}}, "stage 4 has no equal"),
        ({"zero_optimization": {"stage": True}}, "stage True has no equal"),
        ({"zero_optimization": {"stage": 3, "zero_quantized_weights": True}}, "zero_quantized_w"),
        ({"zero_optimization": {"stage": 3, "zero_quantized_gradients": True}}, "zero_quantized_g"),
        ({"gradient_clipping": "1,0"}, "gradient_clipping is '1,0', expected a number above 0"),
        ({"gradient_clipping": 0}, "gradient_clipping is 0, expected a number above 0"),
        ({"gradient_clipping": float("nan")}, "gradient_clipping is nan"),
        ({"gradient_clipping": True}, "gradient_clipping is True"),
        ({"bf16": {"enabled": "yes"}}, "bf16.enabled is 'yes', expected true, false or auto"),
        ({"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme"}}}, "nvme"),
        ({"zero_optimization": {"stage": 3, "moon": 1}}, "zero_optimization.moon"),
        ({"zero_optimization": 3}, "zero_optimization is no JSON object"),
        ({"sparse_attention": {}}, "sparse_attention has no equal"),
    ],
)
def test_what_has_no_equal_is_refused(
    tmp_path: Path, document: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, document)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    recipe = Recipe(stages={}, deepspeed=str(tmp_path / "none.json"))
    with pytest.raises(ConfigError, match=r"none\.json cannot be read"):
        with_deepspeed(recipe)


ITSELF = {"sharding": Sharding.DEEPSPEED}
ORIGINAL = AUTO | {
    "bf16": {"enabled": "auto"},
    "train_batch_size": "auto",
    "zero_optimization": {
        "stage": 3,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "sub_group_size": 1e9,
        "reduce_bucket_size": "auto",
        "stage3_prefetch_bucket_size": "auto",
        "stage3_param_persistence_threshold": "auto",
        "stage3_max_live_parameters": 1e9,
        "stage3_max_reuse_distance": 1e9,
        "stage3_gather_16bit_weights_on_model_save": True,
    },
}
"""LLaVA's zero3.json."""


@pytest.mark.usefixtures("installed")
def test_deepspeed_itself_gets_zero_and_nothing_of_the_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = {"optimizer": {"type": "AdamW"}, "gradient_clipping": 2.0, "bf16": {"enabled": True}}
    found = read(tmp_path, ORIGINAL | loop, **ITSELF)
    assert found.sharding is Sharding.DEEPSPEED and found.deepspeed
    assert found.compute_dtype is ComputeDtype.BFLOAT16 and found.stages["only"].max_norm == 2.0
    assert (found.log_every, found.monitor_step) == (0, 0)
    assert with_formats(with_deepspeed(found)) == found
    options = engine_options(found, width=32, tell=True)
    assert options["zero_optimization"] == {
        "stage": 3,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "sub_group_size": 1e9,
        "reduce_bucket_size": 1024,
        "stage3_prefetch_bucket_size": 921,
        "stage3_param_persistence_threshold": 320,
        "stage3_max_live_parameters": 1e9,
        "stage3_max_reuse_distance": 1e9,
    }
    assert options["gradient_clipping"] == 0 and options["gradient_accumulation_steps"] == 1
    assert options["torch_autocast"]["dtype"] == "bfloat16" and "bf16" not in options
    for told in ("optimizer is not used", "gather_16bit_weights_on_model_save", "are off"):
        assert told in caplog.text


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("zero", "options", "message"),
    [
        ({"stage": 1}, {}, "stage is 1, but DeepSpeed itself runs stages 2 and 3"),
        ({"stage": 3, "mics_shard_size": 8}, {}, "mics_shard_size: DeepSpeed itself runs here"),
        ({"stage": 3, "zero_quantized_weights": True}, {}, "zero_quantized_weights has no equal"),
        ({"stage": 3, "moon": 1}, {}, "zero_optimization.moon has no equal"),
        ({"stage": 2}, {"sequence_parallel": SequenceSpec(ring=2)}, "does not share rows"),
    ],
)
def test_what_does_not_run_beneath_deepspeed_is_refused(
    tmp_path: Path, zero: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, {"zero_optimization": zero}, **ITSELF, **options)


@pytest.mark.usefixtures("installed")
def test_preferences_do_not_run_beneath_deepspeed(tmp_path: Path) -> None:
    file = tmp_path / "zero.json"
    file.write_text(json.dumps(ORIGINAL), "utf-8")
    pairs = Stage(steps=1, preference=PreferenceSpec())
    with pytest.raises(ConfigError, match="'dpo' learns from preferences"):
        with_deepspeed(Recipe(stages={"dpo": pairs}, deepspeed=str(file), **ITSELF))


@pytest.mark.usefixtures("installed")
def test_heads_do_not_run_beneath_deepspeed(tmp_path: Path) -> None:
    file = tmp_path / "zero.json"
    file.write_text(json.dumps(ORIGINAL), "utf-8")
    head = HeadSpec(label="shape", classes=2)
    headed = Stage(steps=1, loss=LossSpec(heads={"vision": head}))
    with pytest.raises(ConfigError, match=r"'see' has loss\.heads"):
        with_deepspeed(Recipe(stages={"see": headed}, deepspeed=str(file), **ITSELF))


def test_deepspeed_itself_needs_its_package_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hocket\[deepspeed\]'"):
        read(tmp_path, ORIGINAL, **ITSELF)
    with pytest.raises(ConfigError, match=r"names no file of its options"):
        with_deepspeed(Recipe(stages={}, sharding=Sharding.DEEPSPEED))
