"""Every adapter method keeps the same promises: start, learn, switch off, save, load, merge."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from tests.toy import mixed, toy
from torch import Tensor

from hocket._errors import ConfigError
from hocket.model.adapters import AdapterSpec, Attached
from hocket.model.adapters.attach import attach, base_state, merge, without_adapters
from hocket.model.adapters.kinds import REFUSED, RESIDUAL, kinds
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.batch import Batch, pack_batch
from hocket.tokens.layout import OptionValue

SMALL: dict[str, dict[str, OptionValue]] = {
    "c3a": {"block_size": 16},
    "miss": {"r": 8},
    "road": {"group_size": 16},
    "vblora": {"vector_length": 16},
    "waveft": {"n_frequency": 64},
}
# Random from the start, as their authors have it.
NOT_NEUTRAL = {"c3a", "fourierft", "unilora", "vblora"}
# A method of biases has none to merge into here; the other says that it cannot.
NOT_MERGED = {"beft", "lily"}


@pytest.fixture(scope="module")
def batch() -> Batch:
    processor = toy().processor
    rows = [[processor.encode(one)] for one in mixed()]
    return pack_batch(rows, pad_id=processor.tokenizer.pad_token_id)


@pytest.fixture
def logits(batch: Batch) -> Callable[[HocketForConditionalGeneration], Tensor]:
    def run(model: HocketForConditionalGeneration) -> Tensor:
        with torch.no_grad():
            return model.eval()(**batch, use_cache=False).logits

    return run


def spec_of(kind: str) -> AdapterSpec:
    targets = ["*norm"] if kind == "ln_tuning" else ["q_proj", "*.down_proj"]
    return AdapterSpec(kind=kind, targets=targets, options=SMALL.get(kind, {}))


@pytest.mark.parametrize("kind", kinds())
def test_a_method(
    kind: str, batch: Batch, logits: Callable[[HocketForConditionalGeneration], Tensor]
) -> None:
    base = toy().model
    plain = logits(base)
    model = copy.deepcopy(base)
    attached: dict[str, Attached] = {}
    torch.manual_seed(0)
    one = attach(model, attached, "mine", spec_of(kind), fresh=True)
    assert one.trainable
    assert all(path.startswith("model.language_model.") for path in one.layers)
    if kind not in NOT_NEUTRAL:
        torch.testing.assert_close(logits(model), plain, rtol=0, atol=2e-5)

    before = {key: value.clone() for key, value in model.state_dict().items()}
    _train(model, one, batch)
    changed = {
        key for key, value in model.state_dict().items() if not torch.equal(value, before[key])
    }
    assert changed
    assert changed <= set(one.tensors.values())
    learned = logits(model)
    assert (learned - plain).abs().max() > 1e-4

    with without_adapters(model):
        off = logits(model)
    assert torch.equal(off, plain) == (kind not in RESIDUAL)
    torch.testing.assert_close(logits(model), learned, rtol=0, atol=0)

    again = copy.deepcopy(base)
    again.load_state_dict(base_state(model, attached))
    others: dict[str, Attached] = {}
    copied = attach(again, others, "other", spec_of(kind), fresh=False)
    assert copied.tensors.keys() == one.tensors.keys()
    source, target = model.state_dict(), again.state_dict()
    for key, live in copied.tensors.items():
        target[live].copy_(source[one.tensors[key]])
    torch.testing.assert_close(logits(again), learned, rtol=0, atol=0)

    if kind in NOT_MERGED:
        with pytest.raises(ConfigError, match="cannot be merged into model"):
            merge(model, attached, ["mine"])
        return
    merge(model, attached, ["mine"])
    assert not attached
    assert model.state_dict().keys() == base.state_dict().keys()
    torch.testing.assert_close(logits(model), learned, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", REFUSED)
def test_a_method_that_cannot_be_used_says_why(kind: str) -> None:
    model = copy.deepcopy(toy().model)
    with pytest.raises(ConfigError, match=f"{kind} is not supported: it "):
        attach(model, {}, "mine", AdapterSpec(kind=kind), fresh=True)


def _train(model: HocketForConditionalGeneration, one: Attached, batch: Batch) -> None:
    for name, value in model.named_parameters():
        value.requires_grad_(name in one.trainable)
    model.train()
    optimizer = torch.optim.SGD([v for v in model.parameters() if v.requires_grad], lr=0.5)
    for _ in range(3):
        model(**batch, loss_only=True).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
