"""``hocket data show``: what stands on the screen and the page is what the model would get."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
import soundfile
from rich.console import Console
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from hocket.checkpoint.directory import write_checkpoint
from hocket.cli._show.html import render
from hocket.cli._show.sheet import Sheet, cut, lay_out
from hocket.cli._show.terminal import print_sheet
from hocket.cli.data._open import open_rows
from hocket.cli.data._processor import processor_from
from hocket.cli.main import main
from hocket.data.mixture import open_source
from hocket.data.spec import DatasetSpec
from hocket.model.build import build
from hocket.model.spec import LanguageSpec, ModelSpec
from hocket.tokens.batch import IGNORED
from hocket.tokens.example import Cost, Outline
from hocket.tokens.layout.image_fixed import ImageFixed
from hocket.tokens.processor import HocketProcessor

EVIL = "<script>alert(1)</script> \x1b[31m \u202e"
ANSWER = f"two and\n\nthree \U0001f600 \u6570\u5b57 {EVIL}"
ROWS = [
    {
        "id": "mixed",
        "image": "a.png",
        "audio": "a.wav",
        "video": "a.mp4",
        "conversations": [
            {"from": "human", "value": "<image>\nWhat is <audio> and <video>? Not <|im_end|>"},
            {"from": "gpt", "value": ANSWER},
            {"from": "human", "value": "Again?"},
            {"from": "gpt", "value": "two"},
        ],
    },
    {
        "id": "cut <b>off</b>",
        "image": "cut.png",
        "conversations": [
            {"from": "human", "value": "<image>\nWhat?"},
            {"from": "gpt", "value": "two"},
        ],
    },
    {
        "id": "missing",
        "image": "nope.png",
        "conversations": [
            {"from": "human", "value": "<image>\nWhat?"},
            {"from": "gpt", "value": "two"},
        ],
    },
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(folder / "a.png")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:1000])
    soundfile.write(folder / "a.wav", np.zeros(8000, np.float32), 16000)
    with av.open(str(folder / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for shade in range(0, 200, 50):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), shade, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    path = folder / "rows.json"
    path.write_text(json.dumps(ROWS), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def processor(file: Path) -> HocketProcessor:
    return processor_from(open_rows(str(file)), ImageFixed())


@pytest.fixture(scope="module")
def outline(file: Path, processor: HocketProcessor) -> Outline:
    return processor.measure(open_source("rows", DatasetSpec(path=str(file)))[0])


@pytest.fixture(scope="module")
def sheet(file: Path, processor: HocketProcessor) -> Sheet:
    return lay_out(0, open_source("rows", DatasetSpec(path=str(file)))[0], processor)


def show(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["data", "show", *map(str, words)])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_pieces_hold_every_token_and_label_once(sheet: Sheet, outline: Outline) -> None:
    assert [token for piece in sheet.pieces for token in piece.ids] == outline.input_ids
    learned = [piece.learned for piece in sheet.pieces for _ in piece.ids]
    assert learned == [label != IGNORED for label in outline.labels]
    starts = [piece.start for piece in sheet.pieces]
    assert starts == list(np.cumsum([0, *(len(p.ids) for p in sheet.pieces)])[:-1])


def test_learned_pieces_are_the_answers(sheet: Sheet) -> None:
    learned = "".join(piece.text for piece in sheet.pieces if piece.learned)
    assert learned == f"{ANSWER}<|im_end|>two<|im_end|>"
    assert not any("\ufffd" in piece.text for piece in sheet.pieces)


def test_each_medium_has_one_run(sheet: Sheet) -> None:
    runs = [piece for piece in sheet.pieces if piece.span is not None]
    assert [(run.text, run.span, len(run.ids)) for run in runs] == [
        ("<image>", 0, 256),
        ("<audio>", 1, 25),
        ("<video>", 2, 4 * 256),
    ]
    assert [box.size for box in sheet.boxes] == [
        "60 x 40 pixels",
        "0.50 s",
        "1.00 s, 4 frames of 32 x 16 pixels",
    ]


def test_spaces_of_sentencepiece_tokenizers_are_kept() -> None:
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=60, show_progress=False, special_tokens=["<unk>"])
    core.train_from_iterator(["two words are here", "two words"], trainer=trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")
    ids = tokenizer("two words  here")["input_ids"]
    plain = Outline("x", "x", ids, [IGNORED] * len(ids), (), (), Cost(len(ids)))
    assert "".join(piece.text for piece in cut(plain, tokenizer)) == " two words  here"


def test_without_a_terminal_marks_stand_for_colours(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert show(file) == 0
    shown = capsys.readouterr()
    for text in (
        "[<image> x 256 | span 0]",
        "[<video> x 1024 | span 2]",
        "3 x 256",
        "span 1: audio",
    ):
        assert text in shown.out
    assert shown.out.count(">>") == shown.out.count("<<") == 5  # legend, two answers, their ids
    assert ">>two<|im_end|><<" in shown.out
    assert "\x1b" not in shown.out
    assert "\u202e" not in shown.out
    assert "\\x1b[31m" in shown.out
    assert "No --model: tokenizer made from the text of the data" in shown.err


def test_learned_tokens_are_bold_and_underlined(sheet: Sheet) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=140, color_system="truecolor")
    print_sheet(screen, sheet)
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    styled = re.findall(r"\x1b\[([\d;]+)m([^\x1b]*)", text)
    underlined = "".join(word for style, word in styled if style.startswith("1;4;"))
    assert underlined.startswith("two and\u21b5")
    assert "<|im_end|>two<|im_end|>" in underlined
    assert "Again" not in underlined
    first = next(line for line in text.splitlines() if "row 0" in line)
    assert "span 0: image" in first, "the boxes stand beside the text"


def test_colours_may_be_switched_off(sheet: Sheet) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=90, no_color=True)
    print_sheet(screen, sheet)
    assert isinstance(screen.file, io.StringIO)
    styles = set(re.findall(r"\x1b\[([\d;]+)m", screen.file.getvalue()))
    assert styles == {"0", "1", "1;4", "2"}


class Page(HTMLParser):
    """Collects the tokens and sources of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tokens: list[tuple[str, str, str]] = []
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.sources += [known[name] for name in ("src", "href") if name in known]
        if tag == "span" and "title" in known:
            self._open = [known["class"], known["title"], ""]

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[2] += data

    def handle_endtag(self, tag: str) -> None:
        if self._open:
            kind, title, text = self._open
            self.tokens.append((kind, title, text))
            self._open = None


@pytest.fixture(scope="module")
def page(sheet: Sheet, processor: HocketProcessor) -> Page:
    return Page(render([sheet], processor, title="<i>rows</i>", note="a & b"))


def test_the_page_has_a_box_for_each_token(page: Page, sheet: Sheet) -> None:
    assert len(page.tokens) == len(sheet.pieces)
    for (kind, title, text), piece in zip(page.tokens, sheet.pieces, strict=True):
        assert title.startswith(f"id {piece.ids[0]}")
        assert ("learned" in kind.split()) == piece.learned
        if piece.span is not None:
            assert text == f"{piece.text} x {len(piece.ids)} | span {piece.span}"


def test_the_page_runs_nothing_and_loads_nothing(page: Page) -> None:
    assert not page.tags & {"script", "i", "b", "link", "iframe"}
    kinds = [source.partition(",")[0] for source in page.sources]
    assert kinds == ["data:image/png;base64", "data:audio/flac;base64", *kinds[2:]]
    assert kinds[2:] == ["data:image/png;base64"] * 4
    written = "".join(text for _, _, text in page.tokens)
    assert "<script>alert(1)</script> \\x1b[31m \\u202e" in written


def test_the_page_carries_the_media(page: Page) -> None:
    data = [base64.b64decode(source.partition(",")[2]) for source in page.sources]
    assert PIL.Image.open(io.BytesIO(data[0])).size == (60, 40)
    wave, rate = soundfile.read(io.BytesIO(data[1]))
    assert (len(wave), rate) == (8000, 16000)
    shades = [int(np.asarray(PIL.Image.open(io.BytesIO(one))).mean()) for one in data[2:]]
    assert shades == sorted(shades)
    assert shades[-1] - shades[0] > 100


def test_a_cut_off_picture_leaves_its_tokens_on_the_page(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "show.html"
    assert show(file, "--id", "cut <b>off</b>", "--html", out) == 0
    text = out.read_text("utf-8")
    assert "&lt;image&gt; x 256 | span 0" in text
    assert "cut.png: the picture is damaged" in text
    assert "<b>" not in text


@pytest.mark.parametrize("row", [3, -1])
def test_a_wrong_row_names_the_range(
    row: int, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(file, "--row", row) == 2
    assert capsys.readouterr().err == (
        f"error: {file} has rows 0 to 2, not {row}. Choose one of them.\n"
    )


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["--id", "mixd"], 2, "none of its 3 rows has the id 'mixd'; ids look like 'mixed'"),
        (["--id", "mixed", "--row", "1"], 2, "--row and --id both name a row"),
        (["--row", "2"], 2, "nope.png"),
        (["--reader", "lava"], 2, "Did you mean 'llava'?"),
        (["--model", "nowhere"], 2, "no folder nowhere"),
        (["--html", "."], 2, "is a folder"),
        (["--html", "/dev/null/a.html"], 2, "/dev/null is a file, not a folder"),
        (["--html", "/proc/a.html"], 3, "/proc/a.html cannot be written"),
        (["--count", "0"], 2, "--count"),
    ],
)
def test_wrong_words(
    words: list[str], code: int, part: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(file, *words) == code
    err = capsys.readouterr().err
    assert part in err
    assert "Traceback" not in err


def test_several_rows_are_shown_though_one_is_broken(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "show.html"
    assert show(file, "--count", "9", "--html", out) == 2
    shown = capsys.readouterr()
    assert f"2 of 3 rows: {out}" in shown.out
    assert "has 3 rows: showing 3 instead of 9" in shown.err
    assert "nope.png" in shown.err
    assert "1 of 3 rows cannot be shown" in shown.err
    assert out.read_text("utf-8").count("<section>") == 2


@pytest.mark.slow
def test_a_models_own_tokenizer_is_used_without_asking_anything(file: Path, tmp_path: Path) -> None:
    spec = ModelSpec(
        language=LanguageSpec(
            config={
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
            }
        )
    )
    built = build(spec, ["zebra zebra"])
    folder = tmp_path / "model"
    folder.mkdir()
    write_checkpoint(folder, built.model, built.processor)
    text = tmp_path / "text.json"
    text.write_text(
        json.dumps(
            [
                {
                    "id": "z",
                    "conversations": [
                        {"from": "human", "value": "zebra"},
                        {"from": "gpt", "value": "zebra"},
                    ],
                }
            ]
        )
    )
    # A process of its own: here hocket's classes may be registered by another test.
    code = "from hocket.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "data", "show", str(text), "--model", str(folder)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    [token] = built.processor.tokenizer("zebra")["input_ids"]
    assert f">>{token} 2<<" in done.stdout
    assert done.stderr.replace("\n", "") == f"Tokenizer and layouts of {folder}."
