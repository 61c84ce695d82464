"""Towers that a stage does without: off the device, out of the model, and still to be saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.origin import check_files, is_unchanged


class TowersAside:
    """Towers that a stage does without.

    What was memory-mapped and never used is not read: a checkpoint is written from the file.

    Args:
        model: the composite; its towers are taken away at once.
        names: the towers.
        hashes: tower -> hash of its weights, as far as known.
    """

    def __init__(
        self,
        model: HocketForConditionalGeneration,
        names: Sequence[str] = (),
        hashes: Mapping[str, str] | None = None,
    ) -> None:
        self.hashes = dict(hashes or {})
        self._whole = model
        self._model = model.model
        self._towers = {name: self._model.get_submodule(name).to("cpu") for name in names}
        self._hide()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Put the towers back, on the CPU, for as long as something needs the whole model.

        Raises:
            CheckpointError: a file that a tower was read from was written over meanwhile.
        """
        for name, tower in self._towers.items():
            origin = self._whole.origins.get(name)
            if origin is not None and is_unchanged(origin, tower):
                check_files(origin, name)
        self._show()
        try:
            yield
        finally:
            self._hide()

    def bring_back(self) -> None:
        """Put the towers back for good, on the CPU; what uses them next moves them."""
        self._show()
        self._towers = {}

    def _show(self) -> None:
        for name, tower in self._towers.items():
            self._model.register_module(name, tower)

    def _hide(self) -> None:
        for name in self._towers:
            self._model.register_module(name, None)


def move(
    model: HocketForConditionalGeneration, device: torch.device, *, but: Sequence[str] = ()
) -> None:
    """Move a model to a device, all but some towers, which stay on the CPU.

    Args:
        model: the composite.
        device: where to.
        but: attributes of the towers.
    """
    aside = TowersAside(model, but)
    model.to(device)
    aside.bring_back()
