"""A video's sound is heard behind it, in memory and from its file, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.media.test_video import write, write_with_sound
from tests.toy import SPEC, TEXTS, assistant, inputs, sound, talk, user, video

from hocket._errors import ConfigError
from hocket.chat.conversation import Conversation
from hocket.data.cache import DecodedMedia
from hocket.media.audio import Audio
from hocket.media.video import Video
from hocket.model.build import build
from hocket.model.spec import VideoSpec
from hocket.tokens.batch import pad_batch
from hocket.tokens.soundtrack import with_soundtracks

HEARD = replace(SPEC, video=VideoSpec(options={"frames": 2}, sound=True))


def about(path: Path) -> Conversation:
    return talk(user(Video.from_path(path)), assistant("A cat."))


def test_the_sound_stands_behind_its_video(tmp_path: Path) -> None:
    first = write_with_sound(tmp_path / "a.mp4", "aac")
    silent = write(tmp_path / "b.mp4")
    mixed = talk(
        user(Video.from_path(first), Video.from_path(silent), sound()), assistant("A cat.")
    )
    kinds = [type(one) for one in with_soundtracks(mixed).media()]
    assert kinds == [Video, Audio, Video, Audio]
    again = with_soundtracks(with_soundtracks(mixed))
    assert [type(one) for one in again.media()] == kinds


def test_a_model_hears_a_video_and_reopens_so(tmp_path: Path) -> None:
    model, processor = build(HEARD, TEXTS * 3)
    asked = about(write_with_sound(tmp_path / "a.mp4", "aac"))
    example = processor.encode(asked)
    assert [span.modality for span in example.outline.spans] == ["video", "audio"]
    assert torch.isfinite(model(**inputs(pad_batch([example], pad_id=0, side="right"))).loss)
    processor.save_pretrained(tmp_path / "saved")
    reopened = type(processor).from_pretrained(tmp_path / "saved", local_files_only=True)
    assert reopened.encode(asked).outline == example.outline
    deaf = build(replace(HEARD, video=VideoSpec(options={"frames": 2})), TEXTS * 3).processor
    assert [span.modality for span in deaf.encode(asked).outline.spans] == ["video"]


def test_frames_held_in_memory_keep_their_sound(tmp_path: Path) -> None:
    processor = build(HEARD, TEXTS * 3).processor
    asked = about(write_with_sound(tmp_path / "a.mp4", "aac"))
    held = DecodedMedia(megabytes=50, rate=16000).hold(processor.prepare(asked))
    assert isinstance(next(held.media()), Video) and next(held.media()).frames is not None  # type: ignore[union-attr] # a video, as just said
    ours, theirs = processor.encode(held), processor.encode(asked)
    assert ours.outline.spans == theirs.outline.spans
    assert ours.sounds is not None and theirs.sounds is not None
    assert torch.equal(ours.sounds, theirs.sounds)


def test_hearing_a_video_needs_ears() -> None:
    with pytest.raises(ConfigError, match=r"model\.video\.sound needs ears"):
        build(replace(HEARD, audio=None), TEXTS * 3)
    assert video().sound() is None
