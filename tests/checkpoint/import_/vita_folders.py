"""The recorded folders of VITA, changed as tests need them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file
from tests.checkpoint.import_.parity import GOLDEN, recorded
from torch import Tensor

from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.checkpoint.directory import Loaded
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.tokens.batch import pad_batch
from hocket.tokens.span import Modality

HOME = GOLDEN / "vita15"
TOWERS = GOLDEN / "towers"
CASES, OUT = recorded("vita15")
BY_NAME = {case["name"]: case for case in CASES["cases"]}
INSIDE = "model.vision_tower.vision_tower."
ROWS = 4
IMAGE, AUDIO = -200, -500


def lay_out(folder: Path) -> Path:
    """Put the recorded folders together; the tower's tensors are those that other tests need."""
    for name in ("vita-1.5-tiny", "InternViT-tiny", "audio-encoder-tiny"):
        shutil.copytree(HOME / name, folder / name)
    shutil.copyfile(HOME / "internvit.safetensors", folder / "vita-1.5-tiny/eyes.safetensors")
    # As in the original, whose folders hold other numbers than the checkpoint that was trained.
    tower = {name.removeprefix(INSIDE): 2 * one for name, one in eyes().items()}
    save_file(tower, folder / "InternViT-tiny/model.safetensors")
    sounds = {name.removeprefix("model.audio_encoder."): 2 * one for name, one in ears().items()}
    torch.save(sounds | {"decoder.bias": torch.ones(2)}, folder / "audio-encoder-tiny/final.pt")
    return folder


def eyes() -> dict[str, Tensor]:
    return dict(load_file(HOME / "internvit.safetensors"))


def ears() -> dict[str, Tensor]:
    return dict(load_file(HOME / "vita-1.5-tiny/audio.safetensors"))


def batch_of(loaded: Loaded, case: dict[str, Any]) -> dict[str, Tensor]:
    """Return the batch of a recorded prompt, whose first picture stands for all its tiles."""
    question = case["prompt"].split("<|im_start|>user\n")[1].split("<|im_end|>")[0]
    medium = "<video>" if case["modality"] == "video" else "<image>"
    question = re.sub("(<image>)+", medium, question)
    sounds = iter(case["audio"])
    parts: list[Part] = []
    for piece in re.split("(<image>|<video>|<audio>)", question):
        if piece == "<image>":
            parts.append(Image.from_path(HOME / "data/0.png"))
        elif piece == "<video>":
            frames = [HOME / f"data/frame{number}.png" for number in range(6)]
            parts.append(Video.from_frames(frames))
        elif piece == "<audio>":
            parts.append(Audio.from_path(HOME / f"data/audio/{next(sounds)}.wav"))
        elif piece:
            parts.append(Text(piece))
    talk = Conversation(id="0", messages=(Message(Role.USER, tuple(parts)),), source="test")
    example = loaded.processor.encode(talk, for_answer=True)
    pad = loaded.processor.tokenizer.pad_token_id
    batch = dict(pad_batch([example], pad_id=pad, side="left"))
    batch.pop("labels")
    return {name: value for name, value in batch.items() if isinstance(value, Tensor)}


def as_recorded(loaded: Loaded, ids: Tensor) -> list[int]:
    """Return ids (1, T) with one `IMAGE` for each tile or frame, and one `AUDIO` for each sound."""
    places = loaded.processor.placeholder_ids
    short: list[int] = []
    run = 0
    for token in ids[0].tolist():
        if token in (places[Modality.IMAGE], places[Modality.VIDEO]):
            if run % ROWS == 0:
                short.append(IMAGE)
            run += 1
        elif token != places[Modality.AUDIO]:
            short.append(token)
        elif short[-1] != AUDIO:
            short.append(AUDIO)
    return short


def copy_of(home: Path, target: Path, **change: Any) -> Path:
    """Copy the recorded folders with another config.json."""
    for name in ("vita-1.5-tiny", "InternViT-tiny", "audio-encoder-tiny"):
        shutil.copytree(home / name, target / name)
    folder = target / "vita-1.5-tiny"
    config = json.loads((folder / "config.json").read_text("utf-8")) | change
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def install_tower(tower: str, target: Path) -> tuple[dict[str, Any], int]:
    """Put a tower beside the checkpoint; return what config.json says of it, and its width."""
    if tower == "eva":
        parts = [load_file(TOWERS / f"eva_{number}.safetensors") for number in range(3)]
        tensors = {name: one for part in parts for name, one in part.items()}
        # Kept without the last block, which nobody runs, and without a text half.
        tensors |= {"visual.blocks.2.norm1.weight": torch.ones(64), "text.scale": torch.ones(1)}
        torch.save(tensors, target / "design.pt")
        return {"mm_vision_tower": "design.pt"}, 64
    scales = tower.endswith("_s2")
    kind = tower.removesuffix("_s2")
    # By the original's rule "design" would be SigLIP, whatever is in it.
    shutil.copytree(TOWERS / f"{kind}-tiny", target / "design")
    change: dict[str, Any] = {"mm_vision_tower": "design"}
    if scales:
        change |= {"use_s2": True, "s2_scales": "56,112"}
    return change, 64 if scales else 32


def set_projector(
    folder: Path, shapes: Mapping[str, tuple[int, ...]], *, bare: Set[str] = frozenset()
) -> dict[str, Tensor]:
    """Give a checkpoint another projector; return its tensors. `bare` layers have no bias."""
    torch.manual_seed(1)
    tensors: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        stem = f"model.mm_projector.{name}".removesuffix(".")
        tensors[f"{stem}.weight"] = torch.randn(shape) / 10
        if name not in bare:
            tensors[f"{stem}.bias"] = torch.randn(shape[0]) / 10
    file = folder / "layers.safetensors"
    old = load_file(file) if file.is_file() else {}
    rest = {name: one for name, one in old.items() if "mm_projector" not in name}
    save_file(rest | tensors, file)
    return tensors


def set_adapter(folder: Path, home: Path) -> None:
    """Give a checkpoint VITA-1.0's adapter: two convolutions with batch norms."""
    torch.manual_seed(2)
    own = "model.audio_encoder.adpter"
    tensors: dict[str, Tensor] = {
        f"{own}.project.weight": torch.randn(48, 128) / 10,
        f"{own}.project.bias": torch.randn(48) / 10,
    }
    for number, width in ((1, 32), (2, 64)):
        tensors |= {
            f"{own}.conv1d{number}.weight": torch.randn(2 * width, width, 5) / 10,
            f"{own}.conv1d{number}.bias": torch.randn(2 * width) / 10,
            f"{own}.bn{number}.weight": torch.ones(2 * width),
            f"{own}.bn{number}.bias": torch.zeros(2 * width),
            f"{own}.bn{number}.running_mean": torch.zeros(2 * width),
            f"{own}.bn{number}.running_var": torch.ones(2 * width),
            f"{own}.bn{number}.num_batches_tracked": torch.tensor(1),
        }
    file = folder / "audio.safetensors"
    rest = {name: one for name, one in load_file(file).items() if ".adpter." not in name}
    save_file(rest | tensors, file)
    change_yaml(home, "model_conf", "norm", "batch")


def change_yaml(home: Path, part: str, key: str, value: Any) -> None:
    file = home / "audio-encoder-tiny/train.yaml"
    document = yaml.safe_load(file.read_text("utf-8"))
    places = document["encoder_conf"]["para_conf"] | document
    places[part][key] = value
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
