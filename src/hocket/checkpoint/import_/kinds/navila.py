"""NaVILA: VILA 1.5 whose videos are walks, the newest frame last and the past before it.

Its files are those of VILA 1.5, so ``auto`` cannot tell them apart: name this kind.
"""

from __future__ import annotations

from hocket.checkpoint.import_.description import Description
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.kinds.vila import describe_vila
from hocket.checkpoint.import_.origin import Origin


@importers.register
class Navila:
    """Reads the checkpoints of NaVILA."""

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say no: nothing in the files differs from VILA 1.5."""
        return False

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Return the checkpoint in Hocket's terms, videos sampled as walks.

        Raises:
            CheckpointError: a folder is missing, or an option has no counterpart.
        """
        return describe_vila(origin, sampler="history")
