"""Requests that come and go at any step are answered as if each were alone."""

from __future__ import annotations

import random
import threading
from dataclasses import replace

import pytest
import torch
from tests.contract.test_languages import FAMILIES
from tests.toy import SPEC, TEXTS, mixed, picture, sound, talk, user, video

from hocket._errors import ConfigError, HocketError, MediaError
from hocket.chat.conversation import Conversation
from hocket.infer.engine import Engine, prompt
from hocket.infer.options import EngineOptions
from hocket.infer.request import CancelledError, FinishReason, Handle, PromptTooLongError
from hocket.infer.sampling import Sampling
from hocket.model.build import Built, build
from hocket.model.spec import LanguageSpec, Options

TIE = 1e-3
SHORT = Sampling(max_new_tokens=2)
WINDOW: Options = {"sliding_window": 8}
KINDS: dict[str, tuple[str, Options]] = {
    **{name: (name, options) for name, options in FAMILIES.items()},
    "mistral, window of 8": ("mistral", FAMILIES["mistral"] | WINDOW),
    "gemma2, window of 8": ("gemma2", FAMILIES["gemma2"] | WINDOW),
    "gemma3_text, window of 8": ("gemma3_text", FAMILIES["gemma3_text"] | WINDOW),
    # Its convolutions keep a state beside keys and values, so no two answers share a pass.
    "lfm2": ("lfm2", FAMILIES["smollm3"] | {"layer_types": ["conv", "full_attention"]}),
}


def make(kind: str = "llama") -> Built:
    name, options = KINDS[kind]
    built = build(replace(SPEC, language=LanguageSpec(model_type=name, config=options)), TEXTS * 3)
    built.model.eval()
    return built


@pytest.fixture(scope="module")
def built() -> Built:
    return make()


@pytest.fixture
def engine(built: Built) -> Engine:
    return Engine(*built)


def questions() -> list[Conversation]:
    """Return open conversations of every kind, some of which begin alike."""
    opened = [replace(one, messages=one.messages[:-1]) for one in mixed()]
    same = picture(9)
    opened += [talk(user("x" * count), name=f"long {count}") for count in (1, 70)]
    opened += [talk(user(same, sound(1), text), name=text) for text in ("What?", "Who is it?")]
    opened.append(talk(user(video(8), "And then?"), name="film"))
    return opened


def fresh(built: Built, **limits: int) -> Engine:
    """Return an engine that keeps nothing, answers one at a time and takes whole prompts in."""
    return Engine(*built, EngineOptions(prefix_mb=0, encoder_mb=0, max_rows=1, **limits))


def same_unless_tie(built: Built, asked: Conversation, got: list[int], alone: list[int]) -> bool:
    """Say whether two greedy answers agree, up to where two tokens are as likely."""
    if got == alone:
        return True
    at = next(k for k, (a, b) in enumerate(zip(got, alone, strict=False)) if a != b)
    scores = (
        fresh(built)
        .submit(asked, Sampling(max_new_tokens=at + 1, logprobs=True, top_logprobs=2))
        .result()
        .answers[0]
        .scores
    )
    first, second = scores[at].top
    return first.logprob - second.logprob < TIE


@pytest.mark.parametrize("kind", KINDS)
def test_staggered_answers_are_those_of_each_alone(kind: str) -> None:
    built = make(kind)
    asked = questions()[1:8]
    greedy = Sampling(max_new_tokens=7, min_new_tokens=4)
    alone = [fresh(built).submit(one, greedy).result().answers[0].tokens for one in asked]
    engine = Engine(*built, EngineOptions(prefill_tokens=24, max_rows=6))
    handles: list[Handle] = []
    for one in asked:
        handles.append(engine.submit(one, greedy))
        engine.step()
    got = [handle.result().answers[0].tokens for handle in handles]
    for one, mine, other in zip(asked, got, alone, strict=True):
        assert same_unless_tie(built, one, list(mine), list(other)), one.id
    assert len(set(got)) > 1
    state = engine.state
    assert (state.waiting, state.prefilling, state.running, state.kv_bytes) == (0, 0, 0, 0)


def test_language_models_with_a_state_are_not_batched(built: Built) -> None:
    assert Engine(*built)._scheduler.batches
    assert not Engine(*make("lfm2"))._scheduler.batches


def test_prompts_join_while_others_are_answered(engine: Engine) -> None:
    long = engine.submit(questions()[0], Sampling(max_new_tokens=30, min_new_tokens=30))
    for _ in range(5):
        engine.step()
    short = engine.submit(questions()[2], Sampling(max_new_tokens=3, min_new_tokens=3))
    steps = 0
    while not short.done:
        engine.step()
        steps += 1
    assert steps <= 4
    assert not long.done
    assert engine.state.running == 1
    long.result()


@pytest.mark.parametrize("seed", range(3))
def test_random_traffic(built: Built, seed: int) -> None:
    chance = random.Random(seed)
    asked = questions()
    engine = Engine(*built, EngineOptions(prefill_tokens=20, max_rows=4))
    running: list[tuple[Conversation, Sampling, Handle]] = []
    for _ in range(30):
        if chance.random() < 0.6:
            sampling = Sampling(
                max_new_tokens=chance.randint(1, 12),
                temperature=chance.choice([0.0, 1.0]),
                seed=chance.randint(0, 3),
                n=chance.choice([1, 1, 2]),
                top_p=chance.choice([1.0, 0.8]),
            )
            one = chance.choice(asked)
            running.append((one, sampling, engine.submit(one, sampling)))
        if running and chance.random() < 0.2:
            running[chance.randrange(len(running))][2].cancel()
        engine.step()
    lone = Engine(*built, EngineOptions(prefix_mb=0, encoder_mb=0))
    done = 0
    for one, sampling, handle in running:
        try:
            mine = handle.result()
        except CancelledError:
            continue
        done += 1
        other = lone.submit(one, sampling).result()
        for got, alone in zip(mine.answers, other.answers, strict=True):
            if sampling.temperature:
                assert got.tokens == alone.tokens
            else:
                assert same_unless_tie(built, one, list(got.tokens), list(alone.tokens))
    assert done > 5
    state = engine.state
    assert (state.waiting, state.prefilling, state.running, state.kv_bytes) == (0, 0, 0, 0)
    assert not engine._scheduler._requests


def test_many_threads_one_engine(built: Built, engine: Engine) -> None:
    asked = questions()
    greedy = Sampling(max_new_tokens=6)
    alone = [one.text for one in Engine(*built).answer(asked, greedy)]
    for run_thread in (False, True):
        found: dict[int, str] = {}

        def ask(at: int, found: dict[int, str] = found) -> None:
            found[at] = engine.submit(asked[at], greedy).result(60).answers[0].text

        threads = [threading.Thread(target=ask, args=(at,)) for at in range(len(asked))]
        if run_thread:
            engine.start()
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        engine.stop()
        assert [found[at] for at in range(len(asked))] == alone


def test_cancelling_frees_the_slot_at_once(engine: Engine) -> None:
    endless = Sampling(max_new_tokens=500, min_new_tokens=500)
    one, other = (engine.submit(question, endless) for question in questions()[:2])
    for _ in range(4):
        engine.step()
    assert engine.state.running == 2
    one.cancel()
    assert engine.state.running == 1
    with pytest.raises(CancelledError):
        one.result()
    assert one.completion is not None
    assert one.completion.answers[0].reason is FinishReason.CANCELLED
    assert 1 <= len(one.completion.answers[0].tokens) <= 4
    with engine.running():
        other.cancel()
        engine._scheduler.wait(lambda: other.done, 5)
    assert engine.state.running == engine.state.kv_bytes == 0
    other.cancel()  # of no effect


def test_waiting_and_prefilling_requests_can_be_cancelled(built: Built) -> None:
    engine = Engine(*built, EngineOptions(max_rows=1, prefill_tokens=16))
    first = engine.submit(questions()[6], Sampling(max_new_tokens=50, min_new_tokens=50))
    engine.step()
    waiting = engine.submit(questions()[6], Sampling())
    engine.step()
    assert engine.state.waiting == 1
    waiting.cancel()
    first.cancel()
    assert engine.state.waiting == engine.state.running == engine.state.prefilling == 0


def test_a_bad_request_fails_alone(engine: Engine) -> None:
    good = engine.submit(questions()[0], Sampling(max_new_tokens=4))
    with pytest.raises(MediaError):
        engine.submit(prompt("x", images=[b"no picture"]))

    def fall_over(piece: object) -> None:
        raise ValueError("no")

    bad = engine.submit(questions()[1], Sampling(max_new_tokens=4), on_token=fall_over)
    assert good.result().answers[0].tokens
    with pytest.raises(ValueError, match="no"):
        bad.result()
    assert engine.state.running == 0


def test_a_failing_model_fails_what_has_begun(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = engine.submit(questions()[0], Sampling(max_new_tokens=40, min_new_tokens=40))
    engine.step()

    def out_of_memory(*_: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr("hocket.infer.scheduler.run", out_of_memory)
        with pytest.raises(RuntimeError, match="out of memory"):
            engine.step()
    with pytest.raises(RuntimeError, match="out of memory"):
        begun.result()
    assert engine.state.running == 0
    assert engine.answer([questions()[0]], Sampling(max_new_tokens=2))[0].tokens


def test_what_does_not_fit_waits_and_comes_back(built: Built, engine: Engine) -> None:
    sampling = Sampling(max_new_tokens=20, min_new_tokens=20)
    asked = questions()
    alone = [one.tokens for one in engine.answer(asked, sampling)]
    small = Engine(*built, EngineOptions(max_rows=8))
    # 0.06 MiB: about two rows of this model.
    object.__setattr__(small.options, "kv_mb", 0.06)
    small.answer(asked[:1], sampling)
    got = [one.tokens for one in small.answer(asked, sampling)]
    assert small.state.preempted > 0
    for one, mine, other in zip(asked, got, alone, strict=True):
        assert same_unless_tie(built, one, list(mine), list(other))


def test_prefixes_and_media_are_used_again(engine: Engine) -> None:
    look = picture(4)
    first, second = (
        engine.submit(talk(user(look, "the same words " * 6, end)), Sampling(max_new_tokens=3))
        for end in ("a?", "b!")
    )
    assert first.result().usage.cached_tokens == 0
    usage = second.result().usage
    assert usage.cached_tokens > 60
    assert usage.media_tokens == {"image": 4}
    assert engine.state.prefix_hits == 1
    engine.submit(talk(user("Other words", look)), Sampling(max_new_tokens=1)).result()
    assert (engine.state.encoder_hits, engine.state.encoder_misses) == (1, 1)
    engine.forget()
    assert engine.state.prefix_bytes == engine.state.encoder_bytes == 0


def test_owners_share_nothing_that_is_kept(engine: Engine) -> None:
    asked = talk(user(picture(5), "the same words " * 6))
    done = [
        engine.submit(asked, SHORT, owner=owner).result()
        for owner in ("one", "one", "another", "another", "")
    ]
    assert [one.usage.cached_tokens > 0 for one in done] == [False, True, False, True, False]
    assert engine.state.encoder_misses == 3
    assert len({one.answers[0].tokens for one in done}) == 1


def test_new_weights_are_noticed() -> None:
    model, processor = make()
    engine = Engine(model, processor)
    asked = questions()[7]
    before = engine.answer([asked], Sampling(max_new_tokens=8, min_new_tokens=8))
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(-1.3)
    after = engine.answer([asked], Sampling(max_new_tokens=8, min_new_tokens=8))
    lone = Engine(model, processor)
    assert after == lone.answer([asked], Sampling(max_new_tokens=8, min_new_tokens=8))
    assert after != before


def test_memory_that_is_kept_is_bounded(built: Built) -> None:
    engine = Engine(*built, EngineOptions(prefix_mb=1, encoder_mb=1))
    engine._scheduler._prefixes.kept.limit = 60_000
    engine._scheduler._media.kept.limit = 3_000
    for seed in range(12):
        engine.generate(f"{seed} is it", images=[picture(seed).pixels], sampling=SHORT)
        assert engine.state.prefix_bytes <= 60_000
        assert engine.state.encoder_bytes <= 3_000
    assert engine.state.prefix_bytes > 0 < engine.state.encoder_bytes


def test_a_prompt_that_is_too_long_names_both_numbers(engine: Engine) -> None:
    with pytest.raises(PromptTooLongError, match=r"the prompt has \d+ tokens.*2048") as caught:
        engine.submit(prompt("x " * 3000))
    assert caught.value.limit == engine.context == 2048
    assert caught.value.tokens > 2048
    with pytest.raises(ConfigError, match="token 100000, but the vocabulary has"):
        engine.submit(prompt("x"), Sampling(logit_bias=((100_000, 1.0),)))


def test_a_text_that_is_far_too_long_is_not_tokenised_to_its_end(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(*built)
    asked: list[str] = []
    monkeypatch.setattr(engine._prompts, "outline", lambda *_, **__: asked.append("a conversation"))
    monkeypatch.setattr(engine._prompts, "text_outline", lambda *_: asked.append("a text"))
    long = "It is a red square. " * 400_000
    for question in (prompt(long), long):
        with pytest.raises(PromptTooLongError, match=r"has more than \d+ tokens"):
            engine.submit(question)
    assert not asked
    # Each of many may be short.
    turns = tuple(user("What is this?") for _ in range(20_000))
    with pytest.raises(PromptTooLongError):
        engine.outline(Conversation("x", turns, source="x"))


def test_an_answer_ends_where_the_context_does(built: Built) -> None:
    engine = Engine(*built)
    engine._language = replace(engine._language, limit=60)
    (answer,) = engine.answer([prompt("x")], Sampling(max_new_tokens=500, min_new_tokens=500))
    assert answer.reason is FinishReason.LENGTH
    assert answer.prompt_tokens + len(answer.tokens) == 60


def test_errors_are_of_the_tree() -> None:
    assert issubclass(PromptTooLongError, HocketError) and issubclass(CancelledError, HocketError)


def test_an_interrupt_leaves_the_engine_usable(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = engine.submit(questions()[0], Sampling(max_new_tokens=40, min_new_tokens=40))
    engine.step()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hocket.infer.scheduler.run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            list(engine.stream(questions()[1]))
    with pytest.raises(CancelledError, match="interrupted"):
        other.result()
    assert engine.state.waiting == engine.state.running == 0
    assert engine.answer([questions()[0]], SHORT)[0].tokens


def test_several_choices_of_a_model_with_a_state() -> None:
    engine = Engine(*make("lfm2"))
    done = engine.submit(questions()[0], Sampling(max_new_tokens=6, temperature=1.0, n=2)).result()
    assert done.answers[0].tokens != done.answers[1].tokens
    assert engine.state.running == 0


def test_whoever_waits_is_told_of_a_cancellation_in_the_middle_of_a_step(engine: Engine) -> None:
    def cancel_in_the_step(_: object) -> None:
        handle.cancel()

    handle = engine.submit(
        talk(user("x")), Sampling(max_new_tokens=50, min_new_tokens=50), on_token=cancel_in_the_step
    )
    with engine.running(), pytest.raises(CancelledError):
        handle.result(timeout_s=30)
