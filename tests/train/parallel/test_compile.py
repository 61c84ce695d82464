from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.toy import SPEC, TEXTS, assistant, inputs, talk, user
from torch import nn

from hocket.model.build import build
from hocket.model.packing import isolate_samples
from hocket.tokens.batch import pack_batch
from hocket.train.parallel.blocks import compile_blocks


@pytest.mark.slow
# torch's own, inside its compiler.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_compiled_blocks_learn_what_plain_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    # The compiler's own graphs without its code generator, which takes half a minute.
    inner = nn.Module.compile
    compiled: list[nn.Module] = []

    def compile_one(module: nn.Module, **options: Any) -> None:
        compiled.append(module)
        inner(module, backend="aot_eager", **options)

    monkeypatch.setattr(nn.Module, "compile", compile_one)
    spec = replace(SPEC, vision=None, audio=None, video=None)
    model, processor = build(spec, TEXTS)
    isolate_samples(model, processor, compiled=True)
    said = [talk(user("What?"), assistant(text)) for text in TEXTS]
    batch = inputs(pack_batch([[processor.encode(one) for one in said]], pad_id=0))

    def learn() -> dict[str, torch.Tensor]:
        model.zero_grad(set_to_none=True)
        loss = model(**batch, loss_only=True).loss
        loss.backward()
        grads = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
        return grads | {"loss": loss.detach()}

    plain = learn()
    compile_blocks(model)
    torch.compiler.reset()
    fast = learn()
    torch.compiler.reset()
    assert len(compiled) == 2
    assert fast.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(fast[name], value, rtol=0, atol=1e-5, msg=name)
