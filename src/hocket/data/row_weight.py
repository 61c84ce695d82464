"""How much the tokens of one row count in the loss, as the row itself says.

Knows conversations; must not know losses or data sets.
"""

from __future__ import annotations

import math

from hocket._errors import DataError
from hocket.chat.conversation import Conversation


def weight_of(conversation: Conversation) -> float:
    """Return how much a row's tokens count: its ``weight``, or 1.

    Raises:
        DataError: the weight is no number, or below 0.
    """
    weight = conversation.meta.get("weight", 1.0)
    if (
        isinstance(weight, bool)
        or not isinstance(weight, int | float)
        or not 0 <= weight < math.inf
    ):
        raise DataError(
            f"{conversation.source}: its weight is {weight!r}, expected a number of at least 0. "
            f"Correct it or leave it out."
        )
    return float(weight)
