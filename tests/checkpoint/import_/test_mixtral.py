"""LLaVA and VILA on Mixtral: files with one matrix per expert give transformers' own logits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoint.import_.parity import GOLDEN, ask, check_greedy, difference, reopen
from torch import Tensor
from transformers import MixtralConfig, MixtralForCausalLM

from hocket._errors import CheckpointError
from hocket.checkpoint.directory import Loaded
from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.media.image import Image
from hocket.tokens.span import Modality

LLAVA, NAVILA = GOLDEN / "llava15", GOLDEN / "navila" / "navila-tiny"
EXPERTS: dict[str, Any] = {
    "num_local_experts": 3,
    "num_experts_per_tok": 2,
    "sliding_window": None,
    "router_jitter_noise": 0.0,
}
SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
SIZES += ("num_key_value_heads", "vocab_size", "rms_norm_eps", "bos_token_id", "eos_token_id")


def mixtral(document: dict[str, Any]) -> Any:
    """Return a Mixtral with the sizes of a recorded language model."""
    torch.manual_seed(0)
    sizes = {key: document[key] for key in SIZES}
    model = MixtralForCausalLM(MixtralConfig(**sizes, **EXPERTS, rope_theta=10000.0)).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return model


def files_of(model: Any, prefix: str = "") -> dict[str, Tensor]:
    """Return its tensors under the names of Mixtral's own files."""
    named: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        old = name.replace(".mlp.", ".block_sparse_moe.")
        if name.endswith("experts.gate_up_proj"):
            home = old.removesuffix("gate_up_proj")
            for number, expert in enumerate(tensor):
                gate, up = expert.chunk(2)
                named |= {f"{home}{number}.w1.weight": gate, f"{home}{number}.w3.weight": up}
        elif name.endswith("experts.down_proj"):
            home = old.removesuffix("down_proj")
            named |= {f"{home}{number}.w2.weight": one for number, one in enumerate(tensor)}
        else:
            named[old] = tensor
    return {prefix + name: one.clone().contiguous() for name, one in named.items()}


def write_llava(room: Path) -> tuple[Path, Any]:
    shutil.copytree(LLAVA, room, dirs_exist_ok=True)
    folder = room / "llava-v1.5-tiny"
    for file in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(room / "base-llm" / file, folder / file)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    model = mixtral(config)
    bridge = torch.load(room / "llava-tiny-pretrain/mm_projector.bin", weights_only=True)
    save_file(files_of(model) | bridge, folder / "model.safetensors", metadata={"format": "pt"})
    _write(folder, config | EXPERTS | {"model_type": "llava_mixtral"})
    return folder, model


def write_vila(room: Path) -> tuple[Path, Any]:
    folder = Path(shutil.copytree(NAVILA, room / "vila"))
    config = json.loads((folder / "llm" / "config.json").read_text("utf-8"))
    model = mixtral(config)
    for file in (folder / "llm").glob("model*.safetensors*"):
        file.unlink()
    save_file(files_of(model), folder / "llm" / "model.safetensors", metadata={"format": "pt"})
    kept = {key: one for key, one in config.items() if key in SIZES or "token" in key}
    kept |= EXPERTS | {"model_type": "mixtral", "rope_theta": 10000.0}
    _write(folder / "llm", kept)
    return folder, model


def _write(folder: Path, config: dict[str, Any]) -> None:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


WRITERS = {"llava": write_llava, "vila": write_vila}


@pytest.mark.parametrize("kind", WRITERS)
def test_logits_and_answers_are_the_same(kind: str, tmp_path: Path) -> None:
    folder, theirs = WRITERS[kind](tmp_path / "room")
    report = import_checkpoint("auto", folder, tmp_path / "ours", search=[tmp_path / "room"])
    assert report.kind == kind
    fused = "model.language_model.layers.0.mlp.experts.gate_up_proj"
    assert len(report.mapped[fused]) == 2 * EXPERTS["num_local_experts"]
    loaded = reopen(tmp_path / "ours")
    picture = Image.from_path(LLAVA / "images/0.png")
    batch = ask(loaded, "<image>\nWhat is this?", [picture])
    embeds = _embeds(loaded, theirs, batch)
    tokens, margins = [], []
    with torch.no_grad():
        first = theirs(inputs_embeds=embeds).logits
        assert difference(loaded.model(**batch).logits, first, "logits") <= 1e-4
        for _ in range(6):
            best = theirs(inputs_embeds=embeds).logits[0, -1].topk(2)
            tokens.append(int(best.indices[0]))
            margins.append(float(best.values[0] - best.values[1]))
            more = theirs.get_input_embeddings()(best.indices[None, :1])
            embeds = torch.cat([embeds, more], dim=1)
    loaded.model.generation_config.eos_token_id = None
    check_greedy(loaded, batch, tokens, margins)


def _embeds(loaded: Loaded, theirs: Any, batch: dict[str, Tensor]) -> Tensor:
    ids = batch["input_ids"]
    place = loaded.processor.placeholder_ids[Modality.IMAGE]
    with torch.no_grad():
        rows = loaded.model.model.image_rows(batch["pixel_values"], batch["image_spans"])
        embeds = theirs.get_input_embeddings()(ids.masked_fill(ids == place, 0))
    return embeds.masked_scatter((ids == place)[..., None], rows)


def test_a_dump_of_the_whole_vila_is_the_same(tmp_path: Path) -> None:
    folder, _ = write_vila(tmp_path)
    import_checkpoint("auto", folder, tmp_path / "parts")
    whole: dict[str, Tensor] = {}
    names = {"llm": "llm.", "vision_tower": "vision_tower.vision_tower."}
    for name, prefix in (names | {"mm_projector": "mm_projector."}).items():
        for file in (folder / name).glob("*.safetensors"):
            whole |= {prefix + key: one for key, one in load_file(file).items()}
            file.unlink()
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
    import_checkpoint("auto", folder, tmp_path / "whole")
    first, second = (reopen(tmp_path / one).model.state_dict() for one in ("parts", "whole"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_missing_expert_is_named(tmp_path: Path) -> None:
    folder, _ = write_llava(tmp_path / "room")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.block_sparse_moe.experts.2.w3.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"3 experts, but no 2\.w3\.weight"):
        import_checkpoint("auto", folder, tmp_path / "out", search=[tmp_path / "room"])
