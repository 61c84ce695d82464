"""nanoVLM's own model, data set, packing and step; needs the environment `nanovlm` of `install.sh`.

Its model is not Llava: the same widths and layers, drawn at random, without CLIP's class token. The
step is that of its train.py without wandb, validation and bfloat16, which are 60 times slower than
float32 on processors without it. Rows have 1,408 tokens, which its packing fills.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import probe

probe.name_missing_vision_operators()
sys.path.insert(0, str(Path(sys.prefix) / "source"))

import torch  # noqa: E402 -- it needs the names above
from data.advanced_datasets import ConstantLengthDataset  # noqa: E402 -- it needs what is set above
from data.collators import VQACollator  # noqa: E402 -- it needs what is set above
from data.datasets import VQADataset  # noqa: E402 -- it needs what is set above
from data.processors import get_image_processor, get_tokenizer  # noqa: E402 -- it needs what is set above
from models.config import VLMConfig  # noqa: E402 -- it needs what is set above
from models.vision_language_model import VisionLanguageModel  # noqa: E402 -- it needs what is set above
from PIL import Image  # noqa: E402 -- it needs what is set above
from torchvision.transforms import CenterCrop  # noqa: E402 -- it needs what is set above

LENGTH = 1408
# Its data set finds the answer of a turn by a template whose prefix it can measure.
TEMPLATE = (
    "{% for message in messages %}{% if message['role']=='user' %}"
    "{{'<s>USER: ' + message['content'] + '<pad>'}}{% else %}"
    "{{'ASSISTANT: ' + message['content'] + '</s>'}}{% endif %}{% endfor %}"
)


class Rows:
    """Dialogues as `VQADataset` takes them."""

    def __init__(self, job: probe.Job) -> None:
        self._rows, self._images = job.conversations(), job.folder / "images"

    def __len__(self) -> int:
        """Dialogues."""
        return len(self._rows)

    def __getitem__(self, at: int) -> dict[str, Any]:
        """Return a dialogue, its picture opened."""
        row = self._rows[at]
        said = [one["value"].replace("<image>\n", "") for one in row["conversations"]]
        pictures = []
        if "image" in row:
            pictures = [Image.open(self._images / row["image"]).convert("RGB")]
        turns = [
            {"user": asked, "assistant": answered}
            for asked, answered in zip(said[::2], said[1::2], strict=True)
        ]
        return {"images": pictures, "texts": turns}


def config_of(job: probe.Job) -> VLMConfig:
    """Return the widths and layers of the exported model in nanoVLM's names."""
    known = json.loads((job.folder / "llava" / "config.json").read_text())
    eyes, words = known["vision_config"], known["text_config"]
    side = eyes["image_size"] // eyes["patch_size"]
    return VLMConfig(
        vit_hidden_dim=eyes["hidden_size"],
        vit_inter_dim=eyes["intermediate_size"],
        vit_patch_size=eyes["patch_size"],
        vit_img_size=eyes["image_size"],
        vit_n_heads=eyes["num_attention_heads"],
        vit_n_blocks=eyes["num_hidden_layers"],
        lm_hidden_dim=words["hidden_size"],
        lm_inter_dim=words["intermediate_size"],
        lm_base_vocab_size=words["vocab_size"],
        extra_token_amount=0,
        lm_vocab_size=words["vocab_size"],
        lm_n_heads=words["num_attention_heads"],
        lm_n_kv_heads=words["num_key_value_heads"],
        lm_n_blocks=words["num_hidden_layers"],
        lm_max_length=LENGTH,
        lm_tie_weights=False,
        lm_tokenizer=job.model,
        lm_chat_template=TEMPLATE,
        mp_pixel_shuffle_factor=1,
        mp_image_token_length=side * side,
        max_img_size=eyes["image_size"],
        vlm_extra_tokens={"image_token": "<image>", "r1c1": "<unk>"},
        vlm_load_backbone_weights=False,
    )


def open_tokenizer(config: VLMConfig) -> Any:
    """Return its tokenizer, whose templates give lists as in transformers 4."""
    tokenizer = get_tokenizer(config.lm_tokenizer, config.vlm_extra_tokens, config.lm_chat_template)
    inner = tokenizer.apply_chat_template

    def listed(messages: Any, tokenize: bool = True, **options: Any) -> Any:
        options.pop("add_special_tokens", None)
        options.setdefault("return_dict", False)
        return inner(messages, tokenize=tokenize, **options)

    tokenizer.apply_chat_template = listed
    return tokenizer


def batches(job: probe.Job, config: VLMConfig) -> Any:
    """Yield its packed batches, one row each, for ever."""
    tokenizer = open_tokenizer(config)
    pictures = get_image_processor(config.max_img_size, config.vit_img_size, True)
    # The same square that CLIP's processor takes elsewhere.
    pictures.transforms.insert(0, CenterCrop(config.vit_img_size))
    while True:
        rows = VQADataset(Rows(job), tokenizer, pictures, config.mp_image_token_length)
        packed = ConstantLengthDataset(
            rows,
            infinite=False,
            max_sample_length=job.longest,
            seq_length=LENGTH,
            num_of_sequences=4,
            queue_size=8,
            max_images_per_example=4,
            max_images_per_knapsack=18,
        )
        collate = VQACollator(tokenizer, LENGTH)
        yield from torch.utils.data.DataLoader(packed, batch_size=1, collate_fn=collate)


def main() -> None:
    """Train and tell."""
    job = probe.read_job()
    account = probe.Probe("nanoVLM", job)
    config = config_of(job)
    model = VisionLanguageModel(config, load_backbone=False).train()
    trained = list((model.MP if job.frozen else model).parameters())
    if job.frozen:
        model.requires_grad_(False)
        model.MP.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=job.lr, weight_decay=0.0)
    for batch in batches(job, config):
        if job.frozen and not any(batch["images"]):
            continue  # it would stop at a row that trains nothing
        account.forward(batch["input_ids"], batch["attention_mask"], batch["labels"])
        _, loss = model(
            batch["input_ids"],
            batch["images"],
            attention_mask=batch["attention_mask"],
            targets=batch["labels"],
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
        account.losses.append(loss.item())
        if len(account.losses) >= job.steps:
            break
    account.tell()


if __name__ == "__main__":
    main()
