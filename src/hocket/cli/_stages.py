"""The data of each stage: mixtures become weights, and every name is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hocket._errors import ConfigError, UnknownNameError, did_you_mean
from hocket.data.grammar import read_mixture
from hocket.data.spec import DataSpec
from hocket.train.recipe import Stage


def resolve_mixtures(
    data: DataSpec, stages: Mapping[str, Stage]
) -> tuple[DataSpec, dict[str, Stage]]:
    """Turn the mixtures that stages name into weights; ``name@subset`` becomes a data set."""
    datasets, resolved = dict(data.datasets), dict(stages)
    for key, stage in stages.items():
        if not stage.mixture:
            continue
        if stage.data:
            raise ConfigError(f"train.stages.{key} has both data and mixture. Leave one out.")
        try:
            found = read_mixture(
                stage.mixture,
                datasets=data.datasets,
                mixtures=data.mixtures,
                subsets=data.subsets,
            )
        except UnknownNameError as error:
            raise ConfigError(f"train.stages.{key}.mixture: {error}") from error
        datasets |= found.datasets
        resolved[key] = replace(stage, data=found.weights, mixture="")
    return replace(data, datasets=datasets), resolved


def name_stage_data(data: DataSpec, stages: Mapping[str, Stage]) -> dict[str, Stage]:
    """Check the data sets that stages name; a stage that names none gets all of them."""
    datasets = data.datasets
    if not datasets:
        raise ConfigError("data.datasets is empty. Name at least one data set with its path.")
    if not stages:
        raise ConfigError("train.stages is empty. Name at least one stage.")
    for key, stage in stages.items():
        if not stage.steps and not stage.epochs:
            raise ConfigError(f"train.stages.{key} has neither steps nor epochs. Give one of them.")
        for name, weight in stage.data.items():
            where = f"train.stages.{key}.data.{name}"
            if name not in datasets:
                known = ", ".join(sorted(datasets))
                hint = did_you_mean(name, datasets)
                raise ConfigError(f"{where}: no data set has that name.{hint} Known: {known}.")
            if weight <= 0:
                raise ConfigError(f"{where} is {weight}, expected more than 0. Change it.")
    every = dict.fromkeys(datasets, 1.0)
    return {
        key: stage if stage.data else replace(stage, data=every) for key, stage in stages.items()
    }
