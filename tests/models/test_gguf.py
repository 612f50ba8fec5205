"""GGUF heads, written here byte by byte: what is read, and that no damage gets past it or hangs it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npcsdk.errors import ModelError
from npcsdk.models.gguf import read_gguf

VALUES: dict[str, Any] = {
    "general.architecture": "gemma2",
    "general.name": "Gemma",
    "gemma2.context_length": 8192,
    "tokenizer.chat_template": "{{ bos_token }}<start_of_turn>",
    "tokenizer.ggml.tokens": ["<pad>", "<eos>", "<bos>", *(f"t{at}" for at in range(200))],
    "tokenizer.ggml.scores": [0.5] * 203,
    "tokenizer.ggml.bos_token_id": 2,
    "tokenizer.ggml.eos_token_id": 1,
    "tokenizer.ggml.add_bos_token": True,
}


def text(value: str, order: str) -> bytes:
    data = value.encode()
    return struct.pack(order + "Q", len(data)) + data


def setting(value: Any, order: str) -> bytes:
    if isinstance(value, bool):
        return struct.pack(order + "I?", 7, value)
    if isinstance(value, int):
        return struct.pack(order + "II", 4, value)
    if isinstance(value, float):
        return struct.pack(order + "If", 6, value)
    if isinstance(value, str):
        return struct.pack(order + "I", 8) + text(value, order)
    first = setting(value[0], order)[:4]
    return (
        struct.pack(order + "I", 9)
        + first
        + struct.pack(order + "Q", len(value))
        + b"".join(setting(item, order)[4:] for item in value)
    )


def gguf(
    values: dict[str, Any] = VALUES, *, version: int = 3, order: str = "<", weights: int | None = None
) -> bytes:
    """A file with two tensors: 64 values of Q8_0 (68 bytes) and, aligned, 8 of F32 (32 bytes)."""
    head = b"GGUF" + struct.pack(order + "IQQ", version, 2, len(values))
    head += b"".join(text(key, order) + setting(value, order) for key, value in values.items())
    head += text("a", order) + struct.pack(order + "IQIQ", 1, 64, 8, 0)
    head += text("b", order) + struct.pack(order + "IQQIQ", 2, 4, 2, 0, 96)
    head += b"\0" * (-len(head) % 32)
    return head + b"\1" * (128 if weights is None else weights)


def test_what_a_file_says_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf())
    head = read_gguf(path)
    assert (head.architecture, head.name, head.context_length) == ("gemma2", "Gemma", 8192)
    assert head.tokens == {"bos_token": "<bos>", "eos_token": "<eos>"}
    assert "<start_of_turn>" in head.chat_template
    assert "tokenizer.ggml.tokens" not in head.values  # a vocabulary is not kept


def test_big_endian_and_version_2(tmp_path: Path) -> None:
    for number, data in enumerate((gguf(order=">"), gguf(version=2))):
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(data)
        assert read_gguf(path).architecture == "gemma2"


def test_the_gguf_package_agrees(tmp_path: Path) -> None:
    package = pytest.importorskip("gguf")
    np = pytest.importorskip("numpy")
    path = tmp_path / "model.gguf"
    writer = package.GGUFWriter(path, "nemotron")
    writer.add_context_length(4096)
    writer.add_token_list(["<unk>", "<s>", "</s>"] + ["x"] * 100)
    writer.add_eos_token_id(2)
    writer.add_tensor("w", np.zeros((8, 256), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    head = read_gguf(path)
    assert (head.architecture, head.context_length) == ("nemotron", 4096)
    assert head.tokens == {"eos_token": "</s>"}
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(ModelError, match="bytes of"):
        read_gguf(path)


@pytest.mark.parametrize("kept", [0, 3, 4, 12, 20, 60, 400, -1, -100])
def test_a_truncated_file_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf()[:kept])
    with pytest.raises(ModelError) as caught:
        read_gguf(path)
    assert caught.value.code == "model_broken"
    assert str(path) in caught.value.message
    assert "Download" in caught.value.hint


@pytest.mark.parametrize(
    "data",
    [
        b"GGML" + gguf()[4:],
        gguf(version=9),
        gguf({key: value for key, value in VALUES.items() if key != "general.architecture"}),
        b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**50),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k", "<") + struct.pack("<IIQ", 9, 9, 2**40),
    ],
)
def test_damage_is_named_and_costs_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        read_gguf(path)
    assert caught.value.code == "model_broken"


@given(at=st.integers(0, 700), byte=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_byte_may_be_wrong(tmp_path: Path, at: int, byte: int) -> None:
    data = bytearray(gguf())
    data[at] = byte
    path = tmp_path / "model.gguf"
    path.write_bytes(bytes(data))
    try:
        read_gguf(path)
    except ModelError as error:
        assert error.code == "model_broken"


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    data = gguf({**VALUES, "split.count": 2})
    first, second = (tmp_path / f"m-{number:05}-of-00002.gguf" for number in (1, 2))
    first.write_bytes(data)
    with pytest.raises(ModelError, match="m-00002-of-00002") as caught:
        read_gguf(first)
    assert caught.value.code == "model_not_found"
    second.write_bytes(data)
    assert read_gguf(first).name == "Gemma"
