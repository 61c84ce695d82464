"""TRL's SFTTrainer; needs the environment `trl` of `install.sh`."""

from __future__ import annotations

from typing import Any

import probe

probe.name_missing_vision_operators()

import torch  # noqa: E402 -- it needs the names above
from datasets import Dataset, List  # noqa: E402 -- it needs what is set above
from datasets import Image as HubImage  # noqa: E402 -- it needs what is set above
from transformers import AutoProcessor, LlavaForConditionalGeneration  # noqa: E402 -- it needs what is set above
from trl import SFTConfig, SFTTrainer  # noqa: E402 -- it needs what is set above

ROLES = {"human": "user", "gpt": "assistant"}


def main() -> None:
    """Train and tell."""
    job = probe.read_job()
    account = probe.Probe("TRL SFT", job)
    rows = job.conversations()
    said = [
        [
            {"role": ROLES[one["from"]], "content": one["value"].replace("<image>\n", "")}
            for one in row["conversations"]
        ]
        for row in rows
    ]
    shown = [[str(job.folder / "images" / row["image"])] if "image" in row else [] for row in rows]
    data = Dataset.from_dict({"messages": said, "images": shown})
    data = data.cast_column("images", List(HubImage()))
    model = LlavaForConditionalGeneration.from_pretrained(job.model, dtype=torch.float32)
    if job.frozen:
        probe.freeze(model)

    def watch(_: object, __: object, batch: dict[str, Any]) -> None:
        account.forward(batch["input_ids"], batch.get("attention_mask"), batch.get("labels"))

    model.register_forward_pre_hook(watch, with_kwargs=True)
    arguments = SFTConfig(
        output_dir=str(job.out),
        max_length=job.longest,
        assistant_only_loss=True,
        gradient_checkpointing=False,
        train_sampling_strategy="sequential",
        **job.arguments(),
    )
    processor = AutoProcessor.from_pretrained(job.model)
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=data, processing_class=processor
    )
    trainer.train()
    account.losses += [one["loss"] for one in trainer.state.log_history if "loss" in one]
    account.tell()


if __name__ == "__main__":
    main()
