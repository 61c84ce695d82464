"""The whole loader, per core: hocket against a lazy data set as LLaVA writes one.

    python benchmarks/loader.py [SAMPLES] [--rounds N]

Writes JPEG files and LLaVA rows: dialogues of 30 to 800 tokens with a long tail, a fifth of them
without a picture, and a BPE tokenizer of 32,000 tokens trained on them. Then loads them in fresh
processes of one thread, A B A B, once with pictures of 336 x 336 and once with pictures as photo
collections have them, up to 640 x 480:

- LLaVA-style: one row at a time is opened with Pillow, turned to RGB, padded to a square and given
  to transformers' CLIPImageProcessor; its template is written, tokenised chunk by chunk, and the
  labels are found by tokenising every turn and every instruction again; a collator pads.
- hocket as it is used: headers, tokens and labels for a packer that looks 64 samples ahead, then
  decoding (in a process of its own with a deadline), layout and packed rows; and the same with
  data.decode_deadline_seconds=0, which decodes in the same process.

Both make the same pixels and the same labels, which is checked first, and both have the same fast
tokenizer. The figure is samples per second of CPU time, all processes together, so that other work
on the machine counts little; the wall clock is kept beside it. The first third of the samples is
left out: a tokenizer remembers the words that it has seen, and a run sees them many times. Prints
the medians, their ratio and where hocket's time goes; writes them to
benchmarks/results/loader.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 900
TARGET = 2.0
BATCH = 16
ROWS, ROW_TOKENS = 4, 4096
SIDE = 336
VOCABULARY = 32_000
SIZES = {
    "336 px": [(336, 336)],
    "photos": [(640, 480), (480, 640), (640, 427), (500, 375), (448, 336), (336, 336)],
}
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
IMAGE, IMAGE_INDEX, IGNORED = "<image>", -200, -100


# What is loaded


def write_picture(path: Path, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Write noise that falls off with its frequency, as in photographs, and a little grain."""
    from PIL import Image

    total = np.zeros((size[1], size[0], 3), np.float32)
    for cells in (2, 5, 12, 30, 80, 160):
        small = rng.integers(0, 256, (cells, cells, 3), np.uint8)
        layer = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
        total += (np.asarray(layer, np.float32) - 128) * (2.4 / cells**0.6)
    total += rng.normal(128, 4, total.shape)
    Image.fromarray(total.clip(0, 255).astype(np.uint8)).save(path, quality=85)


def write(folder: Path, samples: int, sizes: list[tuple[int, int]]) -> None:
    """Write pictures, rows and the tokenizer."""
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmwfgypbvk"))
    words = np.array(["".join(rng.choice(letters, rng.integers(2, 11))) for _ in range(40_000)])
    odds = 1 / (np.arange(len(words)) + 3.0)
    odds /= odds.sum()
    rows = []
    for number in range(samples):
        left = int(np.clip(rng.lognormal(5.0, 0.8), 30, 800) * 0.75)
        turns: list[dict[str, str]] = []
        while left > 0:
            asked, answered = int(rng.integers(5, 15)), int(rng.integers(10, 120))
            for who, count in (("human", asked), ("gpt", min(answered, max(left, 5)))):
                turns.append({"from": who, "value": " ".join(rng.choice(words, count, p=odds))})
            left -= asked + answered
        row: dict[str, Any] = {"id": f"{number:06d}", "conversations": turns}
        if rng.random() < 0.8:
            row["image"] = f"{number:06d}.jpg"
            turns[0]["value"] = f"{IMAGE}\n{turns[0]['value']}"
            write_picture(folder / row["image"], sizes[number % len(sizes)], rng)
        rows.append(row)
    (folder / "rows.json").write_text(json.dumps(rows))
    # More text than the rows hold: the rarer a word, the more tokens it is.
    text = [" ".join(rng.choice(words, 400, p=odds)) for _ in range(1500)]
    _tokenizer([SYSTEM + " USER: ASSISTANT:", *text]).save_pretrained(folder / "tokenizer")


def _tokenizer(texts: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def open_tokenizer(folder: Path) -> Any:
    """Return the tokenizer, with the tokens that hocket wants."""
    from transformers import PreTrainedTokenizerFast

    from hocket.tokens.tokenizer import ensure_control_tokens

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")
    ensure_control_tokens(tokenizer)
    return tokenizer


# LLaVA-style


class LazyRows:
    """Rows that are opened, tokenised and labelled when they are asked for, as in LLaVA."""

    def __init__(self, folder: Path) -> None:
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        self.folder = folder
        self.rows = json.loads((folder / "rows.json").read_text())
        self.tokenizer = open_tokenizer(folder)
        self.processor = CLIPImageProcessorPil(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return ids, labels and pixels of a row."""
        import torch

        row = self.rows[index]
        ids, labels = self._labelled(copy.deepcopy(row["conversations"]))
        if "image" in row:
            pixels = self._pixels(self.folder / row["image"])
        else:
            pixels = torch.zeros(3, SIDE, SIDE)
        return {"input_ids": ids, "labels": labels, "image": pixels}

    def _pixels(self, path: Path) -> Any:
        """Return a picture padded to a square (systems.md 1.2.1), resized and normalised."""
        from PIL import Image

        picture = Image.open(path).convert("RGB")
        width, height = picture.size
        if width != height:
            side = max(width, height)
            square = Image.new("RGB", (side, side), tuple(int(one * 255) for one in MEAN))
            square.paste(picture, ((side - width) // 2, (side - height) // 2))
            picture = square
        return self.processor.preprocess(picture, return_tensors="pt")["pixel_values"][0]

    def _tokenise(self, text: str) -> list[int]:
        """Tokenise around the placeholder and keep one start token (systems.md 3.3)."""
        chunks = [self.tokenizer(chunk).input_ids for chunk in text.split(IMAGE)]
        ids = list(chunks[0])
        for chunk in chunks[1:]:
            ids += [IMAGE_INDEX, *chunk[1:]]
        return ids

    def _labelled(self, turns: list[dict[str, str]]) -> tuple[Any, Any]:
        """Write the template and mask what is not an answer (systems.md 3.5, v1)."""
        import torch

        text = SYSTEM + " "
        for turn in turns:
            value = turn["value"]
            if IMAGE in value:
                value = f"{IMAGE}\n{value.replace(IMAGE, '').strip()}"
            human = turn["from"] == "human"
            text += f"USER: {value} " if human else f"ASSISTANT: {value}</s>"
        ids = torch.tensor(self._tokenise(text))
        labels = ids.clone()
        at = 1
        labels[:at] = IGNORED
        for part in text.split("</s>"):
            if not part:
                break
            size = len(self._tokenise(part))
            asked = part.split(" ASSISTANT: ")[0] + " ASSISTANT: "
            labels[at : at + len(self._tokenise(asked)) - 2] = IGNORED
            at += size
        labels[at:] = IGNORED
        if at != len(ids):
            labels[:] = IGNORED
        return ids, labels


def collate(samples: list[dict[str, Any]], pad_id: int) -> dict[str, Any]:
    """Pad to the longest."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    ids = pad_sequence([one["input_ids"] for one in samples], True, padding_value=pad_id)
    labels = pad_sequence([one["labels"] for one in samples], True, padding_value=IGNORED)
    images = torch.stack([one["image"] for one in samples])
    return {
        "input_ids": ids,
        "labels": labels,
        "attention_mask": ids.ne(pad_id),
        "images": images,
    }


def llava(folder: Path) -> Iterator[int]:
    """Load batch by batch and yield how many samples each holds."""
    rows = LazyRows(folder)
    order = np.random.default_rng(1).permutation(len(rows)).tolist()
    for at in range(0, len(order), BATCH):
        samples = [rows[one] for one in order[at : at + BATCH]]
        collate(samples, rows.tokenizer.pad_token_id)
        yield len(samples)


# hocket


def processor_of(folder: Path) -> Any:
    """Return the processor of LLaVA-1.5 with the tokenizer of the folder."""
    from hocket.chat.template import read_template
    from hocket.tokens.processor import HocketProcessor

    layout = {"kind": "image_fixed", "size": SIDE, "fit": "pad", "mean": MEAN, "std": STD}
    template = read_template("vicuna_v1")
    return HocketProcessor(open_tokenizer(folder), image_layout=layout, chat_template=template)


def hocket(folder: Path, *, deadline: float) -> Iterator[int]:
    """Load step by step, as a run does, and yield how many samples each holds."""
    from hocket.data.augment import Augmenter
    from hocket.data.loader import Loader, StepShape
    from hocket.data.mixture import Mixture, open_source
    from hocket.data.spec import DatasetSpec
    from hocket.media.guard import Guard

    guard = Guard(deadline_seconds=deadline) if deadline else None
    source = open_source("rows", DatasetSpec(path=str(folder / "rows.json")), guard=guard)
    loader = Loader(
        Mixture({"rows": (source, 1.0)}, seed=1),
        processor_of(folder),
        shape=StepShape(rows=ROWS, tokens_per_row=ROW_TOKENS),
        augmenter=Augmenter({}, seed=1),
    )
    for step in loader:
        assert not step.dropped
        if step.after.cursor > len(source):
            return
        yield len(step.samples)


def default_deadline() -> float:
    """Return what a run has that sets nothing."""
    from hocket.data.spec import DataSpec

    return DataSpec(datasets={}).decode_deadline_seconds


PEERS: dict[str, Callable[[Path], Iterator[int]]] = {
    "LLaVA-style": llava,
    "hocket": lambda folder: hocket(folder, deadline=default_deadline()),
    "hocket, no deadline": lambda folder: hocket(folder, deadline=0),
}


# Measuring


def started(batches: Iterator[int], folder: Path) -> Iterator[int]:
    """Return the batches behind the first third of the samples, which have been loaded."""
    left = len(json.loads((folder / "rows.json").read_text())) // 3
    while left > 0:
        left -= next(batches)
    return batches


def measure(peer: str, folder: Path) -> dict[str, float]:
    """Load the rows in this process, leaving out the first third and what it starts."""
    import psutil
    import torch

    torch.set_num_threads(1)
    batches = started(PEERS[peer](folder), folder)
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]

    def clocks() -> tuple[float, float]:
        times = [one.cpu_times() for one in processes]
        return time.perf_counter(), sum(one.user + one.system for one in times)

    before = after = clocks()
    samples = 0
    for count in batches:
        samples += count
        # Read while the loader lives: its end ends the decoding process, whose time would be lost.
        after = clocks()
    wall, cpu = (end - start for start, end in zip(before, after, strict=True))
    return {"per_core": samples / cpu, "wall": samples / wall, "processes": len(processes)}


def stages(folder: Path) -> dict[str, float]:
    """Return which share of hocket's time each stage takes, without the decoding process."""
    import torch

    from hocket.data import decoder
    from hocket.media.image import Image
    from hocket.tokens.layout import image_fixed
    from hocket.tokens.processor import HocketProcessor
    from hocket.tokens.text import TextEncoder

    torch.set_num_threads(1)
    spent: dict[str, float] = {}
    inside = [0.0]  # of each call under way: what the timed calls within it took

    def timed(name: str, owner: Any, attribute: str) -> None:
        inner = vars(owner)[attribute]

        def call(*args: Any, **kwargs: Any) -> Any:
            inside.append(0.0)
            begun = time.process_time()
            try:
                return inner(*args, **kwargs)
            finally:
                seconds = time.process_time() - begun
                spent[name] = spent.get(name, 0.0) + seconds - inside.pop()
                inside[-1] += seconds

        setattr(owner, attribute, call)

    timed("header", Image, "size")
    timed("decode", Image, "load")
    timed("square and resize", image_fixed, "to_square")
    timed("normalise", image_fixed, "normalise_all")
    timed("template, tokens, labels", TextEncoder, "encode")
    timed("expand placeholders", HocketProcessor, "_expand")
    timed("pack", decoder, "pack_batch")
    batches = started(hocket(folder, deadline=0), folder)
    spent.clear()
    begun = time.process_time()
    for _ in batches:
        pass
    whole = time.process_time() - begun
    shares = {name: seconds / whole for name, seconds in spent.items()}
    return shares | {"rest": 1 - sum(shares.values())}


def same(folder: Path) -> None:
    """Check that both make the same pixels and learn the same tokens of the same sample."""
    import torch

    from hocket.data.mixture import open_source
    from hocket.data.spec import DatasetSpec

    theirs, processor = LazyRows(folder), processor_of(folder)
    source = open_source("rows", DatasetSpec(path=str(folder / "rows.json")))
    for index in range(min(20, len(source))):
        one, other = theirs[index], processor.encode(source[index])
        if other.images is not None:
            assert torch.equal(one["image"], other.images[0]), index
        learned = one["labels"][one["labels"] != IGNORED].tolist()
        assert learned == [label for label in other.outline.labels if label != IGNORED], index


def child(*arguments: str) -> dict[str, float]:
    """Measure in a fresh process of one thread."""
    # Without threads of OpenMP, MKL or the tokenizer, whose time would not be this core's.
    command = ["env", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1", "TOKENIZERS_PARALLELISM=false"]
    command += [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def compare(folder: Path, rounds: int) -> dict[str, Any]:
    """Measure every peer in turn and print medians and ratios."""
    runs: dict[str, list[dict[str, float]]] = {peer: [] for peer in PEERS}
    for _ in range(rounds):
        for peer in PEERS:
            found = child("--peer", peer, "--folder", str(folder))
            runs[peer].append(found)
            print(f"  {peer}: {found['per_core']:.0f} samples/s of one core", flush=True)
    medians = {
        peer: {key: statistics.median(one[key] for one in found) for key in found[0]}
        for peer, found in runs.items()
    }
    theirs = medians["LLaVA-style"]["per_core"]
    ratios = {
        peer: found["per_core"] / theirs for peer, found in medians.items() if peer != "LLaVA-style"
    }
    for peer, ratio in ratios.items():
        print(f"  {peer} against LLaVA-style: {ratio:.2f} x (target >= {TARGET:.0f} x)")
    shares = child("--peer", "stages", "--folder", str(folder))
    print("  " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()), flush=True)
    return {"runs": runs, "medians": medians, "ratios": ratios, "stages": shares}


def main() -> None:
    """Measure with both sets of pictures and keep what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("samples", type=int, nargs="?", default=SAMPLES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", choices=[*PEERS, "stages"])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.peer:
        one = options.folder
        found = stages(one) if options.peer == "stages" else measure(options.peer, one)
        print(json.dumps(found))
        return
    document = {}
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    for name, sizes in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), options.samples, sizes)
            same(Path(folder))
            pictures = [one.stat().st_size for one in Path(folder).glob("*.jpg")]
            mean = sum(pictures) / len(pictures) / 1e3
            print(f"{name}: {options.samples} samples, {len(pictures)} pictures of {mean:.0f} kB")
            document[name] = compare(Path(folder), options.rounds)
        (results / "loader.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
