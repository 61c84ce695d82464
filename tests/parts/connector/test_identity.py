from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hocket._errors import ConfigError
from hocket.parts.connector.identity import Identity
from hocket.parts.features import Features

GOLDEN = Path(__file__).parents[2] / "golden" / "llava_clip_s2" / "projectors.safetensors"


def test_features_pass_through_as_in_llava() -> None:
    golden = load_file(GOLDEN)
    connector = Identity(Identity.Config(), in_width=32, out_width=32)
    rows = connector(Features(golden["plain_layer0.features"], (3, 3)))
    assert torch.equal(rows, golden["projector.identity.out"][0])


def test_widths_that_differ_are_refused() -> None:
    with pytest.raises(ConfigError, match="the encoder's width is 3, the language model's is 4"):
        Identity(Identity.Config(), in_width=3, out_width=4)
