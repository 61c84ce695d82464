"""Tasks and tables: joins, ids, media, and what is said of files that are not as they should be."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest

from hocket._errors import ConfigError, DataError, UnknownNameError
from hocket.chat.conversation import Text
from hocket.eval.draw import one
from hocket.eval.metrics.exact_match import ExactMatch
from hocket.eval.metrics.vqa_accuracy import VqaAccuracy
from hocket.eval.table import Gather, InColumn, InFile, Join, Layout, Table
from hocket.eval.task import Task, lettered, open_task, usual_answer, with_metrics
from hocket.eval.twin import encode, write_twin
from hocket.media.image import Image

TASK = Task(
    title="Toy",
    download="toy.json",
    layouts=(Layout(table=Table(path="toy.json")),),
    prompt="{question}\n{options}",
    metrics=(ExactMatch(),),
    twin=list,
    anchors=(),
    tags=("text",),
    name="toy",
)


def write(folder: Path, content: object, name: str = "toy.json") -> None:
    (folder / name).write_text(json.dumps(content))


def test_rows_become_questions(tmp_path: Path) -> None:
    rows = [
        {"id": 7, "question": "Braces {x}?", "answer": ["a", "b", "b"], "options": ["a", "b"]},
        {"id": 7, "question": "Again?", "answer": 3, "group": "g", "cluster": "c", "more": 1},
    ]
    write(tmp_path, rows)
    first, second = replace(TASK, keep=("more",)).questions(tmp_path)
    assert first.conversation.messages[0].parts == (Text("Braces {x}?\nA. a\nB. b"),)
    assert (first.id, first.target, first.key, first.modality) == (
        "7",
        "b",
        ["a", "b", "b"],
        "text",
    )
    assert (first.cluster, first.group) == ("7", "")
    assert (second.id, second.target, second.group, second.cluster) == ("7#2", "3", "g", "c")
    assert second.meta == {"question": "Again?", "more": 1}
    record = second.record("four")
    assert (record.id, record.answer, record.target, record.key) == ("7#2", "four", "3", 3)
    assert record.meta == second.meta


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([{"id": 1, "question": "?"}], r"toy.json row 0 is no row of Toy \(KeyError: 'answer'\)"),
        ({"rows": []}, "holds no list of rows"),
        ([1], "holds no list of rows"),
    ],
)
def test_rows_of_another_shape_are_named(tmp_path: Path, content: object, said: str) -> None:
    write(tmp_path, content)
    with pytest.raises(DataError, match=said):
        list(TASK.questions(tmp_path))


def test_damaged_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "toy.json").write_text("[{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        list(TASK.questions(tmp_path))


def test_a_second_file_is_joined_and_its_other_columns_stay_out(tmp_path: Path) -> None:
    layout = Layout(
        table=Table(path="toy.json"),
        join=Join(table=Table(path="more.json", id_key="name"), columns=("answer",), on="id",
                  to="name"),
    )  # fmt: skip
    write(tmp_path, [{"id": 1, "question": "?"}, {"id": 2, "question": "?"}])
    write(tmp_path, {"1": {"answer": "x", "question": "other"}}, "more.json")
    task = replace(TASK, layouts=(layout,))
    with pytest.raises(DataError, match=r"row 1: more.json has no row whose name is 2"):
        list(task.questions(tmp_path))
    assert layout.join
    left_out = replace(layout, join=replace(layout.join, optional=True))
    (question,) = replace(TASK, layouts=(left_out,)).questions(tmp_path)
    assert (question.target, question.meta["question"]) == ("x", "?")


def test_rows_of_a_second_table_are_gathered(tmp_path: Path) -> None:
    layout = Layout(
        table=Table(path="toy.json", key="videos"),
        gather=Gather(table=Table(path="toy.json", key="said"), column="caption", on="id"),
        fields={"answer": "caption"},
    )
    said = [{"id": 1, "caption": "a"}, {"id": 2, "caption": "b"}, {"id": 1, "caption": "c"}]
    write(tmp_path, {"videos": [{"id": 1, "question": ""}], "said": said})
    (question,) = replace(TASK, layouts=(layout,)).questions(tmp_path)
    assert question.key == ["a", "c"]


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    place = InFile(path="{id:03d}.png")
    layout = Layout(table=Table(path="toy.json"), media={"image": place})
    task = replace(TASK, layouts=(layout,))
    write(tmp_path, [{"id": 1, "question": "?", "answer": "x"}])
    with pytest.raises(DataError, match=r"toy.json row 0: no image .*001.png. Download the media"):
        list(task.questions(tmp_path))
    write(tmp_path, [{"id": "a", "question": "?", "answer": "x"}])
    with pytest.raises(DataError, match=r"\{id:03d\}.png cannot be filled in"):
        list(task.questions(tmp_path))


def test_a_picture_of_an_earlier_row_is_found(tmp_path: Path) -> None:
    layout = Layout(
        table=Table(path="toy.tsv", kind="tsv"),
        fields={"id": "index"},
        media={"image": InColumn(name="image", base64=True)},
    )
    data = encode(one("red", "square"), ".png")
    text = base64.b64encode(data).decode()
    task = replace(TASK, layouts=(layout,))
    lines = ["index\tquestion\tanswer\timage", f"5\t?\tx\t{text}", "6\t?\tx\t5"]
    (tmp_path / "toy.tsv").write_text("\n".join(lines) + "\n")
    first, second = task.questions(tmp_path)
    (picture,) = second.conversation.media()
    assert isinstance(picture, Image)
    assert picture.load().shape == (96, 96, 3)
    assert [part.where.data for part in first.conversation.media()] == [data]
    (tmp_path / "toy.tsv").write_text("\n".join([*lines, "7\t?\tx\t9"]) + "\n")
    with pytest.raises(DataError, match="that of row 9, which is not before it"):
        list(task.questions(tmp_path))


def test_thoughts_are_no_part_of_an_answer() -> None:
    assert TASK.clean("<think>\nred?\n</think>\n\n blue ") == "blue"


def test_the_usual_answer() -> None:
    assert usual_answer(["a", "b", "b"]) == "b"
    assert usual_answer(["a", "b"]) == "a"
    assert usual_answer(3) == "3"
    assert lettered(None) == ""


def test_a_metric_can_be_exchanged() -> None:
    task = with_metrics(open_task("vqav2"), {"vqa_accuracy": VqaAccuracy(profile="lmms")})
    assert task.metrics == (VqaAccuracy(profile="lmms"),)
    gqa = open_task("gqa")
    assert [metric.label for metric in gqa.metrics] == ["exact_match", "exact_match(profile=gqa)"]
    other = ExactMatch(profile="verbatim")
    changed = with_metrics(gqa, {"exact_match(profile=gqa)": other})
    assert changed.metrics == (ExactMatch(), other)
    with pytest.raises(ConfigError, match="has no metric 'anls'"):
        with_metrics(task, {"anls": VqaAccuracy()})
    with pytest.raises(UnknownNameError, match="Did you mean 'pope'"):
        open_task("pop")


def test_the_first_form_whose_files_are_there_is_read(tmp_path: Path) -> None:
    task = open_task("pope")
    write_twin(task, tmp_path, layout=1)
    assert task.layout(tmp_path) == task.layouts[1]
    groups = [question.group for question in task.questions(tmp_path)]
    assert sorted(set(groups)) == ["adversarial", "popular", "random"]
