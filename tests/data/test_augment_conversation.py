from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tests.toy import RATE, assistant, picture, sound, talk, toy, user, video

from hocket._errors import ConfigError, ReaderError
from hocket.chat.conversation import Conversation
from hocket.chat.states import ANSWERS_AUDIO, ANSWERS_TEXT, NOT_ADDRESSED
from hocket.data.augment import Augmenter, BoundAugmenter
from hocket.media.audio import Audio
from hocket.tokens.span import Modality

SECOND = np.arange(RATE) / RATE


def tone(hertz: float) -> np.ndarray:
    return (0.2 * np.sin(2 * np.pi * hertz * SECOND)).astype(np.float32)


def spoken(hertz: float) -> Conversation:
    voice = Audio.from_array(tone(hertz), rate=RATE, name=f"{hertz} Hz")
    return talk(user(voice), assistant("Fine."), name=str(hertz))


ROWS = [spoken(400), talk(user("Hi."), assistant("Ho.")), spoken(900)]


def bind(
    sample: Conversation, *, seed: int = 0, others: Any = ROWS, rate: int = RATE, **options: Any
) -> BoundAugmenter:
    augmenter = Augmenter({"not_addressed": {"share": 1.0, **options}}, seed=seed, rate=rate)
    return augmenter.bind(epoch=0, sample="a/0", conversation=sample, others=others)


def answers(bound: BoundAugmenter) -> list[str]:
    assert bound.conversation is not None
    return [turn.text for turn in bound.conversation.messages if turn.role == "assistant"]


def level(wave: np.ndarray, hertz: float) -> float:
    """Return the amplitude of a tone in a sound."""
    return float(2 * np.abs(np.mean(wave * np.exp(-2j * np.pi * hertz * SECOND))))


def test_the_answer_becomes_the_state_token() -> None:
    assert answers(bind(ROWS[0])) == [NOT_ADDRESSED]
    assert answers(bind(ROWS[0], answer="keep")) == [NOT_ADDRESSED + "Fine."]
    marked = talk(user(sound()), assistant(ANSWERS_AUDIO + "Fine."))
    for mark in (True, False):
        assert answers(bind(marked, answer="keep", mark_others=mark)) == [NOT_ADDRESSED + "Fine."]


def test_another_voice_talks_as_loudly_as_asked() -> None:
    for ratio in (-6.0, 0.0, 6.0):
        options = {"noise": 0.0, "voice_low_db": ratio, "voice_high_db": ratio}
        heard = bind(ROWS[0], **options)(Modality.AUDIO, tone(400), index=0, limit=RATE)
        assert 20 * np.log10(level(heard, 400) / level(heard, 900)) == pytest.approx(ratio, abs=0.2)
        assert np.mean(heard**2) == pytest.approx(np.mean(tone(400) ** 2), rel=1e-3)


def test_noise_drowns_the_question() -> None:
    options = {"noise": 1.0, "noise_low_db": -20, "noise_high_db": -20}
    heard = bind(ROWS[0], **options)(Modality.AUDIO, tone(400), index=0, limit=RATE)
    assert level(heard, 400) == pytest.approx(0.02, abs=0.01)
    assert level(heard, 900) < 0.01
    assert np.mean(heard**2) == pytest.approx(np.mean(tone(400) ** 2), rel=1e-3)


def test_noise_may_be_recorded(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hum.wav", tone(1500), RATE)
    options = {"noise": 1.0, "noise_low_db": -20, "noise_high_db": -20, "folder": str(tmp_path)}
    heard = bind(ROWS[0], **options)(Modality.AUDIO, tone(400), index=0, limit=RATE)
    assert level(heard, 1500) == pytest.approx(0.2, rel=0.02)


def test_noise_stands_in_where_there_is_no_other_voice() -> None:
    alone: Any
    for alone in (None, [ROWS[0], ROWS[1]]):
        heard = bind(ROWS[0], noise=0.0, others=alone)(
            Modality.AUDIO, tone(400), index=0, limit=RATE
        )
        assert level(heard, 900) < 0.02
        assert level(heard, 400) < 0.05


def test_rows_that_cannot_be_read_are_passed_over() -> None:
    class Broken(list[Conversation]):
        def __getitem__(self, index: Any) -> Any:
            if index == 1:
                raise ReaderError("row 1: torn")
            return super().__getitem__(index)

    for seed in range(8):
        bound = bind(ROWS[0], noise=0.0, seed=seed, others=Broken(ROWS))
        heard = bound(Modality.AUDIO, tone(400), index=0, limit=RATE)
        assert level(heard, 900) > 0.1


@pytest.mark.parametrize(
    "sample",
    [
        talk(user(sound(), "Who is speaking?"), assistant("Fine.")),
        talk(user("Hi."), assistant("Fine.")),
        talk(user(sound()), assistant(NOT_ADDRESSED)),
        talk(user(sound()), assistant("A."), user("And?"), assistant("Fine.")),
        talk(user(sound()), assistant("Fine.", train=False)),
    ],
)
def test_other_samples_stay_as_they_are(sample: Conversation) -> None:
    bound = bind(sample, mark_others=False)
    assert bound.conversation == sample
    wave = tone(400)
    assert bound(Modality.AUDIO, wave, index=0, limit=RATE) is wave


def test_the_sound_of_a_film_asks_nothing() -> None:
    film = video()
    track = Audio.from_array(tone(100), rate=RATE, name=film.where.name)
    assert bind(talk(user(film, track), assistant("."))).conversation is not None
    assert answers(bind(talk(user(film, track), assistant(".")), mark_others=False)) == ["."]
    asked = talk(user(film, track, sound()), assistant("."))
    bound = bind(asked, mark_others=False)
    assert answers(bound) == [NOT_ADDRESSED]
    wave = tone(100)
    assert bound(Modality.AUDIO, wave, index=1, limit=RATE) is wave
    assert bound(Modality.AUDIO, wave, index=2, limit=RATE) is not wave


def test_earlier_turns_stay_and_get_their_states() -> None:
    sample = talk(
        user("Hi."), assistant("Ho."), user(picture(), sound(1)), assistant("A."), user(sound(2)),
        assistant("B."),
    )  # fmt: skip
    expected = [ANSWERS_TEXT + "Ho.", ANSWERS_AUDIO + "A.", NOT_ADDRESSED]
    assert answers(bind(sample)) == expected
    assert answers(bind(sample, mark_others=False)) == ["Ho.", "A.", NOT_ADDRESSED]
    unchanged = bind(sample, share=0.0)
    assert answers(unchanged) == [*expected[:2], ANSWERS_AUDIO + "B."]
    wave = tone(400)
    bound = bind(sample)
    assert bound(Modality.AUDIO, wave, index=1, limit=RATE) is wave
    assert bound(Modality.AUDIO, wave, index=2, limit=RATE) is not wave


def test_a_share_of_the_samples_is_changed_and_differs_by_epoch() -> None:
    augmenter = Augmenter({"not_addressed": {"share": 0.3}}, seed=0)
    assert augmenter.rewrites
    assert not Augmenter({"noise": {}}, seed=0).rewrites
    by_epoch = []
    for epoch in (0, 1):
        bounds = [
            augmenter.bind(epoch=epoch, sample=f"a/{n}", conversation=ROWS[0], others=ROWS)
            for n in range(300)
        ]
        by_epoch.append([answers(bound) == [NOT_ADDRESSED] for bound in bounds])
    for changed in by_epoch:
        assert 65 < sum(changed) < 115
    assert by_epoch[0] != by_epoch[1]


def test_other_augmentations_follow_the_rewrite() -> None:
    options: dict[str, dict[str, Any]] = {
        "gain": {"decibels": 6.0},
        "not_addressed": {"share": 1.0, "noise": 1.0},
    }
    both = Augmenter(options, seed=0).bind(epoch=0, sample="a/0", conversation=ROWS[0])
    gain = Augmenter({"gain": {"decibels": 6.0}}, seed=0).bind(epoch=0, sample="a/0")
    wave = tone(400)
    patched = bind(ROWS[0], noise=1.0, others=None)(Modality.AUDIO, wave, index=0, limit=RATE)
    expected = gain(Modality.AUDIO, patched, index=0, limit=RATE)
    assert np.array_equal(both(Modality.AUDIO, wave, index=0, limit=RATE), expected)


def test_a_changed_sample_is_tokenised_and_decoded() -> None:
    processor = toy().processor
    bound = bind(ROWS[0])
    assert bound.conversation is not None
    plain, changed = (
        processor.encode(ROWS[0]),
        processor.encode(bound.conversation, transform=bound),
    )
    assert len(changed.outline.input_ids) != len(plain.outline.input_ids)
    assert changed.outline.plans == plain.outline.plans
    assert changed.sounds is not None
    assert plain.sounds is not None
    assert not np.array_equal(changed.sounds.numpy(), plain.sounds.numpy())


def test_a_range_upside_down_is_named() -> None:
    with pytest.raises(ConfigError, match=r"voice_low_db is 9\.0 and voice_high_db is 3\.0"):
        Augmenter({"not_addressed": {"voice_low_db": 9}}, seed=0)


def test_without_a_sample_it_refuses() -> None:
    with pytest.raises(ConfigError, match=r"data\.augment\.not_addressed changes.*got none.*bind"):
        Augmenter({"not_addressed": {}}, seed=0).bind(epoch=0, sample="a/0")
