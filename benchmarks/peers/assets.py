"""Makes what all peers train on: a model in two forms, JPEGs and dialogues in four forms.

    python benchmarks/peers/assets.py FOLDER [--size bench|small|towers|1b|tiny] [--samples N]

The model is drawn by hocket and exported to `LlavaForConditionalGeneration`, so all start from the
same weights, tokenizer and chat template. Dialogues have 30 to 800 tokens with a long tail, 12 % of
them no picture; pictures are JPEGs of 336 x 336, 448 x 336 and 336 x 448 pixels. Runs where hocket
is installed.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from hocket.checkpoint.directory import write_checkpoint
from hocket.checkpoint.export import export
from hocket.checkpoint.manifest import write_directory
from hocket.model.build import build
from hocket.model.spec import LanguageSpec, ModelSpec, Options, PartSpec, TokenizerSpec, TowerSpec

TEMPLATE = "vicuna_v1_nosys"
PICTURES = 64
# Of seeds 2 to 25 the one whose 16 samples, in fours, are padded as the mean of all: 34 %.
TYPICAL = 16


@dataclass(frozen=True)
class Size:
    """How large the model and its samples are.

    Attributes:
        tower: width, layers and inner width of the vision tower; heads of 64.
        language: the same of the language model.
        side: pixels of a picture's side, as the tower takes it.
        patch: pixels of a patch's side.
        words: rows of the token table.
        longest: most tokens of a dialogue's text.
    """

    tower: tuple[int, int, int]
    language: tuple[int, int, int]
    side: int = 336
    patch: int = 28
    words: int = 32_000
    longest: int = 800


SIZES = {
    "bench": Size((448, 8, 1792), (768, 6, 1792)),
    # A sixth of that, with about the same shares of tower, layers and head.
    "small": Size((256, 4, 1024), (384, 4, 1024), words=12_000),
    "towers": Size((1024, 16, 4096), (384, 4, 1024)),
    # A tower of SigLIP-so400m's size, 729 positions, and a language model of 1.3 G: for GPUs.
    "1b": Size((1152, 27, 4304), (2048, 22, 5632), side=378, patch=14),
    "tiny": Size((64, 2, 128), (64, 2, 128), side=56, words=800, longest=60),
}


def model_spec(size: Size, tokenizer: Path) -> ModelSpec:
    """Return the composition: CLIP (second last layer), two linear layers, Llama."""
    width, layers, inner = size.tower
    tower: Options = {
        "image_size": size.side,
        "patch_size": size.patch,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "projection_dim": width,
    }
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    crop: Options = {"fit": "crop", "mean": list(mean), "std": list(std)}
    width, layers, inner = size.language
    language: Options = {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "num_key_value_heads": width // 64,
        "vocab_size": size.words,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    }
    return ModelSpec(
        language=LanguageSpec(model_type="llama", config=language),
        vision=TowerSpec(
            model_type="clip_vision_model",
            config=tower,
            layer=-2,
            drop=1,
            layout=PartSpec(kind="image_fixed", options=crop),
            connector=PartSpec(kind="mlp", options={"depth": 2}),
        ),
        tokenizer=TokenizerSpec(path=str(tokenizer), template=TEMPLATE),
    )


class Writer:
    """Draws texts and pictures.

    Args:
        seed: of everything that is drawn.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        letters = np.array(list("etaoinshrdlucmfwypvbgk"))
        rng = np.random.default_rng(0)  # the words are the same for every seed
        lengths = rng.integers(2, 10, 20_000)
        self._words = sorted({"".join(rng.choice(letters, length)) for length in lengths})
        rng.shuffle(self._words)
        share = 1 / np.arange(10, len(self._words) + 10)
        self._share = share / share.sum()

    def text(self, words: int) -> str:
        """Return so many words, frequent ones more often."""
        chosen = self._rng.choice(len(self._words), max(1, words), p=self._share)
        return " ".join(self._words[at] for at in chosen)

    def picture(self, width: int, height: int) -> Image.Image:
        """Return shapes on a coloured gradient with noise."""
        rng = self._rng
        across = np.linspace(0, 255, width)[None, :, None] * rng.random((1, 1, 3))
        down = np.linspace(0, 255, height)[:, None, None] * rng.random((1, 1, 3))
        noisy = across + down + rng.normal(0, 12, (height, width, 3))
        drawn = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
        pen = ImageDraw.Draw(drawn)
        for _ in range(40):
            left, top = int(rng.integers(width)), int(rng.integers(height))
            wide, high = (int(rng.integers(8, 90)) for _ in range(2))
            shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
            colour = tuple(int(one) for one in rng.integers(0, 256, 3))
            shape((left, top, left + wide, top + high), fill=colour)
        return drawn.filter(ImageFilter.GaussianBlur(0.7))

    def dialogue(self, number: int, longest: int) -> dict[str, Any]:
        """Return a row in LLaVA's form; its picture is one of `PICTURES`."""
        rng = self._rng
        total = int(np.clip(rng.lognormal(np.log(170), 0.75), 30, longest))
        turns = min(4, int(rng.geometric(0.5))) if total > 60 else 1
        shown = rng.random() > 0.12
        said = []
        for turn in range(turns):
            asked = max(6, int(total / turns * rng.uniform(0.08, 0.3)))
            first = "<image>\n" if shown and turn == 0 else ""
            answered = self.text(max(8, total // turns - asked))
            said.append({"from": "human", "value": first + self.text(asked)})
            said.append({"from": "gpt", "value": answered})
        row: dict[str, Any] = {"id": f"{number:06d}", "conversations": said}
        return row | {"image": f"{int(rng.integers(PICTURES)):06d}.jpg"} if shown else row


def write_tokenizer(folder: Path, words: int) -> None:
    """Write a byte-level BPE over the same words for every seed, with LLaVA's control tokens."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    writer = Writer(0)
    trainer = trainers.BpeTrainer(
        # Two more placeholders are added when the model is built.
        vocab_size=words - 8,
        special_tokens=["<unk>", "<s>", "</s>", "<pad>", "<image>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(("USER: ASSISTANT: " + writer.text(400) for _ in range(600)), trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        padding_side="right",
        additional_special_tokens=["<image>"],
    ).save_pretrained(folder)


def write_model(folder: Path, size: Size) -> None:
    """Write ``folder/hocket`` and its export ``folder/llava``."""
    write_tokenizer(folder / "tokenizer", size.words)
    model, processor = build(model_spec(size, folder / "tokenizer"))
    write_directory(folder / "hocket", lambda into: write_checkpoint(into, model, processor))
    export(folder / "hocket", folder / "llava", to="llava")


def write_pictures(folder: Path, side: int) -> None:
    """Write JPEGs, a third of them square."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = Writer(1)
    wide = side * 4 // 3
    for number in range(PICTURES):
        width, height = ((side, side), (wide, side), (side, wide))[number % 3]
        writer.picture(width, height).save(folder / f"{number:06d}.jpg", quality=88)


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write dialogues for hocket and the Trainer, LLaMA-Factory, and ms-swift."""
    images = (folder / "images").resolve()
    roles = {"human": "user", "gpt": "assistant"}
    factory, swift = [], []
    for row in rows:
        shown = {"images": [str(images / row["image"])]} if "image" in row else {"images": []}
        factory.append({"conversations": row["conversations"], **shown})
        said = [
            {"role": roles[one["from"]], "content": one["value"]} for one in row["conversations"]
        ]
        swift.append({"messages": said, **shown})
    (folder / "llava.json").write_text(json.dumps(rows))
    (folder / "factory.json").write_text(json.dumps(factory))
    (folder / "swift.jsonl").write_text("".join(json.dumps(row) + "\n" for row in swift))
    columns = {"messages": "conversations", "images": "images"}
    about = {"file_name": "factory.json", "formatting": "sharegpt", "columns": columns}
    (folder / "dataset_info.json").write_text(json.dumps({"bench": about}))


def make(folder: Path, size: Size, *, samples: int, seed: int) -> None:
    """Write everything; a model and pictures that are there already are left as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "llava").exists():
        write_model(folder, size)
        write_pictures(folder / "images", size.side)
    writer = Writer(seed)
    write_rows(folder, [writer.dialogue(number, size.longest) for number in range(samples)])


def main() -> None:
    """Make a folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, default="bench")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--seed", type=int, default=TYPICAL)
    parser.add_argument("--longest", type=int, default=0)
    given = parser.parse_args()
    size = SIZES[given.size]
    if given.longest:
        size = replace(size, longest=given.longest)
    make(given.folder, size, samples=given.samples, seed=given.seed)


if __name__ == "__main__":
    main()
