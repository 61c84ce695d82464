"""``hocket data stats``, ``split`` and ``sample`` as users call them."""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image
import pytest
import yaml
from tests.toy import write_rows

from hocket.chat.readers import readers
from hocket.cli.main import main
from hocket.data.sources import sources


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_rows(tmp_path, count=20)


def hocket(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["data", *map(str, words)])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_stats_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hocket("stats", file, "--json", "--tokens-per-row", 2000) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["tokenised"]) == (20, 20)
    assert found["media"] == {"image": 5, "audio": 5, "video": 5}
    assert found["roles"] == {"user": 20, "assistant": 20}
    assert found["figures"]["image pixels"]["most"] == 600
    assert found["figures"]["tokens"]["total"] == found["datasets"]["rows.json"]["tokens"]
    assert 0.5 < found["forecast"]["fill"] <= 1
    assert found["first_faults"] == []


def test_stats_as_a_table(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    rows = json.loads(file.read_text("utf-8"))
    rows[0]["image"] = "gone\x1b[31m.png"
    file.write_text(json.dumps(rows), encoding="utf-8")
    assert hocket("stats", file, "--tokens-per-row", 500) == 0
    shown = capsys.readouterr()
    for text in ("not usable", "image 4, audio 5, video 5", "packed to 500", "over the budget"):
        assert text in shown.out
    assert "1 x file is missing" in shown.out
    assert "\x1b" not in shown.out
    assert "No --model" in shown.err


def test_stats_of_a_mixture(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = {"datasets": {"one": {"path": file.name}, "two": {"path": file.name, "max_rows": 4}}}
    Path("mine.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    for words in ("mine.yaml", "data=mine.yaml"):
        assert hocket("stats", words, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert [one["rows"] for one in found["datasets"].values()] == [20, 4]
        assert found["rows"] == 24


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["nope.json"], "no data file nope.json"),
        (["nope.yaml"], "data=nope.yaml: there is no such file"),
        (["data=nope"], "no data config is called 'nope'"),
        (["data=quickstart", "--reader", "vita"], "Leave out --source, --reader"),
        (["rows.json", "--model", "nowhere"], "no folder nowhere"),
        (["rows.json", "--tokens-per-row", "0"], "--tokens-per-row"),
    ],
)
def test_wrong_words(
    words: list[str], part: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hocket("stats", *words) == 2
    assert part in capsys.readouterr().err


def test_the_ovis_guide_s_spellings_are_taken(file: Path) -> None:
    assert hocket("sample", "toy.json", "--num_samples", "20") == 0
    shares = ("--train_ratio", "0.8", "--val_ratio", "0.1", "--test_ratio", "0.1")
    assert hocket("split", "toy.json", *shares, "--reader", "ovis") == 0
    counts = {one.stem: len(json.loads(one.read_text())) for one in Path("toy").glob("*.json")}
    assert counts == {"train": 16, "val": 2, "test": 2}


def test_split_keeps_pictures_together_and_paths_valid(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads(file.read_text("utf-8"))
    for number in range(1, 20):  # pairs of rows that show the same picture
        source = rows[number // 2 * 4 % 20]
        rows[number] = {**source, "id": f"row-{number}"}
    file.write_text(json.dumps(rows), encoding="utf-8")
    assert hocket("split", file, "--out", "new/parts") == 0
    shown = capsys.readouterr().out
    pictures: list[set[str]] = []
    ids: list[str] = []
    for part in ("train", "val", "test"):
        target = Path("new/parts") / f"{part}.json"
        if not target.exists():
            continue
        source = sources.get("json")(target, reader=readers.get("llava"))
        found = [source[row] for row in range(len(source))]
        ids += [one.id for one in found]
        names = {
            str(one.where.path and one.where.path.resolve()) for row in found for one in row.media()
        }
        assert names <= {str(each.resolve()) for each in file.parent.glob("*.png")}
        pictures.append(names)
        assert f"{part}.json: {len(found)} rows" in shown
    assert len(pictures) >= 2
    assert sorted(ids) == sorted(row["id"] for row in rows)
    assert sum(map(len, pictures)) == len(set.union(*pictures))


def test_split_refuses_to_overwrite_and_repeats_itself(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hocket("split", file, "--out", "a", "--by", "row") == 0
    assert hocket("split", file, "--out", "b", "--by", "row") == 0
    for part, count in (("train", 16), ("val", 2), ("test", 2)):
        one, other = (Path(folder, f"{part}.json").read_bytes() for folder in "ab")
        assert one == other
        assert len(json.loads(one)) == count
    assert hocket("split", file, "--out", "a") == 2
    assert "a/train.json exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--train", "0.9"], "add up to 1.1, expected 1"),
        (["--by", "scene"], "no key 'scene' to group by"),
    ],
)
def test_a_wrong_split(
    words: list[str], part: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hocket("split", file, "--out", "parts", *words) == 2
    assert part in capsys.readouterr().err
    assert not Path("parts").exists()


def test_split_of_a_row_that_cannot_be_read(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps([*rows, {"id": "bad"}]), encoding="utf-8")
    assert hocket("split", file, "--out", "parts") == 2
    assert "add --skip" in capsys.readouterr().err
    assert hocket("split", file, "--out", "parts", "--skip") == 0
    shown = capsys.readouterr()
    assert "1 rows of rows.json cannot be read" in shown.err
    assert sum(len(json.loads(each.read_text("utf-8"))) for each in Path("parts").glob("*")) == 20


def test_toy_data_can_be_made_checked_and_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert hocket("sample", "data/sample_data.json", "--num-samples", 10) == 0
    assert "data/sample_data.json: 10 rows" in capsys.readouterr().out
    assert hocket("split", "data/sample_data.json", "--reader", "ovis", "--out", "data") == 0
    assert hocket("stats", "data/train.json", "--reader", "ovis", "--json") == 0
    assert hocket("sample", "data/sample_data.json") == 2
    assert "exists" in capsys.readouterr().err


def test_rows_are_drawn_with_their_media(file: Path) -> None:
    assert hocket("sample", "few/few.json", "--of", file, "--rows", 8) == 0
    rows = json.loads(Path("few/few.json").read_text("utf-8"))
    assert len({row["id"] for row in rows}) == 8
    for row in rows:
        for key in ("image", "audio", "video"):
            if key in row:
                assert row[key].startswith("few_media/")
                assert (Path("few") / row[key]).is_file()
    assert hocket("sample", "kept.jsonl", "--of", file, "--rows", 8, "--media", "keep") == 0
    kept = [json.loads(line) for line in Path("kept.jsonl").read_text("utf-8").splitlines()]
    assert [row["id"] for row in kept] == [row["id"] for row in rows]
    for row in kept:
        if "image" in row:
            assert PIL.Image.open(row["image"]).size == (30, 20)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["few.json", "--of", "rows.json", "--rows", "21"], "has 20 rows, not 21"),
        (["few.json", "--reader", "vita"], "go with --of FILE"),
        (["few.txt", "--of", "rows.json"], "its ending says no storage format"),
        (["few.csv"], "toy data is JSON"),
        (["few.json", "--rows", "0"], "--rows"),
    ],
)
def test_a_wrong_sample(
    words: list[str], part: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hocket("sample", *words) == 2
    assert part in capsys.readouterr().err
