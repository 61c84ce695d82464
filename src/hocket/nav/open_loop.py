"""The open loop: the walk is the recorded one, or the expert's, and answers are only compared.

What NaVILA's rows are evaluated with, and the quickest look at a model in training: it tells what a
model says where the expert goes, and nothing of where it would go itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hocket._errors import ConfigError
from hocket.nav.agent import Agent, Turn
from hocket.nav.codec import Grammar, read_answer
from hocket.nav.environment import Decision, Guided, NavAction, NavEnv, NavEpisode, Picture


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often answers were the recorded ones.

    Attributes:
        decisions: how many were compared.
        same_action: share with the same step, however often.
        same_decision: share with the same step as often.
        invalid: answers that could not be read.
    """

    decisions: int
    same_action: float
    same_decision: float
    invalid: int


def compare(
    make_world: Callable[[], NavEnv],
    agent: Agent,
    *,
    batch: int = 16,
    limit: int = 0,
    grammar: Grammar = Grammar.NAVILA,
) -> Agreement:
    """Return how often an agent says what was recorded, or what the world's expert says.

    Args:
        make_world: returns the world; it has to know the way.
        agent: who is asked.
        batch: decisions asked together.
        limit: walks at most; 0 for all.
        grammar: how answers are read.

    Raises:
        ConfigError: the world does not know the way, or has no walks.
    """
    world = make_world()
    try:
        if not isinstance(world, Guided):
            raise ConfigError(
                "this world does not know the way, so there is nothing to compare with. "
                "Take 'replay' or 'rooms', or leave out --open-loop."
            )
        asked: list[tuple[Turn, Decision]] = []
        for episode in world.episodes()[: limit or None]:
            asked += _decisions(world, world, episode)
    finally:
        world.close()
    if not asked:
        raise ConfigError("this world has no walks. Correct its options.")
    said = []
    for start in range(0, len(asked), batch):
        answers = agent.answer([turn for turn, _ in asked[start : start + batch]])
        said += [read_answer(answer, grammar) for answer in answers]
    pairs = [(one, truth) for one, (_, truth) in zip(said, asked, strict=True)]
    actions = sum(one is not None and one.action is truth.action for one, truth in pairs)
    return Agreement(
        decisions=len(pairs),
        same_action=actions / len(pairs),
        same_decision=sum(one == truth for one, truth in pairs) / len(pairs),
        invalid=said.count(None),
    )


def _decisions(world: NavEnv, guide: Guided, episode: NavEpisode) -> list[tuple[Turn, Decision]]:
    """Return what is asked along a walk, and what is right."""
    frames: list[Picture] = [world.reset(episode)]
    found: list[tuple[Turn, Decision]] = []
    done = False
    while not done:
        truth = guide.expert_decision()
        turn = Turn(episode.id, episode.instruction, tuple(frames), len(found))
        found.append((turn, truth))
        for _ in range(truth.repeats):
            step = world.step(truth.action)
            done = step.done
            if truth.action is not NavAction.STOP:
                frames.append(step.picture)
            if done:
                break
    return found
