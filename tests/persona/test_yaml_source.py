"""The YAML reader: it remembers places, stays safe, and no text makes it raise."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.persona.checks import validate
from npcsdk.persona.schema import Persona, WorldFile
from npcsdk.persona.source import Source, Span, decode
from npcsdk.persona.yaml_source import read_yaml


def read(text: str) -> Source:
    source = decode("f.yaml", text.encode())
    read_yaml(source)
    return source


def test_every_key_and_value_has_its_place() -> None:
    source = read("name: Mara\nsecrets:\n  - id: door\n    when: {a: 1}\ngoals: [x, 'yy']\n")
    assert source.value == {
        "name": "Mara",
        "secrets": [{"id": "door", "when": {"a": 1}}],
        "goals": ["x", "yy"],
    }
    assert source.keys[("name",)] == Span(1, 1, 4)
    assert source.values[("name",)] == Span(1, 7, 4)
    assert source.keys[("secrets", 0, "when")] == Span(4, 5, 4)
    assert source.values[("secrets", 0, "when", "a")] == Span(4, 15, 1)
    assert source.values[("goals", 1)] == Span(5, 12, 4)
    # What has no place of its own is shown at the nearest thing around it.
    assert source.key_at(("secrets", 0, "nowhere")) == Span(3, 5, 2)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_places_hold_with_any_line_end_and_a_byte_order_mark(end: str) -> None:
    source = decode("f.yaml", b"\xef\xbb\xbf" + f"a: 1{end}{end}bb: two{end}".encode())
    read_yaml(source)
    assert source.keys[("bb",)] == Span(3, 1, 2)
    assert source.line(3) == "bb: two"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("12:30", "12:30"),
        ("2024-01-02", "2024-01-02"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("'12'", "12"),
        ("~", None),
        (".nan", ".nan"),
        ("<<", "<<"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars_are_what_they_look_like(written: str, value: object) -> None:
    source = read(f"key: {written}\n")
    assert source.value == {"key": value}
    assert type(source.value["key"]) is type(value)


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("plain TARGET text", "TARGET"),
        ("'it''s TARGET'", "TARGET"),
        (r'"a\tb \u00e9 \x41 \" TARGET"', "TARGET"),
        ("|\n  one\n  two TARGET\n", "TARGET"),
        (">\n  one\n\n  two TARGET three\n", "TARGET"),
        (">-\n     one\n     TARGET\n", "TARGET"),
        ("one\n  two TARGET", "TARGET"),
        ('"one\n  two TARGET"', "TARGET"),
    ],
)
def test_places_inside_a_text(written: str, part: str) -> None:
    text = f"first: 1\nkey: {written}\n"
    source = read(text)
    assert not source.diagnostics
    span = source.inside(("key",), source.value["key"].index(part), len(part))
    assert source.line(span.line)[span.column - 1 : span.column - 1 + span.length] == part


def test_alias_bomb_does_not_expand() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    started = time.perf_counter()
    source = read("\n".join(levels))
    assert time.perf_counter() - started < 2
    assert {each.code for each in source.diagnostics} == {"NPC006"}


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{a: " * 50_000, "- " * 100_000, "? " * 50_000, "a: [" + "[]," * 60_000]
)
def test_hostile_shapes_end_soon(text: str) -> None:
    started = time.perf_counter()
    read(text)
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize(
    "text",
    ["!!python/object/new:os.system [ls]", "a: !!python/name:os.system", "!!map {a: !!set {b}}", "!local a"],
)
def test_tags_run_nothing(text: str) -> None:
    assert "NPC007" in [each.code for each in read(text).diagnostics]


snippets = st.sampled_from(
    [
        "name: Mara",
        "name:",
        "role: x",
        "about: y",
        "secrets:",
        "  - id: a",
        "    when: a ==",
        "    text: 't'",
        "state: {a: [1, {b: c}], 2: x}",
        "actions:",
        "  open: {description: x, parameters: {p: string, q: 3, r: {type: x, from: state.y}}}",
        "goals: [a, , b]",
        "sampling: {temperature: .inf, top_k: 1e999}",
        "\t",
        "---",
        "? [a]",
        ": b",
        "*a",
        "&a b: c",
        "!!str x: y",
        '"\\ud800": "\\0"',
        "'",
        '"',
        "|",
        "<<: {name: x}",
        "- x",
        "# c",
        "%YAML 1.1",
        "...",
        "null: null",
        "true: false",
    ]
)


@given(st.text(max_size=80) | st.lists(snippets, max_size=9).map("\n".join))
def test_any_text_is_read_or_reported(text: str) -> None:
    for model in (Persona, WorldFile):
        source = decode("f.yaml", text.encode("utf-8", "surrogatepass"))
        read_yaml(source)
        result = validate(model, source, id="x") if model is Persona else validate(model, source)
        errors = [each for each in source.diagnostics if each.severity == "error"]
        assert (result is None) == bool(errors)
        for each in source.diagnostics:
            each.render().encode("utf-8")
            assert 0 <= each.line <= len(source.starts)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_reported(data: bytes) -> None:
    source = decode("f.yaml", data)
    read_yaml(source)
    assert source.readable or source.diagnostics


# PyYAML does not read back these line ends as it wrote them.
writable = st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029\ufeff")
words = st.text(writable, min_size=1, max_size=8)
scalars = st.booleans() | st.integers(-(10**9), 10**9) | st.text(writable, max_size=12)
trees = st.dictionaries(
    words,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
        max_leaves=10,
    ),
    min_size=1,
    max_size=4,
)


@given(trees, st.booleans())
def test_what_a_common_writer_writes_is_read_back(tree: dict[str, Any], flow: bool) -> None:
    text = yaml.safe_dump(tree, allow_unicode=True, default_flow_style=flow, width=40)
    source = read(text)
    if not source.diagnostics:
        assert source.value == tree
        for path, written in source.scalars.items():
            span = source.inside(path, 0, 1)
            assert source.values[path].line <= span.line <= len(source.starts), written
    else:
        # Only what these files do not allow: control characters that the writer escaped.
        assert "NPC004" in {each.code for each in source.diagnostics}
