"""Composition: groups, files and overrides become dataclasses, or an error that names the key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hocket._errors import ConfigError
from hocket.cli._compose import (
    GROUPS,
    PACKAGED,
    RunConfig,
    compose_run,
    dump_yaml,
    options_of,
)
from hocket.model.spec import PartSpec
from hocket.train.recipe import Schedule

MINE = "datasets:\n  mine: {path: rows.json, media_root: media, weight: 5e-1}\n"
TUNE = ("experiment=own_data", "train.init_from=runs/start")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults_give_the_quickstart() -> None:
    run = compose_run([])
    assert (run.name, run.out) == ("quickstart", "runs/quickstart")
    assert list(run.train.stages) == ["vision", "audio", "joint"]
    assert run.train.betas == (0.9, 0.98)
    assert run.train.stages["vision"].schedule is Schedule.FLAT_LINEAR
    assert set(run.data.datasets) == {"vision", "audio", "joint", "text"}
    assert run.model.vision is not None
    assert run.model.vision.config["hidden_size"] == 96


@pytest.mark.parametrize("group", ["model", "train", "experiment"])
def test_every_packaged_option_composes(group: str) -> None:
    for option in options_of(group):
        overrides = [f"{group}={option}", "train.init_from=x"]
        # A recipe names the data sets of some data config.
        data = options_of("data") if group == "train" else ["quickstart"]
        runs = [
            _composed([*overrides, *([f"data={one}"] if group == "train" else [])]) for one in data
        ]
        assert any(runs), option


def _composed(overrides: list[str]) -> RunConfig | None:
    try:
        return compose_run(overrides)
    except ConfigError:
        return None


def test_groups_are_the_folders() -> None:
    folders = {folder.name for folder in PACKAGED.iterdir() if folder.is_dir()}
    assert folders - {"__pycache__"} == set(GROUPS)


def test_an_experiment_keeps_its_name_and_the_command_line_wins() -> None:
    run = compose_run(["experiment=quickstart_fast", "train.stages.joint.steps=7", "name=5"])
    assert run.name == "5"
    assert run.out == "runs/5"
    assert run.train.stages["joint"].steps == 7
    assert run.train.stages["vision"].steps < 150


def test_a_key_that_only_the_dataclass_lists_can_be_set() -> None:
    assert compose_run(["train.pool=9"]).train.pool == 9
    assert compose_run(["+train.pool=9"]).train.pool == 9


def test_parts_can_be_taken_out() -> None:
    run = compose_run(["model.audio=null", "~train.stages.audio"])
    assert run.model.audio is None
    assert list(run.train.stages) == ["vision", "joint"]


def test_own_data_trains_on_every_data_set_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "my stuff"
    folder.mkdir()
    (folder / "my.yaml").write_text(MINE)
    run = compose_run([*TUNE, "data=my stuff/my.yaml"])
    mine = run.data.datasets["mine"]
    assert list(run.data.datasets) == ["mine"]
    assert Path(mine.path) == Path("my stuff/rows.json")
    assert Path(mine.media_root) == Path("my stuff/media")
    assert mine.weight == 0.5
    assert run.train.stages["tune"].data == {"mine": 1.0}
    assert run.train.stages["tune"].steps == 200


def test_absolute_paths_of_a_data_file_stay(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("datasets:\n  mine: {path: /data/rows.json}\n")
    run = compose_run([*TUNE, f"data={tmp_path}/my.yaml"])
    assert run.data.datasets["mine"].path == "/data/rows.json"


def test_files_work_for_every_group(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("language: {model_type: llama, config: {hidden_size: 8}}\n")
    (tmp_path / "t.yml").write_text(
        "stages:\n  only:\n    data: {text: 2}\n    steps: 3\n"
        "    trainable: {all: {match: '*', lr: 1e-3}}\n"
    )
    (tmp_path / "e.yaml").write_text("name: mine\ntrain: {seed: 4}\n")
    run = compose_run(["model=m.yaml", "train=t.yml", "experiment=e.yaml"])
    assert run.model.vision is None
    assert run.train.stages["only"].trainable["all"].lr == 1e-3
    assert (run.name, run.train.seed) == ("mine", 4)


def test_an_experiment_file_may_choose_groups(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text("defaults:\n  - override /model: llava15_tiny\n")
    assert compose_run(["experiment=e.yaml"]).model.language.model_type == "llama"


def test_the_users_folder_comes_first(tmp_path: Path) -> None:
    folder = tmp_path / "configs" / "data"
    folder.mkdir(parents=True)
    (folder / "quickstart.yaml").write_text("datasets:\n  vision: {path: here.json}\n")
    (folder / "lab.yaml").write_text(MINE)
    assert {"lab", "quickstart"} <= set(options_of("data"))
    # Paths in a config folder start at the current folder, as everywhere but in data=FILE.
    assert compose_run([*TUNE, "data=lab"]).data.datasets["mine"].path == "rows.json"
    assert compose_run(TUNE).data.datasets["vision"].path == "here.json"


def test_a_configs_folder_of_another_project_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "configs" / "data").mkdir(parents=True)
    (tmp_path / "configs" / "config.yaml").write_text("trainer: {_target_: os.system}\n")
    (tmp_path / "configs" / "data" / "mnist.yaml").write_text("_target_: os.system\n")
    assert compose_run([]).name == "quickstart"
    with pytest.raises(ConfigError, match=r"data\._target_"):
        compose_run(["data=mnist"])


def test_another_kind_drops_the_options_of_the_kind_before() -> None:
    def connector(*words: str) -> PartSpec:
        vision = compose_run([f"model.vision.connector.{word}" for word in words]).model.vision
        assert vision is not None
        return vision.connector

    assert connector("kind=mlp") == PartSpec(kind="mlp")
    assert connector("options.depth=3", "kind=mlp").options == {"depth": 3}
    assert connector("kind=pixel_shuffle").options == {"fold": 4}


def test_a_dumped_run_repeats_itself(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(MINE)
    run = compose_run([*TUNE, "data=my.yaml", "model=llava15_tiny", "train.seed=8"])
    (tmp_path / "recipe.yaml").write_text(dump_yaml(run))
    assert compose_run(["experiment=recipe.yaml"]) == run
    assert yaml.safe_load(dump_yaml(run))["train"]["stages"]["tune"]["schedule"] == "flat_linear"
    assert compose_run(["experiment=recipe.yaml", "train.seed=9"]).train.seed == 9


@pytest.mark.parametrize(
    ("argument", "parts"),
    [
        ("train.sede=3", ["train.sede", "no such key", "Did you mean 'seed'?"]),
        ("dta=quickstart", ["dta", "Did you mean 'data'?"]),
        ("model.vision.layot.kind=x", ["model.vision.layot:", "Did you mean 'layout'?"]),
        ("data.datasets.text.pth=x", ["data.datasets.text.pth", "Did you mean 'path'?"]),
        ("train.seed=abc", ["train.seed", "'abc'", "a whole number"]),
        ("train.seed=true", ["train.seed", "True", "a whole number"]),
        ("train.seed=1.5", ["train.seed", "1.5", "a whole number"]),
        ("train.betas=[0.9]", ["train.betas", "[0.9]", "a list of 2 values"]),
        ("train.betas=[0.9,x]", ["train.betas", "[0.9, 'x']", "a list of 2 values"]),
        ("train.stages=3", ["train.stages", "3", "a mapping"]),
        ("model.init=1", ["model.init", "1", "text", "quotes"]),
        ("train.stages.joint.schedule=cosin", ["'cosin'", "flat_linear", "mean 'cosine'?"]),
        ("train.stages.joint.steps=0", ["train.stages.joint has neither steps nor epochs"]),
        ("train.stages.joint.final_share=2", ["final_share is 2", "between 0 and 1"]),
        ("data.datasets.text.weight=0", ["data.datasets.text.weight is 0", "more than 0"]),
        ("train.stages.joint.data.tex=1", ["train.stages.joint.data.tex", "mean 'text'?"]),
        ("train.stages.joint.data.text=0", ["train.stages.joint.data.text", "more than 0"]),
        ("train.stages.joint.max_norm=nan", ["max_norm", "nan", "a number"]),
        ("~train.stages", ["train.stages is missing"]),
        ("out=", ["out is empty"]),
        ("train.seed=1,2", ["several values", "train.seed="]),
        ("experiment", ["'experiment'", "not key=value"]),
        ("train.seed==3", ["'train.seed==3'", "quotes"]),
        ("data=quikstart", ["'quikstart'", "mean 'quickstart'?", "Known: hydra"]),
        ("data=[quickstart]", ["one name"]),
        ("train=null", ["train=null", "Choose"]),
        ("model/vision=clip", ["model/vision", "'clip'"]),
        ("data=rows.json", ["rows.json", "data file", "datasets:"]),
        ("data=nope.yaml", ["nope.yaml", "no such file"]),
        ("experiment=own_data", ["train.init_from", "no value yet", "train.init_from=..."]),
        ("name=${nope}", ["'nope'"]),
        ("hydra.searchpath=[pkg://os]", ["hydra.searchpath"]),
        ("model._target_=os.system", ["model._target_", "cannot name code"]),
        ("name=${oc.env:HOME}", ["name", "${oc.env:HOME}", "another key"]),
    ],
)
def test_mistakes_on_the_command_line(argument: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_run([argument])
    message = str(caught.value)
    assert [part for part in parts if part not in message] == [], message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["my.yaml", "empty"]),
        ("- a\n", ["my.yaml", "a list"]),
        ("datasets: {a: [}\n", ["my.yaml", "line 1", "not YAML"]),
        ("datasets: {}\ndatasets: {}\n", ["my.yaml", "line 2", "duplicate key"]),
        ("datasets:\n  a: {pth: x}\n", ["my.yaml: data.datasets.a.pth", "mean 'path'?"]),
        ("datasets: {}\n", ["data.datasets is empty"]),
        ("datasets:\n  a: {}\n", ["my.yaml: data.datasets.a.path is missing"]),
        ("datasets:\n  a: {path: !!python/name:os.system }\n", ["my.yaml", "not YAML"]),
        ("datasets:\n  a: {path: '${oc.env:HOME}'}\n", ["my.yaml", "${oc.env:HOME}"]),
        ("x: oc.env\ndatasets:\n  a: {path: '${${data.x}:HOME}'}\n", ["my.yaml", "another key"]),
        ("datasets:\n  a: {path: x, _target_: os.system}\n", ["my.yaml", "_target_"]),
        ("defaults:\n  - nope\ndatasets: {}\n", ["nope", "defaults"]),
    ],
)
def test_mistakes_in_a_data_file(tmp_path: Path, text: str, parts: list[str]) -> None:
    (tmp_path / "my.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        compose_run([*TUNE, "data=my.yaml"])
    message = str(caught.value)
    assert [part for part in parts if part not in message] == [], message
    assert len(message.splitlines()) == 1


def test_the_users_folder_cannot_reach_code_or_the_environment(tmp_path: Path) -> None:
    folder = tmp_path / "configs" / "experiment"
    folder.mkdir(parents=True)
    header = "# @package _global_\n"
    (folder / "env.yaml").write_text(header + "name: ${oc.env:HOME}\n")
    (folder / "choice.yaml").write_text(header + "defaults:\n  - /data: ${oc.env:HOME}\n")
    (folder / "code.yaml").write_text(header + "model: {_target_: os.system}\n")
    (folder / "bare.yaml").write_text("name: x\n")
    for option in ("env", "choice", "code", "bare"):
        with pytest.raises(ConfigError):
            compose_run([f"experiment={option}"])


def test_a_broken_file_of_the_users_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "configs" / "train"
    folder.mkdir(parents=True)
    (folder / "lab.yaml").write_text("stages:\n  a: [\n")
    with pytest.raises(ConfigError, match=r"lab\.yaml.* line 3: not YAML"):
        compose_run(["train=lab"])


def test_a_misspelt_file_name_gets_a_suggestion(tmp_path: Path) -> None:
    (tmp_path / "birds.yaml").write_text(MINE)
    with pytest.raises(ConfigError, match=r"Did you mean 'birds\.yaml'"):
        compose_run(["data=brids.yaml"])


def test_a_stage_takes_a_mixture(tmp_path: Path) -> None:
    (tmp_path / "walks.yaml").write_text(
        "datasets:\n  r2r: {path: r2r.json}\n  rxr: {path: rxr.json}\n"
        "mixtures:\n  walk: r2r*2+rxr@easy:0.5\nsubsets: slices\n"
    )
    words = [*TUNE, "data=walks.yaml", "train.stages.tune.mixture=walk"]
    run = compose_run(words)
    assert run.train.stages["tune"].data == {"r2r": 2.0, "rxr@easy": 0.5}
    assert run.data.datasets["rxr@easy"].without_rows.endswith("slices/easy/rxr.json")
    (tmp_path / "recipe.yaml").write_text(dump_yaml(run))
    assert compose_run(["experiment=recipe.yaml"]) == run
    with pytest.raises(ConfigError, match=r"train\.stages\.tune\.mixture: no data set or mixture"):
        compose_run([*words[:-1], "train.stages.tune.mixture=run"])
    with pytest.raises(ConfigError, match=r"train\.stages\.tune has both data and mixture"):
        compose_run([*words, "train.stages.tune.data={r2r: 1.0}"])
