from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chat.readers.rows import make_files, rows_of

from hocket._errors import ConfigError, DataError
from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.chat.readers import readers
from hocket.chat.states import with_states
from hocket.data.containers import containers
from hocket.data.convert import Job, convert, rows_root, work_folder
from hocket.data.merge import MergedRows
from hocket.data.same import difference
from hocket.data.sources import sources
from hocket.data.sources.memory import Memory
from hocket.data.storing import Copied, InPlace, Packed
from hocket.data.writers import writers
from hocket.media.audio import Audio
from hocket.media.frames import Uniform
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.media.where import Where

# What the rows of tests/data hold that a format has no place for; a number that falls is a loss.
WRITTEN = {
    ("llava", "vita"): 6,
    ("vita", "llava"): 6,
    ("llava", "openai"): 6,
    ("ovis", "sharegpt"): 5,
    ("vila", "navila"): 7,
    ("text", "llava"): 5,
    ("caption", "llava"): 4,
    ("sharegpt", "openai"): 3,
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return make_files(tmp_path / "in")


def job_of(rows: Any, out: Path, to: str, *, container: str = "json", **more: Any) -> Job:
    form = containers.get(container)
    root = rows_root(out, container)
    store = Packed() if form.must_pack else InPlace(root, listed=form.listed)
    merged = MergedRows({"rows": rows})
    given = {"rows": merged, "to": to, "container": container, "out": out, "store": store}
    return Job(**(given | more))


def memory(rows: list[Any], root: Path, reader: str = "llava") -> Memory:
    return Memory(rows, reader=readers.get(reader), root=root)


def opened(out: Path, reader: str, source: str = "json") -> Any:
    return sources.get(source)(out, reader=readers.get(reader))


@pytest.mark.parametrize("name", readers.names())
def test_every_format_that_is_read_is_written_back_whole(name: str, data: Path) -> None:
    rows = memory(rows_of(name), data, name)
    out = data.parent / "out" / "again.json"
    outcome = convert(job_of(rows, out, name, store=Copied(out.parent, "media"), skip=True))
    # Ids of calls belong to calls that have become text.
    lost = 1 if name == "openai" else 0
    assert outcome.rows == len(rows) - lost, outcome.skipped
    if not lost:
        again = opened(out, name)
        assert [one.id for one in again] == [rows[at].id for at in range(len(rows))]


@pytest.fixture
def seeable(data: Path) -> Path:
    """Files of the rows, each with content of its own; pictures can be decoded."""
    for number, file in enumerate(sorted(one for one in data.rglob("*") if one.is_file())):
        if file.suffix in (".png", ".jpg"):
            PIL.Image.new("RGB", (8, 8), (number, 0, 0)).save(file)
        else:
            file.write_bytes(f"never opened {number}".encode())
    return data


@pytest.mark.parametrize("container", ["webdataset", "parquet"])
@pytest.mark.parametrize("name", readers.names())
def test_every_format_travels_with_its_media_inside(
    name: str, container: str, seeable: Path, tmp_path: Path
) -> None:
    # Ids of calls belong to calls that have become text.
    rows = memory([one for one in rows_of(name) if "tools" not in one], seeable, name)
    shards, back = tmp_path / "shards", tmp_path / "back" / "again.json"
    job = job_of(rows, shards, name, container=container, store=Packed(), part_rows=1, skip=True)
    outcome = convert(job)
    assert outcome.rows == len(rows), outcome.skipped
    wanted = [seen(rows[at]) for at in range(len(rows))]
    shutil.rmtree(seeable)
    inside = opened(shards, name, container)
    convert(job_of(inside, back, name, store=Copied(back.parent, "media")))
    assert [seen(one) for one in opened(back, name)] == wanted


def seen(conversation: Conversation) -> list[object]:
    """Return the text of a conversation, and the bytes and frame times of its media."""
    found: list[object] = []
    for message in conversation.messages:
        for part in message.parts:
            if isinstance(part, Text):
                found.append(part.text)
            elif isinstance(part, Video) and part.pictures:
                found.append([bytes_of(one) for one in part.pictures])
                found.append(part.load(Uniform(frames=2))[1].tolist())
            elif isinstance(part, Image) and part.pixels is not None:
                found.append(part.pixels.tobytes())
            else:
                found.append(bytes_of(part.where))
    return found


def bytes_of(where: Where) -> bytes:
    with where.open() as stream:
        return stream.read()


@pytest.mark.parametrize("container", ["webdataset", "parquet"])
@pytest.mark.parametrize("to", ["llava", "vila", "sharegpt", "openai", "ovis", "caption", "navila"])
def test_a_video_of_frames_keeps_its_times_inside(
    to: str, container: str, seeable: Path, tmp_path: Path
) -> None:
    frames = [Where.of_path(seeable / "images" / name) for name in ("a.png", "b.png", "a.png")]
    films = [
        Video.from_frames(frames),
        Video.from_frames(frames, fps=2.0),
        Video.from_frames(frames, times=[0.0, 0.4, 3.0]),
        Video.from_path(seeable / "video/a.mp4"),
    ]
    rows = Memory([asked(str(at), film) for at, film in enumerate(films)])
    out = tmp_path / "out"
    convert(job_of(rows, out, to, container=container, store=Packed()))
    for film, conversation in zip(films, opened(out, to, container), strict=True):
        (again,) = conversation.media()
        assert again.times is film.times or [*again.times] == [*film.times]
        assert again.picture_fps == film.picture_fps
        kept = [where.data for where in again.pictures]
        assert kept == [where.path.read_bytes() for where in film.pictures]
        assert again.where.data == (film.where.path and film.where.path.read_bytes())
    inside, jsonl = opened(out, to, container), tmp_path / "back.jsonl"
    with pytest.raises(DataError, match="no file of its own"):
        convert(job_of(inside, jsonl, to, container="jsonl"))
    store = Copied(tmp_path, "media")
    convert(job_of(inside, jsonl, to, container="jsonl", store=store))
    convert(job_of(opened(jsonl, to, "jsonl"), tmp_path / "there.json", to))
    for file, source in ((jsonl, "jsonl"), (tmp_path / "there.json", "json")):
        assert [seen(one) for one in opened(file, to, source)] == [seen(one) for one in rows]


def test_the_rate_of_vilas_frames_stands_beside_a_plain_list(data: Path, tmp_path: Path) -> None:
    # Not in the order of their names, so not the folder as a whole.
    frames = [data / "images" / name for name in ("b.png", "a.png")]
    out = tmp_path / "o.json"
    for fps, told in ((1.0, {}), (2.0, {"fps": 2.0})):
        convert(job_of(Memory([asked("1", Video.from_frames(frames, fps=fps))]), out, "vila"))
        (written,) = json.loads(out.read_text())
        assert written["video"] == ["in/images/b.png", "in/images/a.png"]
        assert {key: written[key] for key in ("fps",) if key in written} == told
        out.unlink()


def asked(name: str, medium: Video) -> Conversation:
    question = Message(Role.USER, (medium, Text("What moves?")))
    return Conversation(name, (question, Message(Role.ASSISTANT, (Text("A car."),))))


@pytest.mark.parametrize(("reader", "to"), WRITTEN)
def test_other_formats_hold_what_they_have_a_place_for(reader: str, to: str, data: Path) -> None:
    out = data.parent / "out.json"
    outcome = convert(job_of(memory(rows_of(reader), data, reader), out, to, skip=True))
    assert outcome.rows == WRITTEN[reader, to], outcome.skipped
    assert len(opened(out, to)) == outcome.rows


def row(number: int, **more: object) -> dict[str, object]:
    turns = [
        {"from": "human", "value": "<image>\nWhat?"},
        {"from": "gpt", "value": f"Thing {number}."},
    ]
    return {"id": str(number), "image": "images/a.png", "conversations": turns, **more}


words = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="<"), max_size=12)
answers = words.filter(lambda text: bool(text.strip()))
scalars = st.one_of(words, st.integers(-99, 99), st.booleans())
metas = st.dictionaries(st.sampled_from(["task", "answers2", "note"]), scalars, max_size=2)


@st.composite
def conversations(draw: st.DrawFn, root: Path) -> Conversation:
    media = [
        Image.from_path(root / "images/a.png"),
        Image.from_path(root / "images/b.png"),
        Audio.from_path(root / "audio/a.wav"),
        Video.from_path(root / "video/a.mp4"),
    ]
    messages = []
    if draw(st.booleans()):
        messages.append(Message(Role.SYSTEM, (Text(draw(answers)),)))
    for _ in range(draw(st.integers(1, 3))):
        asked = draw(st.lists(st.one_of(st.sampled_from(media), answers.map(Text)), max_size=4))
        messages.append(Message(Role.USER, tuple(asked)))
        learned = draw(st.sampled_from([None, None, False]))
        messages.append(Message(Role.ASSISTANT, (Text(draw(answers)),), learned))
    return Conversation("a", tuple(messages), meta=draw(metas))


@pytest.mark.parametrize("to", writers.names())
@pytest.mark.parametrize("container", ["jsonl", "csv", "webdataset", "parquet"])
def test_what_is_written_reads_as_the_same_conversation(
    to: str, container: str, data: Path, tmp_path: Path
) -> None:
    written = []
    outs = iter(tmp_path / f"out{number}" for number in range(10_000))

    @settings(max_examples=12, deadline=None, database=None)
    @given(conversations(data))
    def holds(conversation: Conversation) -> None:
        if to == "dpo":
            conversation = replace(conversation, meta={**conversation.meta, "rejected": "No."})
        out = next(outs)
        try:
            convert(job_of(Memory([conversation]), out, to, container=container))
        except DataError as error:
            assert "id 'a'" in str(error)
            return
        written.append(out)
        (again,) = opened(out, to, container)
        wanted = with_states(conversation) if to == "vita" else conversation
        packed = containers.get(container).must_pack
        if packed:
            assert [medium.where.data for medium in again.media()] == [
                medium.where.path.read_bytes() for medium in wanted.media() if medium.where.path
            ]
        else:
            found = [medium.where.path.resolve() for medium in again.media()]
            assert found == [medium.where.path for medium in wanted.media()]
        assert not difference(bare(wanted), bare(again))

    holds()
    assert written or to in ("caption", "text") or container == "csv"


def bare(conversation: Conversation) -> Conversation:
    """Return the conversation with a word for each medium."""
    return replace(
        conversation,
        messages=tuple(
            replace(
                message,
                parts=tuple(
                    part if isinstance(part, Text) else Text(f"[{type(part).__name__}]")
                    for part in message.parts
                ),
            )
            for message in conversation.messages
        ),
    )


def test_what_a_format_cannot_hold_is_refused_by_row_and_field(data: Path) -> None:
    tool = Message(Role.TOOL, (Text("3"),))
    call = Message(Role.ASSISTANT, (Text("call"),))
    asked = Message(Role.USER, (Text("Q"),))
    bad = {
        r"messages\[2\] is from 'tool'": Conversation("a", (asked, call, tool, call)),
        "tools has no place": Conversation("a", (asked, call), tools=({"name": "t"},)),
        r"messages\[0\] holds the text '<image>'": Conversation(
            "a", (Message(Role.USER, (Text("see <image>"),)), call)
        ),
        "meta.image cannot be kept": Conversation("a", (asked, call), meta={"image": "b"}),
        r"messages\[0\].train is true": Conversation("a", (replace(asked, train=True), call)),
    }
    for said, conversation in bad.items():
        with pytest.raises(DataError, match=rf"id 'a'.*{said}"):
            convert(job_of(Memory([conversation]), data / "o.json", "llava"))
    fine = Memory([bad["tools has no place"], bad[r"messages\[2\] is from 'tool'"]])
    assert convert(job_of(fine, data / "o.json", "openai")).rows == 2


def test_a_cell_that_would_become_text_is_refused(data: Path) -> None:
    rows = memory([row(0, count=3)], data)
    with pytest.raises(DataError, match="'count' does not come back from csv"):
        convert(job_of(rows, data / "o.csv", "llava", container="csv"))
    text = memory([row(0, note='["a"]')], data)
    with pytest.raises(DataError, match="'note' does not come back from csv"):
        convert(job_of(text, data / "o.csv", "llava", container="csv"))


def test_columns_of_several_types_are_no_parquet(data: Path) -> None:
    rows = memory([row(0, note="a"), row(1, note=[1])], data)
    with pytest.raises(DataError, match="'note' holds values of several types"):
        convert(job_of(rows, data / "o", "llava", container="parquet"))
    whole = memory([row(0, n=2**60 + 1), row(1, n=0.5)], data)
    with pytest.raises(DataError, match="'n' "):
        convert(job_of(whole, data / "o", "llava", container="parquet"))


def test_objects_without_keys_are_no_parquet(data: Path) -> None:
    rows = memory([row(0, more={}), row(1, more={})], data)
    with pytest.raises(DataError, match=r"row 0.*to.*row 1.*Parquet cannot hold them"):
        convert(job_of(rows, data / "o", "llava", container="parquet"))


def test_skipped_rows_are_counted_and_named(data: Path) -> None:
    rows = memory([row(0), row(1, image="images/gone.png"), row(2)], data)
    out = data / "o.jsonl"
    with pytest.raises(DataError, match=r"row 1.*gone.png"):
        convert(job_of(rows, out, "llava", container="jsonl"))
    outcome = convert(job_of(rows, out, "llava", container="jsonl", skip=True))
    assert outcome.rows == 2
    assert [*outcome.skipped] == ["rows row 1"]
    assert not work_folder(out).exists()
    nothing = memory([row(1, image="images/gone.png")], data)
    with pytest.raises(DataError, match="no row is left"):
        convert(job_of(nothing, data / "n.json", "llava", skip=True))


def test_paths_resolve_from_the_new_place_and_through_links(data: Path, tmp_path: Path) -> None:
    real = tmp_path / "far" / "away"
    real.mkdir(parents=True)
    (tmp_path / "link").symlink_to(real)
    out = tmp_path / "link" / "o.json"
    convert(job_of(memory([row(0)], data), out, "llava"))
    (again,) = opened(out, "llava")
    assert next(again.media()).where.path.read_bytes() == (data / "images/a.png").read_bytes()
    assert json.loads(out.read_text())[0]["image"] == "../../in/images/a.png"


def test_walks_of_a_file_in_this_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = (data / "images/a.png").read_bytes()
    for name, frame in (("here", "f0.jpg"), ("there", "deep/f0.jpg")):
        (tmp_path / name / frame).parent.mkdir(parents=True)
        (tmp_path / name / frame).write_bytes(picture)
        walk = {"video_id": "1", "frames": [frame], "q": "Go", "a": "The next action is stop."}
        monkeypatch.chdir(tmp_path / name)
        out = tmp_path / f"{name}.json"
        convert(job_of(memory([walk], Path(), "navila"), out, "navila"))
        (again,) = json.loads(out.read_text())
        assert again["frames"] == [f"{name}/{frame}"]


def test_copies_are_named_by_their_content_and_made_once(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.json"
    store = Copied(tmp_path, "media")
    convert(job_of(memory([row(0), row(1)], data), out, "llava", store=store))
    copies = [one for one in (tmp_path / "media").rglob("*") if one.is_file()]
    assert [one.read_bytes() for one in copies] == [(data / "images/a.png").read_bytes()]


def test_a_stopped_conversion_goes_on_and_gives_the_same_file(data: Path, tmp_path: Path) -> None:
    rows = [row(number) for number in range(7)]
    whole, out = tmp_path / "whole.json", tmp_path / "o.json"
    convert(job_of(memory(rows, data), whole, "llava", part_rows=2))
    broken = memory([*rows[:4], row(4, image="images/late.png"), *rows[5:]], data)
    with pytest.raises(DataError, match=r"late\.png"):
        convert(job_of(broken, out, "llava", part_rows=2))
    assert not out.exists()
    (data / "images/late.png").write_bytes((data / "images/a.png").read_bytes())
    assert convert(job_of(broken, out, "llava", part_rows=2)).resumed == 2
    same = whole.read_text().replace('"4", "conversations"', "")
    assert out.read_text().replace("late.png", "a.png").replace('"4", "conversations"', "") == same


def test_parts_of_another_job_are_not_taken(data: Path) -> None:
    out = data / "o.json"
    rows = [row(0), row(1, image="images/gone.png")]
    with pytest.raises(DataError, match="gone"):
        convert(job_of(memory(rows, data), out, "llava", part_rows=1))
    with pytest.raises(ConfigError, match="begun with another 'to'"):
        convert(job_of(memory(rows, data), out, "openai", part_rows=1))
    out.write_text("[]")
    with pytest.raises(ConfigError, match="exists"):
        convert(job_of(memory(rows, data), out, "llava"))


KILLED = """
import os, sys
from pathlib import Path
from hocket.data import convert as module
from tests.data.test_convert import job_of, memory, row

data, out = Path(sys.argv[1]), Path(sys.argv[2])
left = 3
def advance(rows):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), 9)
job = job_of(memory([row(n) for n in range(60)], data), out, "llava", part_rows=10)
module.convert(job, advance=advance)
"""


def test_a_killed_conversion_goes_on(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.json"
    paths = [str(Path(__file__).parents[2] / folder) for folder in ("src", ".")]
    found = subprocess.run(
        [sys.executable, "-c", KILLED, str(data), str(out)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
    )
    assert found.returncode == -signal.SIGKILL
    assert not out.exists()
    job = job_of(memory([row(n) for n in range(60)], data), out, "llava", part_rows=10)
    assert convert(job).resumed == 2
    assert [one["id"] for one in json.loads(out.read_text())] == [str(one) for one in range(60)]
    assert not work_folder(out).exists()
