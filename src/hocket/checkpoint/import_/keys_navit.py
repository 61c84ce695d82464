"""Names of Ovis 2.5's vision tower and visual vocabulary.

The tower keeps the names of the original's layers. Its patch layer is a convolution or linear in
the original; both are the linear layer here. The final norm has no place: Ovis does not use it.
"""

from __future__ import annotations

from hocket.checkpoint.import_.table import Move, Rule, Skip


def navit_rules(
    *, source: str = r"visual_tokenizer\.vit\.vision_model\.", target: str = ""
) -> tuple[Rule, ...]:
    """Return the rules from Ovis's names to a ``siglip2_navit`` tower.

    Args:
        source: pattern of the prefix of the source's names.
        target: prefix of the tower's names.
    """
    embeddings, layer = source + r"embeddings\.", source + r"encoder\.layers\.(\d+)\."
    own = rf"{target}layers.\1."
    return (
        Skip(source + r"post_layernorm\..*", "the original does not use it"),
        Move(
            embeddings + r"patch_embedding\.weight", f"{target}patch_embedding.weight", reshape=True
        ),
        Move(embeddings + r"patch_embedding\.bias", f"{target}patch_embedding.bias"),
        Move(embeddings + r"position_embedding\.weight", f"{target}position_embedding.weight"),
        Move(layer + r"((self_attn|layer_norm[12]).*)", rf"{own}\2"),
        Move(layer + r"mlp\.(fc[12]\..*)", rf"{own}\2"),
    )


def vocab_rules(*, target: str = "") -> tuple[Rule, ...]:
    """Return the rules from Ovis's names to the connector ``visual_vocab``.

    Args:
        target: prefix of the connector's names.
    """
    return (
        Move(r"visual_tokenizer\.head\.0\.weight", f"{target}head.weight"),
        Move(r"visual_tokenizer\.head\.1\.(weight|bias)", rf"{target}norm.\1"),
        Move(r"vte\.weight", f"{target}table.weight"),
    )
