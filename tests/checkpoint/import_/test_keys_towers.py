from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.keys_eva import eva_rules
from hocket.checkpoint.import_.keys_internvit import internvit_options, internvit_rules
from hocket.checkpoint.import_.keys_navit import navit_rules, vocab_rules
from hocket.checkpoint.import_.table import plan_tensors
from hocket.checkpoint.import_.weights import Item, Weights
from hocket.parts.connector import build_connector
from hocket.parts.vision import vision_encoders

LARGE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}


def weights(shapes: dict[str, tuple[int, ...]]) -> Weights:
    torch.manual_seed(0)
    made: dict[str, Tensor] = {name: torch.randn(shape) for name, shape in shapes.items()}
    return Weights(
        {
            name: Item(value.dtype, tuple(value.shape), value.clone, (name,))
            for name, value in made.items()
        }
    )


def test_the_large_internvit_of_vila_fits_strictly() -> None:
    options = internvit_options(LARGE | {"qkv_bias": False, "qk_normalization": True})
    assert options["norm_type"] == "rms_norm"
    tower = AutoModel.from_config(AutoConfig.for_model("internvl_vision", **options))
    stored = weights(
        {
            "embeddings.class_embedding": (1, 1, 32),
            "embeddings.position_embedding": (1, 5, 32),
            "embeddings.patch_embedding.weight": (32, 3, 14, 14),
            "embeddings.patch_embedding.bias": (32,),
            "encoder.layers.0.attn.qkv.weight": (96, 32),
            "encoder.layers.0.attn.q_norm.weight": (32,),
            "encoder.layers.0.attn.k_norm.weight": (32,),
            "encoder.layers.0.attn.proj.weight": (32, 32),
            "encoder.layers.0.attn.proj.bias": (32,),
            "encoder.layers.0.ls1": (32,),
            "encoder.layers.0.ls2": (32,),
            "encoder.layers.0.norm1.weight": (32,),
            "encoder.layers.0.norm2.weight": (32,),
            "encoder.layers.0.mlp.fc1.weight": (48, 32),
            "encoder.layers.0.mlp.fc1.bias": (48,),
            "encoder.layers.0.mlp.fc2.weight": (32, 48),
            "encoder.layers.0.mlp.fc2.bias": (32,),
        }
    )
    shapes = {f"tower.{name}": tuple(value.shape) for name, value in tower.state_dict().items()}
    plan = plan_tensors(stored, internvit_rules(target="tower."), shapes)
    assert not plan.skipped
    fused = stored["encoder.layers.0.attn.qkv.weight"].read()
    for number, one in enumerate("qkv"):
        piece = plan.pieces[f"tower.encoder.layer.0.attention.{one}_proj.weight"]
        assert torch.equal(piece.make(fused), fused[32 * number : 32 * number + 32])


def test_an_unknown_norm_of_internvit_is_refused() -> None:
    with pytest.raises(CheckpointError, match="norm_type is 'batch_norm'"):
        internvit_options(LARGE | {"norm_type": "batch_norm"})


@pytest.mark.parametrize("flat", [False, True])
def test_the_patch_layer_of_ovis_may_be_a_convolution_or_linear(flat: bool) -> None:
    config = {key: value for key, value in LARGE.items() if key != "image_size"}
    navit = vision_encoders.get("siglip2_navit")
    tower = navit.build(AutoConfig.for_model("siglip2_navit", **config, image_size=28))
    own = {name: tuple(value.shape) for name, value in tower.state_dict().items()}
    prefix = "visual_tokenizer.vit.vision_model."
    shapes = {
        prefix
        + (f"embeddings.{name}" if "embedding" in name else f"encoder.{name}").replace(
            ".fc", ".mlp.fc"
        ): shape
        for name, shape in own.items()
    }
    shapes[f"{prefix}post_layernorm.weight"] = (32,)
    if not flat:
        shapes[f"{prefix}embeddings.patch_embedding.weight"] = (32, 3, 14, 14)
    plan = plan_tensors(weights(shapes), navit_rules(), own)
    assert list(plan.skipped) == [f"{prefix}post_layernorm.weight"]


def test_the_visual_vocabulary_of_ovis_fits_strictly() -> None:
    connector = build_connector({"kind": "visual_vocab", "vocab": 20}, in_width=3, out_width=5)
    shapes = {f"c.{name}": tuple(value.shape) for name, value in connector.state_dict().items()}
    stored = weights(
        {
            "visual_tokenizer.head.0.weight": (16, 12),
            "visual_tokenizer.head.1.weight": (16,),
            "visual_tokenizer.head.1.bias": (16,),
            "vte.weight": (20, 5),
        }
    )
    assert len(plan_tensors(stored, vocab_rules(target="c."), shapes).pieces) == 4


def test_blocks_of_eva_that_run_are_not_left_out() -> None:
    stored = weights({"visual.blocks.1.norm1.weight": (4,), "visual.blocks.11.norm1.weight": (4,)})
    shapes = {"t.blocks.1.norm1.weight": (4,)}
    plan = plan_tensors(stored, eva_rules(layers=12, target="t."), shapes)
    assert list(plan.skipped) == ["visual.blocks.11.norm1.weight"]
    assert list(plan.pieces) == ["t.blocks.1.norm1.weight"]
