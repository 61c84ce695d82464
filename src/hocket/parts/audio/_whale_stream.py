"""VITA's audio encoder on a sound that is still arriving.

Filter-bank frames come in pieces of any length. Those that no finished position needs any more are
forgotten, so the convolutions see every frame once; every layer keeps the keys and values of the
chunks that the next one looks at. A chunk goes through the tower as soon as all its frames are
there, so the features do not depend on how the sound was cut, and are those of the tower on the
whole sound. The original is the streaming ``infer`` of VITA's whale.

Letters: M mel bins, F frames of a piece, P positions, C width, T positions that are remembered, A
heads, E width of a head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor

from hocket._errors import ConfigError, MediaError

if TYPE_CHECKING:
    from hocket.parts.audio.whale import WhaleModel

_STRIDE, _WINDOW = 4, 7


class Heard:
    """What one layer remembers of a sound.

    Args:
        most: positions that the next chunk looks back at; -1 for all.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None

    def join(self, k: Tensor, v: Tensor, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return keys, values and key biases with those before them, and remember the newest.

        Args:
            k: keys (1, A, T, E), positions included.
            v: values (1, A, T, E).
            own: what a score owes to its key alone, (1, A, T).
        """
        if self._kept is not None:
            before = self._kept
            k = torch.cat([before[0], k], dim=2)
            v = torch.cat([before[1], v], dim=2)
            own = torch.cat([before[2], own], dim=2)
        first = 0 if self._most < 0 else max(0, k.shape[2] - self._most)
        self._kept = k[:, :, first:], v[:, :, first:], own[:, :, first:]
        return k, v, own


class WhaleStream:
    """Reads one sound; `feed` it frames as they come, then `finish`.

    Args:
        tower: the encoder, in evaluation mode; it is only read.

    Raises:
        ConfigError: the tower looks at whole sounds.
    """

    def __init__(self, tower: WhaleModel) -> None:
        config = tower.config
        if config.chunk_size < 1:
            raise ConfigError(
                "whale: chunk_size is 0, so a position looks at the whole sound and none is final "
                "before its end. Set chunk_size to the positions of a chunk, such as 4."
            )
        self._tower = tower
        self._chunk = int(config.chunk_size)
        left = int(config.left_chunks)
        self._heard = [Heard(left if left < 0 else left * self._chunk) for _ in tower.layers]
        table = tower.subsampling.linear.weight
        self._frames = table.new_empty(config.num_mel_bins, 0)
        self._done = 0
        self._ended = False

    @torch.inference_mode()
    def feed(self, frames: Tensor) -> Tensor:
        """Take filter-bank frames (M, F), F from 0, and return the features (P, C) that are final.

        Raises:
            MediaError: the frames have other mel bins, the sound has more positions than the
                encoder, or it has ended.
        """
        if self._ended:
            raise MediaError("whale: this sound has ended. Open another stream for the next one.")
        if frames.ndim != 2 or len(frames) != len(self._frames):
            raise MediaError(
                f"whale: frames {tuple(frames.shape)}, expected ({len(self._frames)}, frames). "
                "Give the filter banks of one sound."
            )
        self._frames = torch.cat([self._frames, frames.to(self._frames)], dim=1)
        made = [self._frames.new_empty(0, self._tower.config.hidden_size)]
        while _positions(self._frames) >= self._chunk:
            made.append(self._next(self._chunk))
        return torch.cat(made)

    @torch.inference_mode()
    def finish(self) -> Tensor:
        """Return the features (P, C) of the last chunk, which may be shorter or empty.

        Raises:
            MediaError: the sound has more positions than the encoder.
        """
        self._ended = True
        rest = _positions(self._frames)
        if rest == 0:
            return self._frames.new_empty(0, self._tower.config.hidden_size)
        return self._next(rest)

    def _next(self, count: int) -> Tensor:
        """Return (P, C) of the next so many positions, and forget the frames behind them."""
        tower, config = self._tower, self._tower.config
        if self._done + count > config.max_positions:
            raise MediaError(
                f"a sound has more than {config.max_positions} positions, which is what the audio "
                "encoder reads at most. Finish the stream and open another one."
            )
        frames = self._frames[:, : (count - 1) * _STRIDE + _WINDOW]
        self._frames = self._frames[:, count * _STRIDE :]
        x = tower.subsampling(tower.statistics(rearrange(frames, "m f -> 1 f m")))
        x, positions = tower.embed(x, start=self._done)
        self._done += count
        everything = x.new_zeros(1, 1, 1, 1)
        for layer, heard in zip(tower.layers, self._heard, strict=True):
            x = layer(x, positions, everything, heard)
        return tower.norm(x)[0]


def _positions(frames: Tensor) -> int:
    """Return how many positions frames (M, F) are enough for."""
    return max(0, (frames.shape[1] - _WINDOW) // _STRIDE + 1)
