"""Keys of a config.json that would run code of a repository."""

from __future__ import annotations

import pytest

from hocket.model.named_code import named_code


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"_attn_implementation": "owner/kernel"}, "_attn_implementation"),
        ({"attn_implementation": "owner/kernel@v1:f"}, "attn_implementation"),
        ({"_attn_implementation_internal": "../x"}, "_attn_implementation_internal"),
        ({"attn_implementation": {"": "sdpa", "vision_config": "a/b"}}, "attn_implementation"),
        ({"text_config": {"_experts_implementation": "a/b"}},
         "text_config._experts_implementation"),
        ({"a": [{"attn_implementation": "a/b"}]}, "a.attn_implementation"),
        ({"_attn_implementation": "sdpa", "text_config": {"attn_implementation": None}}, ""),
        ({"_attn_implementation_autoset": True}, ""),
        ({"model_type": "llama", "architectures": ["A/b"]}, ""),
        ("text", ""),
    ],
)  # fmt: skip
def test_the_key_is_found_at_any_depth(document: object, key: str) -> None:
    assert named_code(document) == key
