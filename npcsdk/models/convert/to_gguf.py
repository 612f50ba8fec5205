"""A Hugging Face folder to a GGUF file, as llama.cpp runs it. The owner of `gguf`.

Tensors are written one after the other. Matrices are in the precision that was asked for, everything else in 32 bits;
norms are kept around zero in Hugging Face's files and around one in GGUF.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import gguf as _gguf  # pyright: ignore[reportMissingTypeStubs]
import numpy as np

from npcsdk.errors import ModelError
from npcsdk.models.convert.checkpoint import Checkpoint, Network
from npcsdk.models.convert.plan import Report

__all__ = ["PRECISIONS", "write"]

gguf = cast("Any", _gguf)  # Typed in part only. Everything that it returns is named and typed in this module.

PRECISIONS = ("q8_0", "q4_0", "f16", "f32")
_BLOCK = 32
_EDGES = ("token_embd.weight", "output.weight")
# What splits a text before its bytes are joined, by the name that llama.cpp has for it.
_SPLITS = {"gpt-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"}


def write(checkpoint: Checkpoint, out: Path, precision: str, report: Report) -> None:
    """Write one file, the tokenizer and the chat template in it.

    Raises:
        ModelError: ``model_broken`` (weights are missing), ``model_unsupported`` (a tokenizer of another kind, a
            variant that llama.cpp does not compute) or ``conversion_failed``.
    """
    network = checkpoint.network
    _check(network, checkpoint.folder)
    writer = gguf.GGUFWriter(out, network.family)
    try:
        _settings(writer, network, checkpoint, precision)
        _tokenizer(writer, checkpoint)
        tensors = list(_tensors(checkpoint, precision))
        for tensor in tensors:
            writer.add_tensor_info(
                tensor.name, tensor.shape, np.dtype(np.float32), tensor.bytes, raw_dtype=tensor.kind
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for at, tensor in enumerate(tensors):
            report(tensor.name, at / len(tensors))
            values = checkpoint.weights[tensor.source] + np.float32(tensor.shift)
            writer.write_tensor_data(gguf.quants.quantize(values, tensor.kind))
    except OSError as error:
        raise ModelError(
            f"The file {out} cannot be written: {error}", code="conversion_failed", hint="Check the disk."
        ) from error
    finally:
        writer.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    """One tensor of the file: ``bytes`` long, of a ``kind`` of ggml's, ``source`` and what is added to it."""

    name: str
    source: str
    shape: tuple[int, ...]
    kind: Any
    bytes: int
    shift: float


def _check(network: Network, folder: Path) -> None:
    plain = network.head_size**-0.5
    wide = (
        network.hidden / network.heads
    ) ** -0.5  # what llama.cpp takes for the model of 27 billion parameters
    expected = wide if network.family == "gemma2" and network.layers == 46 else plain
    if abs(network.scale - expected) > 1e-6:
        raise ModelError(
            f"{folder} scales its attention by {network.scale:g}; llama.cpp computes it by {expected:g}.",
            code="model_unsupported",
            hint="Convert it for OpenVINO or ONNX instead.",
        )


def _settings(writer: Any, network: Network, checkpoint: Checkpoint, precision: str) -> None:
    writer.add_name(checkpoint.folder.resolve().name)
    writer.add_context_length(network.context_length)
    writer.add_embedding_length(network.hidden)
    writer.add_block_count(network.layers)
    writer.add_feed_forward_length(network.inner)
    writer.add_head_count(network.heads)
    writer.add_head_count_kv(network.kv_heads)
    writer.add_key_length(network.head_size)
    writer.add_value_length(network.head_size)
    writer.add_rope_freq_base(network.theta)
    writer.add_vocab_size(network.vocabulary)
    if network.family == "nemotron":
        writer.add_layer_norm_eps(network.epsilon)
        writer.add_rope_dimension_count(network.rotary)
    else:
        writer.add_layer_norm_rms_eps(network.epsilon)
    if network.family == "gemma2":
        # Absent means the published model's own, so "none" has to be said too.
        writer.add_sliding_window(network.window or network.context_length)
        writer.add_attn_logit_softcapping(network.attention_cap or 1e9)
        writer.add_final_logit_softcapping(network.final_cap or 1e9)
    kinds = {"q8_0": "MOSTLY_Q8_0", "q4_0": "MOSTLY_Q4_0", "f16": "MOSTLY_F16", "f32": "ALL_F32"}
    writer.add_file_type(getattr(gguf.LlamaFileType, kinds[precision]))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _tensors(checkpoint: Checkpoint, precision: str) -> Iterator[_Tensor]:
    network, weights = checkpoint.network, checkpoint.weights
    architecture = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == network.family)
    names = gguf.get_tensor_name_map(architecture, network.layers)
    made: set[str] = set()
    for source in weights:
        name = names.get_name(source, try_suffixes=(".weight", ".bias"))
        if name is None:
            if source.endswith("rotary_emb.inv_freq"):
                continue
            raise ModelError(
                f"The model has weights that its architecture does not: {source}.",
                code="model_unsupported",
                hint="npcsdk converts these architectures as they were published.",
            )
        if name == "output.weight" and network.tied:
            continue  # the embedding again
        made.add(name)
        yield _tensor(name, source, checkpoint, precision)
    if (
        network.tied and network.family == "nemotron"
    ):  # llama.cpp knows Nemotron with an output of its own only.
        made.add("output.weight")
        yield _tensor("output.weight", "model.embed_tokens.weight", checkpoint, precision)
    for name in _needed(network):
        if name not in made:
            raise ModelError(
                f"The model is incomplete: weights for {name} are missing.",
                code="model_broken",
                hint="Copy or download the model's folder again.",
            )


def _tensor(name: str, source: str, checkpoint: Checkpoint, precision: str) -> _Tensor:
    shape = checkpoint.weights.shape(source)
    kinds = gguf.GGMLQuantizationType
    kind = kinds.F32
    if len(shape) == 2:
        kind = getattr(kinds, precision.upper())
        if kind == kinds.Q4_0 and name in _EDGES:
            kind = kinds.Q8_0
        if kind in (kinds.Q4_0, kinds.Q8_0) and shape[1] % _BLOCK:
            kind = kinds.F16
    per, size = gguf.GGML_QUANT_SIZES[kind]
    count = int(np.prod(shape))
    return _Tensor(
        name=name,
        source=source,
        shape=shape if kind in (kinds.F32, kinds.F16) else (*shape[:-1], shape[-1] // per * size),
        kind=kind,
        bytes=count // per * size,
        shift=1.0 if name.endswith("norm.weight") else 0.0,
    )


def _needed(network: Network) -> Iterator[str]:
    yield from ("token_embd.weight", "output_norm.weight")
    if network.family == "nemotron":
        yield "output.weight"
    parts = ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_up", "ffn_down"]
    parts += [] if network.family == "nemotron" else ["ffn_gate"]
    parts += ["post_attention_norm", "post_ffw_norm"] if network.family == "gemma2" else []
    for layer in range(network.layers):
        yield from (f"blk.{layer}.{part}.weight" for part in parts)


# The tokenizer.


def _tokenizer(writer: Any, checkpoint: Checkpoint) -> None:
    content, network = checkpoint.tokenizer, checkpoint.network
    model = cast("Mapping[str, Any]", content.get("model") or {})
    if model.get("type") != "BPE":
        raise ModelError(
            f"The tokenizer in {checkpoint.folder} is of the kind {model.get('type')}.",
            code="model_unsupported",
            hint="npcsdk converts byte-level BPE and SentencePiece-style BPE to GGUF.",
        )
    vocabulary = cast("Mapping[str, int]", model["vocab"])
    added = {int(item["id"]): item for item in cast("list[dict[str, Any]]", content["added_tokens"])}
    pieces = {number: piece for piece, number in vocabulary.items()}
    pieces |= {number: str(item["content"]) for number, item in added.items()}
    last = max(pieces, default=-1)
    if last >= network.vocabulary:
        raise ModelError(
            f"The tokenizer in {checkpoint.folder} belongs to another model: it has ids up to {last}, the model "
            f"{network.vocabulary}.",
            code="tokenizer_mismatch",
            hint="Copy tokenizer.json from the model's own folder.",
        )
    pairs: list[Any] = model.get("merges") or []
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in pairs]
    every = range(network.vocabulary)
    writer.add_tokenizer_model("gpt2" if _is_byte_level(content) else "llama")
    # The names of ids that nothing spells have to differ.
    writer.add_token_list([pieces.get(number, f"[PAD{number}]") for number in every])
    writer.add_token_types([int(_kind(number, pieces, added, model.get("unk_token"))) for number in every])
    if _is_byte_level(content):
        name = _split_name(content)
        writer.add_tokenizer_pre(name or "gpt-2")
        writer.add_token_merges(merges)
        if not name:
            # llama.cpp has only the splits of known models. npcsdk encodes with the tokenizer itself.
            writer.add_string(gguf.Keys.Tokenizer.HF_JSON, json.dumps(content, ensure_ascii=False))
    else:
        ranks: dict[str, int] = {}
        for rank, merge in enumerate(merges):
            ranks.setdefault(merge.replace(" ", ""), rank)
        writer.add_token_scores([-float(ranks.get(pieces.get(number, ""), len(ranks))) for number in every])
        writer.add_add_space_prefix(_adds_space(content))
    writer.add_eos_token_id(network.ends[0])
    if network.begin is not None:
        writer.add_bos_token_id(network.begin)
    if network.pad is not None and network.pad >= 0:
        writer.add_pad_token_id(network.pad)
    unknown = vocabulary.get(str(model.get("unk_token")))
    if unknown is not None:
        writer.add_unk_token_id(unknown)
    for number in network.ends[1:]:
        writer.add_eot_token_id(number)
        break
    settings = _json(checkpoint.folder / "tokenizer_config.json")
    writer.add_add_bos_token(bool(settings.get("add_bos_token", network.family != "nemotron")))
    template = checkpoint.folder / "chat_template.jinja"
    text: Any = template.read_text(encoding="utf-8") if template.is_file() else settings.get("chat_template")
    if isinstance(text, str) and text:
        writer.add_chat_template(text)


def _kind(number: int, pieces: Mapping[int, str], added: Mapping[int, Any], unknown: Any) -> Any:
    kinds = gguf.TokenType
    if number not in pieces:
        return kinds.UNUSED
    piece = pieces[number]
    if piece == unknown:
        return kinds.UNKNOWN
    if number in added:
        return kinds.CONTROL if added[number].get("special") else kinds.USER_DEFINED
    return kinds.BYTE if len(piece) == 6 and piece.startswith("<0x") else kinds.NORMAL


def _is_byte_level(content: Mapping[str, Any]) -> bool:
    return any(part.get("type") == "ByteLevel" for part in _parts(content.get("decoder")))


def _split_name(content: Mapping[str, Any]) -> str:
    """llama.cpp's name for how a text is split; "" where it has none."""
    parts = _parts(content.get("pre_tokenizer"))
    if [part.get("type") for part in parts] == ["ByteLevel"] and not content.get("normalizer"):
        return "gpt-2" if parts[0].get("use_regex", True) and not parts[0].get("add_prefix_space") else ""
    if [part.get("type") for part in parts] == ["Split", "ByteLevel"] and not parts[1].get("use_regex", True):
        pattern = cast("Mapping[str, Any]", parts[0].get("pattern") or {}).get("Regex")
        return next((name for name, known in _SPLITS.items() if known == pattern), "")
    return ""


def _adds_space(content: Mapping[str, Any]) -> bool:
    if any(part.get("type") == "Prepend" for part in _parts(content.get("normalizer"))):
        return True
    spaces = [part for part in _parts(content.get("pre_tokenizer")) if part.get("type") == "Metaspace"]
    return any(part.get("prepend_scheme", "always") != "never" for part in spaces)


def _parts(part: Any) -> list[Mapping[str, Any]]:
    """The members of a ``Sequence``, or the one part itself."""
    if not isinstance(part, dict):
        return []
    state = cast("dict[str, Any]", part)
    for key in ("normalizers", "pretokenizers", "decoders"):
        if key in state:
            return [inner for member in state[key] for inner in _parts(member)]
    return [state]


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
