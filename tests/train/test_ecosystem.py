"""Peft and TRL train the composite as it is.

TRL is no dependency of hocket; without it its tests are skipped. To run them::

    python -m venv /tmp/trlenv
    /tmp/trlenv/bin/pip install -c constraints/cpu.txt -e . pytest trl datasets
    /tmp/trlenv/bin/python -m pytest tests/train/test_ecosystem.py
"""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

import peft
import PIL.Image
import pytest
import torch
from tests.train.toy_run import COLOURS, build_model, data_spec, write_rows

from hocket.data.mixture import open_source
from hocket.model.build import Built
from hocket.tokens.batch import pad_batch

needs_trl = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("trl", "datasets")),
    reason="trl and datasets are not installed; the header of this file has the commands",
)
# Warnings of peft and TRL about transformers are theirs to mend.
pytestmark = pytest.mark.filterwarnings("default")
STEPS = 4


@pytest.fixture
def built(tmp_path: Path) -> Built:
    write_rows(tmp_path)
    return build_model(tmp_path)


def options(folder: Path, **more: Any) -> dict[str, Any]:
    """Return the arguments that all trainers share."""
    return {
        "output_dir": str(folder / "out"),
        "max_steps": STEPS,
        "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 2,
        "learning_rate": 3e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
    } | more


def coloured() -> list[tuple[str, PIL.Image.Image]]:
    """Return pictures of one colour and the colour's name."""
    return [
        (name, PIL.Image.new("RGB", (16 + number, 20), rgb))
        for number in range(4)
        for name, rgb in COLOURS.items()
    ]


def logged(trainer: Any, key: str = "loss") -> list[float]:
    return [float(line[key]) for line in trainer.state.log_history if key in line]


def snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def moved(model: torch.nn.Module, before: dict[str, torch.Tensor], part: str) -> bool:
    """Return whether some parameter with the part in its name differs."""
    return any(
        not torch.equal(value, before[name])
        for name, value in model.named_parameters()
        if part in name
    )


def test_peft_wraps_trains_saves_and_opens(built: Built, tmp_path: Path) -> None:
    model, processor = built
    source = open_source("media", data_spec(tmp_path).datasets["media"])
    examples = [processor.encode(source[index]) for index in range(6)]
    batch: dict[str, Any] = dict(
        pad_batch(examples, pad_id=processor.tokenizer.pad_token_id, side="right")
    )
    fresh = copy.deepcopy(model)
    config = peft.LoraConfig(r=4, target_modules=r".*language_model.*\.(q_proj|up_proj)")
    wrapped = peft.get_peft_model(model, config)
    optimizer = torch.optim.AdamW([one for one in wrapped.parameters() if one.requires_grad], 1e-2)
    losses = []
    for _ in range(STEPS):
        loss = wrapped(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.05
    wrapped.eval()
    wrapped.save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        expected = wrapped(**batch).logits
    again = peft.PeftModel.from_pretrained(fresh, str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        assert torch.equal(again(**batch).logits, expected)
        with again.disable_adapter():
            assert not torch.equal(again(**batch).logits, expected)


@needs_trl
@pytest.mark.parametrize("adapted", [False, True])
def test_trl_sft_trains(built: Built, tmp_path: Path, adapted: bool) -> None:
    import datasets
    import trl

    model, processor = built
    rows = [
        {
            "prompt": [{"role": "user", "content": "Which colour?"}],
            "completion": [{"role": "assistant", "content": name}],
            "images": [image],
        }
        for name, image in coloured()
    ]
    before = snapshot(model)
    trainer = trl.SFTTrainer(
        model=model,
        args=trl.SFTConfig(**options(tmp_path, max_length=None)),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=processor,
        peft_config=peft.LoraConfig(target_modules=["q_proj", "v_proj"]) if adapted else None,
    )
    trainer.train()
    losses = logged(trainer)
    assert len(losses) == STEPS
    assert losses[-1] < losses[0]
    if not adapted:
        for part in ("language_model", "vision_tower", "multi_modal_projector"):
            assert moved(model, before, part), part


@needs_trl
@pytest.mark.parametrize("adapted", [False, True])
def test_trl_dpo_trains(built: Built, tmp_path: Path, adapted: bool) -> None:
    import datasets
    import trl

    model, processor = built
    names = list(COLOURS)
    rows = [
        {
            "prompt": [{"role": "user", "content": "Which colour?"}],
            "chosen": [{"role": "assistant", "content": name}],
            "rejected": [{"role": "assistant", "content": names[names.index(name) - 1]}],
            "images": [image],
        }
        for name, image in coloured()
    ]
    before = snapshot(model)
    trainer = trl.DPOTrainer(
        model=model,
        # With adapters TRL switches them off. Else it would look for the model on the hub.
        ref_model=None if adapted else copy.deepcopy(model),
        args=trl.DPOConfig(**options(tmp_path, max_length=None, beta=0.5)),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=processor,
        peft_config=peft.LoraConfig(target_modules=["q_proj", "v_proj"]) if adapted else None,
    )
    trainer.train()
    losses = logged(trainer)
    assert len(losses) == STEPS
    assert losses[0] == pytest.approx(0.6931, abs=0.01)
    assert logged(trainer, "rewards/margins")[-1] > 0
    if not adapted:
        assert moved(model, before, "vision_tower")
