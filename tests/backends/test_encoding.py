"""No text becomes a control token; what tokens say is put together without loss."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from tokenizers import decoders as token_decoders

from npcsdk.backends.base import Prompt, Segment
from npcsdk.backends.encoding import TextEncoding
from npcsdk.backends.text_stream import TextStream
from npcsdk.errors import ModelError
from tests.backends.toy import CONTROL, END, byte_fallback, byte_level, prompt, without_special_flags

ENCODINGS = {
    "byte-level": TextEncoding(byte_level()),
    "byte-fallback": TextEncoding(byte_fallback()),
    "byte-fallback, prefix": TextEncoding(byte_fallback(prefix=True)),
    "markers not special": TextEncoding(without_special_flags(byte_level())),
    "markers not special, fallback": TextEncoding(without_special_flags(byte_fallback())),
}
PLAIN = {
    "byte-level": byte_level(),
    "byte-fallback": byte_fallback(),
    "byte-fallback, prefix": byte_fallback(prefix=True),
}
every_encoding = pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS.keys())

hostile = st.lists(
    st.one_of(
        st.sampled_from([*CONTROL, "<extra_id_", "1>", "<", "/s>", " ", "\n", "\u2581", "<0x3C>", "<0x0A>"]),
        st.text(max_size=5),
    ),
    max_size=8,
).map("".join)


@every_encoding
@given(text=hostile)
@settings(max_examples=80, deadline=None)
def test_text_never_becomes_a_control_token(encoding: TextEncoding, text: str) -> None:
    assert encoding.control.isdisjoint(encoding.encode_text(text))
    segments = (Segment("<extra_id_1>", control=True), Segment(text))
    ids = encoding.encode(Prompt(segments))
    assert [number for number in ids if number in encoding.control] == [encoding.token_id("<extra_id_1>")]


@every_encoding
@pytest.mark.parametrize("marker", CONTROL)
def test_a_marker_split_over_segments_anywhere_stays_text(encoding: TextEncoding, marker: str) -> None:
    for at in range(len(marker) + 1):
        for first_is_control in (False, True):
            # Even where one half is ours: only a whole marker inside one control segment is a marker.
            if first_is_control and at == len(marker):
                continue
            ids = encoding.encode(
                Prompt((Segment(marker[:at], control=first_is_control), Segment(marker[at:])))
            )
            assert encoding.control.isdisjoint(ids)


@pytest.mark.parametrize("name", PLAIN)
@given(text=st.text(alphabet="the gate <>\nin/né你🗡 ", max_size=30))
@settings(max_examples=60, deadline=None)
def test_harmless_text_is_encoded_as_the_tokenizer_itself_would(name: str, text: str) -> None:
    encoding = ENCODINGS[name]
    whole = f"<extra_id_0>System\n{text}\n\n<extra_id_1>User\n{text}"
    segments = (
        Segment("<extra_id_0>System\n", control=True),
        Segment(text),
        Segment("\n\n<extra_id_1>User\n", control=True),
        Segment(text),
    )
    assert encoding.encode(Prompt(segments)) == PLAIN[name].encode(whole, add_special_tokens=False).ids


def test_a_marker_in_text_is_encoded_as_the_letters_that_it_is() -> None:
    plain = byte_level()
    plain.encode_special_tokens = True
    text = "say </s> or <extra_id_1>"
    assert ENCODINGS["byte-level"].encode_text(text) == plain.encode(text, add_special_tokens=False).ids


@every_encoding
def test_given_ids_are_used_as_they_are(encoding: TextEncoding) -> None:
    ids = (70, 71, 9)
    got = encoding.encode(
        Prompt((Segment("<s>", control=True), Segment("ignored", ids=ids), Segment(" the", control=True)))
    )
    assert got[:4] == [encoding.token_id("<s>"), *ids]


@every_encoding
def test_a_longer_conversation_begins_with_the_tokens_of_the_shorter(encoding: TextEncoding) -> None:
    before = encoding.encode(prompt("Open the gate!"))
    reply = tuple(encoding.encode_text(" the gate is open"))
    longer = Prompt(
        (
            *prompt("Open the gate!").segments,
            Segment(encoding.decode(reply), ids=reply),
            Segment("\n<extra_id_1>User\n", control=True),
            Segment("Thanks"),
        )
    )
    after = encoding.encode(longer)
    assert after[: len(before) + len(reply)] == [*before, *reply]


@every_encoding
@given(text=st.text(max_size=40))
@settings(max_examples=80, deadline=None)
def test_text_goes_there_and_back_token_by_token(encoding: TextEncoding, text: str) -> None:
    ids = encoding.encode_text(text)
    stream, said = TextStream(), ""
    for number in ids:
        piece = stream.push(number, encoding.bytes_of(number))
        said += piece.text if piece else ""
    last = stream.finish()
    # SentencePiece's own sign for a space cannot be told from one.
    expected = text.replace("\u2581", " ") if _sentencepiece(encoding) else text
    assert said + (last.text if last else "") == expected
    assert encoding.count(text) == len(ids)


def _sentencepiece(encoding: TextEncoding) -> bool:
    return '"ByteFallback"' in encoding.json()


def test_a_vocabulary_that_spells_a_marker_is_held_off() -> None:
    """Merges that build ``</s>`` from letters, as a careless vocabulary might have."""
    vocabulary = {"<unk>": 0, "</s>": 1, "<": 2, "/": 3, "s": 4, ">": 5, "</": 6, "s>": 7}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("<", "/"), ("s", ">"), ("</", "s>")], unk_token="<unk>"))
    tokenizer.decoder = token_decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("</s>", special=True, normalized=False)])
    encoding = TextEncoding(tokenizer)
    ids = encoding.encode_text("s</s></s>")
    assert encoding.control.isdisjoint(ids)
    assert encoding.decode(ids) == "s</s></s>"


def test_white_space_tokens_are_text() -> None:
    content = json.loads(byte_level().to_str())
    content["added_tokens"].append(
        {
            "id": 400,
            "content": "\n\n",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": False,
        }
    )
    encoding = TextEncoding(Tokenizer.from_str(json.dumps(content)))
    ids = encoding.encode_text("a\n\nb")
    assert 400 in ids
    assert encoding.decode(ids) == "a\n\nb"


def test_a_dummy_prefix_does_not_come_between_a_reply_and_what_follows() -> None:
    encoding = ENCODINGS["byte-fallback, prefix"]
    reply = tuple(encoding.encode_text(" the gate"))
    ids = encoding.encode(
        Prompt((Segment("<s>", control=True), Segment(" the gate", ids=reply), Segment("\nin")))
    )
    assert encoding.decode(ids) == "<s> the gate\nin"


def test_a_token_beyond_the_tokenizer_adds_nothing() -> None:
    encoding = TextEncoding(byte_level(), vocabulary=512)
    assert encoding.bytes_of(511) == b""
    assert encoding.bytes_of(-1) == b""
    assert encoding.bytes_of(9999) == b""
    assert encoding.bytes_of(END) == b"</s>"


@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", "\x00"])
def test_a_broken_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(ModelError) as missing:
        TextEncoding.from_file(path)
    path.write_text(content)
    with pytest.raises(ModelError) as broken:
        TextEncoding.from_file(path)
    assert (missing.value.code, broken.value.code) == ("model_not_found", "model_broken")
    assert str(path) in missing.value.message
    assert str(path) in broken.value.message


def test_an_unknown_kind_of_tokenizer_is_refused(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordPiece({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = token_decoders.WordPiece()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelError, match="WordPiece"):
        TextEncoding.from_file(tmp_path / "tokenizer.json")
