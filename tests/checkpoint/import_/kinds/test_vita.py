"""VITA against its recordings: VITA-1.5, its other towers, adapters alone, and a toy VITA-1.0."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file, save_file
from tests.checkpoint.import_.parity import (
    check_greedy,
    difference,
    logits_of,
    reopen,
)
from tests.checkpoint.import_.vita_folders import (
    BY_NAME,
    CASES,
    HOME,
    INSIDE,
    OUT,
    as_recorded,
    batch_of,
    change_yaml,
    copy_of,
    ears,
    eyes,
    lay_out,
    set_adapter,
    set_projector,
)
from transformers import MixtralConfig, MixtralForCausalLM

from hocket._errors import CheckpointError
from hocket.chat.conversation import Conversation, Message, Role
from hocket.checkpoint.directory import Loaded
from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.checkpoint.import_.report import ImportReport
from hocket.media.audio import Audio
from hocket.parts.audio import audio_encoders
from hocket.parts.features import Features
from hocket.tokens.span import Modality


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("vita15"))


@pytest.fixture(scope="module")
def whole(home: Path) -> tuple[Loaded, ImportReport]:
    report = import_checkpoint("auto", home / "vita-1.5-tiny", home / "out")
    return reopen(home / "out"), report


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_answers_are_the_recorded_ones(name: str, whole: tuple[Loaded, ImportReport]) -> None:
    loaded, case = whole[0], BY_NAME[name]
    batch = batch_of(loaded, case)
    assert as_recorded(loaded, batch["input_ids"]) == OUT[f"{name}.input_ids"][0].tolist()
    assert batch["input_ids"].shape[1] == case["n_tokens"]
    ours = logits_of(loaded, batch)
    assert difference(ours[:, -8:], OUT[f"{name}.logits_tail"], "logits") <= 1e-4
    margins = [step[0] for step in case["margins"]]
    check_greedy(loaded, batch, OUT[f"{name}.generated_ids"][0].tolist(), margins)


def test_rows_of_pictures_and_sounds_are_the_recorded_ones(
    whole: tuple[Loaded, ImportReport],
) -> None:
    loaded, model = whole[0], whole[0].model.model
    batch = batch_of(loaded, BY_NAME["image_audio"])
    pixels = load_file(HOME / "vision.safetensors")["pixel_values"]
    assert difference(batch["pixel_values"][: len(pixels)], pixels, "preprocess") == 0
    wanted = OUT["image_audio.inputs_embeds"][0]
    ids = batch["input_ids"][0]
    with torch.no_grad():
        seen = model.image_rows(batch["pixel_values"], batch["image_spans"])
        heard = model.audio_rows(
            batch["input_features"], batch["feature_lengths"], batch["audio_spans"]
        )
    for rows, kind in ((seen, Modality.IMAGE), (heard, Modality.AUDIO)):
        places = ids == loaded.processor.placeholder_ids[kind]
        assert difference(rows, wanted[places], "features") <= 1e-5
    assert difference(seen, OUT["vision.projector_out"].flatten(0, 1), "features") <= 1e-5


@pytest.mark.parametrize("number", [0, 1])
def test_encoder_of_sounds_gives_the_recorded_features(
    number: int, whole: tuple[Loaded, ImportReport]
) -> None:
    model, layout = whole[0].model, whole[0].processor.sounds
    assert layout is not None
    wave = Audio.from_path(HOME / f"data/audio/{number}.wav").load(layout.rate)
    plan = layout.plan(len(wave))
    spans = torch.tensor([[plan.units, plan.rows, *plan.grid, 1, 1]])
    lengths = torch.tensor(layout.lengths(plan))
    options = model.config.audio_encoder
    with torch.no_grad():
        x = audio_encoders.get(options["kind"]).encode(
            model.model.audio_tower,
            torch.from_numpy(layout.units(wave, plan)),
            options,
            spans,
            lengths,
        )
    made = torch.cat([unit[:length] for unit, length in zip(x, lengths.tolist(), strict=True)])
    # Recorded behind a batch's mask, which shows the shorter sound one position of its padding.
    assert difference(made, OUT["whale.encoder_out"][number, : len(made)], "features") <= 1e-4
    assert plan.rows == CASES[f"audio.{number}"]["len_for_llm"]


def test_sound_of_another_rate_is_resampled_as_recorded(
    whole: tuple[Loaded, ImportReport],
) -> None:
    sound = Audio.from_path(HOME / "data/audio/resample.wav")
    talk = Conversation(id="0", messages=(Message(Role.USER, (sound,)),), source="test")
    sounds = whole[0].processor.encode(talk, for_answer=True).sounds
    assert sounds is not None
    wanted = OUT["audio.resample.fbank"]
    assert difference(sounds[0].T, wanted[: sounds.shape[2]], "preprocess") <= 2e-3


def test_checkpoint_counts_before_the_folders(whole: tuple[Loaded, ImportReport]) -> None:
    loaded, report = whole
    assert report.kind == "vita" and not report.ignored
    origins = {origin.partition(":")[0] for one in report.mapped.values() for origin in one}
    assert origins == {f"{name}.safetensors" for name in ("layers", "tables", "eyes", "audio")}
    config = loaded.model.config
    assert config.vision_encoder == {"kind": "hf", "layer": -1, "drop": 1, "scale": 0.5}
    assert (config.audio_config.chunk_size, config.audio_config.left_chunks) == (4, 2)
    ends = loaded.model.generation_config.eos_token_id
    names = loaded.processor.tokenizer.convert_ids_to_tokens(ends)
    assert names == ["<|im_end|>", "<|im_start|>"]


def test_random_chunks_become_the_whole_sound(home: Path, tmp_path: Path) -> None:
    folder = copy_of(home, tmp_path)
    change_yaml(tmp_path, "transformer", "transformer-dynamic-chunks", True)
    import_checkpoint("auto", folder, tmp_path / "out")
    config = reopen(tmp_path / "out").model.config.audio_config
    assert (config.chunk_size, config.left_chunks) == (0, -1)


def test_adapters_take_base_and_folders(home: Path, tmp_path: Path) -> None:
    folder = copy_of(home, tmp_path, _name_or_path="some/where/base")
    base = tmp_path / "base"
    base.mkdir()
    shutil.copyfile(folder / "config.json", base / "config.json")
    tensors = load_file(folder / "layers.safetensors")
    projector = {name: tensors.pop(name) for name in list(tensors) if "mm_projector" in name}
    save_file(tensors, base / "layers.safetensors")
    (folder / "tables.safetensors").rename(base / "tables.safetensors")
    adapter = {name: one for name, one in ears().items() if ".adpter." in name}
    for file in folder.glob("*.safetensors"):
        file.unlink()
    steps = tmp_path / "audio_adpter"
    steps.mkdir()
    torch.save(projector, folder / "mm_projector.bin")
    torch.save(adapter, steps / f"{folder.name}.bin")
    report = import_checkpoint("auto", folder, tmp_path / "out")
    assert any("base model" in note and "audio_adpter" in note for note in report.notes)
    assert report.ignored == {
        "final.pt/decoder.bias": "no part of the audio encoder or its adapter"
    }
    made = load_file(tmp_path / "out/model.safetensors")
    name = "model.audio_encoder.adpter.project.weight"
    assert torch.equal(made["model.audio_projector.linear.weight"], adapter[name])
    assert torch.equal(
        made["model.multi_modal_projector.linear_1.weight"],
        projector["model.mm_projector.0.weight"],
    )
    # The towers are those of the folders, whose numbers are doubled.
    patch = "embeddings.patch_embedding.weight"
    target = "model.vision_tower.embeddings.patch_embeddings.projection.weight"
    assert torch.equal(made[target], 2 * eyes()[INSIDE + patch])
    mean = "model.audio_encoder.encoder.global_cmvn.mean"
    assert torch.equal(made["model.audio_tower.statistics.mean"], 2 * ears()[mean])


def test_first_version_has_experts_and_two_convolutions(home: Path, tmp_path: Path) -> None:
    shape = {
        "hidden_size": 48,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "vocab_size": 623,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-5,
    }
    torch.manual_seed(0)
    toy = MixtralForCausalLM(MixtralConfig(**shape)).eval()
    toy.save_pretrained(tmp_path / "toy")  # writes the names of Mixtral's own files
    folder = copy_of(home, tmp_path, model_type="vita-mixtral", **shape)
    for name in ("layers", "tables"):
        (folder / f"{name}.safetensors").unlink()
    language = load_file(tmp_path / "toy/model.safetensors")
    assert any(".block_sparse_moe.experts.3.w1." in name for name in language)
    save_file(language, folder / "language.safetensors")
    set_projector(folder, {"0": (48, 128), "2": (48, 48)})
    set_adapter(folder, tmp_path)
    report = import_checkpoint("auto", folder, tmp_path / "out", template="mixtral_two")
    loaded = reopen(tmp_path / "out")
    fused = report.mapped["model.language_model.layers.0.mlp.experts.gate_up_proj"]
    assert len(fused) == 2 * shape["num_local_experts"]
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        wanted = toy(input_ids=ids).logits
    assert difference(logits_of(loaded, {"input_ids": ids}), wanted, "logits") <= 1e-5
    batch = batch_of(loaded, BY_NAME["image_audio"])
    assert logits_of(loaded, batch).isfinite().all()
    text = loaded.processor.tokenizer.decode(batch["input_ids"][0])
    assert "\nuser:" in text and text.endswith("\nbot:")


@pytest.mark.parametrize(("kind", "depth"), [("linear", 1), ("mlp3x_gelu", 3)])
def test_other_depths_of_the_projector_behind_internvit(
    kind: str, depth: int, home: Path, tmp_path: Path
) -> None:
    folder = copy_of(home, tmp_path, mm_projector_type=kind)
    sizes = {"": (48, 128)} if depth == 1 else {"0": (48, 128), "2": (48, 48), "4": (48, 48)}
    set_projector(folder, sizes)
    import_checkpoint("auto", folder, tmp_path / "out")
    loaded = reopen(tmp_path / "out")
    prefix = "model.mm_projector."
    tensors = {
        key.removeprefix(prefix): value
        for file in folder.glob("*.safetensors")
        for key, value in load_file(file).items()
        if key.startswith(prefix)
    }
    bridge = loaded.model.model.multi_modal_projector
    x = torch.randn(1, 16, 32)
    folded = rearrange(x, "u (h a w b) c -> (u h w) (a b c)", h=2, w=2, a=2, b=2)
    for number, name in enumerate(sizes):
        weight, bias = tensors[f"{name}.weight".strip(".")], tensors[f"{name}.bias".strip(".")]
        folded = (torch.nn.functional.gelu(folded) if number else folded) @ weight.T + bias
    with torch.no_grad():
        assert difference(bridge(Features(x, (4, 4))), folded, "features") <= 1e-5


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model_type": "vita-gemma"}, "model_type is 'vita-gemma'"),
        ({"mm_projector_type": "minigpt"}, "'minigpt' behind InternViT"),
        ({"use_s2": True}, "use_s2 is set on the vision tower InternViT"),
        ({"mm_vision_tower": "nowhere"}, r"vision tower 'nowhere' .*--search"),
        ({"mm_audio_encoder": "nowhere"}, r"audio encoder 'nowhere' .*train.yaml"),
    ],
)
def test_impossible_configurations_are_refused(
    change: dict[str, Any], match: str, home: Path, tmp_path: Path
) -> None:
    folder = copy_of(home, tmp_path, **change)
    with pytest.raises(CheckpointError, match=match):
        import_checkpoint("auto", folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("part", "key", "value", "match"),
    [
        ("transformer", "transformer-pos-enc-class", "abs-enc", "pos-enc-class is 'abs-enc'"),
        ("transformer", "transformer-positionwise-layer-type", "conv1d", "'conv1d'"),
        ("model_conf", "adpter_type", "qformer", "adpter_type is 'qformer'"),
        ("model_conf", "norm", "group", "norm 'group'"),
    ],
)
def test_impossible_audio_options_are_refused(
    part: str, key: str, value: str, match: str, home: Path, tmp_path: Path
) -> None:
    folder = copy_of(home, tmp_path)
    change_yaml(tmp_path, part, key, value)
    with pytest.raises(CheckpointError, match=match):
        import_checkpoint("auto", folder, tmp_path / "out")
