"""A checkpoint's own rules of text, written so that the target's tokenizer follows them by itself.

Checkpoints of LLaVA and VILA were trained on text tokenised between two media by itself:
SentencePiece then puts its dummy space in front of each such piece, and start tokens come first
whatever the template writes. transformers and servers tokenise a prompt in one call, so

* the tokenizer puts the dummy space behind placeholders and the first start token itself, by a
  normalizer that sees them (``normalized`` tokens are found after it has run);
* the template writes as many start tokens as the checkpoint was trained on, and what stands around
  pictures.

`need_same_tokens` then compares the ids of a few dialogues; nothing is exported that differs.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

from hocket._errors import CheckpointError, DataError
from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.chat.template import to_messages
from hocket.checkpoint.export import ACCEPT, RULED, Source
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.tokens.text import TextRules
from hocket.tokens.tokenizer import AUDIO, IMAGE, VIDEO

_SPACE = "\u2581"
_QUESTIONS = ("\nWhat is this? Say it in 12 words.", "Is it  green? 'No'")
_ANSWER = "A cat, I think."
# Jinja for what `TextRules` does to the content of a message.
_FRAME = """\
{{%- set framed = namespace(turns=[]) -%}}
{{%- for message in messages -%}}
  {{%- set content = message.content or [] -%}}
  {{%- set content = [{{'type': 'text', 'text': content}}] if content is string else content -%}}
  {{%- set turn = namespace(parts=[]) -%}}
  {{%- for part in content -%}}
    {{%- if part.type == 'image' -%}}
      {{%- set turn.parts = turn.parts + [{{'type': 'text', 'text': {before}}}, part,
          {{'type': 'text', 'text': {behind}}}] -%}}
    {{%- elif part.type == 'text' and {strip} -%}}
      {{%- set text = part.text.lstrip() if loop.first else part.text -%}}
      {{%- set text = text.rstrip() if loop.last else text -%}}
      {{%- set turn.parts = turn.parts + [dict(part, text=text)] -%}}
    {{%- else -%}}
      {{%- set turn.parts = turn.parts + [part] -%}}
    {{%- endif -%}}
  {{%- endfor -%}}
  {{%- set framed.turns = framed.turns + [dict(message, content=turn.parts)] -%}}
{{%- endfor -%}}
{{%- set messages = framed.turns -%}}
"""


def follow_in_tokenizer(source: Source, document: dict[str, Any]) -> dict[str, Any]:
    """Return a ``tokenizer.json`` that puts dummy spaces where the checkpoint was trained on them.

    Args:
        source: the checkpoint.
        document: its ``tokenizer.json``.
    """
    rules = TextRules.from_options(source.processor.text_rules)
    start = source.processor.tokenizer.bos_token
    replacement = _dummy_space(document.get("pre_tokenizer"))
    behind = [re.escape(one) for one in (IMAGE, VIDEO, AUDIO)] if rules.chunked else []
    if rules.start_tokens == 1 and start is not None:
        behind.append(r"\A" + re.escape(start))
    if replacement is None or not behind:
        return document
    tokens = [dict(token, normalized=True) for token in document["added_tokens"]]
    nothing = [r"\z", *(re.escape(token["content"]) for token in tokens)]
    if replacement == _SPACE:
        # This step prepends nothing to text that starts with its own character.
        nothing += [" ", _SPACE]
    step = {
        "type": "Replace",
        "pattern": {"Regex": f"(?<={'|'.join(behind)})(?!{'|'.join(nothing)})"},
        "content": _SPACE,
    }
    first = document.get("normalizer")
    steps = [] if first is None else first.get("normalizers", [first])
    return document | {
        "added_tokens": tokens,
        "normalizer": {"type": "Sequence", "normalizers": [*steps, step]},
    }


def follow_in_template(source: Source) -> str:
    """Return what stands in front of the chat template so that it writes what the rules say."""
    head = _frame(source) + _starts(source)
    return RULED + head if head else ""


def _frame(source: Source) -> str:
    """Return what puts text around pictures and strips messages."""
    rules = TextRules.from_options(source.processor.text_rules)
    if not (rules.image_start or rules.image_end or rules.strip):
        return ""
    return _FRAME.format(
        before=json.dumps(rules.image_start),
        behind=json.dumps(rules.image_end),
        strip="true" if rules.strip else "false",
    )


def _starts(source: Source) -> str:
    """Return what writes as many start tokens as the rules say, with those of the template."""
    wanted = TextRules.from_options(source.processor.text_rules).start_tokens
    start = source.processor.tokenizer.bos_token
    if wanted is None or start is None:
        return ""
    text = _render(source, source.processor.chat_template, _dialogues(source)[0])
    rest = text
    while rest.startswith(start):
        rest = rest.removeprefix(start)
    written = (len(text) - len(rest)) // len(start)
    if written <= wanted:
        missing = start * (wanted - written)
        return f"{{{{- {json.dumps(missing)} -}}}}\n" if missing else ""
    return f"{{%- set bos_token = '' -%}}\n{{{{- {json.dumps(start * wanted)} -}}}}\n"


def need_same_tokens(
    source: Source, folder: Path, *, accept: bool, renamed: Mapping[int, int] | None = None
) -> list[str]:
    """Compare the ids that the exported tokenizer and template make with the checkpoint's.

    Args:
        source: the checkpoint.
        folder: the export, with its tokenizer and chat template.
        accept: return a note about a difference in place of refusing it.
        renamed: id of a placeholder here -> its id there.

    Raises:
        CheckpointError: they differ.
    """
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    for dialogue in _dialogues(source):
        try:
            ids = source.processor.text.encode(dialogue, for_answer=True).ids
        except DataError:
            continue  # The chat template has no such dialogues, here as there.
        ours = [(renamed or {}).get(one, one) for one in ids]
        text = _render(source, template, dialogue)
        theirs = tokenizer(text, add_special_tokens=False)["input_ids"]
        if ours == theirs:
            continue
        found = (
            f"the exported tokenizer makes {len(theirs)} tokens of a dialogue of "
            f"{len(dialogue.messages)} messages, the checkpoint {len(ours)}"
        )
        if accept:
            return [f"{found}; accepted."]
        raise CheckpointError(
            f"the target cannot express model.tokenizer with {_ruled(source)}: {found}. Choose "
            f"another target, or add --accept {ACCEPT} to write it all the same."
        )
    return []


def _ruled(source: Source) -> str:
    rules = source.processor.text_rules or {}
    return ", ".join(f"{name} {value}" for name, value in rules.items()) or "its pre_tokenizer"


def _dialogues(source: Source) -> list[Conversation]:
    """Return dialogues of text, and with each medium that the model takes."""
    picture = Image.from_array(np.zeros((8, 8, 3), np.uint8))
    media: list[Image | Audio] = [picture] if source.processor.images else []
    if source.processor.sounds:
        rate = source.processor.sounds.rate
        media.append(Audio.from_array(np.zeros(rate, np.float32), rate=rate))
    asked = Message(Role.USER, (Text(_QUESTIONS[0]),))
    answer = Message(Role.ASSISTANT, (Text(_ANSWER),))
    found = [(asked,), (asked, answer, Message(Role.USER, (Text(_QUESTIONS[1]),)))]
    for one in media:
        first = Message(Role.USER, (one, Text(_QUESTIONS[0])))
        last = Message(Role.USER, (Text(_QUESTIONS[1]), one))
        found += [(first,), (first, answer, last)]
    return [
        Conversation(id=str(at), messages=messages, source="a dialogue to compare")
        for at, messages in enumerate(found)
    ]


def _render(source: Source, template: str, dialogue: Conversation) -> str:
    texts, _ = render_jinja_template(
        conversations=[copy.deepcopy(to_messages(dialogue))],
        chat_template=template,
        add_generation_prompt=True,
        **source.processor.tokenizer.special_tokens_map,
    )
    return str(texts[0])


def _dummy_space(step: dict[str, Any] | None) -> str | None:
    """Return the character of the step that prepends a space to the first text alone, or None."""
    for one in [] if step is None else step.get("pretokenizers", [step]):
        if one["type"] == "Metaspace" and one.get("prepend_scheme") == "first":
            return str(one["replacement"])
    return None
