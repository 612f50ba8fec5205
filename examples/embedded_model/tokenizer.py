# SPDX-License-Identifier: Apache-2.0
"""The tokenizer: byte-level BPE whose words have the same pieces wherever they stand.

A small model answers from context by copying, and copying is easy only when a name is the same
tokens in the passage, at the start of a reply and between the quotes of a tool call. The usual
leading-space pieces break that (`" Vel" "dran"` against `"Vel" "dran"`), so here a space is a piece of
its own, except where it costs nothing: next to a function word, after punctuation, and inside the
fixed spelling of tools and calls. Digits stand alone. A line break is always a piece of its own, so that text
encoded segment by segment and text encoded whole give the same ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from phrases import words
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIALS = ["<pad>", "<unk>", "<s>", "</s>", "<extra_id_0>", "<extra_id_1>"]
PAD, UNK, BOS, EOS, SYSTEM, TURN = range(6)

FUNCTION_WORDS = words("FUNCTION_WORDS")

# The fixed spelling of tools, calls and contexts, longest first.
# Brackets are in classes, and classes are spelled out, because onnxruntime-genai's own regex reader knows no `\{`
# and few `\p`.
LITERALS = [
    r'\.?", "parameters": [{]"type": "object", "properties": [{][}]',
    r'\.?", "parameters": [{]"type": "object", "properties": [{]"',
    r'": [{]"type": "(?:string|integer|boolean|number)"',
    r', "description": "',
    r'", "description": "',
    r', "enum": \["',
    r'"?\]?[}][}], "required": \["?',
    r'"\][}][}] </tool>',
    r"\][}][}] </tool>",
    r'<tool> [{]"name": "',
    r' ?<toolcall> [{]"name": "',
    r'", "arguments": [{][}][}] </toolcall>',
    r'", "arguments": [{]"',
    r'"?[}][}] </toolcall>',
    r"<context> ",
    r" </context>",
]
LETTER = "A-Za-z\u00c0-\u024f"


def _pattern() -> str:
    words = sorted(FUNCTION_WORDS, key=len, reverse=True)
    cased = "|".join(f"[{w[0]}{w[0].upper()}]{w[1:]}" for w in words)
    return "|".join(
        [
            *LITERALS,
            rf" ?(?:{cased})(?![{LETTER}'])(?: (?![<]))?",
            rf"'(?:s|t|re|ll|m|ve|d)(?![{LETTER}])",
            rf"[{LETTER}]+",
            r"[0-9]",
            r"\n",
            r"_",
            rf"(?:[^\s{LETTER}0-9_]+(?: (?![<]))?)+",
            r" ",
            r"\s",
        ]
    )


def new_tokenizer() -> Tokenizer:
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_pattern()), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tok.decoder = decoders.ByteLevel()
    return tok


def train(texts: Iterable[str], vocab_size: int = 3072) -> Tokenizer:
    """Train on rendered conversations; ids 0-5 are the specials in Nemotron's order."""
    tok = new_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[AddedToken(s, special=True, normalized=False) for s in SPECIALS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tok.train_from_iterator(texts, trainer)
    return tok


TEMPLATE = (
    "{{'<extra_id_0>System'}}{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{'\\n' + message['content'].strip()}}{% if tools or contexts %}{{'\\n'}}{% endif %}{% endif %}{% endfor %}"
    "{% if tools %}{% for tool in tools %}{{ '\\n<tool> ' + tool|tojson + ' </tool>' }}{% endfor %}{% endif %}"
    "{% if contexts %}{% if tools %}{{'\\n'}}{% endif %}{% for context in contexts %}"
    "{{ '\\n<context> ' + context.strip() + ' </context>' }}{% endfor %}{% endif %}{{'\\n\\n'}}"
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '<extra_id_1>User\\n' + message['content'].strip() + '\\n' }}{% elif message['role'] == 'assistant' %}"
    "{{ '<extra_id_1>Assistant\\n' + message['content'].strip() + '\\n' }}{% elif message['role'] == 'tool' %}"
    "{{ '<extra_id_1>Tool\\n' + message['content'].strip() + '\\n' }}{% endif %}{% endfor %}"
    "{{'<extra_id_1>Assistant\\n'}}"
)


def save(tok: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json as transformers and onnxruntime-genai read them."""
    folder.mkdir(parents=True, exist_ok=True)
    tok.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 4096,
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
