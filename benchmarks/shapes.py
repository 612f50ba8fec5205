"""Models of a given shape with random weights: for speed, what a model says does not matter.

Built with transformers and the builder of onnxruntime-genai into the cache folder, once. That needs PyTorch,
transformers and onnx-ir, which npcsdk itself does not.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks._stretch import BEGUN_WITH, stretch
from benchmarks.harness import Skipped

__all__ = ["B4", "M100", "Shape", "build"]

NEEDED = ("torch", "transformers", "onnx_ir", "onnx")
LARGE = 1_000_000_000
"""Weights from which a model is built small and stretched: the builder would need four bytes of memory for each."""


@dataclass(frozen=True)
class Shape:
    """A Nemotron."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    max_position_embeddings: int = 4096

    @property
    def name(self) -> str:
        return f"nemotron-{self.hidden_size}x{self.num_hidden_layers}"

    @property
    def weights(self) -> int:
        """Numbers in the layers."""
        heads = 2 * (self.num_attention_heads + self.num_key_value_heads) * self.head_dim
        return self.num_hidden_layers * self.hidden_size * (heads + 2 * self.intermediate_size)

    def tokens(self, least: int) -> int:
        """A vocabulary of at least so many. The builder takes any matrix of its height for the last one, so no other
        may be as high."""
        rows = -(-least // 64) * 64
        return rows + 64 if rows in (self.intermediate_size, self.hidden_size) else rows


M100 = Shape(
    hidden_size=1024,
    num_hidden_layers=12,
    num_attention_heads=8,
    num_key_value_heads=4,
    head_dim=128,
    intermediate_size=3072,
)
"""About 100 million parameters beside the embedding, with the tokenizer's small vocabulary."""

B4 = Shape(
    hidden_size=3072,
    num_hidden_layers=32,
    num_attention_heads=24,
    num_key_value_heads=8,
    head_dim=128,
    intermediate_size=9216,
)
"""Nemotron Mini 4B, which has a vocabulary of 256,000."""


def build(
    shape: Shape, tokenizer: Path, cache: Path, *, precision: str = "int4", vocabulary: int = 0
) -> Path:
    """The folder of an ONNX model of this shape with the tokenizer of the model in ``tokenizer``.

    ``vocabulary`` is how many tokens the model knows, where they are to be more than the tokenizer's.

    Raises:
        Skipped: a package that building needs is absent, or building failed.
    """
    out = cache / f"{shape.name}-{f'{vocabulary}-' if vocabulary else ''}{precision}"
    done = out / "shape.json"
    wanted = json.dumps(
        {"recipe": 3, **asdict(shape), "tokenizer": (tokenizer / "tokenizer.json").stat().st_size}
    )
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return out
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Skipped(
            f"building a model of random weights needs {', '.join(missing)}: pip install {' '.join(NEEDED)}"
        )
    import torch
    from tokenizers import Tokenizer
    from transformers import NemotronConfig, NemotronForCausalLM

    known = Tokenizer.from_file(str(tokenizer / "tokenizer.json")).get_vocab_size(with_added_tokens=True)
    large = shape.weights > LARGE
    begun = replace(shape, num_hidden_layers=BEGUN_WITH) if large else shape
    torch.manual_seed(0)
    fields = asdict(begun)
    config = NemotronConfig(
        vocab_size=begun.tokens(known if large else max(vocabulary, known)),
        # The builder knows no other value (it does not read Nemotron's name for it).
        norm_eps=1e-6,
        partial_rotary_factor=0.5,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
        tie_word_embeddings=False,
        **fields,
    )
    shutil.rmtree(out, ignore_errors=True)
    source = out / "source"
    was = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)  # half the memory and disk; it is quantised anyhow
    try:
        NemotronForCausalLM(config).save_pretrained(source)
    finally:
        torch.set_default_dtype(was)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, source / name)
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(out)]
    command += ["-p", precision, "-e", "cpu", "-c", str(out / "cache"), "--extra_options"]
    command += ["hf_token=false", "prune_lm_head=true"]
    env = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if result.returncode:
        raise Skipped(f"the builder of onnxruntime-genai failed: {result.stderr.strip().splitlines()[-1]}")
    if large:
        stretch(out, shape.num_hidden_layers, shape.tokens(max(vocabulary, known)))
    _widen(tokenizer / "tokenizer.json", out / "tokenizer.json", max(vocabulary, known))
    shutil.rmtree(source, ignore_errors=True)
    shutil.rmtree(out / "cache", ignore_errors=True)
    done.write_text(wanted, encoding="utf-8")
    return out


def _widen(tokenizer: Path, out: Path, tokens: int) -> None:
    """The tokenizer with as many tokens as the model; those that are new stand for no text."""
    content = json.loads(tokenizer.read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    last = max([*vocabulary.values(), *(token["id"] for token in content["added_tokens"])])
    vocabulary |= {f"unused {number}": number for number in range(last + 1, tokens)}
    out.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
