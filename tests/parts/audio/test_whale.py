from __future__ import annotations

import inspect
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tests.parts.vision.imported import imported
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModel
from transformers.modeling_layers import GradientCheckpointingLayer

from hocket._errors import ConfigError, MediaError
from hocket.checkpoint.import_.keys_vita_audio import whale_options, whale_rules
from hocket.media.audio import Audio
from hocket.parts.audio.whale import Whale, WhaleConfig, WhaleModel, chunks_seen, sinusoids
from hocket.tokens.layout.audio_fbank import AudioFbank

GOLDEN = Path(__file__).parents[2] / "golden" / "vita15_audio"
TINY: dict[str, Any] = {
    "subsampling_size": 8,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
LAST = {"layer": -1, "drop": 0, "block": 6}


def vita(**options: Any) -> WhaleModel:
    document = yaml.safe_load((GOLDEN / "train.yaml").read_text())
    weights = load_file(GOLDEN / "weights.safetensors")
    stored = {name: value for name, value in weights.items() if ".adpter." not in name}
    config = AutoConfig.for_model("whale", **(whale_options(document) | options))
    return imported(WhaleModel(config), stored, whale_rules(r"audio_encoder\.encoder\.", ""))


def random(**options: Any) -> WhaleModel:
    torch.manual_seed(0)
    tower = WhaleModel(AutoConfig.for_model("whale", **(TINY | options)))
    for value in [*tower.parameters(), *tower.buffers()]:  # a zero or a one hides mistakes
        value.data += 0.4 * torch.randn_like(value) / math.sqrt(value.shape[-1])
    return tower.eval()


def naive(tower: WhaleModel, frames: Tensor) -> Tensor:
    """The tower's formula for one sound (F, M), written a second time: (T, C)."""
    config, state = tower.config, tower.state_dict()

    def linear(name: str, x: Tensor) -> Tensor:
        bias = state.get(f"{name}.bias", torch.zeros(1))
        return x @ state[f"{name}.weight"].T + bias

    def norm(name: str, x: Tensor) -> Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        return x * state[f"{name}.weight"] + state[f"{name}.bias"]

    x = (frames - state["statistics.mean"]) * state["statistics.istd"]
    x = torch.relu(tower.subsampling.conv_1(x[None]))
    x = torch.relu(tower.subsampling.conv_2(x))
    x = linear("subsampling.linear", x.permute(1, 0, 2).flatten(1))
    x = torch.relu(norm("embedding.1", linear("embedding.0", x))) * math.sqrt(config.hidden_size)
    table = torch.tensor(
        [
            [
                (math.sin, math.cos)[c % 2](t / 10000 ** ((c - c % 2) / config.hidden_size))
                for c in range(config.hidden_size)
            ]
            for t in range(len(x))
        ]
    )
    head = config.hidden_size // config.num_attention_heads
    for number in range(config.num_hidden_layers):
        own = f"layers.{number}"
        y, merged = norm(f"{own}.norm1", x), []
        q, k, v = (linear(f"{own}.attention.{one}_proj", y) for one in "qkv")
        p = table @ state[f"{own}.attention.pos_proj.weight"].T
        for number_of_head in range(config.num_attention_heads):
            at = slice(number_of_head * head, (number_of_head + 1) * head)
            content = state[f"{own}.attention.content_bias"][number_of_head]
            position = state[f"{own}.attention.position_bias"][number_of_head]
            scores = (q[:, at] + content) @ k[:, at].T + (q[:, at] + position) @ p[:, at].T
            merged.append((scores / math.sqrt(head)).softmax(-1) @ v[:, at])
        x = x + linear(f"{own}.attention.out_proj", torch.cat(merged, dim=1))
        inner = torch.relu(linear(f"{own}.mlp.fc1", norm(f"{own}.norm2", x)))
        x = x + linear(f"{own}.mlp.fc2", inner)
    return norm("norm", x)


def test_features_are_those_of_vita() -> None:
    golden, tower = load_file(GOLDEN / "features.safetensors"), vita()
    assert (tower.config.chunk_size, tower.config.left_chunks) == (4, 2)
    units = golden["whale.input"].mT
    lengths = golden["whale.subsampling_mask"][:, 0].sum(1)
    with torch.inference_mode():
        subsampled = tower.subsampling(tower.statistics(golden["whale.input"]))
        output = tower(units, None, lengths, output_hidden_states=True)
    torch.testing.assert_close(subsampled, golden["whale.subsampling_out"], rtol=0, atol=1e-5)
    first = golden["whale.layer0_out_item0"]
    torch.testing.assert_close(output.hidden_states[1][:1], first, rtol=0, atol=1e-5)
    for x, expected, length in zip(
        output.last_hidden_state, golden["whale.encoder_out"], lengths, strict=True
    ):
        torch.testing.assert_close(x[:length], expected[:length], rtol=0, atol=1e-5)
        assert not x[length:].any()


@pytest.mark.parametrize("block", [1, 6, 24, 40])
def test_the_layouts_blocks_make_no_difference(block: int) -> None:
    golden, tower = load_file(GOLDEN / "features.safetensors"), vita()
    options = LAST | {"block": block}
    layout = AudioFbank(**Whale.inputs(tower.config, options))
    units, spans, lengths = [], [], []
    for name in ("0", "1"):
        wave = Audio.from_path(GOLDEN / f"{name}.wav").load(layout.rate)
        plan = layout.plan(len(wave))
        units.append(torch.from_numpy(layout.units(wave, plan)))
        spans.append([plan.units, plan.rows, *plan.grid, 1, 1])
        lengths += layout.lengths(plan)
    with torch.inference_mode():
        x = Whale.encode(
            tower, torch.cat(units), options, torch.tensor(spans), torch.tensor(lengths)
        )
    assert x.shape[1:] == (Whale.grid(tower.config, options)[1], 32)
    real = torch.cat([unit[:length] for unit, length in zip(x, lengths, strict=True)])
    mask = golden["whale.subsampling_mask"][:, 0]
    torch.testing.assert_close(real, golden["whale.encoder_out"][mask], rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"num_mel_bins": 23}])
def test_the_whole_sound_is_seen_without_chunks(options: dict[str, Any]) -> None:
    tower = random(**options)
    frames = torch.randn(60, tower.config.num_mel_bins)
    with torch.inference_mode():
        x = tower(frames.mT[None]).last_hidden_state[0]
        torch.testing.assert_close(x, naive(tower, frames), rtol=0, atol=1e-5)


def test_chunks_are_what_the_original_lets_a_position_see() -> None:
    seen = chunks_seen(7, 2, 1, device=torch.device("cpu"))
    for row in range(7):
        start = max((row // 2 - 1) * 2, 0)
        assert seen[row].nonzero()[:, 0].tolist() == list(range(start, min(row // 2 * 2 + 2, 7)))
    assert chunks_seen(7, 2, -1, device=torch.device("cpu"))[6].all()
    assert chunks_seen(7, 9, 0, device=torch.device("cpu")).all()


def test_what_comes_later_does_not_change_a_finished_chunk() -> None:
    tower = random(chunk_size=4, left_chunks=1)
    frames = torch.randn(1, 80, 4 * 12 + 3)
    later = frames.clone()
    later[..., 4 * 8 + 3 :] += 1
    with torch.inference_mode():
        x, y = tower(frames).last_hidden_state, tower(later).last_hidden_state
    torch.testing.assert_close(x[:, :8], y[:, :8], rtol=0, atol=1e-5)
    assert not torch.allclose(x[:, 8:], y[:, 8:], atol=1e-3)


@pytest.mark.parametrize("options", [{}, {"chunk_size": 3, "left_chunks": 1}])
def test_sounds_of_a_batch_do_not_see_each_other_nor_padding(options: dict[str, Any]) -> None:
    tower = random(**options)
    units = torch.randn(4, 80, 27)
    spans = torch.tensor([[2, 0, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1, 1]])
    lengths = torch.tensor([6, 3, 6, 1])
    louder = units.clone()
    louder[1, :, 4 * 3 + 3 :] += 9
    with torch.inference_mode():
        x = Whale.encode(tower, units, LAST, spans, lengths)
        torch.testing.assert_close(Whale.encode(tower, louder, LAST, spans, lengths), x)
        for at, span in ((slice(0, 2), 0), (slice(2, 3), 1), (slice(3, 4), 2)):
            alone = Whale.encode(tower, units[at], LAST, spans[span : span + 1], lengths[at])
            torch.testing.assert_close(x[at], alone, rtol=0, atol=1e-5)
    assert x.isfinite().all()


def test_every_hidden_state_can_be_read() -> None:
    tower = random()
    units = torch.randn(2, 80, 27)
    with torch.inference_mode():
        states = [Whale.encode(tower, units, LAST | {"layer": n}, None) for n in range(3)]
        again = [Whale.encode(tower, units, LAST | {"layer": n}, None) for n in (-3, -2)]
        last = Whale.encode(tower, units, LAST, None)
    assert torch.equal(states[0], again[0])
    assert torch.equal(states[1], again[1])
    with torch.inference_mode():
        torch.testing.assert_close(tower.norm(states[2]), last)


def test_positions_are_sines_and_cosines_of_any_length() -> None:
    table = sinusoids(6000, 8, device=torch.device("cpu"), dtype=torch.float32)
    assert table.shape == (6000, 8)
    assert float(table[100, 2]) == pytest.approx(math.sin(100 / 10000 ** (2 / 8)), abs=1e-4)
    assert float(table[100, 3]) == pytest.approx(math.cos(100 / 10000 ** (2 / 8)), abs=1e-4)


def test_the_shape_is_known_without_numbers() -> None:
    with torch.device("meta"):
        tower = Whale.build(AutoConfig.for_model("whale", **TINY))
    spans = torch.tensor([[2, 0, 1, 1, 1, 1, 1]])
    with torch.inference_mode():
        x = Whale.encode(tower, torch.empty(2, 80, 27, device="meta"), LAST, spans)
    assert x.shape == (2, 6, 16)


def test_half_precision_stays_half_precision() -> None:
    tower = random()
    units = torch.randn(2, 80, 27)
    with torch.inference_mode():
        single = Whale.encode(tower, units, LAST, None)
        half = Whale.encode(tower.to(torch.bfloat16), units.bfloat16(), LAST, None)
    assert half.dtype == torch.bfloat16
    assert (half.float() - single).abs().mean() < 0.1 * single.abs().mean()


def test_it_is_saved_and_opened_by_transformers(tmp_path: Path) -> None:
    tower = random(concat_after=True)
    tower.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path).eval()
    units = torch.randn(1, 80, 27)
    with torch.inference_mode():
        assert torch.equal(again(units).last_hidden_state, tower(units).last_hidden_state)


def test_it_can_compute_again_to_save_memory() -> None:
    units, gradients = torch.randn(2, 80, 27), []
    for again in (False, True):
        tower = random(dropout=0.0).train()
        for layer in tower.modules():
            if again and isinstance(layer, GradientCheckpointingLayer):
                layer.gradient_checkpointing = True
                layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        tower(units).last_hidden_state.square().sum().backward()
        named = tower.named_parameters()
        gradients.append({name: value.grad for name, value in named})
    for name, before in gradients[0].items():
        assert before is not None and before.any(), name
        torch.testing.assert_close(gradients[1][name], before)


def test_sounds_beyond_its_positions_are_refused() -> None:
    tower = random(max_positions=10)
    with pytest.raises(MediaError, match="12 positions, but the audio encoder reads at most 10"):
        Whale.encode(tower, torch.randn(2, 80, 27), LAST, torch.tensor([[2, 0, 1, 1, 1, 1, 1]]))
    layout = AudioFbank(**Whale.inputs(tower.config, LAST))
    with pytest.raises(MediaError, match="at most 10"):
        layout.plan(16000)
    assert len(layout.units(np.zeros(1, np.float32), layout.plan(1))) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_layer": "embed"}, "input_layer is 'embed'"),
        ({"input_layer": "none"}, "subsampling_size is 8, expected hidden_size, 16"),
        ({"num_attention_heads": 3}, "hidden_size is 16, expected a multiple"),
    ],
)
def test_impossible_shapes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Whale.build(AutoConfig.for_model("whale", **(TINY | options)))


def test_without_an_input_layer_the_convolutions_feed_the_layers() -> None:
    tower = random(input_layer="none", subsampling_size=16)
    assert not any(name.startswith("embedding") for name in tower.state_dict())
    assert Whale.encode(tower, torch.randn(1, 80, 27), LAST, None).shape == (1, 6, 16)


def test_the_configuration_describes_its_options() -> None:
    for option in WhaleConfig.__annotations__:
        assert f"{option}: " in (inspect.getdoc(WhaleConfig) or ""), option
