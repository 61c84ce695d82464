"""EVA-CLIP's vision tower (EVA-02), as VITA runs it: SwiGLU, inner norms, 2-D rotary positions.

VITA leaves out the last block of the checkpoint and the final norm, so the tower here has one block
less than the original's 24. Its last output is that of its last block.

Letters: U pictures, S side of a picture in pixels, N positions with the class token, P patches,
C width, A heads, E width of a head, G patches along a side.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel, initialization
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput

from hocket.parts.encoder import Options
from hocket.parts.vision import vision_encoders
from hocket.parts.vision.hf import HfVision


class EvaClipConfig(PreTrainedConfig):  # type: ignore[misc] # transformers ships no types
    """Shape of the tower; the defaults are EVA-CLIP-L-14-336's.

    Attributes:
        image_size: side of a picture in pixels.
        patch_size: side of a patch in pixels.
        hidden_size: width.
        intermediate_size: width inside the feed-forward layers.
        num_hidden_layers: blocks that run: one less than the original's.
        num_attention_heads: heads.
        rope_grid: patches along a side in pretraining, to which rotary positions are scaled.
        layer_norm_eps: epsilon of every norm.
        initializer_range: standard deviation of random weights.
    """

    model_type = "eva_clip"

    image_size: int = 336
    patch_size: int = 14
    hidden_size: int = 1024
    intermediate_size: int = 2730
    num_hidden_layers: int = 23
    num_attention_heads: int = 16
    rope_grid: int = 16
    layer_norm_eps: float = 1e-6
    initializer_range: float = 0.02


class EvaAttention(nn.Module):
    """Self-attention with rotary patches and a norm on the merged heads; keys have no bias."""

    def __init__(self, config: EvaClipConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.inner_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Turn (U, N, C) into (U, N, C); `cos` and `sin` are (P, E)."""
        q, k, v = (
            rearrange(layer(x), "u n (a e) -> u a n e", a=self.heads)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = (rotate_patches(one, cos, sin) for one in (q, k))
        merged = functional.scaled_dot_product_attention(q, k, v)
        return self.out_proj(self.inner_norm(rearrange(merged, "u a n e -> u n (a e)")))


class EvaFeedForward(nn.Module):
    """SwiGLU with a norm before its last layer."""

    def __init__(self, config: EvaClipConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.gate_proj = nn.Linear(width, inner)
        self.up_proj = nn.Linear(width, inner)
        self.inner_norm = nn.LayerNorm(inner, eps=config.layer_norm_eps)
        self.down_proj = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (U, N, C) into (U, N, C)."""
        gated = functional.silu(self.gate_proj(x)) * self.up_proj(x)
        return self.down_proj(self.inner_norm(gated))


class EvaBlock(GradientCheckpointingLayer):  # type: ignore[misc] # transformers ships no types
    """Attention and feed-forward, each behind a norm and added."""

    def __init__(self, config: EvaClipConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = EvaAttention(config)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = EvaFeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Turn (U, N, C) into (U, N, C)."""
        x = x + self.attention(self.norm1(x), cos, sin)
        return x + self.mlp(self.norm2(x))


class EvaClipModel(PreTrainedModel):  # type: ignore[misc] # transformers ships no types
    """The tower; its last output is that of its last block, without a norm."""

    config_class = EvaClipConfig
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _no_split_modules = ("EvaBlock",)
    _supports_sdpa = True

    def __init__(self, config: EvaClipConfig) -> None:
        super().__init__(config)
        width, side = config.hidden_size, config.image_size // config.patch_size
        self.patch_embedding = nn.Conv2d(
            3, width, kernel_size=config.patch_size, stride=config.patch_size
        )
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.position_embedding = nn.Embedding(1 + side**2, width)
        self.blocks = nn.ModuleList(EvaBlock(config) for _ in range(config.num_hidden_layers))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            initialization.zeros_(self.class_embedding)

    def forward(self, pixel_values: Tensor, output_hidden_states: bool = False) -> BaseModelOutput:
        """Turn pictures (U, 3, S, S) into (U, N, C), the class token first.

        Args:
            pixel_values: the pictures.
            output_hidden_states: whether to return the embeddings and every block's output too.
        """
        patches = rearrange(self.patch_embedding(pixel_values), "u c h w -> u (h w) c")
        first = repeat(self.class_embedding, "c -> u 1 c", u=len(patches))
        x = torch.cat([first, patches], dim=1) + self.position_embedding.weight
        config = self.config
        cos, sin = rotary_angles(
            config.image_size // config.patch_size,
            config.hidden_size // config.num_attention_heads,
            pretrained=config.rope_grid,
            device=x.device,
        )
        states = [x]
        for block in self.blocks:
            x = block(x, cos, sin)
            if output_hidden_states:
                states.append(x)
        return BaseModelOutput(
            last_hidden_state=x, hidden_states=tuple(states) if output_hidden_states else None
        )


def rotary_angles(
    side: int, head: int, *, pretrained: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return cosines and sines (P, E) of a square of patches, rows before columns.

    Args:
        side: patches along a side, G.
        head: width of a head, E.
        pretrained: patches along a side in pretraining; positions are scaled to it.
        device: where the result is needed.
    """
    half = head // 2
    steps = torch.arange(0, half, 2, device=device, dtype=torch.float32)
    places = torch.arange(side, device=device, dtype=torch.float32) / side * pretrained
    angles = repeat(torch.outer(places, 10000.0 ** (-steps / half)), "g j -> g (j two)", two=2)
    rows = repeat(angles, "g j -> (g w) j", w=side)
    columns = repeat(angles, "g j -> (h g) j", h=side)
    both = torch.cat([rows, columns], dim=1)
    return both.cos(), both.sin()


def rotate_patches(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate neighbouring channels of the patches of (U, A, N, E); the class token stays."""
    first, patches = x[:, :, :1], x[:, :, 1:]
    even, odd = patches.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([-odd, even], dim=-1).flatten(-2)
    return torch.cat([first, (patches.float() * cos + turned * sin).to(x.dtype)], dim=2)


AutoConfig.register("eva_clip", EvaClipConfig, exist_ok=True)
AutoModel.register(EvaClipConfig, EvaClipModel, exist_ok=True)


@vision_encoders.register
class EvaClip:
    """EVA-CLIP; takes float (U, 3, S, S)."""

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the tower with random weights."""
        return EvaClipModel(config)

    @staticmethod
    def width(config: PreTrainedConfig, options: Options) -> int:
        """Return the hidden size."""
        return int(config.hidden_size)

    @staticmethod
    def grid(config: PreTrainedConfig, options: Options) -> tuple[int, int]:
        """Return the patches of a picture as (height, width)."""
        return HfVision.grid(config, options)

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return the side of a picture and of a patch in pixels."""
        return HfVision.inputs(config, options)

    @staticmethod
    def encode(
        tower: PreTrainedModel, inputs: Tensor, options: Options, spans: Tensor | None
    ) -> Tensor:
        """Return (U, P, C) of pictures (U, 3, S, S).

        Raises:
            AlignmentError: the pictures have another size than the tower's.
        """
        return HfVision.encode(tower, inputs, options, spans)
