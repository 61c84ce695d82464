"""What the export targets say they can express exists under that name."""

from __future__ import annotations

import pytest

from hocket._registry import Registry
from hocket.checkpoint.export import exporters
from hocket.cli.model import exported_to
from hocket.parts.arrange import arrangements
from hocket.parts.audio import audio_encoders
from hocket.parts.connector import connectors
from hocket.parts.vision import vision_encoders
from hocket.tokens.layout import layouts

REGISTRIES: dict[str, Registry[object]] = {
    one.noun: one  # type: ignore[misc] # registries of different kinds
    for one in (arrangements, audio_encoders, connectors, layouts, vision_encoders)
}


@pytest.mark.parametrize("target", exporters.names())
def test_every_part_it_takes_exists(target: str) -> None:
    for noun, names in exporters.get(target).takes.items():
        assert names <= set(REGISTRIES[noun].names()), noun


def test_a_part_knows_its_targets() -> None:
    assert exported_to("connector", "pixel_shuffle") == ["internvl"]
    assert exported_to("connector", "ldp") == []
    assert "llava_next" in exported_to("arrangement", "spatial_unpad")
