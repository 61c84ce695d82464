"""The composite: towers, connectors and a language model as one transformers model.

The processor has already written one placeholder token per row, so the model's own work is small:
encode, connect, write the rows over the placeholders, run the language model.

Letters: B rows of a batch, T tokens, D language width, V vocabulary, U encoder units, S spans,
R rows over all spans, M mel bins, F mel frames, H and W pixels, L samples, K values of a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    GenerationMixin,
)
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from hocket._errors import AlignmentError
from hocket.model.adapters import Attached
from hocket.model.config import HocketConfig
from hocket.model.documents import find_documents
from hocket.model.expand import expand_media
from hocket.model.heads import HeadLosses, HeadTarget, MediaHeads
from hocket.model.loss import Losses, LossOptions, supervised_loss
from hocket.model.origin import Origin
from hocket.model.positions import SharedPositions
from hocket.model.sequence.attention import UNMASKED
from hocket.model.sequence.group import SequenceGroup, Shard, shard_rows
from hocket.model.sequence.share import cut_loss_inputs, whole_losses
from hocket.model.towers import HocketPreTrainedModel, HocketTowers

MEDIA = (
    "pixel_values",
    "image_spans",
    "pixel_values_videos",
    "video_spans",
    "frame_times",
    "input_features",
    "feature_lengths",
    "audio_spans",
    "image_features",
    "video_features",
    "audio_features",
)


class HocketModel(HocketTowers):
    """Towers, connectors and language model without the output head.

    Parameter names are those of transformers' Llava: ``vision_tower``, ``multi_modal_projector``,
    ``language_model``, and ``video_*``, ``audio_*`` and ``image_arrange`` beside them.
    """

    def __init__(self, config: HocketConfig) -> None:
        super().__init__(config)
        self.language_model = AutoModel.from_config(config.text_config)
        self._positions: SharedPositions | None = None
        if config.shared_positions > 1:
            seen = (config.image_token_id, config.video_token_id)
            self._positions = SharedPositions(config.shared_positions, seen)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the language model's token table."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the language model's token table."""
        self.language_model.set_input_embeddings(value)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        sequence: Shard | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Write the media rows over their placeholders and run the language model.

        Media come by their names in `Batch`, beside options of the language model.

        Raises:
            AlignmentError: placeholder tokens and rows differ in number.
        """
        media = {name: kwargs.pop(name) for name in MEDIA if name in kwargs}
        if inputs_embeds is None:
            assert input_ids is not None
            inputs_embeds = self.get_input_embeddings()(input_ids)
            rows = self.media_rows(media, sequence)
            inputs_embeds = self._write(inputs_embeds, input_ids, rows)
            if self._positions is not None:
                position_ids, attention_mask = self._positions.share(
                    input_ids, attention_mask, position_ids, past_key_values, inputs_embeds.dtype
                )
        if sequence is not None:
            assert position_ids is not None
            inputs_embeds, position_ids = sequence.cut(inputs_embeds), sequence.cut(position_ids)
            attention_mask = UNMASKED.to(inputs_embeds.device)
            kwargs["sequence"] = sequence
        elif attention_mask is None and kwargs.get("use_cache") is False:
            # With a cache transformers joins the samples of a row, and so it stays.
            documents = find_documents(self.language_model, inputs_embeds, position_ids)
            if documents is not None:
                attention_mask, kwargs["documents"] = UNMASKED, documents
        return self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )

    def _write(self, embeds: Tensor, ids: Tensor, rows: dict[int, Tensor]) -> Tensor:
        """Put (R, D) rows at the R placeholder positions of (B, T, D)."""
        names = {
            self.config.image_token_id: "image",
            self.config.video_token_id: "video",
            self.config.audio_token_id: "audio",
        }
        for token, values in rows.items():
            places = ids == token
            count = int(places.sum())
            if count != len(values):
                raise AlignmentError(
                    f"the batch holds {count} <{names[token]}> placeholder tokens, but the encoder "
                    f"and connector made {len(values)} rows. The processor and the model come "
                    "from different checkpoints, or the text was cut inside a medium."
                )
            embeds = embeds.masked_scatter(places[..., None], values.to(embeds.dtype))
        return embeds


@dataclass
class HocketOutput(CausalLMOutputWithPast):  # type: ignore[misc] # transformers ships no types
    """What the composite returns.

    Attributes:
        sample_losses: float32 (E,), the plain loss of each sample's tokens, added up.
        head_losses: float32 (H, 3) as of `HeadLosses.each`, where heads had targets.
    """

    sample_losses: Tensor | None = None
    head_losses: Tensor | None = None


class HocketForConditionalGeneration(HocketPreTrainedModel, GenerationMixin):  # type: ignore[misc] # as above
    """The composite with its output head: what `AutoModelForMultimodalLM` opens.

    ``forward`` takes the keys of `hocket.tokens.batch.Batch`, shaped as there, tower features in
    place of encoder inputs among them, and

    * ``past_key_values``: the key-value cache of a generation;
    * ``inputs_embeds``: (B, T, D) instead of ``input_ids``, media included;
    * ``logits_to_keep``: compute the logits of the last so many positions only; 0 for all;
    * ``num_items_in_batch``: supervised tokens of the global step, which the loss is divided by;
    * ``sample_index``: int64 (B, T), the sample that each position belongs to, for their losses;
    * ``loss_weights``: float32 (B, T), how much each label counts;
    * ``head_targets``: what each of ``heads`` has to tell, which is added to the loss;
    * ``sequence``: processes that share the tokens of packed rows; logits are then those of this
      process's own tokens, and gradients add up over the processes;
    * ``loss_only``: with labels, run the head at supervised positions only and return no logits;
    * options of the language model.

    ``loss_options`` says what the loss is made of, ``heads`` are what a stage trains beside it,
    ``adapters`` by name what has been attached to its layers, ``origins`` by tower which files its
    weights were read from. ``forward`` raises `AlignmentError` where placeholders and rows differ.
    """

    accepts_loss_kwargs = True

    def __init__(self, config: HocketConfig) -> None:
        super().__init__(config)
        self.model = HocketModel(config)
        text = config.text_config
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        # Language models name their token table differently: embed_tokens, wte, embeddings.
        table = self.model.get_input_embeddings()
        name = next(name for name, part in self.model.named_modules() if part is table)
        self._tied_weights_keys = {"lm_head.weight": f"model.{name}.weight"}
        self.adapters: dict[str, Attached] = {}
        self.origins: dict[str, Origin] = {}
        self.loss_options = LossOptions()
        self.heads: MediaHeads | None = None
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """Return the output head."""
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the output head."""
        self.lm_head = new_embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_spans: Tensor | None = None,
        pixel_values_videos: Tensor | None = None,
        video_spans: Tensor | None = None,
        frame_times: Tensor | None = None,
        input_features: Tensor | None = None,
        feature_lengths: Tensor | None = None,
        audio_spans: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: Tensor | int | None = None,
        loss_only: bool = False,
        sample_index: Tensor | None = None,
        loss_weights: Tensor | None = None,
        head_targets: Sequence[HeadTarget] = (),
        sequence: SequenceGroup | None = None,
        **kwargs: Any,
    ) -> HocketOutput:
        """Run the composite; the class says what the arguments are."""
        if labels is not None:
            # A cache would switch off the isolation of packed examples without a warning.
            kwargs.setdefault("use_cache", False)
        own = shard_rows(sequence, position_ids, attention_mask)
        text = (input_ids, attention_mask, position_ids, past_key_values, inputs_embeds)
        output = self.model(
            *text,
            sequence=own,
            pixel_values=pixel_values,
            image_spans=image_spans,
            pixel_values_videos=pixel_values_videos,
            video_spans=video_spans,
            frame_times=frame_times,
            input_features=input_features,
            feature_lengths=feature_lengths,
            audio_spans=audio_spans,
            **kwargs,
        )
        loss, logits, each, x = None, None, None, output.last_hidden_state
        told = None if self.heads is None else self.heads.losses(x, head_targets, own)
        if labels is not None:
            learned = (labels, loss_weights, sample_index, num_items_in_batch)
            loss, each = self._loss(x, own, *learned, told)
        if labels is None or not loss_only:
            logits = self._logits(x, logits_to_keep)
        return HocketOutput(
            loss=loss,
            sample_losses=each,
            head_losses=None if told is None else told.each,
            logits=logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )

    def _loss(
        self,
        hidden: Tensor,
        shard: Shard | None,
        labels: Tensor,
        weights: Tensor | None,
        all_samples: Tensor | None,
        num_items: Tensor | float | None,
        told: HeadLosses | None,
    ) -> Losses:
        """Return the loss of (B, T, D) states and heads, with zero gradients if it had none."""
        samples = all_samples
        if shard is not None:
            labels, weights, samples, num_items = cut_loss_inputs(
                shard, labels, weights, samples, num_items
            )
        loss, each = supervised_loss(
            hidden,
            labels,
            self.lm_head,
            num_items,
            weights=weights,
            samples=samples,
            options=self.loss_options,
        )
        if told is not None:
            loss = loss + told.total
        if torch.is_grad_enabled() and not loss.requires_grad:
            # Nothing that trains took part, as when only a connector does and no row has a
            # picture. Other processes wait for gradients all the same: these are zero.
            for value in self.parameters():
                if value.requires_grad:
                    loss = loss + 0.0 * value.float().sum()
        own = Losses(loss, each)
        return own if shard is None else whole_losses(shard, own, all_samples)

    def _logits(self, hidden: Tensor, keep: int | Tensor) -> Tensor:
        """Return (B, T', V) of the last `keep` positions, or of the positions it names."""
        wanted = slice(-keep, None) if isinstance(keep, int) else keep
        return self.lm_head(hidden[:, wanted])

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        is_first_iteration: bool | None = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Hand media to the first step only; later steps find them in the cache."""
        inputs = super().prepare_inputs_for_generation(
            input_ids, is_first_iteration=is_first_iteration, **kwargs
        )
        if not is_first_iteration and kwargs.get("use_cache", True):
            for name in MEDIA:
                inputs.pop(name, None)
        return inputs

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        media = {name: kwargs.pop(name) for name in MEDIA if kwargs.get(name) is not None}
        if media and expand_size > 1 and input_ids is not None:
            config = self.config
            tokens = {
                "image": config.image_token_id,
                "video": config.video_token_id,
                "audio": config.audio_token_id,
            }
            media = expand_media(media, input_ids, tokens, times=expand_size)
        ids, rest = super()._expand_inputs_for_generation(
            expand_size=expand_size,
            is_encoder_decoder=is_encoder_decoder,
            input_ids=input_ids,
            **kwargs,
        )
        return ids, rest | media


AutoModel.register(HocketConfig, HocketModel, exist_ok=True)
for _auto in (AutoModelForImageTextToText, AutoModelForMultimodalLM):
    _auto.register(HocketConfig, HocketForConditionalGeneration, exist_ok=True)
