"""SigLIP 2 at native resolution: the vision tower of Ovis 2.5.

Pictures of any size go in as one long run of patches. Positions are a learned table, resized to
each picture, and rotary angles of row and column; every frame attends to itself alone, in whole or,
in most layers, in windows. Where the original needs flash attention, attention here runs over
groups of equally long segments, so that it works on every device.

A unit is one merged cell: the patches of a square of `hidden_stride`, which stay neighbours. With
more than one frame in a patch the patch layer is as much wider; the original's cannot do that.

Letters: U units (cells), P patches of a unit, K values of a patch, S pictures or videos, N patches
of a batch, C width, A heads, E width of a head, t frames, h and w cells along the sides of a grid,
M segments of the same length L, G positions along a side of the table.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput

from hocket._errors import ConfigError
from hocket.parts.encoder import NoOptions, Options, own_options
from hocket.parts.vision import vision_encoders

Grid = tuple[int, int, int]


class Siglip2NavitConfig(PreTrainedConfig):  # type: ignore[misc] # transformers ships no types
    """Shape of the tower, in the words of Ovis 2.5's ``vit_config``.

    Attributes:
        hidden_size: width.
        intermediate_size: width inside the feed-forward layers.
        num_hidden_layers: blocks.
        num_attention_heads: heads.
        num_channels: colours.
        num_patches: kept for Ovis, whose patch layer is linear above 0 and a convolution else;
            both are the same sum.
        image_size: side in pixels that the table of positions was learned at.
        patch_size: side of a patch in pixels.
        temporal_patch_size: frames of a patch.
        hidden_act: activation of the feed-forward layers.
        layer_norm_eps: epsilon of every norm.
        hidden_stride: patches along a side of a cell.
        window_size: side of a window in pixels, rounded down to whole cells.
        fullatt_block_indexes: blocks that attend to whole frames, as a list or as "7|15|23"; None
            for all of them.
        preserve_original_pe: whether the learned table of positions is added.
        use_rope: whether queries and keys are rotated.
        initializer_range: standard deviation of random weights.
    """

    model_type = "siglip2_navit"

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    num_channels: int = 3
    num_patches: int = -1
    image_size: int = 512
    patch_size: int = 16
    temporal_patch_size: int = 1
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6
    hidden_stride: int = 2
    window_size: int = 112
    fullatt_block_indexes: str | list[int] | None = None
    preserve_original_pe: bool = True
    use_rope: bool = True
    initializer_range: float = 0.02


class Segments(NamedTuple):
    """Runs of patches that attend to each other.

    Attributes:
        places: for each length, int64 (M, L) patches.
        back: int64 (N,) places of the patches among all of `places`.
    """

    places: tuple[Tensor, ...]
    back: Tensor


class Angles(NamedTuple):
    """Rotary positions.

    Attributes:
        cos: float32 (N, 1, E).
        sin: float32 (N, 1, E).
    """

    cos: Tensor
    sin: Tensor


class NavitAttention(nn.Module):
    """Self-attention inside segments."""

    def __init__(self, config: Siglip2NavitConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, angles: Angles | None, segments: Segments) -> Tensor:
        """Turn (N, C) into (N, C)."""
        q, k, v = (
            rearrange(layer(x), "n (a e) -> n a e", a=self.heads)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        if angles is not None:
            q, k = _rotate(q, angles), _rotate(k, angles)
        parts = []
        for index in segments.places:
            one = (rearrange(values[index], "m l a e -> m a l e") for values in (q, k, v))
            merged = functional.scaled_dot_product_attention(*one)
            parts.append(rearrange(merged, "m a l e -> (m l) (a e)"))
        return self.out_proj(torch.cat(parts)[segments.back])


class NavitBlock(GradientCheckpointingLayer):  # type: ignore[misc] # transformers ships no types
    """Attention and feed-forward, each behind a norm and added."""

    def __init__(self, config: Siglip2NavitConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = NavitAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.act = ACT2FN[config.hidden_act]
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor, angles: Angles | None, segments: Segments) -> Tensor:
        """Turn (N, C) into (N, C)."""
        x = x + self.self_attn(self.layer_norm1(x), angles, segments)
        return x + self.fc2(self.act(self.fc1(self.layer_norm2(x))))


class Siglip2NavitModel(PreTrainedModel):  # type: ignore[misc] # transformers ships no types
    """The tower; its last output is that of its last block, without a norm."""

    config_class = Siglip2NavitConfig
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _no_split_modules = ("NavitBlock",)
    _supports_sdpa = True

    def __init__(self, config: Siglip2NavitConfig) -> None:
        super().__init__(config)
        values = config.num_channels * config.temporal_patch_size * config.patch_size**2
        self.patch_embedding = nn.Linear(values, config.hidden_size)
        if config.preserve_original_pe:
            side = config.image_size // config.patch_size
            self.position_embedding = nn.Embedding(side**2, config.hidden_size)
        self.layers = nn.ModuleList(NavitBlock(config) for _ in range(config.num_hidden_layers))
        self.post_init()

    def forward(
        self, pixel_values: Tensor, grids: list[Grid], output_hidden_states: bool = False
    ) -> BaseModelOutput:
        """Turn patches (N, K) into (N, C), in the order they came.

        Args:
            pixel_values: patches of all pictures, cell by cell.
            grids: (t, h, w) of every picture in cells.
            output_hidden_states: whether to return the embeddings and every block's output too.
        """
        config, device = self.config, pixel_values.device
        places = _cell_places(grids, config.hidden_stride, device)
        x = self.patch_embedding(pixel_values)
        if config.preserve_original_pe:
            x = x + self._positions(grids, places)
        angles = None
        if config.use_rope:
            angles = _angles(places, config.hidden_size // config.num_attention_heads)
        whole = _segments(grids, config.hidden_stride, device)
        full = full_blocks(config)
        windows = whole
        if len(full) < config.num_hidden_layers:
            windows = _segments(grids, config.hidden_stride, device, window=window_cells(config))
        states = [x]
        for number, layer in enumerate(self.layers):
            x = layer(x, angles, whole if number in full else windows)
            if output_hidden_states:
                states.append(x)
        return BaseModelOutput(
            last_hidden_state=x, hidden_states=tuple(states) if output_hidden_states else None
        )

    def _positions(self, grids: list[Grid], places: Tensor) -> Tensor:
        """Return the learned positions (N, C), resized to every picture."""
        side, stride = self.config.image_size // self.config.patch_size, self.config.hidden_stride
        table = self.position_embedding.weight
        square = rearrange(table.float(), "(g h) c -> 1 c g h", g=side)
        parts, start = [], 0
        for t, h, w in grids:
            size = (h * stride, w * stride)
            resized = functional.interpolate(square, size=size, mode="bicubic")
            stop = start + t * size[0] * size[1]
            row, column = places[start:stop].unbind(1)
            parts.append(rearrange(resized, "1 c h w -> h w c")[row, column])
            start = stop
        return torch.cat(parts).to(table.dtype)


def window_cells(config: Siglip2NavitConfig) -> int:
    """Return the cells along a side of a window."""
    return int(config.window_size // config.hidden_stride // config.patch_size)


def full_blocks(config: Siglip2NavitConfig) -> frozenset[int]:
    """Return the blocks that attend to whole frames."""
    named = config.fullatt_block_indexes
    if named is None:
        return frozenset(range(config.num_hidden_layers))
    if isinstance(named, str):
        return frozenset(int(number) for number in named.split("|") if number)
    return frozenset(named)


def window_order(grid: Grid, window: int) -> list[list[int]]:
    """Return the cells of every window of a grid (t, h, w) in cells, row by row.

    Args:
        grid: the cells; windows at the right and lower edge may be smaller.
        window: cells along a side of a window.
    """
    t, h, w = grid
    return [
        [
            (time * h + row) * w + column
            for row in range(top, min(top + window, h))
            for column in range(left, min(left + window, w))
        ]
        for time in range(t)
        for top in range(0, h, window)
        for left in range(0, w, window)
    ]


def _segments(grids: list[Grid], stride: int, device: torch.device, window: int = 0) -> Segments:
    """Return the patches that attend to each other: those of a frame, or those of a window."""
    by_length: dict[int, list[list[int]]] = defaultdict(list)
    start, patches = 0, stride**2
    for grid in grids:
        for cells in window_order(grid, window or max(grid[1:])):
            by_length[len(cells)].append([start + cell for cell in cells])
        start += grid[0] * grid[1] * grid[2]
    within = torch.arange(patches)
    index = [
        rearrange(torch.tensor(cells)[..., None] * patches + within, "m l p -> m (l p)")
        for cells in by_length.values()
    ]
    order = torch.cat([one.flatten() for one in index])
    return Segments(tuple(one.to(device) for one in index), order.argsort().to(device))


def _cell_places(grids: list[Grid], stride: int, device: torch.device) -> Tensor:
    """Return int64 (N, 2): row and column of every patch in its frame, cell by cell."""
    parts = []
    for t, h, w in grids:
        rows, columns = torch.meshgrid(
            torch.arange(h * stride), torch.arange(w * stride), indexing="ij"
        )
        both = torch.stack([rows, columns], dim=-1)
        parts.append(repeat(both, "(h a) (w b) two -> (t h w a b) two", t=t, a=stride, b=stride))
    return torch.cat(parts).to(device)


def _angles(places: Tensor, head: int) -> Angles:
    """Return the rotary positions of patches whose rows and columns are (N, 2)."""
    rotary = head // 2
    steps = torch.arange(0, rotary, 2, device=places.device, dtype=torch.float32)
    angles = rearrange(places[..., None] * 10000.0 ** (-steps / rotary), "n two j -> n 1 (two j)")
    angles = torch.cat([angles, angles], dim=-1)
    return Angles(angles.cos(), angles.sin())


def _rotate(x: Tensor, angles: Angles) -> Tensor:
    """Rotate the first half of the channels of (N, A, E) against the second, in float32."""
    one, two = x.float().chunk(2, dim=-1)
    turned = torch.cat([-two, one], dim=-1)
    return (x.float() * angles.cos + turned * angles.sin).to(x.dtype)


AutoConfig.register("siglip2_navit", Siglip2NavitConfig, exist_ok=True)
AutoModel.register(Siglip2NavitConfig, Siglip2NavitModel, exist_ok=True)


@vision_encoders.register
class Siglip2Navit:
    """Native resolution; takes float (U, P, K), the cells of all pictures or frames."""

    @staticmethod
    def build(config: PreTrainedConfig) -> PreTrainedModel:
        """Return the tower with random weights."""
        return Siglip2NavitModel(config)

    @staticmethod
    def width(config: PreTrainedConfig, options: Options) -> int:
        """Return the hidden size."""
        return int(config.hidden_size)

    @staticmethod
    def grid(config: PreTrainedConfig, options: Options) -> tuple[int, int]:
        """Return the patches of a cell as (height, width)."""
        return config.hidden_stride, config.hidden_stride

    @staticmethod
    def inputs(config: PreTrainedConfig, options: Options) -> dict[str, Any]:
        """Return the sides of a patch and of a cell, and the frames of a patch.

        Raises:
            ConfigError: windows are smaller than a cell, heads cannot be rotated, or an option is
                unknown.
        """
        own_options("vision encoder", NoOptions, options)
        if len(full_blocks(config)) < config.num_hidden_layers and window_cells(config) < 1:
            raise ConfigError(
                f"'siglip2_navit': window_size is {config.window_size}, expected at least "
                f"hidden_stride * patch_size = {config.hidden_stride * config.patch_size} pixels."
            )
        if config.use_rope and config.hidden_size // config.num_attention_heads % 4:
            raise ConfigError(
                f"'siglip2_navit': hidden_size {config.hidden_size} over "
                f"{config.num_attention_heads} heads, expected a multiple of 4 for each head."
            )
        return {
            "patch": config.patch_size,
            "stride": config.hidden_stride,
            "temporal_patch": config.temporal_patch_size,
        }

    @staticmethod
    def encode(
        tower: PreTrainedModel, inputs: Tensor, options: Options, spans: Tensor | None
    ) -> Tensor:
        """Return (U, P, C) of cells (U, P, K) whose grids the spans hold."""
        grids: list[Grid] = [(1, 1, 1)] * len(inputs)
        if spans is not None:
            grids = [(t, h, w) for t, h, w in spans[:, 2:5].tolist()]
        layer = options["layer"]
        output = tower(
            pixel_values=rearrange(inputs, "u p k -> (u p) k"),
            grids=grids,
            output_hidden_states=layer != -1,
        )
        x = output.last_hidden_state if layer == -1 else output.hidden_states[layer]
        return rearrange(x, "(u p) c -> u p c", u=len(inputs))
