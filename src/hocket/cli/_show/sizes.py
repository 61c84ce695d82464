"""What a composition comes to: its parts with their parameters, the tokens a medium takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from hocket.cli._show.composition import Stage, draw_composition
from hocket.model.build import Built
from hocket.model.config import HocketConfig
from hocket.tokens.processor import HocketProcessor

# What the rows are counted for: a common size of picture, a clip of ten seconds.
_PICTURE = (480, 640)
_CLIP_SECONDS = 10
_CLIP_FPS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """The figures of a composition.

    Attributes:
        parts: module name -> its parameters and what it is.
        rows: medium -> tokens it takes.
        total: parameters of the model.
        known: tokens of the tokenizer.
        language: model type of the language model.
    """

    parts: Mapping[str, tuple[int, str]]
    rows: Mapping[str, int]
    total: int
    known: int
    language: str

    def lines(self) -> Iterator[str]:
        """Yield the sheet as lines of text."""
        for name, (count, what) in self.parts.items():
            yield f"{name:22}{count:>16,}  {what}"
        yield f"{'parameters':22}{self.total:>16,}  {self.known:,} tokens known"
        for medium, rows in self.rows.items():
            yield f"{medium:22}{rows:>16,}  tokens"

    def svg(self) -> str:
        """Return the composition as an SVG picture."""
        ways = (
            ("picture", ("vision_tower", "multi_modal_projector", "image_arrange")),
            ("video", ("video_tower", "video_projector")),
            ("sound", ("audio_tower", "audio_projector")),
        )
        lanes = []
        for medium, names in ways:
            stages = [self._stage(name) for name in names if name in self.parts]
            if stages:
                taken = [f"{rows:,} tokens" for key, rows in self.rows.items() if medium in key]
                detail = taken[0] if taken else "no tokens of its own"
                lanes.append([Stage(name=medium, detail=detail), *stages])
        count = self.parts["language_model"][0]
        return draw_composition(lanes, Stage(name=self.language, detail=f"{count:,} parameters"))

    def _stage(self, name: str) -> Stage:
        count, what = self.parts[name]
        return Stage(name=what, detail=f"{count:,} parameters")


def describe_composition(built: Built) -> Sheet:
    """Return the figures of a model, which may be on the device ``meta``."""
    model, processor = built
    parts = {
        name: (_count(model.get_submodule(f"model.{name}")), what)
        for name, what in _made_of(model.config).items()
    }
    total = sum(parameter.numel() for parameter in model.parameters())
    # What is in no part: an output head of its own, when the token table is not shared.
    if rest := total - sum(count for count, _ in parts.values()):
        parts["lm_head"] = (rest, "output head")
    return Sheet(
        parts=parts,
        rows=count_rows(processor),
        total=total,
        known=len(processor.tokenizer),
        language=str(model.config.text_config.model_type),
    )


def count_rows(processor: HocketProcessor) -> dict[str, int]:
    """Return what each medium is called and the tokens that it takes; none it cannot take."""
    rows: dict[str, int] = {}
    height, width = _PICTURE
    if processor.images:
        rows[f"picture {width} x {height}"] = processor.images.plan(height, width).rows
    if processor.films and processor.sampler:
        frames = len(processor.sampler.pick(_CLIP_SECONDS * _CLIP_FPS, _CLIP_FPS))
        plan = processor.films.plan(height, width, frames=frames)
        rows[f"video of {_CLIP_SECONDS} s"] = plan.rows
    if processor.sounds:
        rows["sound of 1 s"] = processor.sounds.plan(processor.sounds.rate).rows
    return rows


def _made_of(config: HocketConfig) -> dict[str, str]:
    """Return the module of each part and what it is."""
    made_of = {}
    towers = (
        ("vision_tower", "multi_modal_projector", "vision"),
        ("video_tower", "video_projector", "video"),
        ("audio_tower", "audio_projector", "audio"),
    )
    values = config.to_dict()
    for tower, joint, name in towers:
        if values[f"{name}_config"] is not None:
            encoder = values[f"{name}_encoder"]
            made_of[tower] = f"{values[f'{name}_config']['model_type']}, layer {encoder['layer']}"
            made_of[joint] = _name(values[f"{name}_connector"])
    if values["vision_arrange"] is not None:
        made_of["image_arrange"] = _name(values["vision_arrange"])
    made_of["language_model"] = str(values["text_config"]["model_type"])
    return made_of


def _name(options: Mapping[str, Any]) -> str:
    others = (f"{key}={value}" for key, value in options.items() if key != "kind")
    return " ".join([options["kind"], *others])


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
