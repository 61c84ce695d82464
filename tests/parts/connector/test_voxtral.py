from __future__ import annotations

import pytest
import torch
from transformers import VoxtralConfig
from transformers.models.voxtral.modeling_voxtral import VoxtralMultiModalProjector

from hocket._errors import ConfigError
from hocket.parts.connector.voxtral import Voxtral
from hocket.parts.features import Features


def test_it_is_transformers_voxtral_projector() -> None:
    config = VoxtralConfig()
    config.audio_config.intermediate_size, config.text_config.hidden_size = 24, 10
    twin = VoxtralMultiModalProjector(config)
    connector = Voxtral(Voxtral.Config(), in_width=6, out_width=10)
    connector.load_state_dict(twin.state_dict())
    x = torch.randn(3, 8, 6)
    rows = connector(Features(x, (1, 8), lengths=torch.tensor([8, 8, 8])))
    assert torch.equal(rows, twin(x.reshape(-1, 24)))


def test_no_frames_are_refused() -> None:
    with pytest.raises(ConfigError, match="frames is 0"):
        Voxtral(Voxtral.Config(frames=0), in_width=6, out_width=10)
