"""Every joint connector takes every modality, keeps media apart and trains."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.toy import EARS, EYES, SPEC, TEXTS, inputs, mixed

from hocket._errors import ConfigError
from hocket.model.build import build
from hocket.model.spec import PartSpec
from hocket.parts.joint import joints
from hocket.tokens.batch import pack_batch, pad_batch

KINDS = joints.names()
SMALL = {"latent_queries": {"queries": 3, "depth": 1, "heads": 2}}
TOWERS = {"vision": replace(EYES, connector=None), "audio": replace(EARS, connector=None)}


@pytest.mark.parametrize("kind", KINDS)
def test_it_takes_the_place_of_every_connector(kind: str) -> None:
    spec = replace(SPEC, joint=PartSpec(kind=kind, options=SMALL[kind]), **TOWERS)  # type: ignore[arg-type] # fields of ModelSpec
    model, processor = build(spec, TEXTS * 3)
    assert model.model.multi_modal_projector is None
    assert model.model.audio_projector is None
    model.eval()
    examples = [processor.encode(one) for one in mixed()]
    for example in examples:
        assert all(span.rows == 3 * span.units for span in example.outline.spans)
    packed = pack_batch([examples], pad_id=0)
    loss = model(**inputs(packed)).loss
    loss.backward()
    assert all(value.grad is not None for value in model.model.joint_projector.parameters())
    with torch.inference_mode():
        targets = sum(example.outline.cost.targets for example in examples)
        apart = sum(
            float(
                model(
                    **inputs(pad_batch([one], pad_id=0, side="right")), num_items_in_batch=targets
                ).loss
            )
            for one in examples
        )
    assert float(loss.detach()) == pytest.approx(apart, rel=1e-5)


def test_one_of_both_is_wanted() -> None:
    with pytest.raises(ConfigError, match=r"model\.vision: neither its connector nor model\.joint"):
        build(replace(SPEC, vision=TOWERS["vision"]), TEXTS * 3)
    joint = PartSpec(kind="latent_queries", options=SMALL["latent_queries"])
    with pytest.raises(ConfigError, match=r"model\.vision: both its connector and model\.joint"):
        build(replace(SPEC, joint=joint), TEXTS * 3)
