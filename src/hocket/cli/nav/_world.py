"""Which world, with which options: the words that all verbs of `hocket nav` share."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import yaml

from hocket._errors import ConfigError, UnknownNameError
from hocket.nav.environment import NavSpec
from hocket.nav.score import PROFILES, Profile

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="An option of the world: key=value; repeat it. levels=[0,1]"),
]


def read_settings(given: list[str] | None) -> dict[str, Any]:
    """Return ``key=value`` words as options.

    Raises:
        ConfigError: a word has no ``=``, or its value is no YAML.
    """
    found: dict[str, Any] = {}
    for word in given or []:
        key, mark, value = word.partition("=")
        if not mark or not key:
            raise ConfigError(f"--set {word}: expected key=value, such as levels=[0,1].")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {word}: the value is no YAML ({error}).") from error
    return found


def find_profile(name: str) -> Profile:
    """Return a profile by name.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in PROFILES:
        raise UnknownNameError("profile", name, list(PROFILES))
    return PROFILES[name]


def spec_of(profile: Profile, *, side: int = 0, max_steps: int = 0) -> NavSpec:
    """Return how an agent of a profile moves and sees.

    Args:
        profile: of a benchmark.
        side: of pictures, in pixels, in place of the profile's; 0 keeps it.
        max_steps: in place of the profile's; 0 keeps it.
    """
    return NavSpec(
        turn_deg=profile.turn_deg,
        hfov_deg=profile.hfov_deg,
        width=side or profile.width,
        height=side or profile.height,
        max_steps=max_steps or profile.max_steps,
        sliding=profile.sliding,
    )
