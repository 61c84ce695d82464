"""What is kept of earlier requests stays within its bytes and is found by its beginning."""

from __future__ import annotations

import numpy as np
import torch

from hocket.infer.cache import Kept, PrefixCache, shared
from hocket.infer.slots import Prefix


def prefix(tokens: int) -> Prefix:
    return Prefix([(torch.zeros(1, 1, tokens, 4), torch.zeros(1, 1, tokens, 4))])


def test_those_not_used_longest_go_first() -> None:
    kept: Kept[str, int] = Kept(10)
    for name in "abc":
        kept.put(name, 1, 3)
    assert kept.get("a") == 1
    kept.put("d", 2, 3)
    assert kept.names() == ["c", "a", "d"] and kept.bytes == 9
    kept.put("e", 3, 11)
    assert kept.get("e") is None
    kept.put("a", 5, 1)
    assert (kept.get("a"), kept.bytes, len(kept)) == (5, 7, 3)
    assert (kept.hits, kept.misses) == (2, 1)


def test_the_longest_beginning_is_found() -> None:
    cache = PrefixCache(10**6)
    one, longer = np.arange(30), np.concatenate([np.arange(40), [7]])
    cache.put(one, prefix(30))
    cache.put(longer, prefix(41))
    assert len(cache.kept) == 1, "one is a beginning of the other"
    assert cache.find(np.concatenate([np.arange(35), [0, 0]]))[0] == 35
    assert cache.find(longer)[0] == 40, "the last token is computed, for its logits"
    assert cache.find(np.arange(15)) == (0, None)
    assert cache.find(-np.arange(50)) == (0, None)
    assert cache.knows(one) and not cache.knows(np.arange(50))


def test_what_two_prompts_share() -> None:
    assert shared(np.array([1, 2, 3]), np.array([1, 2, 4, 5])) == 2
    assert shared(np.array([1, 2]), np.array([1, 2, 4])) == 2
    assert shared(np.array([9]), np.array([1])) == 0
