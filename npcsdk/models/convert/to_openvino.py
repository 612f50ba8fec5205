"""A Hugging Face folder to OpenVINO IR, as OpenVINO GenAI runs it. The owner of `openvino` among the converters.

The network is written node by node instead of traced by an exporter: exporters follow versions of transformers and
leave Nemotron out, while these three architectures are a page of operations each. What OpenVINO GenAI looks for in a
graph (a state for each layer, reordered by ``beam_idx`` and joined with what is new, then scaled dot product attention)
is written as it looks for it, so that its paged cache and its continuous batching apply.

Precisions: fp32, fp16; int8 (one scale for each row); int4 (groups of numbers with a scale and a zero each, and int8
for the embedding and the output, which lose most). Gemma 2's soft cap of attention scores has no place in the paged
attention and is left out, as in published files and as transformers does with ``sdpa``.
"""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from npcsdk.errors import MissingExtra, ModelError
from npcsdk.models.convert.checkpoint import Checkpoint, Floats, Network
from npcsdk.models.convert.plan import Report, copy_side_files

__all__ = ["PRECISIONS", "write"]

# To import openvino reports to Google Analytics, from a process that it forks. Nothing leaves the player's machine
# unasked: where the reporter cannot be imported, openvino goes without.
sys.modules.setdefault("openvino_telemetry", cast("Any", None))
# Both are typed in part only. Everything that they return is named and typed in this module.
openvino: Any = importlib.import_module("openvino")
op: Any = openvino.opset13

PRECISIONS = ("int8", "int4", "fp16", "fp32")
_GROUPS = (64, 128, 32)
_LARGE = np.float32(np.finfo(np.float16).min)


def write(checkpoint: Checkpoint, out: Path, precision: str, report: Report) -> None:
    """Write a folder for OpenVINO GenAI: the model, its tokenizer in both directions, and the configuration.

    Raises:
        ModelError: ``model_broken`` (weights are missing) or ``conversion_failed``.
        MissingExtra: ``openvino-tokenizers`` or ``transformers`` is not installed.
    """
    tokenizers = _tokenizers(checkpoint)
    model = _Graph(checkpoint, precision, report).model()
    report("writing openvino_model.xml", 0.95)
    try:
        openvino.save_model(model, str(out / "openvino_model.xml"), compress_to_fp16=precision == "fp16")
        for name, part in zip(("openvino_tokenizer", "openvino_detokenizer"), tokenizers, strict=True):
            openvino.save_model(part, str(out / f"{name}.xml"), compress_to_fp16=False)
    except Exception as error:  # a full disk, or what the library finds wrong with a graph
        raise ModelError(
            f"OpenVINO cannot write the model: {error}",
            code="conversion_failed",
            hint="Check the room on the disk, and the version of openvino.",
        ) from error
    copy_side_files(checkpoint, out)


class _Graph:
    """One network on its way into a graph."""

    def __init__(self, checkpoint: Checkpoint, precision: str, report: Report) -> None:
        self.network: Network = checkpoint.network
        self.weights = checkpoint.weights
        self.precision = precision
        self.report = report
        self.states: list[Any] = []

    def model(self) -> Any:
        network = self.network
        ids = _input("input_ids", "int64", [-1, -1])
        seen = _input("attention_mask", "int64", [-1, -1])
        positions = _input("position_ids", "int64", [-1, -1])
        beams = _input("beam_idx", "int32", [-1])
        table = self.matrix("model.embed_tokens.weight", edge=True)
        x = op.gather(table, op.convert(ids, "i32"), _i(0))
        if network.family != "nemotron":
            x = op.multiply(x, _f(np.float32(network.hidden**0.5)))
        batch = op.gather(op.shape_of(ids), _i([0]), _i(0))
        turned = self.rotation(positions)
        masks = self.masks(ids, seen)
        for layer in range(network.layers):
            self.report(f"layer {layer + 1} of {network.layers}", 0.9 * layer / network.layers)
            mask = masks[1] if network.window and layer % 2 == 0 else masks[0]
            x = self.layer(f"model.layers.{layer}", layer, x, turned, mask, beams, batch)
        x = self.norm("model.norm", x)
        head = table if network.tied else self.matrix("lm_head.weight", edge=True)
        logits = op.matmul(x, head, False, True)
        if network.final_cap:
            cap = _f(network.final_cap)
            logits = op.multiply(op.tanh(op.divide(logits, cap)), cap)
        logits.output(0).tensor.set_names({"logits"})
        result = op.result(logits)
        return openvino.Model([result], self.states, [ids, seen, positions, beams], network.family)

    def layer(self, name: str, layer: int, x: Any, turned: Any, mask: Any, beams: Any, batch: Any) -> Any:
        family = self.network.family
        inside = self.norm(f"{name}.input_layernorm", x)
        said = self.attention(f"{name}.self_attn", layer, inside, turned, mask, beams, batch)
        if family == "gemma2":
            said = self.norm(f"{name}.post_attention_layernorm", said)
        x = op.add(x, said)
        before = "pre_feedforward_layernorm" if family == "gemma2" else "post_attention_layernorm"
        inside = self.norm(f"{name}.{before}", x)
        up = self.linear(f"{name}.mlp.up_proj", inside)
        if family == "nemotron":
            up = op.relu(up)
            inner = op.multiply(up, up)
        else:
            gate = op.gelu(self.linear(f"{name}.mlp.gate_proj", inside), "tanh")
            inner = op.multiply(gate, up)
        thought = self.linear(f"{name}.mlp.down_proj", inner)
        if family == "gemma2":
            thought = self.norm(f"{name}.post_feedforward_layernorm", thought)
        return op.add(x, thought)

    def attention(self, name: str, layer: int, x: Any, turned: Any, mask: Any, beams: Any, batch: Any) -> Any:
        network = self.network
        query = self.rotate(self.heads(f"{name}.q_proj", x, network.heads), turned)
        key = self.rotate(self.heads(f"{name}.k_proj", x, network.kv_heads), turned)
        value = self.heads(f"{name}.v_proj", x, network.kv_heads)
        keys = self.remember(f"past_key_values.{layer}.keypresent.{layer}.key", key, beams, batch)
        values = self.remember(f"past_key_values.{layer}.valuepresent.{layer}.value", value, beams, batch)
        seen = op.scaled_dot_product_attention(
            query, self.spread(keys), self.spread(values), mask, _f(network.scale), False
        )
        joined = op.reshape(
            op.transpose(seen, _i([0, 2, 1, 3])), _i([0, 0, network.heads * network.head_size]), True
        )
        return self.linear(f"{name}.o_proj", joined)

    def heads(self, name: str, x: Any, count: int) -> Any:
        split = op.reshape(self.linear(name, x), _i([0, 0, count, self.network.head_size]), True)
        return op.transpose(split, _i([0, 2, 1, 3]))

    def remember(self, name: str, new: Any, beams: Any, batch: Any) -> Any:
        """All keys or values so far: a state of the model, which grows by what is new."""
        heads, size = self.network.kv_heads, self.network.head_size
        empty = op.broadcast(_f(0.0), op.concat([batch, _i([heads]), _i([0]), _i([size])], 0))
        place = openvino.op.util.VariableInfo()
        place.data_shape = openvino.PartialShape([-1, heads, -1, size])
        place.data_type = openvino.Type.f32
        place.variable_id = name
        variable = openvino.op.util.Variable(place)
        past = op.gather(op.read_value(empty, variable), beams, _i(0))
        whole = op.concat([past, new], 2)
        self.states.append(op.assign(whole, variable))
        return whole

    def spread(self, whole: Any) -> Any:
        """Several query heads share one of keys and values."""
        network = self.network
        times = network.heads // network.kv_heads
        if times == 1:
            return whole
        wide = op.broadcast(
            op.unsqueeze(whole, _i(2)), _i([1, 1, times, 1, 1]), broadcast_spec="BIDIRECTIONAL"
        )
        return op.reshape(wide, _i([0, network.heads, -1, network.head_size]), True)

    def rotation(self, positions: Any) -> tuple[Any, Any]:
        """Cosine and sine of every position, for each number of a head that is rotated."""
        size = self.network.rotary
        speeds = self.network.theta ** (-np.arange(0, size, 2, dtype=np.float32) / size)
        angles = op.multiply(op.convert(op.unsqueeze(positions, _i(-1)), "f32"), _f(speeds.reshape(1, 1, -1)))
        both = op.unsqueeze(op.concat([angles, angles], -1), _i(1))
        return op.cos(both), op.sin(both)

    def rotate(self, x: Any, turned: tuple[Any, Any]) -> Any:
        size, whole = self.network.rotary, self.network.head_size
        rest = None
        if size < whole:
            rest = op.slice(x, _i([size]), _i([whole]), _i([1]), _i([3]))
            x = op.slice(x, _i([0]), _i([size]), _i([1]), _i([3]))
        late = op.slice(x, _i([size // 2]), _i([size]), _i([1]), _i([3]))
        early = op.slice(x, _i([0]), _i([size // 2]), _i([1]), _i([3]))
        half = op.concat([op.multiply(late, _f(-1.0)), early], -1)
        x = op.add(op.multiply(x, turned[0]), op.multiply(half, turned[1]))
        return x if rest is None else op.concat([x, rest], -1)

    def masks(self, ids: Any, seen: Any) -> tuple[Any, Any]:
        """What a token may look at: all that came before, and the same within a window.

        The second is written as the paged attention recognises a window: by the operations around its length.
        """
        total = op.gather(op.shape_of(seen), _i(1), _i(0))
        now = op.gather(op.shape_of(ids), _i(1), _i(0))
        keys = op.unsqueeze(op.range(_i(0), total, _i(1), "i64"), _i([0, 1, 2]))
        queries = op.unsqueeze(op.range(op.subtract(total, now), total, _i(1), "i64"), _i([0, 1, 3]))
        valid = op.unsqueeze(op.convert(seen, "boolean"), _i([1, 2]))
        before = op.less_equal(keys, queries)
        shape = op.concat(
            [
                op.gather(op.shape_of(ids), _i([0]), _i(0)),
                _i([1]),
                op.unsqueeze(now, _i(0)),
                op.unsqueeze(total, _i(0)),
            ],
            0,
        )
        free, held = _f(0.0), _f(_LARGE)
        plain = op.select(op.broadcast(op.bitwise_and(before, valid), shape), free, held)
        if not self.network.window:
            return plain, plain
        yes = op.constant(np.array(True))
        near = op.greater(keys, op.add(queries, _i(-self.network.window)))
        every = op.bitwise_and(yes, op.bitwise_and(op.bitwise_and(yes, near), before))
        chosen = op.select(op.broadcast(op.bitwise_and(every, valid), shape), free, held)
        return plain, op.slice(chosen, _i([0]), op.unsqueeze(total, _i(0)), _i([1]), _i([3]))

    def norm(self, name: str, x: Any) -> Any:
        scale = self.weights[f"{name}.weight"] + 1  # Kept around zero in the files.
        if self.network.family == "nemotron":
            plain = op.mvn(x, _i([-1]), True, self.network.epsilon, "INSIDE_SQRT")
            return op.add(op.multiply(plain, _f(scale)), _f(self.weights[f"{name}.bias"]))
        mean = op.reduce_mean(op.power(x, _f(2.0)), _i([-1]), True)
        root = op.sqrt(op.add(mean, _f(self.network.epsilon)))
        return op.multiply(op.multiply(x, op.divide(_f(1.0), root)), _f(scale))

    def linear(self, name: str, x: Any) -> Any:
        y = op.matmul(x, self.matrix(f"{name}.weight"), False, True)
        bias = f"{name}.bias"
        return op.add(y, _f(self.weights[bias])) if bias in self.weights else y

    def matrix(self, name: str, *, edge: bool = False) -> Any:
        """A weight matrix in the precision that was asked for; ``edge``: the embedding or the output."""
        values = self.weights[name]
        if self.precision == "int8" or (self.precision == "int4" and edge):
            return _int8(values)
        if self.precision == "int4":
            group = next((size for size in _GROUPS if values.shape[1] % size == 0), 0)
            return _int4(values, group) if group else _int8(values)
        return _f(values)


# Constants, and weights of few bits with what makes numbers of them.


def _input(name: str, kind: str, shape: list[int]) -> Any:
    node = op.parameter(shape, np.dtype(kind), name)
    node.set_friendly_name(name)  # The paged attention looks for some by this name, for others by the next.
    node.output(0).tensor.set_names({name})
    return node


def _i(value: Any) -> Any:
    return op.constant(np.array(value, dtype=np.int64))


def _f(value: Any) -> Any:
    return op.constant(np.array(value, dtype=np.float32))


def _int8(values: Floats) -> Any:
    """Symmetric, one scale for each row."""
    largest = np.abs(values).max(axis=1, keepdims=True)
    scale = _half(largest / 127)
    whole = np.clip(np.rint(values / _safe(scale)), -127, 127).astype(np.int8)
    wide = op.multiply(op.convert(op.constant(whole), "f16"), op.constant(scale))
    return op.convert(wide, "f32")


def _int4(values: Floats, group: int) -> Any:
    """From 0 to 15, with a scale and a zero for each ``group`` numbers of a row."""
    rows, columns = values.shape
    parts = values.reshape(rows, columns // group, group)
    low = np.minimum(parts.min(axis=2, keepdims=True), 0)
    high = np.maximum(parts.max(axis=2, keepdims=True), 0)
    scale = _half((high - low) / 15)
    zero = np.clip(np.rint(-low / _safe(scale)), 0, 15)
    whole = np.clip(np.rint(parts / _safe(scale)) + zero, 0, 15).astype(np.uint8)
    wide = op.subtract(op.convert(_four(whole), "f16"), op.convert(_four(zero.astype(np.uint8)), "f16"))
    wide = op.reshape(op.multiply(wide, op.constant(scale)), _i([rows, columns]), False)
    return op.convert(wide, "f32")


def _half(scale: Floats) -> NDArray[np.float16]:
    return scale.astype(np.float16)


def _safe(scale: NDArray[np.float16]) -> Floats:
    """To divide by: rows of zeros, and those too small for 16 bits, stay zero."""
    wide = scale.astype(np.float32)
    return np.where(wide > 0, wide, np.float32(np.inf))


def _four(values: NDArray[np.uint8]) -> Any:
    flat = values.reshape(-1)
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    packed = flat[0::2] | (flat[1::2] << 4)
    tensor = openvino.Tensor(openvino.Type.u4, openvino.Shape(list(values.shape)))
    tensor.data.reshape(-1)[:] = packed  # A tensor made of the array would borrow its memory, and outlive it.
    return openvino.op.Constant(tensor)


def _tokenizers(checkpoint: Checkpoint) -> tuple[Any, Any]:
    """The tokenizer as two graphs, text to ids and back. OpenVINO GenAI wants them even where it is given ids."""
    try:
        convert: Any = importlib.import_module("openvino_tokenizers").convert_tokenizer
        transformers: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtra(
            f"Converting a tokenizer for OpenVINO needs the package {(error.name or '').replace('_', '-')!r}.",
            hint='Install what converting needs: pip install "npcsdk[convert]"',
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tokenizer = transformers.PreTrainedTokenizerFast(
                tokenizer_file=str(checkpoint.folder / "tokenizer.json"), **_named(checkpoint)
            )
            logger = logging.getLogger("openvino_tokenizers")
            before, _ = logger.level, logger.setLevel(logging.ERROR)
            try:
                there, back = convert(tokenizer, with_detokenizer=True)
            finally:
                logger.setLevel(before)
    except Exception as error:  # Whatever the library makes of a tokenizer.
        raise ModelError(
            f"The tokenizer of {checkpoint.folder} cannot be converted for OpenVINO: {error}",
            code="conversion_failed",
            hint="Check tokenizer.json; only byte-level BPE and SentencePiece-style tokenizers have been tried.",
        ) from error
    return there, back


def _named(checkpoint: Checkpoint) -> Mapping[str, str]:
    """Spellings of the control tokens that the configuration names by id."""
    added = cast("list[dict[str, Any]]", checkpoint.tokenizer.get("added_tokens") or [])
    spelled = {int(item["id"]): str(item["content"]) for item in added}
    network = checkpoint.network
    ids = {"bos_token": network.begin, "eos_token": network.ends[0], "pad_token": network.pad}
    return {name: spelled[number] for name, number in ids.items() if number is not None and number in spelled}
