"""Transformers' own Trainer trains the composite as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tests.train.toy_run import build_model, data_spec, write_rows
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from hocket.data.mixture import open_source
from hocket.tokens.batch import pad_batch
from hocket.tokens.example import Example


class Examples(Dataset[Example]):
    """A list as a data set."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        return self._examples[index]


def test_it_trains(tmp_path: Path) -> None:
    write_rows(tmp_path)
    model, processor = build_model(tmp_path)
    source = open_source("media", data_spec(tmp_path).datasets["media"])
    examples = [processor.encode(source[index]) for index in range(len(source))]
    pad = processor.tokenizer.pad_token_id

    def collate(chosen: list[Example]) -> dict[str, Any]:
        return dict(pad_batch(chosen, pad_id=pad, side="right"))

    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(tmp_path / "out"),
            max_steps=3,
            per_device_train_batch_size=3,
            gradient_accumulation_steps=2,
            learning_rate=3e-3,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
        ),
        train_dataset=Examples(examples),
        data_collator=collate,
    )
    trainer.train()
    logged = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    # Divided by the supervised tokens of the whole step, the loss starts near log(vocabulary).
    assert len(logged) == 3
    assert 4.0 < logged[0] < 8.0
    assert logged[2] < logged[0] - 0.2
    fixed = {"model.audio_tower.embed_positions.weight"}
    after = model.state_dict()
    assert {name for name in after if torch.equal(after[name], before[name])} == fixed
