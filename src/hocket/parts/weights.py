"""Weights of one connector from a file of their own, such as a pretrained projector."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hocket._errors import CheckpointError
from hocket.parts.connector import Connector

_SHOWN = 6


def load_connector(
    connector: Connector,
    path: str | Path,
    *,
    prefix: str = "",
    rename: Mapping[str, str] | None = None,
    pickled: bool = False,
) -> None:
    """Fill a connector from a file; every parameter must be there and nothing else.

    Args:
        connector: the connector, whose device and dtype stay.
        path: a ``.safetensors`` file, or with `pickled` one that torch.save wrote.
        prefix: what the names in the file begin with, such as ``model.mm_projector.``; others
            are left alone.
        rename: names in the file, without the prefix, that the connector calls differently.
        pickled: read the file as torch.save's, which are tensors only or are refused.

    Raises:
        CheckpointError: the file is missing or damaged, or its names or shapes are not the
            connector's.
    """
    path = Path(path)
    found = _read(path, pickled=pickled)
    given = {key.removeprefix(prefix): found[key] for key in found if key.startswith(prefix)}
    if not given:
        raise CheckpointError(
            f"{path} holds no weight that begins with {prefix!r}: {_listing(found)}. "
            "Give the prefix of the connector's weights."
        )
    names = rename or {}
    given = {names.get(key, key): value for key, value in given.items()}
    _check(connector, given, path)
    connector.load_state_dict(given, strict=True)


def _read(path: Path, *, pickled: bool) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}. Give the file of the connector's weights.")
    if not pickled:
        try:
            return load_file(path)
        except SafetensorError as error:
            raise CheckpointError(
                f"{path} is no safetensors file: {error}. "
                "If torch.save wrote it and you trust it, set pickled."
            ) from error
    try:
        # Unpickles tensors and nothing else, and only when the caller asked for it.
        found = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 # as above
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(
            f"{path} is no file of tensors that torch.save wrote. Give another, or convert it to "
            "safetensors where you trust it."
        ) from error
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise CheckpointError(f"{path} holds something else than names and tensors.")
    return {str(key): value for key, value in found.items()}


def _check(connector: Connector, given: Mapping[str, Tensor], path: Path) -> None:
    expected = connector.state_dict()
    wrong = [
        f"{key} {tuple(given[key].shape)}, expected {tuple(value.shape)}"
        for key, value in expected.items()
        if key in given and given[key].shape != value.shape
    ]
    problems = {
        "missing": sorted(expected.keys() - given.keys()),
        "unexpected": sorted(given.keys() - expected.keys()),
        "of another shape": wrong,
    }
    said = "; ".join(f"{what}: {_listing(names)}" for what, names in problems.items() if names)
    if said:
        raise CheckpointError(
            f"the weights of {path} are not those of this connector. {said}. "
            "Give the file of a connector with the same kind and options."
        )


def _listing(names: Mapping[str, Tensor] | list[str]) -> str:
    shown = ", ".join(list(names)[:_SHOWN])
    rest = len(names) - _SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown or "nothing"
