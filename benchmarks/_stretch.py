"""A small ONNX model made large: more layers and tokens of the same width, without the memory that a builder takes.

The builder of onnxruntime-genai holds all weights in full precision, which for four billion parameters is more than a
desktop has. For speed it is the same whether weights are alike, as long as each stands in a place of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["BEGUN_WITH", "stretch"]

BEGUN_WITH = 2
"""Layers of the model to begin with: the first, which differs, and one that is repeated."""

_NUMBERED = re.compile(r"(layers|past_key_values|present)\.(\d+)(?=[./])")
_WIDE = ("model.embed_tokens.", "lm_head.")
_ALIGNED, _CHUNK = 4096, 1 << 24


def stretch(folder: Path, layers: int, vocabulary: int) -> None:
    """Give the model in ``folder``, of `BEGUN_WITH` layers, as many ``layers`` and tokens."""
    import onnx

    model: Any = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    graph: Any = model.graph
    narrow = next(one.dims[0] for one in graph.initializer if one.name.startswith(_WIDE[0]))
    nodes = list(graph.node)
    tail = [node for node in nodes if _layer(node.name) == BEGUN_WITH or node.name.startswith("/lm_head")]
    again = [node for node in nodes if _layer(node.name) == BEGUN_WITH - 1]
    more = range(BEGUN_WITH, layers)
    copies = [_shifted(node, number - BEGUN_WITH + 1) for number in more for node in again]
    ends = [_shifted(node, layers - BEGUN_WITH) for node in tail]
    for node in ends:
        for attribute in node.attribute:
            if node.name.startswith("/lm_head") and attribute.name == "N":
                attribute.i = vocabulary
    kept = [node for node in nodes if not any(node is one for one in tail)]
    _set(graph.node, [*kept, *copies, *ends])
    for values in (graph.input, graph.output):
        last = [value for value in values if _layer(value.name) == BEGUN_WITH - 1]
        values.extend(_shifted(value, number - BEGUN_WITH + 1) for number in more for value in last)
    (logits,) = [value for value in graph.output if value.name == "logits"]
    logits.type.tensor_type.shape.dim[-1].dim_value = vocabulary
    del graph.value_info[:]  # the runtime works it out by itself

    weights: list[Any] = []
    for one in graph.initializer:
        number = _layer(one.name)
        weights.append(_shifted(one, layers - BEGUN_WITH) if number == BEGUN_WITH else one)
        if number == BEGUN_WITH - 1:
            weights += [_shifted(one, number - BEGUN_WITH + 1) for number in more]
    with (
        (folder / "model.onnx.data").open("rb") as source,
        (folder / "stretched.data").open("wb") as target,
    ):
        for one in weights:
            times = 1.0
            if one.name.startswith(_WIDE):
                times, one.dims[0] = vocabulary / narrow, vocabulary
            _move(one, times, source, target)
    _set(graph.initializer, weights)
    (folder / "stretched.data").replace(folder / "model.onnx.data")
    (folder / "model.onnx").write_bytes(model.SerializeToString())

    path = folder / "genai_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["model"]["vocab_size"] = vocabulary
    config["model"]["decoder"]["num_hidden_layers"] = layers
    path.write_text(json.dumps(config, indent=4), encoding="utf-8")


def _layer(name: str) -> int:
    """The layer that something belongs to; -1 for none."""
    found = _NUMBERED.search(name)
    return int(found[2]) if found else -1


def _shifted(one: Any, by: int) -> Any:
    """A copy for so many layers later: its own names and those that it refers to."""
    copy = type(one)()
    copy.CopyFrom(one)

    def later(name: str) -> str:
        return _NUMBERED.sub(lambda found: f"{found[1]}.{int(found[2]) + by}", name)

    copy.name = later(copy.name)
    for names in ("input", "output"):
        if hasattr(copy, names):
            _set(getattr(copy, names), [later(name) for name in getattr(copy, names)])
    return copy


def _set(field: Any, values: list[Any]) -> None:
    values = list(values)
    del field[:]
    field.extend(values)


def _move(one: Any, times: float, source: BinaryIO, target: BinaryIO) -> None:
    """Write a weight's numbers to a place of their own, over and over until they suffice."""
    place = {entry.key: entry for entry in one.external_data}
    if not place:
        return
    offset, length = int(place["offset"].value), int(place["length"].value)
    target.seek(-(-target.tell() // _ALIGNED) * _ALIGNED)
    place["offset"].value, wanted = str(target.tell()), round(length * times)
    place["length"].value = str(wanted)
    for piece in _over_and_over(source, offset, length, wanted):
        target.write(piece)


def _over_and_over(source: BinaryIO, offset: int, length: int, wanted: int) -> Iterator[bytes]:
    while wanted:
        source.seek(offset)
        left = min(length, wanted)
        wanted -= left
        while left:
            piece = source.read(min(left, _CHUNK))
            left -= len(piece)
            yield piece
