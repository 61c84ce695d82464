"""Hocket's composite in vLLM: our towers and connectors, vLLM's own class of the language model.

Towers run as in training, through the code of `hocket.model.towers`; the language model has vLLM's
paged attention, batching and quantisation. Weights are read from a Hocket checkpoint as it is.

Letters: U encoder units, S spans, R rows, D language width, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import SupportsMultiModal, SupportsPP
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.utils import (
    AutoWeightsLoader,
    WeightsMapper,
    init_vllm_registered_model,
    maybe_prefix,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from hocket._errors import CheckpointError
from hocket.model.towers import HocketTowers
from hocket.vllm.processing import (
    FIELDS,
    HocketDummyInputs,
    HocketInfo,
    HocketMultiModalProcessor,
)

_LANGUAGE = WeightsMapper(
    orig_to_new_prefix={
        "model.language_model.": "language_model.model.",
        "lm_head.": "language_model.lm_head.",
    }
)
_OURS = ("model.language_model.", "lm_head.")


@MULTIMODAL_REGISTRY.register_processor(
    HocketMultiModalProcessor, info=HocketInfo, dummy_inputs=HocketDummyInputs
)
class HocketForConditionalGeneration(nn.Module, SupportsMultiModal, SupportsPP):  # type: ignore[misc] # vLLM is not installed here
    """What vLLM builds for a checkpoint whose ``architectures`` name this class.

    Args:
        vllm_config: vLLM's configuration, which holds the checkpoint's.
        prefix: name of this module in a larger one.
    """

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config = vllm_config.model_config.hf_config
        text = config.text_config
        text.tie_word_embeddings = config.tie_word_embeddings
        self.config = config
        media = [config.image_token_id, config.video_token_id, config.audio_token_id]
        # Of vLLM's methods type checkers see what torch's __getattr__ says: tensors.
        vllm: Any = self
        vllm.configure_mm_token_handling(text.vocab_size, media)
        with vllm._mark_tower_model(vllm_config, set(FIELDS)):
            self.towers = HocketTowers(config)
        with vllm._mark_language_model(vllm_config):
            self.language_model = init_vllm_registered_model(
                vllm_config=vllm_config,
                hf_config=text,
                prefix=maybe_prefix(prefix, "language_model"),
                architectures=[MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[text.model_type]],
            )
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """Return what stands for a medium in a prompt whose template does not write it."""
        return f"<{modality}>"

    def embed_multimodal(self, **kwargs: Any) -> list[Tensor]:
        """Return the rows (R, D) of each medium, in the order that vLLM gave them."""
        calls: dict[str, Callable[..., Tensor]] = {
            "image": self.towers.image_rows,
            "video": self.towers.video_rows,
            "audio": self.towers.audio_rows,
        }
        found: list[Tensor] = []
        for kind, (spans, fields) in FIELDS.items():
            if kwargs.get(spans) is None:
                continue
            units, *rest = (_joined(kwargs[name]) for name in fields)
            table = torch.stack(list(kwargs[spans])).to(units.device)
            # The order of arguments differs: times follow the spans, lengths stand before them.
            given = (*rest, table) if kind == "audio" else (table, *rest)
            found += calls[kind](units, *given).split(table[:, 1].tolist())
        return found

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the language model over (T,) tokens, whose media rows vLLM has filled in."""
        if intermediate_tensors is not None:
            inputs_embeds = None
        return self.language_model.model(
            input_ids, positions, intermediate_tensors, inputs_embeds=inputs_embeds
        )

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        """Return the logits of hidden states (T, D)."""
        return self.language_model.compute_logits(hidden_states)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Fill every parameter and buffer from a Hocket checkpoint.

        Raises:
            CheckpointError: a tensor has no place, or another shape than its place.
        """
        loaded: set[str] = set()
        language: list[tuple[str, Tensor]] = []
        places = dict(self.towers.named_parameters()) | dict(self.towers.named_buffers())
        skipped = not isinstance(self.towers, HocketTowers)
        for name, value in weights:
            if name.startswith(_OURS):
                language.append((name, value))
            elif not skipped:
                inner = name.removeprefix("model.")
                if inner not in places or places[inner].shape != value.shape:
                    raise CheckpointError(
                        f"the tensor {name} of the shape {tuple(value.shape)} has no place in "
                        "hocket's model for vLLM. Merge adapters into the checkpoint first."
                    )
                places[inner].data.copy_(value)
                loaded.add(f"towers.{inner}")
        return loaded | AutoWeightsLoader(self).load_weights(language, mapper=_LANGUAGE)

    def get_mm_mapping(self) -> MultiModelKeys:
        """Return which modules are the language model and which the towers."""
        return MultiModelKeys.from_string_field(
            language_model="language_model", connector="towers.", tower_model="towers."
        )


def _joined(values: Tensor | list[Tensor]) -> Tensor:
    """Return the units of all media as one tensor (U, ...)."""
    return values if isinstance(values, Tensor) else torch.cat(values)
