"""Metrics of captions and of near words: what no recorded vector covers."""

from __future__ import annotations

import stat as modes
from pathlib import Path
from typing import Literal

import pytest
from tests.eval.parity import golden

from hocket._errors import DataError, MachineError
from hocket.eval.metrics import Record
from hocket.eval.metrics._ptb import caption_words
from hocket.eval.metrics.bleu import Bleu
from hocket.eval.metrics.cider_d import CiderD
from hocket.eval.metrics.meteor import Meteor
from hocket.eval.metrics.rouge_l import RougeL
from hocket.eval.metrics.wups import Wups
from hocket.eval.wordnet import FewWords, WordNet

KINDS = FewWords(
    (
        ("dog", ("thing", "animal", "dog")),
        ("cat", ("thing", "animal", "cat")),
        ("car", ("thing", "machine", "car")),
    )
)


def caption(answer: str, *key: str, name: str = "0", group: str = "") -> Record:
    return Record(id=name, answer=answer, target=key[0], key=list(key), group=group)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Isn't it? I cannot.", "is n't it i can not"),
        ("10% of (two), $5.00", "10 % of -lrb- two -rrb- $ 5.00"),
        ("U.S. a. w/ #1", "u.s. a. w / # 1"),
    ],
)
def test_words_of_captions(text: str, words: str) -> None:
    assert caption_words(text) == words.split()


def test_captions_need_a_list() -> None:
    with pytest.raises(DataError, match="list of right ones"):
        RougeL().stat(Record(id="3", answer="a", target="a", key="a"))


def test_an_empty_answer_scores_nothing() -> None:
    records = [caption("", "a red ball", name="0"), caption("x", "the blue box", name="1")]
    for metric in (Bleu(), CiderD(), RougeL()):
        assert metric.reduce(metric.measure(records))[metric.name] == pytest.approx(0, abs=1e-6)


def test_one_picture_has_no_rare_words() -> None:
    (stat,) = CiderD().measure([caption("a red ball", "a red ball")])
    assert stat.score == 0


def test_bleu_of_some_is_that_of_some_alone() -> None:
    records = [caption("a red ball is here", "a red ball is there", name="0"),
               caption("two dogs run far away", "two dogs run away now", name="1")]  # fmt: skip
    stats = Bleu().measure(records)
    assert Bleu().reduce(stats[:1]) == Bleu().reduce(Bleu().measure(records[:1]))


def test_meteor_asks_the_program(tmp_path: Path) -> None:
    jar = tmp_path / "meteor-1.5.jar"
    jar.write_bytes(b"")
    counts = golden("meteor")["counts"][0]
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\nwhile read line; do echo '{counts}'; done\n")
    java.chmod(java.stat().st_mode | modes.S_IXUSR)
    metric = Meteor(jar=jar, java=str(java))
    stats = metric.measure([caption("a cat on the mat", "a cat on the mat")] * 2)
    assert metric.reduce(stats) == {"meteor": 1.0}
    assert metric.measure([]) == []
    java.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(MachineError, match="METEOR failed"):
        metric.measure([caption("a", "a")])


def test_meteor_without_its_program_says_how_to_get_it() -> None:
    with pytest.raises(MachineError, match="pip install --no-deps pycocoevalcap"):
        Meteor().measure([caption("a", "a")])


def wups(
    answer: str, *key: str, group: str = "", profile: Literal["default", "lmms"] = "default"
) -> tuple[object, ...]:
    metric = Wups(wordnet=KINDS, profile=profile)
    stat = metric.stat(caption(answer, *key, group=group))
    return stat.score, stat.parts["strict"]


def test_wups_by_hand() -> None:
    assert wups("the dog", "a dog") == (1, 1)
    assert wups("dog", "cat") == (pytest.approx(2 / 3), pytest.approx(0.1 * 2 / 3))
    assert wups("dog", "cat", "car") == (pytest.approx(2 / 3), pytest.approx(0.1 * 2 / 3))
    # Two words against one: the word without any other takes part with its nearest.
    assert wups("dog car", "dog")[0] == pytest.approx(1 / 3)
    assert wups("zebra", "dog") == (0, 0)
    assert wups("dog", "cat", group="DC") == (0, 0)
    assert wups("two", "2", "two", group="DC") == (1, 1)


def test_lmms_forgets_the_line_for_the_second_answer() -> None:
    assert wups("dog", "zebra", "cat", profile="lmms")[1] == pytest.approx(2 / 3)
    assert wups("dog", "zebra", "cat")[1] == pytest.approx(0.1 * 2 / 3)


def write_wordnet(folder: Path) -> None:
    """Write entity > animal > dog, cat; entity > tool; and the verb run, in WordNet's format."""
    kinds = {"entity": "", "animal": "entity", "dog": "animal", "cat": "animal", "tool": "entity"}
    places = {word: 100 * at for at, word in enumerate(kinds)}
    data = ""
    for word, above in kinds.items():
        up = f"001 @ {places[above]:08d} n 0000" if above else "000"
        data += f"{places[word]:08d} 03 n 01 {word} 0 {up} | meaning".ljust(99) + "\n"
    index = "  1 licence\n"
    index += "".join(f"{word} n 1 1 @ 1 0 {place:08d}  \n" for word, place in places.items())
    verb = "00000000 29 v 01 run 0 000 00 | meaning\n"
    for name, rows, senses in (
        ("noun", data, index),
        ("verb", verb, "run v 1 0 1 0 00000000  \n"),
        ("adj", "", ""),
        ("adv", "", ""),
    ):
        (folder / f"data.{name}").write_text(rows)
        (folder / f"index.{name}").write_text(senses)
        (folder / f"{name}.exc").write_text("ran run\n" if name == "verb" else "")


def test_wordnets_own_files(tmp_path: Path) -> None:
    write_wordnet(tmp_path)
    words = WordNet(tmp_path)
    forms = {"dogs": "dog", "ran": "run", "running": "running", "runs": "run", "zebra": "zebra"}
    assert {word: words.base_form(word) for word in forms} == forms
    assert words.similarity("dogs", "cat") == pytest.approx(2 * 2 / (1 + 1 + 4))
    assert words.similarity("dog", "animal") == pytest.approx(2 * 2 / (1 + 4))
    assert words.similarity("dog", "tool") == pytest.approx(2 * 1 / (2 + 1 + 2))
    # A verb meets a noun only at the root that is put above both.
    assert words.similarity("dog", "run") == pytest.approx(2 * 1 / (3 + 1 + 2))
    assert words.similarity("dog", "zebra") == 0


def test_without_wordnet_the_message_says_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="apt install wordnet-base"):
        WordNet(tmp_path).base_form("dog")
