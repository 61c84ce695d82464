"""Numbers that options may hold, with the ranges that are checked when a run is composed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hocket._errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A part of a whole, 0 to 1."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
"""Any number."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A number above 0."""
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A number of 0 or more."""
Stretch = Annotated[float, Field(ge=1, allow_inf_nan=False)]
"""A ratio of 1 or more, used both ways: from one over it up to it."""
Count = Annotated[int, Field(ge=0)]
"""How many, 0 or more."""
Level = Annotated[int, Field(ge=0, le=255)]
"""Brightness of one channel."""
Colour = tuple[Level, Level, Level]
"""Red, green and blue."""


def check_order(augmentation: str, **ends: float) -> None:
    """Check that a range is one.

    Args:
        augmentation: name of the augmentation, for the message.
        **ends: the lower and the upper option, in this order.

    Raises:
        ConfigError: the lower end is above the upper one.
    """
    (low, least), (high, most) = ends.items()
    if least > most:
        raise ConfigError(
            f"data.augment.{augmentation}: {low} is {least} and {high} is {most}, "
            f"expected {low} <= {high}. Swap them."
        )
