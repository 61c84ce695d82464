from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hocket._errors import ConfigError
from hocket.parts.connector import build_connector
from hocket.parts.features import Features
from hocket.tokens.span import Modality


def vectors(times: list[float], width: int = 4, **options: Any) -> Tensor:
    """Return (U, C), what is added at those seconds."""
    connector = build_connector(
        {"kind": "time_embedding", "inner": {"kind": "identity"}} | options,
        in_width=width,
        out_width=width,
    )
    x = torch.zeros(len(times), 2, width)
    given = Features(x, (1, 2), times=torch.tensor(times), modality=Modality.VIDEO)
    rows = connector(given).unflatten(0, (-1, 2))
    assert torch.equal(rows[:, 0], rows[:, 1])
    return rows[:, 0]


def test_waves_reach_from_the_resolution_to_the_longest_video() -> None:
    made = vectors([0.0, 0.75], resolution=1.0, longest=8.0, gain=2.0)
    short, long = 2 * math.pi * 0.75 / 2, 2 * math.pi * 0.75 / 16
    angles = torch.tensor([[0.0, 0.0], [short, long]])
    torch.testing.assert_close(made, 2 * torch.cat([angles.sin(), angles.cos()], dim=1))


@pytest.mark.parametrize("form", ["sinusoidal", "learned"])
@pytest.mark.parametrize("width", [32, 33])
def test_seconds_count_and_not_the_number_of_frames(form: str, width: int) -> None:
    torch.manual_seed(0)
    slow = vectors([0.0, 2.0, 4.0], width, form=form)
    torch.manual_seed(0)
    fast = vectors([0.0, 1.0, 2.0, 3.0, 4.0], width, form=form)
    assert torch.equal(slow, fast[::2])
    assert (slow[0] - slow[1]).abs().max() > 0.1


def test_learned_rows_are_mixed_between_and_held_at_the_end() -> None:
    torch.manual_seed(0)
    at = vectors([0.0, 0.5, 0.625, 1.0, 30.0], form="learned", resolution=0.5, longest=1.0)
    torch.testing.assert_close(at[2], 0.75 * at[1] + 0.25 * at[3])
    assert torch.equal(at[3], at[4])
    assert not torch.equal(at[0], at[1])


def test_features_without_times_pass_unchanged() -> None:
    connector = build_connector({"kind": "time_embedding"}, in_width=4, out_width=3)
    given = Features(torch.randn(2, 3, 4), (1, 3))
    inner = build_connector({"kind": "linear"}, in_width=4, out_width=3)
    inner.load_state_dict({k.removeprefix("inner."): v for k, v in connector.state_dict().items()})
    assert torch.equal(connector(given), inner(given))


def test_impossible_spans_of_time_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected 0 < resolution < longest, in seconds"):
        vectors([0.0], resolution=2.0, longest=1.0)
