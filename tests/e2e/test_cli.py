"""Every command once, as a newcomer would type them one after another."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from tests.e2e.conftest import Command, Small

import hocket as package
from hocket._errors import UnknownNameError
from hocket.data.augment import augmentations
from hocket.media.frames import sampler_from
from hocket.parts.connector import connectors
from hocket.tokens.layout import layouts
from hocket.train.log import read_log

QUICK = ["steps=1", "rows=1", "tokens_per_row=256", "warmup_steps=0"]


def test_train_writes_a_model_a_log_and_the_newest_checkpoints(trained: Path) -> None:
    assert [(line["stage"], line["step"]) for line in read_log(trained / "log.jsonl")] == [
        ("align", 1),
        ("joint", 1),
        ("joint", 2),
    ]
    assert (trained / "model" / "config.json").is_file()
    names = {folder.name for folder in (trained / "checkpoints").iterdir()}
    assert names == {"align-step-000001", "joint-step-000002"}


def test_the_same_command_again_leaves_a_finished_run_alone(
    hocket: Command, small: Small, trained: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    done = hocket("train", *small.words(trained))
    assert done.code == 0, done.err
    assert "".join(done.err.split()).startswith(f"finished:{trained}/model")
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before


def test_the_printed_config_repeats_the_run(hocket: Command, small: Small, tmp_path: Path) -> None:
    dry = hocket("train", "--dry", *small.words(tmp_path / "run"), "train.seed=7")
    assert dry.code == 0, dry.err
    assert not (tmp_path / "run").exists()
    (tmp_path / "again.yaml").write_text(dry.out)
    again = hocket("train", "--dry", f"experiment={tmp_path / 'again.yaml'}")
    assert yaml.safe_load(again.out) == yaml.safe_load(dry.out)
    assert yaml.safe_load(again.out)["train"]["seed"] == 7


def test_eval_counts_right_answers_by_modality(
    hocket: Command, small: Small, trained: Path, tmp_path: Path
) -> None:
    media = small.folder / "data" / "media.json"
    blind = ("--blind", "removed,swapped")
    done = hocket("eval", trained, "--data", media, *blind, "--out", tmp_path)
    assert done.code == 0, done.err
    for word in ("image", "audio", "video", "removed", "swapped"):
        assert word in done.err
    (log,) = tmp_path.glob("*/media@1/answers.jsonl")
    answers = [json.loads(line) for line in log.read_text().splitlines()]
    turns = [row["conversations"] for row in json.loads(media.read_text())]
    assert len(answers) == sum(len(one) // 2 for one in turns)
    assert {"id", "modality", "target", "prompt", "reply"} <= answers[0].keys()
    assert (tmp_path / "report.html").exists()


def test_chat_answers_a_question_about_a_picture_as_the_library_does(
    hocket: Command, small: Small, trained: Path
) -> None:
    picture = small.folder / "data" / "0.png"
    asked = "Which colour?"
    done = hocket("chat", trained, asked, "--image", picture, "--max-new-tokens", "5")
    assert done.code == 0, done.err
    engine = package.load(trained)
    chosen = package.Sampling(max_new_tokens=5)
    assert done.out == engine.generate(asked, images=[picture], sampling=chosen) + "\n"


def test_data_show_draws_a_row_and_writes_a_page(
    hocket: Command, small: Small, trained: Path, tmp_path: Path
) -> None:
    media = small.folder / "data" / "media.json"
    done = hocket("data", "show", media, "--model", trained, "--row", "1")
    assert done.code == 0, done.err
    assert "image-1" in done.out
    page = tmp_path / "page.html"
    done = hocket("data", "show", media, "--model", trained, "--count", "3", "--html", page)
    assert done.code == 0, done.err
    assert "<html" in page.read_text()


def test_doctor_answers_in_json(hocket: Command) -> None:
    done = hocket("doctor", "--json")
    found = json.loads(done.out)
    assert found["ok"] is (done.code == 0), done.out
    assert found["checks"]


def test_model_parts_lists_every_part_with_its_options(hocket: Command) -> None:
    done = hocket("model", "parts")
    assert done.code == 0, done.err
    listed = re.findall(r"^  (\w+)", done.out, re.MULTILINE)
    for registry in (connectors, layouts, augmentations):
        assert set(registry.names()) <= set(listed)
    assert re.search(r"^  pixel_shuffle +Fold .*\n +fold=2 ", done.out, re.MULTILINE)
    with pytest.raises(UnknownNameError) as unknown:
        sampler_from({"kind": "?"})
    samplers = str(unknown.value).partition("Known: ")[2].rstrip(".").split(", ")
    assert set(samplers) <= set(listed), "src/hocket/cli/model.py lists the samplers"


def test_model_build_counts_parameters_and_rows(
    hocket: Command, small: Small, trained: Path
) -> None:
    done = hocket("model", "build", *small.words(trained))
    assert done.code == 0, done.err
    counts = {
        name.strip(): int(number.replace(",", ""))
        for name, number in re.findall(r"^(.{22}) *([\d,]+)  ", done.out, re.MULTILINE)
    }
    model = package.load(trained).model
    rows = {name: counts.pop(name) for name in [*counts] if " " in name}
    assert rows == {"picture 640 x 480": 4, "video of 10 s": 8, "sound of 1 s": 10}
    total = counts.pop("parameters")
    assert total == sum(parameter.numel() for parameter in model.parameters())
    assert sum(counts.values()) == total
    tower = model.get_submodule("model.vision_tower")
    assert counts["vision_tower"] == sum(parameter.numel() for parameter in tower.parameters())


def test_model_build_shows_a_packaged_model_before_there_is_data(
    hocket: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = hocket("model", "build", "model=llava15_tiny")
    assert done.code == 0, done.err
    assert "clip_vision_model" in done.out
    assert "no data yet" in done.err


@pytest.mark.parametrize("noun", ["model", "data"])
def test_a_noun_alone_shows_its_help(hocket: Command, noun: str) -> None:
    done = hocket(noun)
    assert f"hocket {noun}" in done.out
    assert done.err == ""


def test_own_data_trains_a_checkpoint_on(
    hocket: Command, small: Small, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "a.png").write_bytes((small.folder / "data" / "0.png").read_bytes())
    turns = [{"from": "human", "value": "<image>\nWho?"}, {"from": "gpt", "value": "My cat."}]
    (mine / "rows.json").write_text(json.dumps([{"image": "a.png", "conversations": turns}]))
    (mine / "my.yaml").write_text("datasets:\n  cats: {path: rows.json}\n")
    monkeypatch.chdir(tmp_path)
    stage = [f"train.stages.tune.{word}" for word in QUICK]
    words = ["experiment=own_data", "data=mine/my.yaml", f"train.init_from={trained}", *stage]
    done = hocket("train", *words)
    assert done.code == 0, done.err
    tuned = package.load(tmp_path / "runs" / "own_data")
    start = package.load(trained)
    assert tuned.processor.tokenizer.get_vocab() == start.processor.tokenizer.get_vocab()
    before, after = start.model.state_dict(), tuned.model.state_dict()
    assert any(not before[name].equal(after[name]) for name in before)
    origin = json.loads((tmp_path / "runs" / "own_data" / "model" / "provenance.json").read_text())
    assert origin["init_from"] == str(trained)


def test_one_bad_row_is_named_and_left_out(hocket: Command, small: Small, tmp_path: Path) -> None:
    rows = json.loads((small.folder / "data" / "text.json").read_text())
    del rows[2]["conversations"][1]["value"]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    entries = "datasets: {media: {path: rows.json}, text: {path: rows.json}}"
    (tmp_path / "my.yaml").write_text(entries)
    words = small.words(tmp_path / "run")[1:]
    shares = ["train.stages.joint.steps=1", "data.max_bad_share=0.1"]
    done = hocket("train", f"data={tmp_path / 'my.yaml'}", *words, *shares)
    assert done.code == 0, done.err
    assert "warning: sample left out: rows.json row 2 (id 'text-2'): conversations[1]" in done.err


@pytest.mark.slow
def test_quickstart_leaves_data_a_model_and_a_report(hocket: Command, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("espeakng_loader")
    out = tmp_path / "quickstart"
    stages = ("vision", "audio", "joint")
    changes = [f"train.stages.{stage}.{word}" for stage in stages for word in QUICK]
    changes += ["model.language.config.num_hidden_layers=1", "train.save_every=0"]
    done = hocket("quickstart", "--fast", "--out", out, *changes)
    assert done.code == 0, done.err
    for name in ("report.html", "result.json", "model/config.json", "data/README.md"):
        assert (out / name).is_file(), name
    printed = [line.split()[1:] for line in done.err.splitlines() if "  hocket " in line]
    assert [words[0] for words in printed] == ["chat", "eval", "data", "train"]
    chat, evaluate, show, _ = printed
    for words in ([*chat[:2], "What digit?", *chat[2:]], [*evaluate, "--limit", "2"], show):
        assert hocket(*words).code == 0, words
    result = json.loads((out / "result.json").read_text())
    assert result["after"].keys() >= {"image", "audio", "video", "text"}
    log = (out / "log.jsonl").read_text()
    data = (out / "data" / "data.yaml").stat().st_mtime_ns
    again = hocket("quickstart", "--fast", "--out", out, *changes)
    assert again.code == 0, again.err
    assert (out / "log.jsonl").read_text() == log, "trained a second time"
    assert (out / "data" / "data.yaml").stat().st_mtime_ns == data, "wrote the data a second time"
