"""The tokenizer and the chat template, as keys of the language model's file.

Two kinds exist: byte-level BPE (GPT-2's, with a rule that cuts text into words first, which
llama.cpp knows by name) and BPE over characters with bytes for the unknown (SentencePiece's).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from hocket.checkpoint.export import Source
from hocket.checkpoint.export._gguf.plan import TARGET, FilePlan
from hocket.checkpoint.export._refusal import refusal
from hocket.checkpoint.tools.tensors import read_json
from hocket.tokens.text import TextRules

_PART = "the tokenizer's"
_ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# What cuts text into words, and whether whole words skip the merges -> llama.cpp's name of both.
_SPLITS = {
    ("gpt2", False): "gpt-2",
    ("digits gpt2", False): "smollm",
    (rf"{_ENDINGS}|{_WORD}|\p{{N}}{{1,3}}|{_REST}", True): "llama-bpe",
    (rf"{_ENDINGS}|{_WORD}|\p{{N}}|{_REST}", False): "qwen2",
    (_TEKKEN, True): "tekken",
}


class _Kind(IntEnum):
    """What llama.cpp does with a token."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


def add_tokenizer(plan: FilePlan, source: Source) -> None:
    """Add the vocabulary, the merges, the special tokens and the chat template.

    Raises:
        CheckpointError: llama.cpp would cut text otherwise than this tokenizer.
    """
    document = read_json(source.folder / "tokenizer.json")
    model = document["model"]
    if model.get("type") != "BPE":
        raise refusal(TARGET, f"{_PART} model", model.get("type"), "BPE")
    tokens, kinds = _vocabulary(document, rows=int(source.config.text_config.vocab_size))
    merges = [tuple(one.split(" ", 1)) if isinstance(one, str) else one for one in model["merges"]]
    rules = TextRules.from_options(source.processor.text_rules)
    if model.get("byte_fallback"):
        _add_characters(plan, document, tokens, merges)
        _add_leading_space(plan, document, chunked=rules.chunked)
    else:
        _add_bytes(plan, document, merges)
    plan.keys["tokenizer.ggml.tokens"] = tokens
    plan.keys["tokenizer.ggml.token_type"] = [int(kind) for kind in kinds]
    _add_special(plan, source)
    template = (source.folder / "chat_template.jinja").read_text(encoding="utf-8")
    plan.keys["tokenizer.chat_template"] = template
    _add_rules(plan, rules, template)
    if "NFC" in _types(document.get("normalizer")):
        plan.notes.append(
            "llama.cpp does not compose letters and their accents (NFC) as the tokenizer does."
        )


def _vocabulary(document: dict[str, Any], *, rows: int) -> tuple[list[str], list[_Kind]]:
    """Return a text and a kind for every row of the token table.

    Raises:
        CheckpointError: a token's id lies behind the table.
    """
    model = document["model"]
    known: dict[int, tuple[str, _Kind]] = {}
    for text, number in model["vocab"].items():
        byte = model.get("byte_fallback") and len(text) == 6 and text.startswith("<0x")
        known[number] = (text, _Kind.BYTE if byte else _Kind.NORMAL)
    for one in document["added_tokens"]:
        kind = _Kind.CONTROL if one["special"] else _Kind.USER_DEFINED
        known[one["id"]] = (one["content"], kind)
    unknown = model.get("unk_token")
    if unknown in model["vocab"]:
        known[model["vocab"][unknown]] = (unknown, _Kind.UNKNOWN)
    if max(known) >= rows:
        raise refusal(TARGET, f"{_PART} last token", max(known), f"an id below {rows}")
    pairs = [known.get(row, (f"[PAD{row}]", _Kind.UNUSED)) for row in range(rows)]
    return [text for text, _ in pairs], [kind for _, kind in pairs]


def _add_bytes(plan: FilePlan, document: dict[str, Any], merges: list[Any]) -> None:
    split = (_split(document["pre_tokenizer"]), bool(document["model"].get("ignore_merges")))
    if split not in _SPLITS:
        expected = "the rule of " + ", ".join(_SPLITS.values())
        raise refusal(TARGET, f"{_PART} pre_tokenizer", split[0][:60], expected)
    plan.keys["tokenizer.ggml.model"] = "gpt2"
    plan.keys["tokenizer.ggml.pre"] = _SPLITS[split]
    if split[0] == _TEKKEN:
        plan.notes.append("llama.cpp cuts words at capitals of the Latin alphabet alone.")
    plan.keys["tokenizer.ggml.merges"] = [" ".join(pair) for pair in merges]


def _split(rule: dict[str, Any] | None) -> str:
    """Return the expression that cuts words, or ``gpt2`` where it is the byte level's own."""
    steps = rule.get("pretokenizers", [rule]) if rule else []
    found: list[str] = []
    for step in steps:
        if step["type"] == "Split" and "Regex" in step["pattern"] and not step.get("invert"):
            found.append(step["pattern"]["Regex"])
        elif step["type"] == "Digits" and step["individual_digits"]:
            found.append("digits")
        elif step["type"] == "ByteLevel" and not step["add_prefix_space"]:
            found += ["gpt2"] if step.get("use_regex", True) else []
        else:
            found.append(step["type"])
    return " ".join(found)


def _add_characters(
    plan: FilePlan, document: dict[str, Any], tokens: list[str], merges: list[Any]
) -> None:
    """Add scores by which llama.cpp joins the same two pieces first as the list of merges does.

    Raises:
        CheckpointError: one token is made by merges that others stand between: no score says so.
    """
    scores: dict[str, float] = {}
    last = ""
    for rank, (left, right) in enumerate(merges):
        made = left + right
        if made in scores and made != last:
            raise refusal(TARGET, f"{_PART} merges", f"{made!r} at two ranks", "one rank a token")
        scores.setdefault(made, -float(rank))
        last = made
    lowest = -float(len(merges))
    plan.keys["tokenizer.ggml.model"] = "llama"
    plan.keys["tokenizer.ggml.pre"] = "default"
    plan.keys["tokenizer.ggml.scores"] = [scores.get(token, lowest) for token in tokens]


def _add_leading_space(plan: FilePlan, document: dict[str, Any], *, chunked: bool) -> None:
    """Say whether a space comes in front of text; llama.cpp tokenises what media part by itself."""
    rule = document.get("pre_tokenizer") or {}
    spaces = [one for one in rule.get("pretokenizers", [rule]) if one.get("type") == "Metaspace"]
    schemes = {one.get("prepend_scheme", "always") for one in spaces}
    always = "always" in schemes or "Prepend" in _types(document.get("normalizer"))
    first = not always and "first" in schemes
    plan.keys["tokenizer.ggml.add_space_prefix"] = always or (first and chunked)
    if first and chunked:
        plan.notes.append(
            "llama.cpp puts a space before the text behind each special token; the checkpoint "
            "does so at the start and behind media alone, so from the second turn on tokens differ."
        )
    elif first:
        plan.notes.append(
            "the tokenizer puts a space before a text that starts with no special token; "
            "llama.cpp, as exported, never does."
        )
    if always and not chunked:
        plan.notes.append(
            "llama.cpp puts a space before the text behind each medium; the checkpoint does not."
        )


def _add_rules(plan: FilePlan, rules: TextRules, template: str) -> None:
    """Add what the checkpoint's own rules of text need.

    Raises:
        CheckpointError: they write tokens that llama.cpp does not.
    """
    for name, text in (("image_start", rules.image_start), ("image_end", rules.image_end)):
        if text:
            raise refusal(TARGET, f"{_PART} {name}", text, "no text around pictures")
    if rules.start_tokens not in (None, 1):
        raise refusal(TARGET, f"{_PART} start tokens", rules.start_tokens, "1, or the template's")
    if rules.strip:
        plan.notes.append(
            "the checkpoint leaves out white space around each message; llama.cpp keeps it."
        )
    # Otherwise a prompt is what the template writes, and nothing more.
    first = rules.start_tokens == 1 and "bos_token" not in template
    plan.keys["tokenizer.ggml.add_bos_token"] = first
    plan.keys["tokenizer.ggml.add_eos_token"] = False


def _types(step: dict[str, Any] | None) -> set[str]:
    if not step:
        return set()
    return {one["type"] for one in step.get("normalizers", [step])}


def _add_special(plan: FilePlan, source: Source) -> None:
    tokenizer = source.processor.tokenizer
    found = {
        "bos": tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_id,
        "unknown": tokenizer.unk_token_id,
        "padding": tokenizer.pad_token_id,
    }
    generation = source.folder / "generation_config.json"
    ends = read_json(generation).get("eos_token_id") if generation.is_file() else None
    others = [end for end in ends if end != found["eos"]] if isinstance(ends, list) else []
    if others:
        found["eot"] = others[0]
    plan.keys |= {
        f"tokenizer.ggml.{name}_token_id": int(token)
        for name, token in found.items()
        if token is not None
    }
