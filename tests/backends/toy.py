"""A tokenizer and a model made in a moment: what the tests of the generation loop run on everywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from npcsdk.backends.base import Prompt, Segment
from npcsdk.backends.encoding import TextEncoding
from npcsdk.backends.sampler import Logits
from npcsdk.backends.token_backend import TokenBackend

CONTROL = ["<unk>", "<s>", "</s>", "<extra_id_0>", "<extra_id_1>"]
END = 2
TURN = "<extra_id_1>"
TEXTS = [
    'The iron gate of Veldran opens at dawn. <toolcall> {"name": "open_gate", "arguments": '
    '{"target": "iron gate"}} </toolcall>',
    "Good day, traveller! What brings you to the smithy? Ünïcödé, naïve café, 你好世界, здравствуй, 🗡️🛡️👩‍👩‍👧.",
    "<context> the extra id is 1 </context> <tool> </tool> User Assistant System\n\n",
] * 3


def byte_level() -> Tokenizer:
    """Like GPT-2 and the embedded model."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in CONTROL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def byte_fallback(*, prefix: bool = False) -> Tokenizer:
    """Like Gemma; with ``prefix`` like Llama 2, which puts a space before a text."""
    pieces = [*CONTROL, *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581"]
    pieces += sorted(set("".join(TEXTS[:1])) - set(" \n"))
    pieces += ["th", "\u2581th", "\u2581the", "he", "ga", "\u2581ga", "in", "on", "er"]
    merges = [
        ("t", "h"),
        ("\u2581", "th"),
        ("\u2581th", "e"),
        ("h", "e"),
        ("g", "a"),
        ("\u2581", "ga"),
        ("i", "n"),
    ]
    merges += [("o", "n"), ("e", "r")]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    steps = [normalizers.Prepend("\u2581")] if prefix else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
        + ([decoders.Strip(" ", 1, 0)] if prefix else [])
    )
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in CONTROL])
    return tokenizer


def without_special_flags(tokenizer: Tokenizer) -> Tokenizer:
    """The same with its markers declared as ordinary added tokens, as some published tokenizers have them."""
    content = json.loads(tokenizer.to_str())
    for token in content["added_tokens"]:
        token["special"] = False
    return Tokenizer.from_str(json.dumps(content))


class ToyCache:
    """Its logits depend on every token in order, so that a wrong cache is a wrong reply."""

    def __init__(self, runtime: ToyRuntime) -> None:
        self._runtime = runtime
        self.tokens: list[int] = []
        self._appended = True

    def append(self, ids: Sequence[int]) -> Logits:
        assert len(ids) > 0
        if self._runtime.failures and self._runtime.calls in self._runtime.failures:
            self._runtime.calls += 1
            self.tokens.append(-1)  # What a failing runtime leaves behind is not to be trusted.
            raise RuntimeError("the toy was told to fail")
        self._runtime.calls += 1
        self._runtime.pieces.append(len(ids))
        self.tokens.extend(ids)
        assert len(self.tokens) < self._runtime.context_length
        self._appended = True
        return self._runtime.logits(self.tokens)

    def rewind(self, length: int) -> None:
        assert 0 <= length < len(self.tokens)
        del self.tokens[length:]


class ToyRuntime:
    """Logits are a fixed random function of the tokens so far. ``pieces`` records the size of every append."""

    name = "toy"
    model = "toy"

    def __init__(self, vocabulary: int, *, context_length: int = 512, cache_bytes: int = 1000) -> None:
        self.vocabulary = vocabulary
        self.context_length = context_length
        self.cache_bytes = cache_bytes
        self.ends = (END,)
        self.pieces: list[int] = []
        self.caches = 0
        self.calls = 0
        self.failures: set[int] = set()

    def new_cache(self) -> ToyCache:
        self.caches += 1
        return ToyCache(self)

    def logits(self, tokens: Sequence[int]) -> Logits:
        random = np.random.default_rng([7, *tokens])
        logits = random.normal(size=self.vocabulary).astype(np.float32) * 3
        logits[END] -= 4  # Replies of some length.
        return logits

    def close(self) -> None:
        pass


def toy_backend(
    *, context_length: int = 512, caches: int = 4, tokenizer: Tokenizer | None = None
) -> tuple[TokenBackend, ToyRuntime]:
    encoding = TextEncoding(tokenizer or byte_level())
    runtime = ToyRuntime(encoding.vocabulary, context_length=context_length)
    return TokenBackend(runtime, encoding, budget=caches * runtime.cache_bytes), runtime


def prompt(*lines: str, system: str = "You are the keeper of the iron gate.") -> Prompt:
    """Turns of user and character in Nemotron's spelling, ending where the character speaks."""
    segments = [Segment("<extra_id_0>System\n", control=True), Segment(system), Segment("\n\n", control=True)]
    for at, line in enumerate(lines):
        segments.append(
            Segment("<extra_id_1>User\n" if at % 2 == 0 else "<extra_id_1>Assistant\n", control=True)
        )
        segments += [Segment(line), Segment("\n", control=True)]
    return Prompt((*segments, Segment("<extra_id_1>Assistant\n", control=True)))
