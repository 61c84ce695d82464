"""An export's own tokenizer and template make the ids that the checkpoint was trained on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tests.checkpoint.export.toys import clip, save
from tests.checkpoint.import_.parity import GOLDEN
from transformers import AutoProcessor, PreTrainedTokenizerFast

from hocket._errors import CheckpointError
from hocket.checkpoint.export import ACCEPT, ExportOptions, export, open_source, verify_export
from hocket.checkpoint.import_.engine import import_checkpoint

HOME = GOLDEN / "llava15"


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("room") / "ours"
    import_checkpoint("auto", HOME / "llava-tiny-pretrain", out, search=[HOME, HOME / "openai"])
    return out


def ruled(folder: Path, **rules: Any) -> None:
    """Change the rules of text of a checkpoint."""
    file = folder / "processor_config.json"
    document = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(document | {"text_rules": rules}), encoding="utf-8")
    (folder / "manifest.json").unlink(missing_ok=True)


def copied(folder: Path, room: Path, **rules: Any) -> Path:
    room.mkdir()
    for file in folder.iterdir():
        (room / file.name).write_bytes(file.read_bytes())
    ruled(room, **rules)
    return room


def test_the_targets_own_processor_gives_the_same_answers(imported: Path, tmp_path: Path) -> None:
    assert open_source(imported).processor.text_rules == {"chunked": True, "start_tokens": 1}
    assert export(imported, tmp_path / "out", to="llava") == []
    found = verify_export(imported, tmp_path / "out", to="llava")
    assert found.own_inputs == found.same_inputs == 0
    assert found.remark == ""


@pytest.mark.parametrize(
    "rules",
    [
        {"chunked": True, "start_tokens": 1},
        {"chunked": True, "start_tokens": 2},
        {"chunked": True, "start_tokens": None},
        {"chunked": False, "start_tokens": 1},
        {"chunked": True, "start_tokens": 0},
    ],
)
def test_any_text_has_the_same_ids(imported: Path, tmp_path: Path, rules: dict[str, Any]) -> None:
    folder = copied(imported, tmp_path / "model", **rules)
    export(folder, tmp_path / "out", to="llava")
    processor = open_source(folder).processor
    there = PreTrainedTokenizerFast.from_pretrained(tmp_path / "out")
    start = "<s>" * (1 if rules["start_tokens"] is None else rules["start_tokens"])
    draw = random.Random(0)
    for _ in range(300):
        pieces = ["<image>", "</s>", " ", "\n", "USER:", "a cat", " a", "\u2581", "12", "\u00e9"]
        text = "".join(draw.choices(pieces, k=draw.randint(0, 9)))
        ours = processor._encoder().encode_text(start + text)
        assert there(start + text, add_special_tokens=False)["input_ids"] == ours, text
    assert there.convert_tokens_to_ids("<image>") == processor.tokenizer.convert_tokens_to_ids(
        "<image>"
    )


def test_what_stands_around_pictures_is_written(imported: Path, tmp_path: Path) -> None:
    rules = {"chunked": True, "start_tokens": 1, "image_start": "[", "image_end": "]"}
    folder = copied(imported, tmp_path / "model", strip=True, **rules)
    export(folder, tmp_path / "out", to="llava")
    processor = AutoProcessor.from_pretrained(tmp_path / "out", local_files_only=True)
    content = [{"type": "image_url"}, {"type": "text", "text": "\nWhat? "}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
    assert text.startswith("<s>A chat")
    assert text.endswith("USER: [<image>]\nWhat? ")


def test_an_export_imports_again_with_the_same_ids(imported: Path, tmp_path: Path) -> None:
    folder = copied(imported, tmp_path / "model", chunked=True, start_tokens=2)
    export(folder, tmp_path / "out", to="llava")
    import_checkpoint("native_llava", tmp_path / "out", tmp_path / "again")
    export(tmp_path / "again", tmp_path / "out2", to="llava")
    twins = [AutoProcessor.from_pretrained(tmp_path / name) for name in ("out", "out2")]
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Hi"}]}]
    first, last = (
        twin.tokenizer(
            twin.apply_chat_template(messages, tokenize=False), add_special_tokens=False
        )["input_ids"]
        for twin in twins
    )
    assert first == last
    assert first[:2] == [1, 1]


def test_tokens_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    saved = save(tmp_path / "model", vision=clip())
    file = saved / "tokenizer.json"
    document = json.loads(file.read_text("utf-8"))
    # Reads the borders of the text, which are others where a text is cut at pictures.
    document["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Metaspace", "replacement": "Z", "prepend_scheme": "first", "split": False},
            document["pre_tokenizer"],
        ],
    }
    file.write_text(json.dumps(document), encoding="utf-8")
    ruled(saved, chunked=True)
    with pytest.raises(CheckpointError, match=r"model\.tokenizer with chunked True: .* tokens of"):
        export(saved, tmp_path / "out", to="llava")
    assert not (tmp_path / "out").exists()
    (note,) = export(saved, tmp_path / "out", to="llava", options=ExportOptions(accept=(ACCEPT,)))
    assert note.endswith("; accepted.")
