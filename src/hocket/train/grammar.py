"""What trains, in one line, as in the Ovis trainer: ``visual_tokenizer.head:1e-4|llm:2e-5``.

``item | item ...``, each a name of `hocket.model.names` or a pattern, with a learning rate behind a
colon or the stage's own. Where two items name the same parameters, the narrower one counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from torch import nn

from hocket._errors import ConfigError, did_you_mean
from hocket.model.names import known_names, parameters_of
from hocket.train.recipe import Group, Stage


def groups_of(stage: Stage, model: nn.Module) -> Mapping[str, Group]:
    """Return the groups of a stage, however it names them.

    Raises:
        ConfigError: it names them in both ways, or its line is wrong.
    """
    if not stage.train_modules:
        return stage.trainable
    if stage.trainable:
        raise ConfigError("a stage has both trainable and train_modules. Give one of them.")
    names = [name for name, _ in model.named_parameters()]
    return read_train_modules(
        stage.train_modules, names, lr=stage.lr, weight_decay=stage.weight_decay
    )


def read_train_modules(
    text: str, names: Iterable[str], *, lr: float, weight_decay: float
) -> dict[str, Group]:
    """Return group name -> group, the narrowest first.

    Args:
        text: the line.
        names: parameter names of the model.
        lr: learning rate of items that have none.
        weight_decay: weight decay of all.

    Raises:
        ConfigError: an item is empty, stands twice, matches nothing, or its rate is no finite
            number of at least 0.
    """
    listed = list(names)
    groups: dict[str, Group] = {}
    for item in text.split("|"):
        name, colon, rate = (part.strip() for part in item.partition(":"))
        if not name or name in groups:
            problem = f"{name!r} stands twice" if name else "an item is empty"
            raise ConfigError(f"train_modules {text!r}: {problem}. Correct it.")
        if not parameters_of(name, listed):
            known = known_names()
            # A name that is right, of a part that this model lacks, needs no other spelling.
            hint = "" if name in known else did_you_mean(name, known)
            raise ConfigError(
                f"train_modules {text!r}: {name!r} matches no parameter of the model.{hint} "
                f"Known: {', '.join(known)}."
            )
        own = _rate(text, name, rate) if colon else lr
        groups[name] = Group(match=name, lr=own, weight_decay=weight_decay)
    return dict(
        sorted(groups.items(), key=lambda entry: len(parameters_of(entry[1].match, listed)))
    )


def _rate(text: str, name: str, written: str) -> float:
    try:
        rate = float(written)
    except ValueError:
        rate = math.nan
    # Text such as nan is a number to Python, and would reach the weights.
    if not (math.isfinite(rate) and rate >= 0):
        raise ConfigError(
            f"train_modules {text!r}: the learning rate of {name!r} is {written!r}, expected a "
            "number of 0 or more such as 2e-5."
        )
    return rate
