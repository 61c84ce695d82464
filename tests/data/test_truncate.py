"""What does not fit a row loses pixels, frames and seconds, then media, then words; all counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toy import (
    EARS,
    EYES,
    SPEC,
    TEXTS,
    assistant,
    picture,
    sound,
    system,
    talk,
    toy,
    user,
    video,
)

from hocket.chat.conversation import Conversation
from hocket.data.augment import Augmenter
from hocket.data.budget import UNCUT, Budget, Cuts
from hocket.data.truncate import GAP, OverlongError, cut, fit
from hocket.model.build import build
from hocket.model.spec import PartSpec, VideoSpec
from hocket.tokens.batch import IGNORED
from hocket.tokens.processor import HocketProcessor
from hocket.tokens.span import Modality


def plain() -> HocketProcessor:
    return toy().processor


@pytest.fixture(scope="module")
def tiled() -> HocketProcessor:
    """Return a processor that cuts pictures into up to 12 tiles of 16 pixels, of 4 rows each."""
    spec = replace(
        SPEC,
        vision=replace(EYES, layout=PartSpec(kind="image_tiles", options={"max_tiles": 12})),
        audio=EARS,
        video=VideoSpec(options={"frames": 16}),
    )
    return build(spec, TEXTS).processor


def rows(outline: Any) -> list[int]:
    return [span.rows for span in outline.spans]


def assert_whole(found: Any, processor: HocketProcessor, budget: Budget) -> None:
    """Check that what is left fits, is tokenised as it says and can be decoded to its plan."""
    outline = found.outline
    assert budget.has_room(outline.cost)
    assert outline.cost.targets > 0
    assert len(list(found.conversation.media())) == len(outline.spans) == len(found.kept)
    for span in outline.spans:
        token = processor.placeholder_ids[span.modality]
        assert outline.input_ids[span.start : span.stop].count(token) == span.rows
    example = processor.encode(found.conversation, outline=outline)
    for kind, units in (
        (Modality.IMAGE, example.images),
        (Modality.VIDEO, example.frames),
        (Modality.AUDIO, example.sounds),
    ):
        assert sum(span.units for span in example.spans(kind)) == (
            0 if units is None else len(units)
        )


def test_what_fits_is_left_alone(tiled: HocketProcessor) -> None:
    one = talk(user(picture(height=40, width=60), "Say."), assistant("Yes."))
    found = fit(one, tiled, Budget(500))
    assert found.cuts == UNCUT
    assert found.outline == tiled.measure(one)
    assert cut(one, tiled, Budget(500)) == (one, UNCUT)


def test_a_picture_loses_tiles_before_anything_else(tiled: HocketProcessor) -> None:
    one = talk(user(picture(height=40, width=60), "Say."), assistant("Yes."))
    whole = tiled.measure(one)
    budget = Budget(whole.cost.tokens - 10)
    found = fit(one, tiled, budget)
    assert found.cuts == Cuts(samples=1, pictures=1)
    assert 0 < rows(found.outline)[0] < rows(whole)[0]
    assert_whole(found, tiled, budget)
    text = [token for token in whole.input_ids if token != tiled.placeholder_ids[Modality.IMAGE]]
    left = [t for t in found.outline.input_ids if t != tiled.placeholder_ids[Modality.IMAGE]]
    assert left == text


def test_the_largest_medium_shrinks_first(tiled: HocketProcessor) -> None:
    one = talk(
        user(picture(1, height=16, width=16), picture(2, height=64, width=48), "Which?"),
        assistant("That."),
    )
    whole = tiled.measure(one)
    found = fit(one, tiled, Budget(whole.cost.tokens - 4))
    assert rows(found.outline)[0] == rows(whole)[0]
    assert rows(found.outline)[1] < rows(whole)[1]


def test_a_video_keeps_its_ends_and_a_sound_its_start(tiled: HocketProcessor) -> None:
    film, tone = video(3, frames=16), sound(4, seconds=4.0)
    one = talk(user(film, tone, "And?"), assistant("Right."))
    whole = tiled.measure(one)
    budget = Budget(whole.cost.tokens - 40)
    found = fit(one, tiled, budget)
    assert (found.cuts.videos, found.cuts.media, found.cuts.tokens) == (1, 0, 0)
    assert_whole(found, tiled, budget)
    example = tiled.encode(found.conversation, outline=found.outline)
    assert example.frame_times is not None
    assert example.frame_times[0] == 0 and example.frame_times[-1] == pytest.approx(3.0)
    short = fit(one, tiled, Budget(500, audio_frames=100))
    assert short.cuts == Cuts(samples=1, sounds=1)
    kept = short.outline.plans[1].kept
    assert kept is not None and 16000 <= kept <= 2 * 16000
    alone = talk(user(sound(4, seconds=4.0), "And?"), assistant("Right."))
    heard = tiled.encode(alone, outline=fit(alone, tiled, Budget(500, audio_frames=100)).outline)
    assert tone.wave is not None
    other = sound(5, seconds=4.0)
    assert other.wave is not None
    mixed = np.concatenate([tone.wave[:kept], other.wave[kept:]])
    again = replace(alone, messages=(user(replace(tone, wave=mixed), "And?"), alone.messages[1]))
    same = tiled.encode(again, outline=fit(again, tiled, Budget(500, audio_frames=100)).outline)
    assert heard.sounds is not None and same.sounds is not None
    assert np.array_equal(heard.sounds, same.sounds), "what was cut is heard"


def test_only_what_passes_its_limit_is_touched(tiled: HocketProcessor) -> None:
    one = talk(
        user(picture(height=64, width=48), sound(4, seconds=4.0), "And?"), assistant("Right.")
    )
    by_patches = fit(one, tiled, Budget(500, patches=64))
    assert by_patches.cuts == Cuts(samples=1, pictures=1)
    by_frames = fit(one, tiled, Budget(500, audio_frames=120))
    assert by_frames.cuts == Cuts(samples=1, sounds=1)
    assert by_frames.outline.plans[0] == tiled.measure(one).plans[0]


def test_media_go_in_reading_order_with_their_placeholders() -> None:
    processor = plain()
    one = talk(
        user("First", picture(1), "then", picture(2), "then", picture(3), "?"), assistant("Yes.")
    )
    whole = processor.measure(one)
    found = fit(one, processor, Budget(whole.cost.tokens - 5))
    assert found.cuts == Cuts(samples=1, media=2)
    assert found.kept == (2,)
    assert found.conversation.messages[0].text == one.messages[0].text
    assert_whole(found, processor, Budget(whole.cost.tokens - 5))


def test_a_question_that_was_only_a_sound_goes_with_its_answer() -> None:
    processor = plain()
    one = talk(user(sound(1)), assistant("One."), user(sound(2)), assistant("Two."), name="spoken")
    whole = processor.measure(one)
    found = fit(one, processor, Budget(whole.cost.tokens - 1))
    assert found.cuts == Cuts(samples=1, media=1, turns=2)
    assert [message.text for message in found.conversation.messages] == ["", "Two."]
    assert found.kept == (1,)
    with pytest.raises(OverlongError, match="cannot be cut to fit a row"):
        fit(talk(user(sound(1)), assistant("One.")), processor, Budget(8))


def test_turns_go_from_the_end_and_change_no_token_before() -> None:
    processor = plain()
    one = talk(
        system("Be brief."),
        user("One?"),
        assistant("First."),
        user("Two?"),
        assistant("Second."),
        user("Three?"),
        assistant("Third."),
    )
    whole = processor.measure(one)
    found = fit(one, processor, Budget(whole.cost.tokens - 1))
    assert found.cuts.turns == 2
    length = len(found.outline.input_ids)
    assert found.outline.input_ids == whole.input_ids[:length]
    assert found.outline.labels == whole.labels[:length]
    assert found.cuts.tokens == len(whole.input_ids) - length


def test_a_long_prompt_loses_its_middle_and_the_answer_stays() -> None:
    processor = plain()
    words = " ".join(f"word{number}" for number in range(400))
    one = talk(user(f"Begin {words} end?"), assistant("The answer."))
    budget = Budget(200)
    found = fit(one, processor, budget)
    text = found.conversation.messages[0].text
    assert text.startswith("Begin word0 ") and text.endswith(" end?") and text.count(GAP) == 1
    assert found.conversation.messages[1] == one.messages[1]
    assert found.outline.cost.targets == processor.measure(one).cost.targets
    assert 180 < found.outline.cost.tokens <= 200
    assert_whole(found, processor, budget)


def test_a_long_answer_ends_without_an_end() -> None:
    processor = plain()
    one = talk(user("Tell me."), assistant("more " * 300))
    whole = processor.measure(one)
    found = fit(one, processor, Budget(100))
    assert found.outline.input_ids == whole.input_ids[:100]
    assert found.outline.labels == whole.labels[:100]
    assert found.cuts.tokens == whole.cost.tokens - 100
    end = whole.labels[-1] if whole.labels[-1] != IGNORED else whole.labels[-2]
    assert end not in found.outline.labels


def test_both_long_share_the_row() -> None:
    found = fit(talk(user("ask " * 400), assistant("tell " * 400)), plain(), Budget(300))
    assert 140 <= found.outline.cost.targets <= 160
    assert found.outline.cost.tokens <= 300


def test_text_without_spaces_can_be_cut() -> None:
    one = talk(user("\u8bf7" * 900), assistant("Yes."))
    found = fit(one, plain(), Budget(300))
    assert found.outline.cost.tokens <= 300
    assert found.cuts.tokens > 0


def test_the_media_left_go_through_what_they_would_have_gone_through() -> None:
    bound = Augmenter({"contrast": {}}, seed=0).bind(epoch=0, sample="x")
    pixels = picture(1).load()
    whole = bound(Modality.IMAGE, pixels, index=2, limit=None)
    left = bound.renumbered((2,))(Modality.IMAGE, pixels, index=0, limit=None)
    assert np.array_equal(whole, left)
    assert not np.array_equal(whole, bound(Modality.IMAGE, pixels, index=0, limit=None))


media = st.sampled_from(["picture", "sound", "video", "text", "long text"])


def conversation(kinds: list[list[str]]) -> Conversation:
    made: dict[str, Any] = {
        "picture": picture(1, height=40, width=64),
        "sound": sound(2, seconds=1.6),
        "video": video(3, frames=9),
        "text": "Look here. ",
        "long text": "A long story. " * 12,
    }
    turns = []
    for number, parts in enumerate(kinds):
        turns.append(user(*(made[kind] for kind in parts), "What?"))
        turns.append(assistant("So it is. " * (1 + 7 * (number % 2))))
    return talk(*turns)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(media, max_size=3), min_size=1, max_size=3),
    st.integers(16, 200),
    st.sampled_from([0, 40, 100]),
    st.sampled_from([0, 60, 150]),
)
def test_whatever_is_cut_fits_is_whole_and_the_same_again(
    tiled: HocketProcessor, kinds: list[list[str]], tokens: int, patches: int, frames: int
) -> None:
    one, budget = conversation(kinds), Budget(tokens, patches, frames)
    whole = tiled.measure(one)
    try:
        found = fit(one, tiled, budget)
    except OverlongError:
        assert not budget.has_room(whole.cost)
        return
    assert (found.cuts == UNCUT) == budget.has_room(whole.cost)
    assert found.cuts.media == len(whole.spans) - len(found.kept)
    if found.cuts.tokens:
        assert not found.kept, "words were cut while media were left"
    assert_whole(found, tiled, budget)
    again = fit(one, tiled, budget)
    assert (again.outline, again.kept, again.cuts) == (found.outline, found.kept, found.cuts)
