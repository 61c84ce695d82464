"""Names of EVA-CLIP's vision weights, as ``visual.*`` of the file that VITA reads.

The last block of the file, its final norm and its head have no place: VITA never runs them.
"""

from __future__ import annotations

from hocket.checkpoint.import_.table import Move, Rule, Skip

_BLOCK = {
    r"norm([12])\.(weight|bias)": r"norm\2.\3",
    r"attn\.([qkv])_proj\.weight": r"attention.\2_proj.weight",
    r"attn\.([qv])_bias": r"attention.\2_proj.bias",
    r"attn\.inner_attn_ln\.(weight|bias)": r"attention.inner_norm.\2",
    r"attn\.proj\.(weight|bias)": r"attention.out_proj.\2",
    r"mlp\.w1\.(weight|bias)": r"mlp.gate_proj.\2",
    r"mlp\.w2\.(weight|bias)": r"mlp.up_proj.\2",
    r"mlp\.w3\.(weight|bias)": r"mlp.down_proj.\2",
    r"mlp\.ffn_ln\.(weight|bias)": r"mlp.inner_norm.\2",
}


def eva_rules(*, layers: int, source: str = r"visual\.", target: str = "") -> tuple[Rule, ...]:
    """Return the rules from an EVA-CLIP file to an ``eva_clip`` tower.

    Args:
        layers: blocks of the file, which are one more than the tower has.
        source: pattern of the prefix of the file's names.
        target: prefix of the tower's names.
    """
    unused = "the original never runs it"
    return (
        Skip(source + r"(.*\.)?rope\.freqs_(cos|sin)", "computed from the configuration"),
        Skip(source + rf"blocks\.{layers - 1}\..*", unused),
        Skip(source + r"(norm|fc_norm|head)\..*", unused),
        Move(source + r"cls_token", f"{target}class_embedding", reshape=True),
        Move(source + r"pos_embed", f"{target}position_embedding.weight", reshape=True),
        Move(source + r"patch_embed\.proj\.(weight|bias)", rf"{target}patch_embedding.\1"),
        *(
            Move(source + rf"blocks\.(\d+)\.{old}", rf"{target}blocks.\1.{new}")
            for old, new in _BLOCK.items()
        ),
    )
