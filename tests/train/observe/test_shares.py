"""A model in shares answers as the whole one would, and learns what it would have learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.together import together
from tests.train.parallel.runs import three_steps
from tests.train.toy_run import build_model, data_spec, losses, write_rows

from hocket.checkpoint.directory import load_checkpoint
from hocket.cli._exams import choose_exams
from hocket.cli._previews import choose_previews
from hocket.train.log import read_log
from hocket.train.observe.preview import MOST_NEW_TOKENS, ask
from hocket.train.observe.shares import answer_in_shares
from hocket.train.parallel import Sharding
from hocket.train.recipe import Recipe
from hocket.train.run import Run, train
from hocket.train.runtime import Runtime

COUNT = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


def train_asked(folder: Path, out: Path, counts: Sequence[int]) -> None:
    """Train in shares, once with each number of previews, and of questions in an exam."""
    data = data_spec(folder)
    exam = replace(data, heldout={"text": data.datasets["text"]})
    for count in counts:
        chosen = examined(count)
        run = Run(
            recipe=chosen,
            data=data,
            out=out / str(count),
            previews=choose_previews(data, count=count),
            exams=choose_exams(chosen, exam, out),
        )
        train(run, *build_model(folder))


def examined(count: int) -> Recipe:
    """Return a recipe in shares with so many questions in an exam after two steps."""
    asked = {"eval_every": 2, "eval_limit": count} if count else {}
    return replace(three_steps(save_every=2), sharding=Sharding.FSDP, **asked)


@pytest.mark.slow
def test_previews_and_exams_of_a_model_in_shares(folder: Path, tmp_path: Path) -> None:
    together(2, train_asked, folder, tmp_path, [0, COUNT])
    assert losses(tmp_path / "0") == losses(tmp_path / str(COUNT))
    lines = read_log(tmp_path / str(COUNT) / "previews.jsonl")
    assert [line["step"] for line in lines] == [2, 3]
    previews = choose_previews(data_spec(folder), count=COUNT)
    assert previews is not None
    for line in lines:
        kept = tmp_path / str(COUNT) / "checkpoints" / f"joint-step-{line['step']:06}"
        loaded = load_checkpoint(kept)
        alone = partial(answer_in_shares, runtime=Runtime(), most_tokens=MOST_NEW_TOKENS)
        for way, banned in ((alone, ()), (previews.answer, ("<image>", "<video>", "<audio>"))):
            asked = replace(previews, answer=way)
            texts = ask(asked, loaded.model, loaded.processor, compiled=False)
            assert texts is not None
            for ours, theirs in zip(line["answers"].values(), texts, strict=True):
                # The engine lets an untrained model say the name of a medium.
                assert ours == theirs or any(word in theirs for word in banned)
    data = data_spec(folder)
    heldout = replace(data, heldout={"text": data.datasets["text"]})
    exams = choose_exams(examined(COUNT), heldout, tmp_path)
    assert exams is not None
    marks = read_log(tmp_path / str(COUNT) / "evals.jsonl")
    assert [line["step"] for line in marks] == [2, 3]
    # The last checkpoint is that of the last exam; the engine asks it.
    assert marks[-1]["marks"] == exams.sit(loaded.model, loaded.processor, None)
