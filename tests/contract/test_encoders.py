"""What every vision encoder must do; a new file is tested without being named here."""

from __future__ import annotations

import copy
import inspect
import math
import subprocess
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from hocket._errors import AlignmentError, ConfigError
from hocket.model.build import build
from hocket.model.spec import LanguageSpec, ModelSpec, PartSpec, TowerSpec
from hocket.parts.encoder import EncoderKind
from hocket.parts.vision import vision_encoders

SIDE, PATCH, WIDTH, DEPTH = 32, 8, 32, 4
SMALL: dict[str, Any] = {
    "image_size": SIDE,
    "patch_size": PATCH,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 2,
}
ANYTHING = {"layer": -1, "drop": -1, "scale": 1.0}


class Case(NamedTuple):
    kind: str
    model_type: str
    config: dict[str, Any] = SMALL
    options: dict[str, Any] = {}  # noqa: RUF012 # never changed
    leading: int = 0  # positions before the patches


SPARE = {key: value for key, value in SMALL.items() if key != "image_size"}
FLAT = {key: value for key, value in SMALL.items() if key != "intermediate_size"}
PLAIN = ("image_size", "patch_size", "hidden_size", "num_hidden_layers")
SIGHTS = [
    {"model_type": "siglip_vision_model", "config": SMALL, "layer": -2},
    {"model_type": "eva_clip", "config": SMALL | {"image_size": 24}},
    {"model_type": "dinov2", "config": FLAT},
]
CASES = [
    Case("hf", "siglip_vision_model"),
    Case("hf", "clip_vision_model", leading=1),
    Case("hf", "internvl_vision", SMALL | {"use_mean_pooling": True}, leading=1),
    Case(
        "hf",
        "internvl_vision",
        SMALL | {"norm_type": "rms_norm", "use_qk_norm": True, "attention_bias": False},
        leading=1,
    ),
    Case("hf", "dinov2", FLAT, leading=1),
    Case("hf", "dinov2_with_registers", FLAT | {"num_register_tokens": 3}, leading=4),
    Case("hf", "dinov3_vit", SMALL | {"num_register_tokens": 2}, leading=3),
    Case("hf", "vit", leading=1),
    Case("hf", "vit_msn", leading=1),
    Case("hf", "deit", leading=2),
    Case("hf", "beit", leading=1),
    Case("hf", "data2vec-vision", leading=1),
    Case("hf", "chinese_clip_vision_model", leading=1),
    Case("hf", "mlcd_vision_model", leading=1),
    Case("hf", "aimv2_vision_model"),
    Case("hf", "ijepa"),
    Case("siglip2_vision_model", "siglip2_vision_model", SPARE | {"num_patches": 16}),
    Case("s2", "siglip_vision_model", options={"scales": (SIDE, 2 * SIDE)}),
    Case("s2", "eva_clip", options={"scales": (SIDE, 2 * SIDE)}),
    Case("eva_clip", "eva_clip"),
    Case("plain_conv", "plain_conv", {key: SMALL[key] for key in PLAIN}),
    Case("siglip2_navit", "siglip2_navit"),
    Case(
        "siglip2_navit",
        "siglip2_navit",
        SMALL | {"fullatt_block_indexes": "1|3", "window_size": 32, "temporal_patch_size": 2},
    ),
    *(
        Case("radio", "radio", FLAT | {"max_img_size": 64}, {"select": select}, leading=10)
        for select in ("patch", "cls", "dense")
    ),
    Case(
        "radio",
        "radio",
        FLAT | {"max_img_size": 64, "num_cls_tokens": 4, "summary_idxs": [0, 1, 2, 3]},
        {"select": "cls4"},
    ),
    Case("radio_native", "radio", FLAT | {"max_img_size": 128}),
    Case("fused", "fused", {"towers": SIGHTS}),
    Case("videomae", "videomae", SMALL | {"num_frames": 4}),
    Case(
        "vivit",
        "vivit",
        SPARE | {"image_size": SIDE, "num_frames": 4, "tubelet_size": [2, PATCH, PATCH]},
        leading=1,
    ),
    Case(
        "vjepa2",
        "vjepa2",
        {
            "crop_size": SIDE,
            "patch_size": PATCH,
            "hidden_size": 48,
            "num_hidden_layers": DEPTH,
            "num_attention_heads": 2,
            "frames_per_clip": 4,
            "pred_hidden_size": 24,
            "pred_num_attention_heads": 2,
            "pred_num_hidden_layers": 1,
        },
    ),
]
FILMS = ("videomae", "vivit", "vjepa2")
# They take one size of picture.
SQUARES = [case for case in CASES if case.kind not in ("siglip2_navit", "radio_native", "s2")]


def name(case: Case) -> str:
    return "-".join([case.kind, case.model_type, *map(str, case.options.values())])


every_case = pytest.mark.parametrize("case", CASES, ids=name)


class Made(NamedTuple):
    kind: type[EncoderKind]
    config: PreTrainedConfig
    tower: PreTrainedModel
    options: dict[str, Any]

    def encode(self, inputs: Tensor, spans: Tensor | None = None, **more: Any) -> Tensor:
        return self.kind.encode(self.tower, inputs, self.options | more, spans)


_MADE: dict[int, Made] = {}


def made(case: Case) -> Made:
    """Return an encoder of one's own; drawing its weights is what takes time."""
    number = CASES.index(case)
    if number not in _MADE:
        _MADE[number] = drawn(case)
    return _MADE[number]._replace(tower=copy.deepcopy(_MADE[number].tower))


def drawn(case: Case) -> Made:
    kind = vision_encoders.get(case.kind)
    if case.model_type in vision_encoders.names():
        vision_encoders.get(case.model_type)
    config = AutoConfig.for_model(case.model_type, **case.config)
    torch.manual_seed(0)
    tower = kind.build(config)
    for value in tower.parameters():  # a zero or a one hides mistakes
        if value.is_floating_point():
            fan_in = value[0].numel() if value.ndim > 1 else len(value)
            value.data = 0.5 * torch.randn_like(value) / math.sqrt(max(1, fan_in)) + value
    return Made(kind, config, tower.eval(), ANYTHING | case.options)


def media(one: Made, *frames: int) -> tuple[Tensor, Tensor]:
    """Return encoder inputs of videos of so many frames, and their spans."""
    given = one.kind.inputs(one.config, one.options)
    torch.manual_seed(1)
    if "size" in given:
        inputs = torch.rand(sum(frames), 3, given["size"], given["size"])
        return inputs, torch.tensor([[count, 0, count, 1, 1, 1, 1] for count in frames])
    values = 3 * given["temporal_patch"] * given["patch"] ** 2
    grids = [(count, 2 + number, 3) for number, count in enumerate(frames)]
    units = [t * h * w for t, h, w in grids]
    spans = [[unit, 0, *grid, 1, 1] for unit, grid in zip(units, grids, strict=True)]
    return torch.rand(sum(units), given["stride"] ** 2, values), torch.tensor(spans)


def test_every_encoder_is_tried() -> None:
    assert {case.kind for case in CASES} == set(vision_encoders.names())


@every_case
def test_features_fill_the_promised_grid_at_the_promised_width(case: Case) -> None:
    one = made(case)
    inputs, spans = media(one, 1, 1)
    height, width = one.kind.grid(one.config, one.options)
    channels = one.kind.width(one.config, one.options)
    with torch.inference_mode():
        x = one.encode(inputs, spans)
    assert x.shape == (len(inputs), height * width, channels)
    assert x.isfinite().all()
    assert x.std() > 1e-3
    given = one.kind.inputs(one.config, one.options)
    side = given.get("side") or given.get("size", 0) // given["patch"] or given["stride"]
    assert side == height == width


@every_case
def test_media_of_a_batch_do_not_see_each_other(case: Case) -> None:
    one = made(case)
    inputs, spans = media(one, 5, 1, 2)
    with torch.inference_mode():
        together = one.encode(inputs, spans)
        start = 0
        for span in spans:
            stop = start + int(span[0])
            alone = one.encode(inputs[start:stop], span[None])
            torch.testing.assert_close(together[start:stop], alone, rtol=0, atol=2e-4)
            start = stop
    assert start == len(inputs)


@pytest.mark.parametrize("case", [case for case in CASES if case.kind != "fused"], ids=name)
def test_every_hidden_state_can_be_read(case: Case) -> None:
    one = made(case)
    inputs, spans = media(one, 1)
    with torch.inference_mode():
        states = [one.encode(inputs, spans, layer=layer) for layer in range(DEPTH + 1)]
        again = [one.encode(inputs, spans, layer=layer) for layer in range(-DEPTH - 1, -1)]
    # -1 is the tower's own last output, which may be normalised.
    for state, same in zip(states[:-1], again, strict=True):
        assert torch.equal(state, same)
    for before, after in pairwise(states):
        assert not torch.equal(before, after)


@pytest.mark.parametrize("case", [case for case in CASES if case.leading], ids=name)
def test_leading_positions_are_dropped_unasked(case: Case) -> None:
    one = made(case)
    inputs, spans = media(one, 1)
    with torch.inference_mode():
        x = one.encode(inputs, spans)
        if case.options.get("select", "patch") == "patch":
            everything = one.encode(inputs, spans, drop=0) if case.kind not in FILMS else x
            assert torch.equal(everything[:, everything.shape[1] - x.shape[1] :], x)
            assert case.kind in FILMS or everything.shape[1] == x.shape[1] + case.leading
        for drop in (None, case.leading):
            assert torch.equal(one.encode(inputs, spans, drop=drop), x)


@every_case
def test_gradients_reach_the_inputs_and_the_embeddings(case: Case) -> None:
    one = made(case)
    inputs, spans = media(one, 2)
    inputs.requires_grad_()
    x = one.encode(inputs, spans)
    (x * torch.randn_like(x)).sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.flatten(1).any(dim=1).all()
    # Poolers, heads and last norms of transformers' classes have no say in the features.
    silent = [key for key, value in one.tower.named_parameters() if value.grad is None]
    assert len(silent) < len(list(one.tower.parameters())) / 2


@every_case
def test_half_precision_stays_half_precision(case: Case) -> None:
    one = made(case)
    inputs, spans = media(one, 1)
    with torch.inference_mode():
        single = one.encode(inputs, spans)
        one.tower.to(torch.bfloat16)
        half = one.encode(inputs.to(torch.bfloat16), spans)
    assert half.dtype == torch.bfloat16
    assert (half.float() - single).abs().mean() < 0.1 * single.abs().mean()


@every_case
def test_the_shape_is_known_without_numbers(case: Case) -> None:
    one = made(case)
    inputs, spans = media(one, 2)
    with torch.device("meta"):
        tower = one.kind.build(one.config)
    with torch.inference_mode():
        x = one.kind.encode(tower, inputs.to("meta"), one.options, spans)
        assert x.shape == one.encode(inputs, spans).shape


@pytest.mark.parametrize("case", SQUARES, ids=name)
def test_pictures_of_another_size_are_refused(case: Case) -> None:
    one = made(case)
    inputs, spans = media(one, 1)
    for other in (inputs[..., PATCH:], torch.cat([inputs, inputs], dim=-2)):
        with pytest.raises(AlignmentError, match="got pictures of"):
            one.encode(other, spans)


OWN = [
    case
    for case in CASES
    if case.model_type in ("eva_clip", "siglip2_navit", "fused", "plain_conv")
]


@pytest.mark.parametrize("case", OWN, ids=name)
def test_own_towers_are_saved_and_opened_by_transformers(case: Case, tmp_path: Path) -> None:
    one = made(case)
    one.tower.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path).eval()
    assert type(again) is type(one.tower)
    inputs, spans = media(one, 2)
    with torch.inference_mode():
        x = one.kind.encode(again, inputs, one.options, spans)
        assert torch.equal(x, one.encode(inputs, spans))


@pytest.mark.parametrize("case", OWN, ids=name)
def test_own_towers_can_compute_again_to_save_memory(case: Case) -> None:
    one = made(case)
    inputs, spans = media(one, 2)
    gradients = []
    for again in (False, True):
        one.tower.zero_grad()
        one.tower.train()
        for layer in one.tower.modules():
            if again and isinstance(layer, GradientCheckpointingLayer):
                layer.gradient_checkpointing = True
                layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        one.encode(inputs, spans).square().sum().backward()
        gradients.append(
            [value.grad.clone() for value in one.tower.parameters() if value.grad is not None]
        )
    assert gradients[0]
    for before, after in zip(*gradients, strict=True):
        torch.testing.assert_close(before, after)


@pytest.mark.parametrize("case", OWN, ids=name)
def test_own_configurations_describe_their_options(case: Case) -> None:
    cls = type(made(case).config)
    for option in cls.__annotations__:
        assert f"{option}: " in (inspect.getdoc(cls) or ""), option


REOPEN = """
import sys
import hocket
from transformers import AutoModelForMultimodalLM, AutoProcessor
for path in sys.argv[1:]:
    model = AutoModelForMultimodalLM.from_pretrained(path)
    total = sum(float(value.detach().double().sum()) for value in model.parameters())
    print(type(model.model.vision_tower).__name__, repr(total))
"""


def composite(case: Case, layout: str, connector: PartSpec) -> ModelSpec:
    tower = TowerSpec(
        model_type=case.model_type,
        config=case.config,
        drop=-1,
        layout=PartSpec(kind=layout),
        connector=connector,
    )
    language = LanguageSpec(
        config={
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
        }
    )
    return ModelSpec(language=language, vision=tower)


def test_composites_of_own_towers_open_again_in_a_fresh_process(tmp_path: Path) -> None:
    words = PartSpec(kind="visual_vocab", options={"vocab": 30})
    wanted = {
        "eva_clip": ("image_fixed", PartSpec(kind="mlp")),
        "siglip2_navit": ("image_native", words),
        "fused": ("image_fixed", PartSpec(kind="mlp")),
        "plain_conv": ("image_fixed", PartSpec(kind="mlp")),
    }
    expected, paths = [], []
    for model_type, (layout, connector) in wanted.items():
        case = next(one for one in OWN if one.model_type == model_type == one.kind)
        model, _ = build(composite(case, layout, connector), ["What is this?"])
        model.save_pretrained(tmp_path / model_type)
        total = sum(float(value.detach().double().sum()) for value in model.parameters())
        expected.append(f"{type(model.model.vision_tower).__name__} {total!r}")
        paths.append(str(tmp_path / model_type))
    done = subprocess.run(
        [sys.executable, "-c", REOPEN, *paths], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == expected, done.stderr


@every_case
def test_an_unknown_option_is_refused(case: Case) -> None:
    one = made(case)
    with pytest.raises(ConfigError, match="has no option 'colour'"):
        one.kind.inputs(one.config, one.options | {"kind": case.kind, "colour": "red"})
