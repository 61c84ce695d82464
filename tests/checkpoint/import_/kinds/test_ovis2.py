"""Ovis 2 and 1.6 as their own code saves them: pixels, rows, logits, answers and the way back.

The reference is transformers' Ovis 2 without the last norm of its tower, which the original's
tower does not apply, and the original's preprocessing written out in loops.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Pil
from safetensors.torch import load_file, save_file
from tests.checkpoint.import_.kinds.natives import (
    CLIP,
    QWEN2,
    SIDE,
    SIGLIP,
    TOWER,
    change_config,
    picture,
    tokenizer,
)
from tests.checkpoint.import_.parity import ask, check_greedy, difference, note, reopen
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForCausalLM, CLIPImageProcessorPil
from transformers.models.ovis2 import modeling_ovis2

from hocket._errors import CheckpointError
from hocket.checkpoint.directory import Loaded
from hocket.checkpoint.export import ExportOptions, export
from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.media.frames import MidSegment
from hocket.media.video import Video
from hocket.tokens.layout.image_covering import ImageCovering
from hocket.tokens.span import Modality

WORDS, STRIDE = 40, 2
AIMV2 = {key: one for key, one in TOWER.items() if key != "model_type"} | {"model_type": "aimv2"}
BACKBONES: dict[str, dict[str, Any]] = {"aimv2": AIMV2, "siglip": SIGLIP, "clip": CLIP}
PIXELS = {
    "crop_size": {"height": SIDE, "width": SIDE},
    "size": {"shortest_edge": SIDE},
    "do_center_crop": True,
    "image_mean": [0.48, 0.46, 0.41],
    "image_std": [0.27, 0.26, 0.28],
    "resample": 3,
}
QUESTION = "<image>\nWhat is this?"
SIZES = [(20, 28), (28, 90), (120, 30), (70, 70), (61, 150), (500, 411), (90, 33)]
# transformers' names -> the original's, of everything but the tower.
OUTSIDE = {
    "head_linear.weight": "visual_tokenizer.head.0.weight",
    "head_norm.weight": "visual_tokenizer.head.1.weight",
    "head_norm.bias": "visual_tokenizer.head.1.bias",
}
TRUNK = (
    (r"embeddings\.patch_embedding\.", "preprocessor.patchifier.proj."),
    (r"embeddings\.rms_norm\.", "preprocessor.patchifier.norm."),
    (r"embeddings\.position_embedding\.weight", "preprocessor.pos_embed"),
    (r"encoder\.layers\.(\d+)\.rms_norm(\d)\.", r"trunk.blocks.\1.norm_\2."),
    (r"encoder\.layers\.(\d+)\.attention\.out_proj\.", r"trunk.blocks.\1.attn.proj."),
    (r"encoder\.layers\.(\d+)\.attention\.q_proj\.", r"trunk.blocks.\1.attn.qkv."),
    (r"encoder\.layers\.(\d+)\.ffn\.gate_proj\.", r"trunk.blocks.\1.mlp.fc1."),
    (r"encoder\.layers\.(\d+)\.ffn\.down_proj\.", r"trunk.blocks.\1.mlp.fc2."),
    (r"encoder\.layers\.(\d+)\.ffn\.up_proj\.", r"trunk.blocks.\1.mlp.fc3."),
    (r"rms_norm\.", "trunk.post_trunk_norm."),
)


class Theirs:
    """The original with random numbers: a tower, a head, a table and a language model."""

    def __init__(self, backbone: dict[str, Any], rows: int) -> None:
        torch.manual_seed(0)
        self.kind = str(backbone["model_type"])
        if self.kind == "aimv2":
            own = {key: one for key, one in backbone.items() if key != "model_type"}
            config = modeling_ovis2.Ovis2VisionConfig(**own)
            self.tower = modeling_ovis2.Ovis2VisionTransformer(config)
        else:
            self.tower = AutoModel.from_config(CONFIG_MAPPING[self.kind](**backbone))
        text = CONFIG_MAPPING["qwen2"](**QWEN2, vocab_size=rows, tie_word_embeddings=False)
        self.llm = AutoModelForCausalLM.from_config(text)
        self.head = torch.nn.Linear(TOWER["hidden_size"] * STRIDE**2, WORDS - 5, bias=False)
        self.norm = torch.nn.LayerNorm(WORDS - 5)
        self.vte = torch.nn.Embedding(WORDS, QWEN2["hidden_size"])
        for part in (self.tower, self.llm, self.head, self.norm):
            part.eval()
            with torch.no_grad():
                for value in part.parameters():
                    value.add_(0.1 * torch.randn_like(value))

    def features(self, pixels: Tensor) -> Tensor:
        """Return what comes out of the tower's last layer, before the norm behind it."""
        if self.kind == "aimv2":
            return self.tower.encoder(self.tower.embeddings(pixels)).last_hidden_state
        states = self.tower(pixel_values=pixels, output_hidden_states=True).hidden_states[-1]
        return states[:, 1:] if self.kind.startswith("clip") else states

    def rows(self, pixels: Tensor, grids: list[tuple[int, int]]) -> Tensor:
        """Return all rows of pictures with such grids, one word at a time."""
        x = self.features(pixels)
        side = int(x.shape[1] ** 0.5)
        squares = x.unflatten(1, (side // STRIDE, STRIDE, side // STRIDE, STRIDE))
        squares = squares.permute(0, 1, 3, 2, 4, 5).flatten(1, 2).flatten(2)
        words = torch.softmax(self.norm(self.head(squares)), dim=-1) @ self.vte.weight[:-5]
        tiles = iter(words)
        begin, stop, column, line, end = self.vte.weight[-5:].split(1)
        made: list[Tensor] = []
        for down, across in grids:
            made += [begin, next(tiles), stop]
            for row in range(down if down * across > 1 else 0):
                made += [line] if row else []
                for number in range(across):
                    made += [column] if number else []
                    made.append(next(tiles))
            made.append(end)
        return torch.cat(made)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything under the original's names."""
        named = {"vte.weight": self.vte.weight} | {
            OUTSIDE[f"head_{name}.{key}"]: one
            for name, part in (("linear", self.head), ("norm", self.norm))
            for key, one in part.state_dict().items()
        }
        named |= {f"llm.{key}": one for key, one in self.llm.state_dict().items()}
        for key, one in self.tower.state_dict().items():
            if self.kind != "aimv2":
                named[f"visual_tokenizer.backbone.vision_model.{key}"] = one
            elif "k_proj" not in key and "v_proj" not in key:
                name, whole = self._in_trunk(key, one)
                named[f"visual_tokenizer.backbone.{name}"] = whole
        return {name: one.detach().clone().contiguous() for name, one in named.items()}

    def _in_trunk(self, key: str, one: Tensor) -> tuple[str, Tensor]:
        state = self.tower.state_dict()
        if "q_proj" in key:
            one = torch.cat([state[key.replace("q_proj", f"{kind}_proj")] for kind in "qkv"])
        if "position_embedding" in key:
            one = one[None]
        pattern, name = next((old, new) for old, new in TRUNK if re.match(old, key))
        return re.sub(f"^{pattern}", name, key), one


def naive_tiles(picture: Pil.Image) -> tuple[list[Tensor], tuple[int, int]]:
    """Return the pixels and the grid of a picture, as the facts on Ovis 2 say."""
    width, height = picture.size
    boxes: dict[tuple[int, int], list[tuple[int, int, int, int]]] = {}
    ratios: dict[tuple[int, int], float] = {}
    for down in range(1, 10):
        for across in range(1, 10):
            if down * across > 9:
                continue
            ys = [row * (height // down) for row in range(down)] + [height]
            xs = [column * (width // across) for column in range(across)] + [width]
            cells = [
                (xs[column], ys[row], xs[column + 1], ys[row + 1])
                for row in range(down)
                for column in range(across)
            ]
            areas = 0.0
            for left, top, right, bottom in cells:
                long, short = max(right - left, bottom - top), min(right - left, bottom - top)
                shrink = min(1.0, SIDE / long) if long else 1.0
                areas += long * shrink * short * shrink
            boxes[down, across], ratios[down, across] = cells, areas / (width * height)
    good = {grid for grid, ratio in ratios.items() if ratio > 0.9}
    by_count = sorted(good, key=lambda one: (one[0] * one[1], -ratios[one], one))
    by_share = sorted(ratios, key=lambda one: (-ratios[one], one[0] * one[1], one))
    grid = by_count[0] if good else by_share[0]
    crops = [picture.crop(box) for box in boxes[grid]]
    crops = [picture, *crops] if len(crops) > 1 else crops
    return [_padded(crop) for crop in crops], grid


def _padded(crop: Pil.Image) -> Tensor:
    width, height = crop.size
    high = int(height / width * SIDE) if width > height else SIDE
    wide = int(width / height * SIDE) if height > width else SIDE
    options = PIXELS | {"do_center_crop": False}
    processor = CLIPImageProcessorPil(**options)
    size = {"height": high, "width": wide}
    shown = processor(crop, size=size, return_tensors="pt")["pixel_values"]
    square = torch.zeros(1, 3, SIDE, SIDE)
    top, left = (SIDE - high) // 2, (SIDE - wide) // 2
    square[:, :, top : top + high, left : left + wide] = shown
    return square


def write(folder: Path, backbone: str = "aimv2", **tokens: Any) -> Theirs:
    """Write a toy in the original's layout."""
    words = tokenizer("<|im_start|>", "<|im_end|>")
    words.add_tokens(["<image>", "<video>", "<audio>"], special_tokens=True)
    theirs = Theirs(BACKBONES[backbone], len(words))
    folder.mkdir(parents=True)
    save_file(theirs.tensors(), folder / "model.safetensors", metadata={"format": "pt"})
    words.save_pretrained(folder)
    pixels = dict(PIXELS)
    if backbone == "siglip":
        pixels |= {"size": pixels.pop("crop_size"), "do_center_crop": None}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels), encoding="utf-8")
    visual = {
        "model_type": f"{backbone}_visual_tokenizer",
        "vocab_size": WORDS,
        "tokenize_function": "softmax",
        "tau": 1.0,
        "depths": None,
        "drop_cls_token": backbone == "clip",
        "hidden_stride": STRIDE,
        "backbone_config": BACKBONES[backbone],
    }
    config = {
        "model_type": "ovis",
        "architectures": ["Ovis"],
        "conversation_formatter_class": "QwenConversationFormatter",
        "disable_tie_weight": False,
        "hidden_size": QWEN2["hidden_size"],
        "llm_config": QWEN2 | {"vocab_size": len(words), "tie_word_embeddings": False},
        "multimodal_max_length": 8192,
        "torch_dtype": "float32",
        "visual_tokenizer_config": visual | tokens,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return theirs


@pytest.fixture(scope="module", params=BACKBONES)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Theirs, Loaded]:
    room = tmp_path_factory.mktemp(request.param)
    theirs = write(room / "theirs", request.param)
    report = import_checkpoint("auto", room / "theirs", room / "ours")
    assert report.kind == "ovis2"
    assert not report.ignored
    return theirs, reopen(room / "ours")


@torch.no_grad()
def embeds_of(theirs: Theirs, loaded: Loaded, ids: Tensor, rows: Tensor) -> Tensor:
    place = loaded.processor.placeholder_ids[Modality.IMAGE]
    embeds = theirs.llm.get_input_embeddings()(ids)
    return embeds.masked_scatter((ids == place)[..., None], rows)


@pytest.mark.parametrize("size", SIZES)
def test_pixels_rows_and_logits(pair: tuple[Theirs, Loaded], size: tuple[int, int]) -> None:
    theirs, loaded = pair
    shown = [picture(*size), picture(40, 44)]
    batch = ask(loaded, "<image>\n<image>\nWhat is this?", shown)
    naive = [naive_tiles(Pil.fromarray(one.load())) for one in shown]
    pixels = torch.cat([tile for tiles, _ in naive for tile in tiles])
    assert torch.equal(batch["pixel_values"], pixels)
    note("preprocess", 0.0)
    with torch.no_grad():
        rows = theirs.rows(pixels, [grid for _, grid in naive])
        ours = loaded.model.model.image_rows(batch["pixel_values"], batch["image_spans"])
        assert difference(ours, rows, "features") <= 1e-5
        embeds = embeds_of(theirs, loaded, batch["input_ids"], rows)
        wanted = theirs.llm(inputs_embeds=embeds).logits
        assert difference(loaded.model(**batch).logits, wanted, "logits") <= 1e-4


def test_frames_of_a_video_are_pictures_of_one_tile(
    pair: tuple[Theirs, Loaded], tmp_path: Path
) -> None:
    """As Ovis 2's model card shows a video: one tile each, a line each, the question behind."""
    _, loaded = pair
    frames = [picture(90, 33) for _ in range(3)]
    for number, frame in enumerate(frames):
        Pil.fromarray(frame.load()).save(tmp_path / f"{number}.png")
    film = ask(loaded, QUESTION, [Video.from_folder(tmp_path)])
    layout = loaded.processor.images
    assert isinstance(layout, ImageCovering)
    tiles = torch.cat([naive_tiles(Pil.fromarray(one.load()))[0][0] for one in frames])
    assert torch.equal(film["pixel_values_videos"], tiles)
    text = loaded.processor.tokenizer.decode(film["input_ids"][0])
    rows = int(film["video_spans"][0, 1]) // 3
    run = "<video>" * rows
    assert f"user\n{run}\n{run}\n{run}\nWhat is this?" in text
    with torch.no_grad():
        ours = loaded.model.model.video_rows(film["pixel_values_videos"], film["video_spans"])
        alone = loaded.model.model.image_rows(film["pixel_values_videos"], None)
    assert difference(ours, alone, "features") <= 1e-5
    assert loaded.processor.sampler == MidSegment(min_frames=1, max_frames=12, edges="exact")


def test_the_prompt_is_the_original_one(pair: tuple[Theirs, Loaded]) -> None:
    _, loaded = pair
    ids = ask(loaded, QUESTION, [picture(28, 90)])["input_ids"]
    text = loaded.processor.tokenizer.decode(ids[0])
    (run,) = set(re.findall("(?:<image>)+", text))
    assert text.replace(run, "PLACE") == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nPLACE\nWhat is this?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert run.count("<image>") == 5 * 4 + 6  # four tiles and the whole; six marks


def test_answers_are_the_same(pair: tuple[Theirs, Loaded]) -> None:
    theirs, loaded = pair
    batch = ask(loaded, QUESTION, [picture(61, 150)])
    tiles, grid = naive_tiles(Pil.fromarray(picture(61, 150).load()))
    with torch.no_grad():
        rows = theirs.rows(torch.cat(tiles), [grid])
        embeds = embeds_of(theirs, loaded, batch["input_ids"], rows)
        tokens, margins = [], []
        for _ in range(8):
            best = theirs.llm(inputs_embeds=embeds).logits[0, -1].topk(2)
            tokens.append(int(best.indices[0]))
            margins.append(float(best.values[0] - best.values[1]))
            more = theirs.llm.get_input_embeddings()(best.indices[None, :1])
            embeds = torch.cat([embeds, more], dim=1)
    loaded.model.generation_config.eos_token_id = None
    check_greedy(loaded, batch, tokens, margins)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_nothing_changes_on_the_way_there_and_back(backbone: str, tmp_path: Path) -> None:
    theirs, ours, back, again = (tmp_path / name for name in ("theirs", "ours", "back", "again"))
    write(theirs, backbone)
    import_checkpoint("auto", theirs, ours)
    export(ours, back, to="original", options=ExportOptions(base=theirs))
    old, new = load_file(theirs / "model.safetensors"), load_file(back / "model.safetensors")
    assert new.keys() == old.keys()
    assert all(torch.equal(new[name], old[name]) for name in old)
    note("export", 0.0)
    import_checkpoint("auto", back, again)
    batch = ask(reopen(ours), QUESTION, [picture(70, 70)])
    with torch.no_grad():
        first, second = (reopen(one).model(**batch).logits for one in (ours, again))
    assert difference(first, second, "re-import") == 0


def test_a_head_of_its_own_stays(tmp_path: Path) -> None:
    theirs = write(tmp_path / "theirs")
    rows = theirs.llm.config.vocab_size
    language = QWEN2 | {"vocab_size": rows, "tie_word_embeddings": True}
    change_config(tmp_path / "theirs", llm_config=language, disable_tie_weight=True)
    import_checkpoint("auto", tmp_path / "theirs", tmp_path / "ours")
    head = reopen(tmp_path / "ours").model.lm_head.weight
    assert torch.equal(head[:rows], theirs.llm.lm_head.weight)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"hd_booster": "s2wrapper"}, r"hd_booster is 's2wrapper'"),
        ({"tokenize_function": "argmax"}, r"tokenize_function is 'argmax', expected one of"),
        ({"drop_cls_token": True}, r"drop_cls_token is True on a 'aimv2_vision_model'"),
        ({"backbone_config": {"model_type": "vit"}}, r"backbone_config.model_type is 'vit'"),
        ({"backbone_config": AIMV2 | {"image_size": 56}}, r"crop_size is .* takes 56 pixels"),
        ({"backbone_config": AIMV2 | {"use_bias": True}}, r"use_bias is True and its qkv_bias"),
    ],
)
def test_what_has_no_counterpart_is_named(
    change: dict[str, Any], match: str, tmp_path: Path
) -> None:
    write(tmp_path / "theirs", **change)
    with pytest.raises(CheckpointError, match=match):
        import_checkpoint("auto", tmp_path / "theirs", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_formatter_needs_a_template(tmp_path: Path) -> None:
    write(tmp_path / "theirs")
    change_config(tmp_path / "theirs", conversation_formatter_class="New")
    with pytest.raises(CheckpointError, match=r"formatter_class is 'New'.*\n?.*--template NAME"):
        import_checkpoint("auto", tmp_path / "theirs", tmp_path / "out")
    import_checkpoint("auto", tmp_path / "theirs", tmp_path / "out", template="chatml")
