"""transformers' Trainer with `LlavaForConditionalGeneration`; runs where hocket is installed."""

from __future__ import annotations

from typing import Any

import probe
import torch
from PIL import Image
from transformers import (
    AutoProcessor,
    LlavaForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

ROLES = {"human": "user", "gpt": "assistant"}


class Rows(torch.utils.data.Dataset):
    """Dialogues as transformers' chat templates take them."""

    def __init__(self, job: probe.Job) -> None:
        self._rows, self._images = job.conversations(), job.folder / "images"

    def __len__(self) -> int:
        """Dialogues."""
        return len(self._rows)

    def __getitem__(self, at: int) -> list[dict[str, Any]]:
        """Return the messages of a dialogue, its picture opened."""
        row, said = self._rows[at], []
        for one in row["conversations"]:
            parts, text = [], one["value"]
            if text.startswith("<image>"):
                picture = Image.open(self._images / row["image"]).convert("RGB")
                parts.append({"type": "image", "image": picture})
                text = text.removeprefix("<image>")
            said.append(
                {"role": ROLES[one["from"]], "content": [*parts, {"type": "text", "text": text}]}
            )
        return said


class Collator:
    """Messages become a padded batch whose labels are the answers.

    Args:
        job: says where the processor is and how long a sample may be.
    """

    def __init__(self, job: probe.Job) -> None:
        self._processor = AutoProcessor.from_pretrained(job.model)
        self._longest = job.longest

    def __call__(self, samples: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return a batch."""
        batch = self._processor.apply_chat_template(
            samples,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            return_assistant_tokens_mask=True,
            processor_kwargs={
                "padding": True,
                "padding_side": "right",
                "truncation": True,
                "max_length": self._longest,
                "add_special_tokens": False,
            },
        )
        labels = batch["input_ids"].clone()
        labels[batch["attention_mask"] == 0] = probe.IGNORED
        labels[torch.as_tensor(batch.pop("assistant_masks")) == 0] = probe.IGNORED
        return {**batch, "labels": labels}


def main() -> None:
    """Train and tell."""
    job = probe.read_job()
    account = probe.Probe("transformers Trainer", job)
    account.watch_llava()
    model = LlavaForConditionalGeneration.from_pretrained(job.model, dtype=torch.float32)
    if job.frozen:
        probe.freeze(model)
    arguments = TrainingArguments(
        output_dir=str(job.out),
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
        gradient_checkpointing=False,
        **job.arguments(),
    )
    Trainer(
        model=model, args=arguments, train_dataset=Rows(job), data_collator=Collator(job)
    ).train()
    account.tell()


if __name__ == "__main__":
    main()
