"""Makes transformers' `AutoProcessor` open Hocket checkpoints.

`hocket.model.config` and `hocket.model.modeling` register themselves with the other Auto classes.
"""

from __future__ import annotations

from transformers import AutoProcessor

from hocket.model.config import HocketConfig
from hocket.tokens.processor import HocketProcessor

AutoProcessor.register(HocketConfig, HocketProcessor, exist_ok=True)
