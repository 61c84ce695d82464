"""``hocket chat``: turns, attachments, commands, pipes, and Ctrl-C in a real terminal."""

from __future__ import annotations

import errno
import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import soundfile
import torch

from hocket._errors import ConfigError, DataError, MediaError, UnknownNameError
from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.checkpoint.directory import write_checkpoint
from hocket.cli import chat
from hocket.cli._dialogue import Dialogue, split_paths
from hocket.cli._legible import legible
from hocket.cli._prompt import complete, stoppable
from hocket.cli.main import main
from hocket.infer.engine import Engine
from hocket.infer.sampling import Sampling
from hocket.media.image import Image
from hocket.model.build import build
from hocket.model.spec import LanguageSpec, ModelSpec, PartSpec, TowerSpec
from hocket.tokens.span import Modality

LIMIT = 6
SPEC = ModelSpec(
    language=LanguageSpec(
        config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 100000,
        }
    ),
    vision=TowerSpec(
        model_type="siglip_vision_model",
        config={
            "image_size": 16,
            "patch_size": 8,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "vision_use_head": False,
        },
        layout=PartSpec(kind="image_fixed"),
        connector=PartSpec(kind="linear"),
    ),
)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small random model that never ends an answer by itself."""
    built = build(SPEC, ["what is this", "a zebra"])
    with torch.no_grad():
        built.model.get_output_embeddings().weight[built.processor.tokenizer.eos_token_id] = 0
    folder = tmp_path_factory.mktemp("model")
    write_checkpoint(folder, built.model, built.processor)
    return folder


@pytest.fixture(scope="module")
def engine(model_dir: Path) -> Engine:
    return Engine.load(model_dir)


@pytest.fixture
def dialogue(engine: Engine) -> Dialogue:
    return Dialogue(engine, Sampling(max_new_tokens=LIMIT))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a b.png"
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(path)
    return path


def ignore(piece: str) -> None:
    pass


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["chat", *map(str, words)])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_an_answer_is_shown_in_pieces_and_remembered(dialogue: Dialogue) -> None:
    pieces: list[str] = []
    reply = dialogue.answer("what is this", show=pieces.append)
    assert reply.text == "".join(pieces)
    assert (reply.tokens, reply.stopped) == (LIMIT, False)
    user = Message(Role.USER, (Text("what is this"),))
    [alone] = dialogue.engine.answer([Conversation("x", (user,))], dialogue.sampling)
    assert reply.text == alone.text
    assert dialogue.messages == [user, Message(Role.ASSISTANT, (Text(reply.text),))]


def test_the_next_turn_knows_the_turns_before(dialogue: Dialogue) -> None:
    dialogue.answer("what is this", show=ignore)
    history = list(dialogue.messages)
    second = dialogue.answer("a zebra", show=ignore)
    asked = Conversation("x", (*history, Message(Role.USER, (Text("a zebra"),))))
    [expected] = dialogue.engine.answer([asked], dialogue.sampling)
    assert second.text == expected.text
    assert len(dialogue.messages) == 4


def test_media_go_before_the_text_and_then_leave(dialogue: Dialogue, picture: Path) -> None:
    line = dialogue.attach(Modality.IMAGE, picture)
    assert line == f"{picture} (image, 30 x 20 pixels, 4 tokens)"
    dialogue.attach(Modality.IMAGE, picture)
    dialogue.answer("what", show=ignore)
    image = Image.from_path(picture)
    assert dialogue.messages[0].parts == (image, Text("\n"), image, Text("\n"), Text("what"))
    assert dialogue.attached == []


def test_what_cannot_be_attached_is_not(dialogue: Dialogue, picture: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        dialogue.attach(Modality.IMAGE, tmp_path / "nope.png")
    broken = tmp_path / "cut.png"
    broken.write_bytes(picture.read_bytes()[:500])
    with pytest.raises(MediaError, match="damaged"):
        dialogue.attach(Modality.IMAGE, broken)
    soundfile.write(tmp_path / "a.wav", np.zeros(800, np.float32), 16000)
    with pytest.raises(ConfigError, match="audio"):
        dialogue.attach(Modality.AUDIO, tmp_path / "a.wav")
    assert dialogue.attached == []


def test_stopping_keeps_what_was_said(dialogue: Dialogue) -> None:
    pieces: list[str] = []
    reply = dialogue.answer("what", show=pieces.append, stop=lambda: bool("".join(pieces)))
    assert reply.stopped
    assert reply.tokens < LIMIT
    assert dialogue.messages[1].text == reply.text == "".join(pieces) != ""


def test_stopping_before_a_word_forgets_the_message(dialogue: Dialogue, picture: Path) -> None:
    dialogue.attach(Modality.IMAGE, picture)
    reply = dialogue.answer("what", show=ignore, stop=lambda: True)
    assert (reply.text, reply.tokens, reply.stopped) == ("", 0, True)
    assert dialogue.messages == []
    assert len(dialogue.attached) == 1


def test_an_interrupt_inside_a_step_stops_the_answer(dialogue: Dialogue) -> None:
    def interrupt(piece: str) -> None:
        raise KeyboardInterrupt

    reply = dialogue.answer("what", show=interrupt)
    assert reply.stopped
    assert dialogue.messages[1].text == reply.text != ""


def test_a_failed_message_leaves_the_session_usable(
    dialogue: Dialogue, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dialogue.attach(Modality.IMAGE, picture)
    picture.unlink()
    with pytest.raises(MediaError, match="no such file"):
        chat._obey(dialogue, "what")
    assert "the message was not sent; removed 1 attached" in capsys.readouterr().err
    assert dialogue.messages == []
    assert chat._obey(dialogue, "what")
    assert len(dialogue.messages) == 2


def test_text_that_is_no_unicode_is_refused(dialogue: Dialogue) -> None:
    with pytest.raises(DataError, match="not UTF-8"):
        dialogue.answer("a\udcff", show=ignore)


def test_commands(dialogue: Dialogue, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat._obey(dialogue, f"/image {picture}")
    assert chat._obey(dialogue, f"/image '{picture}' nope.png")
    assert len(dialogue.attached) == 2
    assert chat._prompt(dialogue) == "[2 attached] > "
    assert chat._obey(dialogue, "/drop")
    assert dialogue.attached == []
    assert chat._obey(dialogue, "what")
    assert chat._obey(dialogue, f'/image "{picture}"')
    assert chat._obey(dialogue, "/clear")
    assert (dialogue.messages, dialogue.attached) == ([], [])
    assert chat._obey(dialogue, "/help")
    assert chat._obey(dialogue, "   ")
    assert not chat._obey(dialogue, "/exit")
    err = capsys.readouterr().err
    assert err.count("attached ") >= 3
    assert "error: nope.png: no such file." in err
    assert all(name in err for name in chat.COMMANDS)
    assert re.search(rf"{LIMIT} tokens in \d+\.\d s, [\d.]+ tokens/s, at the limit", err)


def test_unknown_commands_get_a_suggestion(dialogue: Dialogue) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean '/image'"):
        chat._obey(dialogue, "/imge a.png")
    with pytest.raises(ConfigError, match="/audio needs a path"):
        chat._obey(dialogue, "/audio")
    assert chat._obey(dialogue, " /imge a.png"), "a space before it makes it a message"
    assert dialogue.messages[0].text == "/imge a.png"


def test_a_prompt_is_answered_once(
    model_dir: Path, engine: Engine, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--image", picture, "--image", picture, "--max-new-tokens", LIMIT)
    assert run(model_dir, "what is this", *words) == 0
    limit = Sampling(max_new_tokens=LIMIT)
    wanted = engine.generate("what is this", images=[picture, picture], sampling=limit)
    assert capsys.readouterr().out == f"{wanted}\n"


def test_each_line_of_a_pipe_is_a_question_of_its_own(
    model_dir: Path,
    engine: Engine,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"what\n\n/exit\nwhat")))
    assert run(model_dir, "--image", picture, "--max-new-tokens", LIMIT) == 0
    limit = Sampling(max_new_tokens=LIMIT)
    answers = [
        engine.generate(text, images=[picture], sampling=limit) for text in ("what", "/exit")
    ]
    assert capsys.readouterr().out == f"{answers[0]}\n{answers[1]}\n{answers[0]}\n"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["nowhere", "what"], "no folder nowhere"),
        (["DIR", " "], "the prompt is empty"),
        (["DIR", "what", "--image", "nope.png"], "nope.png: no such file"),
        (["DIR", "what", "--max-new-tokens", "0"], "--max-new-tokens"),
        (["DIR", "what", "--temperature", "-1"], "--temperature"),
        (["DIR", "a\udcff"], "not UTF-8"),
    ],
)
def test_wrong_words(
    words: list[str], part: str, model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*(str(model_dir) if word == "DIR" else word for word in words)) == 2
    shown = capsys.readouterr()
    assert part in shown.err
    assert shown.out == ""
    assert len(shown.err.splitlines()) <= 3


def test_a_pipe_that_is_no_text(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(b"\xff\n"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", stream)
    assert run(model_dir) == 2
    assert "not UTF-8" in capsys.readouterr().err


def test_temperature_gives_each_answer_another_seed(engine: Engine) -> None:
    dialogue = Dialogue(engine, Sampling(max_new_tokens=LIMIT, temperature=2.0, seed=5))
    first = dialogue.answer("what", show=ignore)
    dialogue.messages.clear()
    second = dialogue.answer("what", show=ignore)
    again = Dialogue(engine, Sampling(max_new_tokens=LIMIT, temperature=2.0, seed=5))
    assert first.text != second.text
    assert again.answer("what", show=ignore).text == first.text


def test_legible() -> None:
    assert legible("a\x1b[2J\u202e\tb\n\U0001f600") == "a\\x1b[2J\\u202e\\tb\\n\U0001f600"
    assert legible("a\x9b\tb\n\r", keep_lines=True) == "a\\x9b\tb\n\\r"


def test_paths_of_a_line(tmp_path: Path) -> None:
    spaced = tmp_path / "a b.png"
    spaced.touch()
    assert split_paths(str(spaced)) == [spaced]
    assert split_paths("'c d.png' e\\ f.png") == [Path("c d.png"), Path("e f.png")]
    assert split_paths("it's.png") == [Path("it's.png")]


def test_completion(tmp_path: Path) -> None:
    (tmp_path / "one.png").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / ".hidden").touch()
    assert complete("/i", "/i", ["/image", "/exit"]) == ["/image "]
    found = complete(f"/image {tmp_path}/", f"{tmp_path}/", [])
    assert found == [f"{tmp_path}/one.png", f"{tmp_path}/other/"]
    assert complete(f"/image {tmp_path}/on", f"{tmp_path}/on", []) == [f"{tmp_path}/one.png"]
    assert complete("/image /nowhere/x", "/nowhere/x", []) == []
    assert complete("what is", "is", []) == []


def test_a_second_interrupt_is_not_held_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stoppable() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


# Ctrl-C reaches a process only from its controlling terminal: the first one that it opens.
CODE = """
import os
os.close(os.open(os.ttyname(0), os.O_RDWR))
from hocket.cli.main import main
main()
"""


class Terminal:
    """``hocket chat`` in a pseudo-terminal."""

    def __init__(self, *words: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE, "chat", *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "200"},
        )
        os.close(slave)
        self.seen = ""

    def send(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def interrupt_prompt(self, line: str) -> None:
        """Type a line at the prompt, then Ctrl-C."""
        self.wait("> ")
        self.send(line)
        if line:
            self.wait(line)
        # Python's readline notices a signal only from when it waits, shortly after the prompt.
        time.sleep(0.5)
        self.send("\x03")

    def wait(self, text: str, seconds: float = 60) -> str:
        """Return what appeared up to a text, and forget it."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            if time.monotonic() > end or not self._read(0.2):
                raise AssertionError(f"{text!r} did not appear; seen: {self.seen[-2000:]!r}")
        before, found, self.seen = self.seen.partition(text)
        return before + found

    def leave(self) -> int:
        while self._read(0.2):
            pass
        return self.process.wait(timeout=20)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def _read(self, seconds: float) -> bool:
        """Read what there is; return whether the other side is still there."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        self.seen += data.decode("utf-8", "replace")
        return bool(data)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_ctrl_c_in_a_terminal(model_dir: Path, picture: Path, cache_dir: Path) -> None:
    terminal = Terminal(str(model_dir), "--max-new-tokens", "100000")
    try:
        terminal.wait("takes text, pictures.")
        terminal.wait("> ")
        terminal.send(f"/image {picture}\n")
        terminal.wait("30 x 20 pixels, 4 tokens)")
        terminal.wait("[1 attached] > ")
        terminal.send("/image nope.png\n")
        terminal.wait("error: nope.png: no such file.")
        terminal.wait("[1 attached] > ")
        terminal.send("what is this\n")
        terminal.wait("what is this")
        time.sleep(0.5)
        assert terminal.process.poll() is None
        terminal.send("\x03")
        assert re.search(r"stopped\. \d+ tokens in", terminal.wait(" tokens/s"))
        terminal.interrupt_prompt("half a line")
        terminal.wait("Ctrl-C once more")
        terminal.wait("> ")
        terminal.send("/drop\n")
        terminal.wait("removed 0 attached")
        terminal.interrupt_prompt("")
        terminal.wait("Ctrl-C once more")
        terminal.interrupt_prompt("")
        assert terminal.leave() == 0
        assert "Traceback" not in terminal.seen
    finally:
        terminal.close()
    history = (cache_dir / "chat_history").read_text()
    assert "what is this" in history
    assert "half a line" not in history
