"""``hocket data convert``, ``mix``, ``frames``, ``prepare`` and ``registry`` as users call them."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
import soundfile
import yaml

from hocket.cli.main import main
from hocket.data.convert import work_folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "see").mkdir()
    (tmp_path / "hear").mkdir()
    PIL.Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "see/a.png")
    soundfile.write(tmp_path / "hear/a.wav", np.zeros(1600, np.float32), 16000)
    write(tmp_path / "see/d.json", row("1", "image", "a.png"), row("2", "image", "a.png"))
    write(tmp_path / "hear/d.json", row("1", "audio", "a.wav"))
    return tmp_path


def row(name: str, key: str, path: str) -> dict[str, object]:
    turns = [{"from": "human", "value": f"<{key}>\n"}, {"from": "gpt", "value": "A."}]
    return {"id": name, key: path, "conversations": turns}


def write(file: Path, *rows: dict[str, object]) -> None:
    file.write_text(json.dumps(rows))


def run(words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(words.split())
    return int(left.value.code or 0)


def rows_of(file: str) -> list[dict[str, object]]:
    return json.loads(Path(file).read_text("utf-8"))


def test_a_file_goes_through_every_container_and_back(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("data convert see/d.json a.jsonl --to openai") == 0
    assert run("data convert a.jsonl shards --to llava --as webdataset --reader openai") == 0
    assert run("data convert shards b.parquet --to sharegpt --pack-media") == 0
    assert run("data convert b.parquet c.csv --to llava --reader sharegpt --copy-media") == 0
    assert run("data convert c.csv d.json --to vita") == 0
    (first, second) = rows_of("d.json")
    assert (first["id"], second["id"]) == ("1", "2")
    assert first["conversations"] == row("1", "image", "a.png")["conversations"]
    assert (home / str(first["image"])).read_bytes() == (home / "see/a.png").read_bytes()
    assert capsys.readouterr().out.splitlines()[0] == "a.jsonl: 2 rows, openai in jsonl"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("convert see/d.json a.txt --to llava", "ending says no storage format"),
        ("convert see/d.json a.json --to lava", "Did you mean 'llava'"),
        ("convert see/d.json a.json --to llava --pack-media", "json holds paths"),
        ("convert see/d.json a.json --to llava --copy-media --absolute-paths", "choose one"),
        ("convert see/d.json see/d.json --to llava", "exists"),
        ("convert see/d.json a.json --to dpo", "meta.rejected is missing"),
        ("mix see/d.json hear/d.json -o a.json --ids refuse", "the id '1' stands in"),
        ("mix see/d.json hear/d.json -o a.json --cap 1 --cap 2 --cap 3", "3 times for 2 files"),
        ("frames see/d.json a.json --sampler uniform:four", "no OPTION=VALUE"),
        ("prepare vision-language --output_dir q", "takes --input-dir alone"),
        ("prepare multimodal --input_dir see --output_dir q", "Give both"),
        ("registry see/d.json", "lists no data sets"),
    ],
)
def test_wrong_words_end_with_one_message(
    words: str, said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"data {words}") == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (home / "a.json").exists()


def test_skipped_rows_are_said_and_overwrite_begins_again(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(home / "see/bad.json", row("1", "image", "a.png"), row("2", "image", "gone.png"))
    assert run("data convert see/bad.json a.json --to llava") == 2
    assert run("data convert see/bad.json a.json --to llava --skip") == 0
    shown = capsys.readouterr()
    assert "1 of 2 rows were left out" in " ".join(shown.err.split())
    assert "gone.png" in shown.err
    assert run("data convert see/d.json a.json --to llava --overwrite") == 0
    assert len(rows_of("a.json")) == 2
    assert not work_folder(home / "a.json").exists()


def test_sets_are_mixed_and_their_ids_made_different(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("data mix see/d.json hear/d.json --out new/a.json --no-shuffle --cap 1") == 0
    found = rows_of("new/a.json")
    assert [one["id"] for one in found] == ["1", "1-2"]
    assert found[0]["image"] == "../see/a.png"
    assert found[1]["audio"] == "../hear/a.wav"
    assert "1 ids were there before" in capsys.readouterr().out


def test_the_guides_three_scripts(home: Path) -> None:
    assert run("data prepare vision-language --input_dir see --output_dir vl") == 0
    assert run("data prepare audio-language --input_dir hear --output_dir al") == 0
    joint = "--vision_language_data vl --audio_language_data al --output_dir mm"
    assert run(f"data prepare multimodal {joint}") == 0
    report = json.loads((home / "mm/report.json").read_text())
    assert (report["rows"], report["left_out"], report["changed_ids"]) == (3, 0, 1)
    assert {key for one in rows_of("mm/data.json") for key in one} >= {"image", "audio"}
    # VITA's readers add the state tokens themselves.
    assert {one["conversations"][1]["value"] for one in rows_of("mm/data.json")} == {"A."}


def test_frames_of_a_video_and_of_a_data_file(home: Path) -> None:
    with av.open("v.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for _ in range(20):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    write(home / "v.json", row("1", "video", "v.mp4"))
    assert run("data frames v.mp4 one --sampler uniform:frames=3 --format png") == 0
    assert len([*(home / "one").glob("*.png")]) == 3
    assert run("data frames v.mp4 one") == 2
    assert run("data frames v.json w.json --size 32") == 0
    assert len([*(home / str(rows_of("w.json")[0]["video"])).glob("*.jpg")]) == 2


def test_a_registry_is_a_data_config(home: Path) -> None:
    (home / "dataset_config.py").write_text(
        'FolderDict = {"s": "see"}\nMine = {"chat_path": "see/d.json"}\nGone = {"chat_path": ""}\n'
        'DataConfig = {"all": [Mine]}\n'
    )
    assert run("data registry dataset_config.py --out data.yaml") == 0
    found = yaml.safe_load((home / "data.yaml").read_text())
    assert [*found["datasets"]] == ["Mine"]
    assert found["mixtures"] == {"all": "Mine"}
    assert run("data registry dataset_config.py --out data.yaml") == 2
    write(home / "see/d.json", {**row("1", "image", "a.png"), "set": "s"})
    assert run("data convert data=data.yaml a.json --to llava") == 0
    assert rows_of("a.json")[0]["image"] == "see/a.png"
