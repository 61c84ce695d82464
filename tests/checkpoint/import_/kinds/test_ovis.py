"""Ovis 2.5 against its recording: ids, pixels, features, logits and greedy answers."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoint.import_.parity import (
    GOLDEN,
    check_greedy,
    difference,
    logits_of,
    note,
    recorded,
    reopen,
)
from torch import Tensor
from torch.nn import functional

from hocket._errors import CheckpointError
from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.checkpoint.directory import Loaded
from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.infer.engine import Engine
from hocket.infer.sampling import Sampling
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.tokens.batch import pad_batch
from hocket.tokens.processor import HocketProcessor

HOME = GOLDEN / "ovis25"
CASES, OUT = recorded("ovis25")
BY_NAME = {case["name"]: case for case in CASES["cases"]}
ROLES = {
    "system": Role.SYSTEM,
    "human": Role.USER,
    "gpt": Role.ASSISTANT,
    "ignored_gpt": Role.ASSISTANT,
}
BUDGETS = {"min_pixels": CASES["minp"], "max_pixels": CASES["maxp"]}
FRAMES = 5


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded folder, put together of what other tests need too."""
    folder = tmp_path_factory.mktemp("ovis25") / "ovis2.5-tiny"
    shutil.copytree(HOME / "ovis2.5-tiny", folder)
    shutil.copytree(HOME / "tokenizer", folder, dirs_exist_ok=True)
    shutil.copyfile(HOME / "navit.safetensors", folder / "vision.safetensors")
    return folder


@pytest.fixture(scope="module")
def loaded(source: Path) -> Loaded:
    out = source.parent / "out"
    report = import_checkpoint("auto", source, out)
    assert report.kind == "ovis"
    assert {name.split(".")[-2] for name in report.ignored} == {"post_layernorm"}
    return reopen(out)


@pytest.fixture(scope="module")
def processor(loaded: Loaded) -> HocketProcessor:
    """The imported processor with the budgets and the frames of the recording."""
    own = loaded.processor
    layout = own.image_layout | {
        f"{whose}{name}": pixels
        for whose in ("", "several_", "video_")
        for name, pixels in BUDGETS.items()
    }
    return HocketProcessor(
        own.tokenizer,
        image_layout=layout,
        video_sampling=own.video_sampling | {"min_frames": FRAMES, "max_frames": FRAMES},
        chat_template=own.chat_template,
    )


def _parts(text: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    for piece in re.split("(<image>|<video>)", text):
        if piece == "<image>":
            number = sum(isinstance(part, Image) for part in parts)
            parts.append(Image.from_path(HOME / f"images/{number}.png"))
        elif piece == "<video>":
            frames = [HOME / f"images/f{number}.png" for number in range(FRAMES)]
            parts.append(Video.from_frames(frames))
        elif piece:
            parts.append(Text(piece))
    return tuple(parts)


def _batch(processor: HocketProcessor, case: dict[str, Any]) -> dict[str, Tensor]:
    if case["kind"] == "infer":
        talk = Conversation(
            id="0", messages=(Message(Role.USER, _parts(case["query"])),), source=""
        )
        thinking = case["generation_preface"] == ""
        example = processor.encode(talk, for_answer=True, thinking=thinking)
    else:
        messages = tuple(
            Message(
                ROLES[turn["from"]],
                _parts(turn["value"]),
                train=False if turn["from"] == "ignored_gpt" else None,
            )
            for turn in case["conversation"]
        )
        example = processor.encode(Conversation(id="0", messages=messages, source=""))
    batch = dict(pad_batch([example], pad_id=processor.tokenizer.pad_token_id, side="left"))
    return {name: value for name, value in batch.items() if isinstance(value, Tensor)}


def _expanded(processor: HocketProcessor, recorded_ids: Tensor, case: dict[str, Any]) -> Tensor:
    """Return recorded ids with our placeholder in the place of every row that is no text."""
    media = set(processor.placeholder_ids.values())
    kinds = {one for one in media if processor.tokenizer.decode([one]) in case["prompt"]}
    placeholder = kinds.pop() if kinds else 0
    return recorded_ids.masked_fill(recorded_ids < 0, placeholder)


@pytest.mark.parametrize("name", ["infer_nothink", "infer_think", "infer_video", "infer_text"])
def test_answers_are_the_recorded_ones(
    name: str, loaded: Loaded, processor: HocketProcessor
) -> None:
    case = BY_NAME[name]
    batch = _batch(processor, case)
    batch.pop("labels")
    assert torch.equal(batch["input_ids"], _expanded(processor, OUT[f"{name}.input_ids"], case))
    ours = logits_of(loaded, batch)
    assert difference(ours[:, -12:], OUT[f"{name}.logits_tail"], "logits") <= 1e-4
    margins = [step[0] for step in case["margins"]]
    check_greedy(loaded, batch, OUT[f"{name}.generated_ids"][0].tolist(), margins)


@pytest.mark.parametrize("case", json.loads((HOME / "chat.json").read_text("utf-8")))
def test_thoughts_end_at_their_budget(
    case: dict[str, Any], loaded: Loaded, processor: HocketProcessor
) -> None:
    """Ovis' ``chat``, which starts again with a forced end of the thought in the prompt."""
    message = Message(Role.USER, _parts(case["query"]))
    talk = Conversation(id="0", messages=(message,), source="")
    sampling = Sampling(
        max_new_tokens=case["max_new_tokens"],
        thinking=case["kwargs"]["enable_thinking"],
        thinking_budget=case["kwargs"].get("thinking_budget", 0),
    )
    (answer,) = Engine(loaded.model, processor).answer([talk], sampling)
    first, last = case["generate_calls"][0], case["generate_calls"][-1]
    assert answer.prompt_tokens == len(first["input_ids"][0])
    forced = last["input_ids"][0][answer.prompt_tokens :]
    assert list(answer.tokens) == forced + last["output_ids"][0]
    assert answer.text.strip() == case["response"]
    # The toy's closing tag is another token than the one that the original looks for.
    assert answer.response == case["response"].rpartition("</think>")[2].strip()
    note("greedy", 0.0)


@pytest.mark.parametrize("name", ["single", "multi_turn", "ignored", "video", "text"])
def test_training_sees_the_recorded_labels_and_loss(
    name: str, loaded: Loaded, processor: HocketProcessor
) -> None:
    case = BY_NAME[name]
    batch = _batch(processor, case)
    assert torch.equal(batch["input_ids"], _expanded(processor, OUT[f"{name}.input_ids"], case))
    assert torch.equal(batch["labels"], OUT[f"{name}.labels"])
    labels = batch.pop("labels")
    wanted = OUT["single.logits_supervised"]
    ours = logits_of(loaded, batch)
    # Over the recorded vocabulary: the rows added for placeholders take part in a loss too.
    known = ours[0, :-1, : wanted.shape[-1]]
    loss = functional.cross_entropy(known, labels[0, 1:])
    assert float(loss) == pytest.approx(float(OUT[f"{name}.loss"]), rel=1e-5)
    if name == "single":
        assert difference(ours[0, OUT["single.supervised_index"]], wanted, "logits") <= 1e-4


@pytest.mark.parametrize("name", ["single", "video"])
def test_rows_of_a_medium_are_the_recorded_ones(
    name: str, loaded: Loaded, processor: HocketProcessor
) -> None:
    batch, model = _batch(processor, BY_NAME[name]), loaded.model.model
    with torch.no_grad():
        if name == "single":
            rows = model.image_rows(batch["pixel_values"], batch["image_spans"])
        else:
            rows = model.video_rows(batch["pixel_values_videos"], batch["video_spans"])
    places = OUT[f"{name}.input_ids"][0] < 0
    assert difference(rows, OUT[f"{name}.inputs_embeds"][0, places], "features") <= 1e-5


def test_tower_gives_the_recorded_features(loaded: Loaded) -> None:
    found = load_file(HOME / "features.safetensors")
    cells = found["vit.pixel_values"].unflatten(0, (-1, 4))
    grids = found["vit.grid_thws"]
    merged = [[t, h // 2, w // 2] for t, h, w in grids.tolist()]
    with torch.no_grad():
        x = loaded.model.model.vision_tower(
            pixel_values=cells.flatten(0, 1), grids=[tuple(one) for one in merged]
        ).last_hidden_state
    assert difference(x.reshape(len(cells), -1), found["vit.features"], "features") <= 1e-5


def test_budgets_and_frames_are_those_of_the_original(loaded: Loaded) -> None:
    images = loaded.processor.images
    assert images is not None
    assert images.plan(448, 448).units == images.plan(10, 10).units == 28 * 28
    huge = [images.plan(9000, 9000), images.plan(9000, 9000, media=2)]
    assert all(0 <= 1792 * 1344 - one.units * 16**2 < 1792 * 1344 / 20 for one in huge)
    film = images.plan(9000, 9000, frames=8)
    assert film.units == 8 * huge[0].units
    assert loaded.processor.sampler is not None
    assert len(loaded.processor.sampler.pick(100, 25.0)) == 8


def test_tied_table_and_linear_patches(source: Path, tmp_path: Path) -> None:
    folder = _copy(source, tmp_path)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["llm_config"]["tie_word_embeddings"] = True
    config["vit_config"] |= {"num_patches": 64, "fullatt_block_indexes": "0|2"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for file, name in (("tables", "llm.lm_head.weight"), ("vision", "")):
        tensors = load_file(folder / f"{file}.safetensors")
        tensors.pop(name, None)
        if file == "vision":
            patch = "visual_tokenizer.vit.vision_model.embeddings.patch_embedding.weight"
            tensors[patch] = tensors[patch].flatten(1)
        save_file(tensors, folder / f"{file}.safetensors")
    import_checkpoint("auto", folder, tmp_path / "out")
    model = reopen(tmp_path / "out").model
    assert torch.equal(model.lm_head.weight, model.get_input_embeddings().weight)
    whole = load_file(HOME / "navit.safetensors")[patch]
    assert model.model.vision_tower is not None
    assert torch.equal(model.model.vision_tower.patch_embedding.weight, whole.flatten(1))
    assert model.config.vision_config.fullatt_block_indexes == "0|2"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"conversation_formatter_class": "GemmaFormatter"}, "conversation_formatter_class"),
        ({"vit_config": {"model_type": "siglip"}}, "vit_config.model_type is 'siglip'"),
        ({"vit_config": 3}, "vit_config is 3"),
        ({"visual_vocab_size": 80}, "does not fit"),
        ({"torch_dtype": "__import__('os')"}, "number format"),
    ],
)
def test_impossible_configurations_are_refused(
    change: dict[str, Any], match: str, source: Path, tmp_path: Path
) -> None:
    folder = _copy(source, tmp_path, **change)
    with pytest.raises(CheckpointError, match=match):
        import_checkpoint("auto", folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _copy(folder: Path, target: Path, **change: Any) -> Path:
    copy = target / folder.name
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text("utf-8")) | change
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return copy
