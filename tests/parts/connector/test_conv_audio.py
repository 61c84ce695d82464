from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tests.parts.vision.imported import imported

from hocket._errors import ConfigError
from hocket.checkpoint.import_.keys_vita_audio import adapter_rules
from hocket.parts.connector import Connector, build_connector
from hocket.parts.features import Features
from hocket.tokens.span import Modality, Plan

GOLDEN = Path(__file__).parents[2] / "golden" / "vita15_audio"
ADAPTERS: dict[str, dict[str, Any]] = {
    "cnn": {"adapter": "cnn", "kernel": 3},
    "linear": {"adapter": "linear"},
    "subsampling_gelu_layer": {},
    "subsampling_relu_batch": {"norm": "batch", "activation": "relu"},
}


def made(in_width: int = 4, out_width: int = 6, **options: Any) -> Connector:
    torch.manual_seed(0)
    options = {"kind": "conv_audio", **options}
    return build_connector(options, in_width=in_width, out_width=out_width).eval()


@pytest.mark.parametrize("name", ADAPTERS)
def test_rows_are_those_of_every_adapter_of_vita(name: str) -> None:
    golden = load_file(GOLDEN / "adapters.safetensors")
    prefix = f"{name}.weights."
    stored = {
        key.replace(prefix, "adpter."): value
        for key, value in golden.items()
        if key.startswith(prefix)
    }
    connector = imported(made(32, 24, **ADAPTERS[name]), stored, adapter_rules("", ""))
    lengths = golden["mask"][:, 0].sum(1)
    with torch.inference_mode():
        rows = connector(Features(golden["input"], (1, 31), lengths=lengths))
    expected = golden[f"{name}.out"][golden[f"{name}.mask"][:, 0]]
    torch.testing.assert_close(rows, expected, rtol=0, atol=1e-5)


def test_rows_are_those_of_vitas_checkpoint() -> None:
    golden, weights = (load_file(GOLDEN / f"{n}.safetensors") for n in ("features", "weights"))
    stored = {name: value for name, value in weights.items() if ".adpter." in name}
    conf = yaml.safe_load((GOLDEN / "train.yaml").read_text())["model_conf"]
    connector = made(
        32,
        48,
        adapter=conf["adpter_type"],
        kernel=conf["kernel_size"],
        norm=conf["norm"],
        activation=conf["activation_func"],
    )
    connector = imported(connector, stored, adapter_rules(r"audio_encoder\.", ""))
    lengths = golden["whale.subsampling_mask"][:, 0].sum(1)
    with torch.inference_mode():
        rows = connector(Features(golden["whale.encoder_out"], (1, 31), lengths=lengths))
    expected = golden["whale.inputs_embeds"][golden["whale.attention_mask"]]
    torch.testing.assert_close(rows, expected, rtol=0, atol=1e-5)


def test_two_convolutions_are_those_of_vita_1_0() -> None:
    connector = made(convolutions=2)
    for number in (1, 2):  # statistics of zero and one hide mistakes
        norm = connector.get_submodule(f"conv_{number}.norm")
        norm.running_mean.normal_()  # type: ignore[operator, union-attr] # a buffer
        norm.running_var.uniform_(0.5, 2)  # type: ignore[operator, union-attr] # a buffer
    state = connector.state_dict()
    x = torch.randn(1, 7, 4)

    def block(y: torch.Tensor, number: int, stride: int, pads: tuple[int, int]) -> torch.Tensor:
        own = f"conv_{number}"
        y = torch.nn.functional.pad(y, pads)
        y = torch.nn.functional.conv1d(
            y, state[f"{own}.conv.weight"], state[f"{own}.conv.bias"], stride
        )
        shape = (1, -1, 1)
        y = (y - state[f"{own}.norm.running_mean"].view(shape)) / (
            state[f"{own}.norm.running_var"].view(shape) + 1e-3
        ).sqrt()
        return (
            y * state[f"{own}.norm.weight"].view(shape) + state[f"{own}.norm.bias"].view(shape)
        ).relu()

    y = block(block(x.mT, 1, 1, (4, 0)), 2, 2, (0, 4))
    expected = y.mT[0] @ state["linear.weight"].T + state["linear.bias"]
    assert expected.shape == (4, 6)
    with torch.inference_mode():
        torch.testing.assert_close(connector(Features(x, (1, 7))), expected)
        # The zeros beyond the end are there in a batch, too.
        padded = torch.nn.functional.pad(x, (0, 0, 0, 5), value=3.0)
        own = connector(Features(padded, (1, 12), lengths=torch.tensor([7])))
        torch.testing.assert_close(own, expected)


@pytest.mark.parametrize("options", [{}, {"convolutions": 2}, {"adapter": "cnn"}])
def test_blocks_of_a_sound_are_one_sequence(options: dict[str, Any]) -> None:
    connector = made(**options)
    whole = torch.randn(1, 20, 4)
    spans = torch.tensor([[3, 0, 1, 1, 1, 1, 1]])
    blocks = torch.nn.functional.pad(whole, (0, 0, 0, 4)).view(3, 8, 4)
    with torch.inference_mode():
        expected = connector(Features(whole, (1, 20)))
        features = Features(blocks, (1, 8), spans=spans, lengths=torch.tensor([8, 8, 4]))
        torch.testing.assert_close(connector(features), expected)
        apart = connector(features._replace(spans=None))
    assert not torch.allclose(apart, expected, atol=1e-3)


def test_learned_rows_stand_before_every_sound() -> None:
    connector = made(prompts=2)
    spans = torch.tensor([[2, 0, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1, 1]])
    x = torch.randn(3, 8, 4)
    lengths = torch.tensor([8, 3, 5])
    plans = [
        Plan(units=2, patches=(1, 8), rows=0, grid=(1, 1, 1), valid=(8, 3)),
        Plan(units=1, patches=(1, 8), rows=0, grid=(1, 1, 1), valid=(5,)),
    ]
    assert [connector.rows(plan) for plan in plans] == [2 + 4 + 2, 2 + 3]
    with torch.inference_mode():
        rows = connector(Features(x, (1, 8), spans, lengths, None, Modality.AUDIO))
    learned = connector.get_submodule("prompts").weight
    assert torch.equal(rows[:2], learned)
    assert torch.equal(rows[8:10], learned)
    assert len(rows) == 13


def test_statistics_of_a_batch_norm_leave_padding_out() -> None:
    connector = made(norm="batch").train()
    x = torch.randn(1, 8, 4)
    rows = connector(Features(x, (1, 8)))
    padded = torch.nn.functional.pad(x, (0, 0, 0, 8), value=100.0)
    again = connector(Features(padded, (1, 16), lengths=torch.tensor([8])))
    torch.testing.assert_close(again, rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": 0}, "kernel is 0, expected 1 or more"),
        ({"prompts": -1}, "prompts is -1, expected 0 or more"),
        ({"convolutions": 3}, "convolutions is 3, expected 1 or 2"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made(**options)
