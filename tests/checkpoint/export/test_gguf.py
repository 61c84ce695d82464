"""Exports to GGUF: names, keys and numbers of both files, and what llama.cpp makes of them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors.torch import load_file
from tests.checkpoint.export.toys import clip, layout, save, siglip
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from hocket import _env
from hocket._errors import CheckpointError, ConfigError, MissingExtraError
from hocket.checkpoint.export import ExportOptions, export, open_source, verify_export
from hocket.checkpoint.export._gguf.answers import agreements
from hocket.checkpoint.export._gguf.language import llama3_factors
from hocket.checkpoint.export._gguf.server import served
from hocket.cli.main import main
from hocket.model.spec import PartSpec, TowerSpec

CLOSE = 1e-5
WHISPER: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "num_mel_bins": 80,
    "max_source_positions": 1500,
}

ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def ears(frames: int = 10, *, seconds: float = 30.0, **options: Any) -> TowerSpec:
    """Return Whisper with Ultravox's connector."""
    mel = PartSpec(kind="audio_mel", options={"chunk_seconds": seconds, "trim": False})
    connector = PartSpec(kind="ultravox", options={"frames": frames} | options)
    config = WHISPER | {"max_source_positions": round(seconds * 50)}
    return TowerSpec(model_type="whisper", config=config, layout=mel, connector=connector)


def qwen_ears(pool: int = 1) -> TowerSpec:
    """Return Qwen2-Audio's encoder and its linear layer."""
    mel = PartSpec(kind="audio_mel", options={"trim": False})
    connector = PartSpec(kind="qwen2_audio", options={"pool": pool})
    kind = "qwen2_audio_encoder"
    return TowerSpec(model_type=kind, config=WHISPER, layout=mel, connector=connector)


def tensors(file: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a file as float32, in the order of dimensions that torch has."""
    return {
        str(one.name): dequantize(one.data, one.tensor_type).reshape(one.shape[::-1])
        for one in GGUFReader(file).tensors
    }


def types(file: Path) -> dict[str, str]:
    return {str(one.name): one.tensor_type.name for one in GGUFReader(file).tensors}


def keys(file: Path) -> dict[str, Any]:
    return {name: one.contents() for name, one in GGUFReader(file).fields.items()}


@pytest.mark.parametrize(
    ("text", "architecture"),
    [("llama", "llama"), ("mistral", "llama"), ("qwen2", "qwen2"), ("qwen3", "qwen3")],
)
def test_another_reader_gives_the_same_logits(
    tmp_path: Path, text: str, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOCKET_LLAMA_SERVER", raising=False)
    monkeypatch.setenv("PATH", "")
    saved = save(tmp_path / "model", text=text, num_attention_heads=4, num_key_value_heads=2)
    notes = export(saved, tmp_path / "out", to="gguf")
    assert bool(notes) == (text == "mistral")
    found = verify_export(saved, tmp_path / "out", to="gguf")
    assert found.same_inputs <= CLOSE * found.largest
    assert found.opened_in.endswith("ForCausalLM, from model.gguf")
    assert "llama-server is neither" in found.remark
    assert not (tmp_path / "out" / "mmproj.gguf").exists()
    assert (tmp_path / "out" / "Modelfile").read_text("utf-8") == "FROM ./model.gguf\n"
    said = keys(tmp_path / "out" / "model.gguf")
    assert said["general.architecture"] == architecture
    assert said[f"{architecture}.attention.head_count_kv"] == 2
    assert said[f"{architecture}.rope.dimension_count"] in (8, 16)


def test_llama_pairs_what_is_rotated_together(tmp_path: Path) -> None:
    saved = save(tmp_path / "model")
    export(saved, tmp_path / "out", to="gguf")
    ours = load_file(saved / "model.safetensors")
    ours_q = ours["model.language_model.layers.1.self_attn.q_proj.weight"].numpy()
    made = tensors(tmp_path / "out" / "model.gguf")["blk.1.attn_q.weight"]
    head, half = 16, 8
    for row in range(len(ours_q)):
        number, place = divmod(row, head)
        theirs = number * head + 2 * (place % half) + place // half
        assert np.array_equal(made[theirs], ours_q[row])


def test_biases_and_rotations_that_only_llama_has(tmp_path: Path) -> None:
    saved = save(tmp_path / "llama", attention_bias=True, mlp_bias=True, head_dim=24)
    export(saved, tmp_path / "out", to="gguf")
    assert "blk.0.attn_output.bias" in tensors(tmp_path / "out" / "model.gguf")
    saved = save(tmp_path / "qwen3", text="qwen3", attention_bias=True)
    with pytest.raises(CheckpointError, match=r"o_proj\.bias: found it, expected only tensors"):
        export(saved, tmp_path / "no", to="gguf")
    saved = save(tmp_path / "qwen2", text="qwen2", rope_parameters=ROPE)
    with pytest.raises(CheckpointError, match="rope_type: found llama3"):
        export(saved, tmp_path / "no", to="gguf")


def test_a_sliding_window_cuts_the_context(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", text="mistral", sliding_window=64)
    (note,) = export(saved, tmp_path / "out", to="gguf")
    assert "the context is 64 tokens" in note
    assert keys(tmp_path / "out" / "model.gguf")["llama.context_length"] == 64


def test_stretched_rotations(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", rope_parameters=ROPE)
    export(saved, tmp_path / "out", to="gguf")
    made = tensors(tmp_path / "out" / "model.gguf")["rope_freqs.weight"]
    plain = 1 / 10000 ** (torch.arange(0, 16, 2) / 16)
    # transformers' own frequencies of this scaling, divided back.
    theirs = open_source(saved).config.text_config
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](theirs, "cpu")
    assert torch.allclose(torch.from_numpy(made.copy()), plain / scaled, rtol=1e-5)
    assert torch.equal(llama3_factors(ROPE, 16), torch.from_numpy(made.copy()))
    saved = save(tmp_path / "long", rope_parameters=ROPE | {"rope_type": "dynamic"})
    with pytest.raises(CheckpointError, match="rope_type: found dynamic, expected default"):
        export(saved, tmp_path / "no", to="gguf")


@pytest.mark.parametrize(("layer", "used"), [(-2, 2), (2, 2), (3, 3), (-1, 3)])
def test_siglip(tmp_path: Path, layer: int, used: int) -> None:
    saved = save(tmp_path / "model", vision=siglip(layer=layer))
    export(saved, tmp_path / "out", to="gguf")
    file = tmp_path / "out" / "mmproj.gguf"
    said, made, ours = keys(file), tensors(file), load_file(saved / "model.safetensors")
    assert said["general.architecture"] == "clip"
    assert said["clip.vision.projector_type"] == "mlp"
    assert said["clip.vision.block_count"] == used
    assert said["clip.vision.feature_layer"] == [used]
    assert said["clip.has_vision_encoder"] is True
    assert said["clip.use_gelu"] is True
    assert "clip.projector_type" not in said
    assert "clip.has_audio_encoder" not in said
    assert said["clip.vision.image_mean"] == [0.5, 0.5, 0.5]
    tower = "model.vision_tower."
    table = {
        "v.patch_embd.weight": tower + "embeddings.patch_embedding.weight",
        "v.position_embd.weight": tower + "embeddings.position_embedding.weight",
        "v.blk.1.attn_out.weight": tower + "encoder.layers.1.self_attn.out_proj.weight",
        "v.blk.1.ffn_up.weight": tower + "encoder.layers.1.mlp.fc1.weight",
        "v.blk.0.ffn_down.bias": tower + "encoder.layers.0.mlp.fc2.bias",
        "v.blk.0.ln2.weight": tower + "encoder.layers.0.layer_norm2.weight",
        "mm.0.weight": "model.multi_modal_projector.linear_1.weight",
        "mm.2.bias": "model.multi_modal_projector.linear_2.bias",
    }
    for theirs, name in table.items():
        assert np.array_equal(made[theirs], ours[name].numpy()), theirs
    # The graph applies this norm wherever it finds it, so only a normalised output may have it.
    assert ("v.post_ln.weight" in made) == (layer == -1)
    assert f"v.blk.{used - 1}.ln1.weight" in made
    assert f"v.blk.{used}.ln1.weight" not in made


def test_a_connector_without_biases_adds_zeros(tmp_path: Path) -> None:
    connector = PartSpec(kind="mlp", options={"bias": False})
    saved = save(tmp_path / "model", vision=siglip(connector=connector))
    export(saved, tmp_path / "out", to="gguf")
    made = tensors(tmp_path / "out" / "mmproj.gguf")
    assert not made["mm.0.bias"].any()
    assert not made["mm.2.bias"].any()


def test_eyes_and_ears_share_a_file(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", vision=siglip(), audio=ears(), text="qwen2")
    notes = export(saved, tmp_path / "out", to="gguf")
    assert any("pictures that are not square" in note for note in notes)
    file = tmp_path / "out" / "mmproj.gguf"
    said, made, ours = keys(file), tensors(file), load_file(saved / "model.safetensors")
    assert "clip.projector_type" not in said
    assert said["clip.vision.projector_type"] == "mlp"
    assert said["clip.audio.projector_type"] == "ultravox"
    assert said["clip.audio.projector.stack_factor"] == 10
    assert said["clip.audio.num_mel_bins"] == 80
    assert "mm.2.weight" in made
    assert not any("attn_k.bias" in name for name in made if name.startswith("a."))
    assert made["a.conv1d.2.bias"].shape == (32, 1)
    assert types(file)["a.conv1d.1.weight"] == "F16"
    names = {"mm.a.norm_pre": "ln_pre", "mm.a.mlp.1": "linear_1", "mm.a.mlp.2": "linear_2"}
    for theirs, name in (names | {"mm.a.norm_mid": "ln_mid"}).items():
        want = ours[f"model.audio_projector.{name}.weight"].numpy()
        assert np.array_equal(made[f"{theirs}.weight"], want)
    assert "FROM ./mmproj.gguf" in (tmp_path / "out" / "Modelfile").read_text("utf-8")


def test_qwen2_audio(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", audio=qwen_ears())
    notes = export(saved, tmp_path / "out", to="gguf")
    assert any("<|audio_bos|>" in note for note in notes)
    file = tmp_path / "out" / "mmproj.gguf"
    assert keys(file)["clip.audio.projector_type"] == "qwen2a"
    ours = load_file(saved / "model.safetensors")["model.audio_projector.linear.weight"]
    assert np.array_equal(tensors(file)["mm.a.fc.weight"], ours.numpy())
    assert "a.post_ln.weight" in tensors(file)


def test_frames_that_leave_a_rest_are_said(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", audio=ears(8))
    notes = export(saved, tmp_path / "out", to="gguf")
    assert any("1500 frames are stacked by 8" in note for note in notes)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"vision": clip()}, "clip_vision_model .llama.cpp puts the class token behind"),
        ({"text": "gemma"}, "model.language.model_type: found gemma, expected llama or mistral"),
        (
            {"vision": siglip(connector=PartSpec(kind="mlp", options={"depth": 3}))},
            "model.vision.connector.depth: found 3, expected 2",
        ),
        (
            {"vision": siglip(connector=PartSpec(kind="pixel_shuffle", options={"fold": 2}))},
            "model.vision.connector.kind: found pixel_shuffle",
        ),
        ({"vision": siglip(scale=0.5)}, "model.vision.scale: found 0.5"),
        ({"vision": siglip(layer=0)}, "model.vision.layer: found 0"),
        ({"vision": siglip(layout=layout("image_tiles"))}, "layout.kind: found image_tiles"),
        ({"audio": ears(10, seconds=2.0)}, "max_source_positions: found 100, expected 1500"),
        ({"audio": ears(norm="last")}, "model.audio.connector.norm: found last"),
        ({"audio": qwen_ears(2)}, "model.audio.connector.pool: found 2, expected 1"),
    ],
)
def test_what_llama_cpp_cannot_express(tmp_path: Path, parts: dict[str, Any], message: str) -> None:
    saved = save(tmp_path / "model", **parts)
    with pytest.raises(CheckpointError, match=message):
        export(saved, tmp_path / "out", to="gguf")
    assert not (tmp_path / "out").exists()


def test_shared_positions_are_refused(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", vision=siglip())
    file = saved / "config.json"
    document = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(document | {"shared_positions": 4}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"shared_positions: found 4, expected 1"):
        export(saved, tmp_path / "out", to="gguf")


def test_widths_that_llama_cpp_mistakes_are_refused(tmp_path: Path) -> None:
    eyes = replace(siglip(), config=siglip().config | {"intermediate_size": 32})
    saved = save(tmp_path / "model", vision=eyes)
    with pytest.raises(CheckpointError, match="intermediate_size: found 32"):
        export(saved, tmp_path / "out", to="gguf")


@pytest.mark.parametrize("numbers", ["f16", "bf16", "q8_0"])
def test_fewer_bits(tmp_path: Path, numbers: str) -> None:
    options = ExportOptions(outtype=numbers)
    saved = save(tmp_path / "model", vision=siglip(), audio=ears())
    export(saved, tmp_path / "out", to="gguf", options=options)
    found = types(tmp_path / "out" / "mmproj.gguf")
    assert found["v.blk.0.ffn_up.weight"] == numbers.upper()
    assert found["v.patch_embd.weight"] == ("F16" if numbers == "q8_0" else numbers.upper())
    assert found["v.position_embd.weight"] == "F32"
    assert found["a.conv1d.1.weight"] == "F16"
    assert found["v.blk.0.ln1.weight"] == "F32"
    assert types(tmp_path / "out" / "model.gguf")["token_embd.weight"] == numbers.upper()
    verified = verify_export(saved, tmp_path / "out", to="gguf", options=options)
    assert verified.same_inputs <= verified.close * verified.largest


def test_the_type_is_the_checkpoints_own(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", dtype=torch.bfloat16)
    export(saved, tmp_path / "out", to="gguf")
    assert types(tmp_path / "out" / "model.gguf")["blk.0.ffn_up.weight"] == "BF16"
    ours = load_file(saved / "model.safetensors")[
        "model.language_model.layers.0.mlp.up_proj.weight"
    ]
    made = tensors(tmp_path / "out" / "model.gguf")["blk.0.ffn_up.weight"]
    assert np.array_equal(made, ours.float().numpy())
    with pytest.raises(ConfigError, match="--outtype is 'q4_0', expected auto"):
        export(saved, tmp_path / "no", to="gguf", options=ExportOptions(outtype="q4_0"))


def test_a_damaged_file_is_found(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", vision=siglip())
    export(saved, tmp_path / "out", to="gguf")
    file = tmp_path / "out" / "mmproj.gguf"
    content = bytearray(file.read_bytes())
    content[-100] ^= 0x55
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="differs by"):
        verify_export(saved, tmp_path / "out", to="gguf")
    file.write_bytes(b"GGUF")
    with pytest.raises(CheckpointError, match="cannot be read"):
        verify_export(saved, tmp_path / "out", to="gguf")


def test_the_library_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = save(tmp_path / "model")
    monkeypatch.delitem(sys.modules, "hocket.checkpoint.export._gguf.file", raising=False)
    monkeypatch.delattr("hocket.checkpoint.export._gguf.file", raising=False)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hocket\[gguf\]'"):
        export(saved, tmp_path / "out", to="gguf")


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HOCKET_LLAMA_SERVER", raising=False)
    saved = save(tmp_path / "model", vision=siglip())
    out = tmp_path / "out"
    words = ["model", "export", str(saved), str(out), "--to", "gguf", "--outtype", "f16"]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--verify"])
    assert stopped.value.code == 0
    assert "tensors are the checkpoint's" in capsys.readouterr().out
    assert (out / "model.gguf").is_file()


@pytest.mark.slow
@pytest.mark.skipif(_env.llama_server() is None, reason="HOCKET_LLAMA_SERVER names no server")
@pytest.mark.parametrize(
    "parts",
    [
        {"text": "qwen3"},
        {"text": "llama", "vision": siglip(layer=-2)},
        {"text": "qwen2", "vision": siglip(layer=-1), "audio": qwen_ears()},
        {"text": "mistral", "vision": siglip(), "audio": ears()},
    ],
)
def test_llama_cpp_says_the_same(tmp_path: Path, parts: dict[str, Any]) -> None:
    saved = save(tmp_path / "model", **parts)
    export(saved, tmp_path / "out", to="gguf")
    files = ["-m", str(tmp_path / "out" / "model.gguf")]
    if len(parts) > 1:
        files += ["--mmproj", str(tmp_path / "out" / "mmproj.gguf")]
    program = _env.llama_server()
    assert program is not None
    with served(program, files) as server:
        found = list(agreements(open_source(saved), server))
    assert len(found) == {1: 1, 2: 2, 3: 4}[len(parts)]
    for one in found:
        assert one.same == one.said > 0, one
        assert one.theirs == one.ours, one
        assert one.gap < (1e-4 if one.name == "text" else 5e-3), one
