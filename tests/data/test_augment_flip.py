from __future__ import annotations

import numpy as np
import pytest
from tests.toy import assistant, system, talk, user

from hocket._errors import ConfigError, UnknownNameError
from hocket.chat.conversation import Conversation
from hocket.data.augment import Augmenter
from hocket.data.augment._sides import LANGUAGES
from hocket.tokens.span import Modality

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def is_flipped(sample: Conversation, **options: list[str]) -> bool:
    augmenter = Augmenter({"flip": {"chance": 1.0, **options}}, seed=0)
    bound = augmenter.bind(epoch=0, sample="a/0", conversation=sample)
    flipped = bound(Modality.IMAGE, PIXELS, index=0, limit=None)
    if np.array_equal(flipped, PIXELS):
        return False
    assert np.array_equal(flipped, PIXELS[:, ::-1])
    return True


def about(text: str) -> Conversation:
    return talk(user("?"), assistant(text))


@pytest.mark.parametrize(
    "text",
    [
        "Turn LEFT, then walk.",
        "the right-hand door",
        "It is in the upper-left corner.",
        "Turn clockwise.",
        "Das Haus steht links.",
        "Die rechte T\u00fcr",
        "\u00e0 gauche",
        "a la derecha",
        "\u5de6\u8f6c\u7136\u540e\u76f4\u884c",
        "\u5411\u53f3\u8f6c",
        "r\u1ebd tr\u00e1i",
        "re\u0303 tra\u0301i",  # decomposed
        "\uc67c\ucabd\uc73c\ub85c",
        "\u043d\u0430\u043b\u0435\u0432\u043e",
        "\u0938\u0921\u093c\u0915 \u0915\u0947 \u092c\u093e\u090f\u0902 \u0913\u0930",
        "\u0e40\u0e25\u0e35\u0e49\u0e22\u0e27\u0e0b\u0e49\u0e32\u0e22\u0e41\u0e25\u0e49\u0e27",
        "box: <box>12 30 40 50</box>",
        "at (0.1, 0.2, 0.35, 0.9)",
    ],
)
def test_talk_of_sides_is_not_flipped(text: str) -> None:
    assert not is_flipped(about(text))
    assert not is_flipped(talk(user(text), assistant("Yes.")))


@pytest.mark.parametrize(
    "text",
    [
        "A dog on a lawn.",
        "A bright, cleft stone and leftovers.",
        "M\u00f4 t\u1ea3 h\u00ecnh \u1ea3nh",  # "describe", a word close to "left" in Vietnamese
        "[1, 2, 3] and (4, 5)",
    ],
)
def test_other_talk_is_flipped(text: str) -> None:
    assert is_flipped(about(text))


def test_languages_and_words_are_chosen() -> None:
    german = about("links")
    assert not is_flipped(german, languages=["de"])
    assert is_flipped(german, languages=["en", "fr"])
    assert not is_flipped(about("Read the SIGNPOST."), words=["sign*"])
    assert is_flipped(about("Read the design."), words=["sign*"])
    assert is_flipped(about("left"), languages=[])


def test_the_system_text_is_not_read() -> None:
    assert is_flipped(
        talk(system("You are right-minded, left or right."), user("?"), assistant("!"))
    )


def test_every_language_has_words_that_work() -> None:
    assert {"en", "zh", "vi", "de", "fr", "es", "ja", "ko", "ru", "hi", "ar"} <= set(LANGUAGES)


def test_a_chance_is_a_share() -> None:
    augmenter = Augmenter({"flip": {"chance": 0.25}}, seed=0)
    count = 0
    for number in range(400):
        bound = augmenter.bind(epoch=0, sample=f"a/{number}", conversation=about("A dog."))
        count += bound(Modality.IMAGE, PIXELS, index=0, limit=None) is not PIXELS
    assert 75 < count < 125


def test_without_a_sample_it_refuses() -> None:
    with pytest.raises(ConfigError, match=r"data\.augment\.flip reads the sample's text.*bind"):
        Augmenter({"flip": {}}, seed=0).bind(epoch=0, sample="a/0")


def test_an_unknown_language_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"flip\.languages is called 'dee'\. Did you mean"):
        Augmenter({"flip": {"languages": ["dee"]}}, seed=0)
