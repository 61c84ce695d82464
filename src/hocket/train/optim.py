"""AdamW over the trainable groups, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import nn

from hocket.train.recipe import Schedule, Stage
from hocket.train.trainable import Trainable


def build_optimizer(
    model: nn.Module, chosen: list[Trainable], *, betas: tuple[float, float]
) -> torch.optim.AdamW:
    """Return AdamW with one group per (trainable group, decayed or not)."""
    parameters = dict(model.named_parameters())
    groups = []
    for one in chosen:
        for names, decay in ((one.decayed, one.group.weight_decay), (one.plain, 0.0)):
            if names:
                groups.append(
                    {
                        "params": [parameters[name] for name in names],
                        "names": list(names),
                        "lr": one.group.lr,
                        "peak": one.group.lr,
                        "schedule": one.group.schedule,
                        "warmup_steps": one.group.warmup_steps,
                        "weight_decay": decay,
                    }
                )
    return torch.optim.AdamW(groups, betas=betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, stage: Stage, step: int) -> float:
    """Set every group's learning rate for `step` (from 0); return the stage's share of the peak."""
    for group in optimizer.param_groups:
        own = replace(
            stage,
            schedule=group["schedule"] or stage.schedule,
            warmup_steps=stage.warmup_steps
            if group["warmup_steps"] is None
            else group["warmup_steps"],
        )
        group["lr"] = group["peak"] * learning_rate_share(own, step)
    return learning_rate_share(stage, step)


def learning_rate_share(stage: Stage, step: int) -> float:
    """Return the learning rate at `step` (from 0) as a share of the peak."""
    if step < stage.warmup_steps:
        return (step + 1) / stage.warmup_steps
    after = max(stage.steps - stage.warmup_steps, 1)
    done = min((step - stage.warmup_steps) / after, 1.0)
    final = stage.final_share
    match stage.schedule:
        case Schedule.CONSTANT:
            return 1.0
        case Schedule.LINEAR:
            return 1 - (1 - final) * done
        case Schedule.COSINE:
            return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
        case Schedule.FLAT_LINEAR:
            return 1 - (1 - final) * max(0.0, 2 * done - 1)
