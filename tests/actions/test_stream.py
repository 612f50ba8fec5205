"""The streaming parser: the same parts however the output is cut, and never a fragment of a call as speech."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.actions.stream import CallName, CallPart, CallStream, Part, Speech, Unclosed

OPENING, CLOSING = "<toolcall>", "</toolcall>"


def run(chunks: list[str]) -> list[Part]:
    """The parts of an output that arrives in ``chunks``, neighbouring speech joined."""
    stream = CallStream(OPENING, CLOSING)
    parts = [part for chunk in chunks for part in stream.feed(chunk)] + stream.finish()
    joined: list[Part] = []
    for part in parts:
        if joined and isinstance(part, Speech) and isinstance(last := joined[-1], Speech):
            joined[-1] = Speech(last.text + part.text)
        else:
            joined.append(part)
    return joined


def speech(parts: list[Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Speech))


CASES: dict[str, tuple[str, str, list[str]]] = {
    # name: (output, speech, bodies of complete calls)
    "plain": ("Good day.", "Good day.", []),
    "leading space": (' <toolcall> {"name": "a"} </toolcall>', "", ['{"name": "a"}']),
    "multi-line": ('Hm.\n<toolcall>\n{"a":\n {"b":\n1}}\n</toolcall>', "Hm.", ['{"a":\n {"b":\n1}}']),
    "between words": ('One <toolcall> {"a": 1} </toolcall> two', "One two", ['{"a": 1}']),
    "no spaces": ('One<toolcall>{"a":1}</toolcall>two', "Onetwo", ['{"a":1}']),
    "several": ('<toolcall> {"a": 1} </toolcall> <toolcall> {"b": 2} </toolcall> Go', "Go", ['{"a": 1}', '{"b": 2}']),
    "two in one pair": ('<toolcall> {"a": 1}, {"b": 2} </toolcall>', "", ['{"a": 1}', '{"b": 2}']),
    "marker inside a string": ('<toolcall> {"a": "</toolcall>\\"}"} </toolcall>x', "x", ['{"a": "</toolcall>\\"}"}']),
    "closing forgotten": ('<toolcall> {"a": 1} And so on', "And so on", ['{"a": 1}']),
    "comma after": ('<toolcall> {"a": 1} , and so on', ", and so on", ['{"a": 1}']),
    "not json": ("<toolcall> open the gate </toolcall> There.", "There.", ["open the gate"]),
    "stray closing": ("Well </toolcall> then", "Well then", []),
    "angle brackets": ("a < b, <b>bold</b>, <toolbox>", "a < b, <b>bold</b>, <toolbox>", []),
    "nested opening": ('<toolcall> <toolcall> {"a": 1} </toolcall>', "", ['{"a": 1}']),
    "opening after something": ('<toolcall> hm <toolcall> {"a": 1} </toolcall>', "", ["hm", '{"a": 1}']),
    "cut marker": ("Fine. <toolca", "Fine.", []),
    "list": ('<toolcall> [{"a": 1}, {"b": 2}] </toolcall>', "", ['{"a": 1}', '{"b": 2}']),
    "list with something else": ('<toolcall> [{"a": 1}, 2, {"b": 3}] </toolcall>', "", ['{"a": 1}', ', 2, {"b": 3}]']),
    "empty list": ("<toolcall> [] </toolcall>", "", ["[]"]),
    "list of lists": ('<toolcall> [[{"a": 1}]] </toolcall>', "", ['[[{"a": 1}]]']),
    "list without its end": ('<toolcall> [{"a": 1} </toolcall> x', "x", ['{"a": 1}']),
    "unicode": ('🙂 <toolcall> {"a": "ü🙂"} </toolcall> ä', "🙂 ä", ['{"a": "ü🙂"}']),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_cases_whole_and_cut_everywhere(name: str) -> None:
    output, spoken, bodies = CASES[name]
    whole = run([output])
    assert speech(whole) == spoken
    assert [part.body for part in whole if isinstance(part, CallPart)] == bodies
    assert not any(isinstance(part, Unclosed) for part in whole)
    for at in range(len(output) + 1):
        assert run([output[:at], output[at:]]) == whole
    assert run(list(output)) == whole


@pytest.mark.parametrize("cut", range(11, 40))
def test_an_output_that_ends_inside_a_call(cut: int) -> None:
    output = '<toolcall> {"name": "a", "arguments": {}} </toolcall>'[:cut]
    *names, last = run([output])
    assert isinstance(last, Unclosed)
    assert names == ([CallName("a", 0)] if '"a"' in output else [])


PIECES = st.sampled_from(
    [
        OPENING,
        CLOSING,
        "{",
        "}",
        "[",
        "]",
        '"',
        "\\",
        "<",
        "</",
        "tool",
        "call>",
        ",",
        " ",
        "\n",
        "a",
        "é",
        '{"n": 1}',
    ]
)


@given(st.lists(PIECES, max_size=24), st.lists(st.integers(0, 200), max_size=6))
def test_any_output_cut_anywhere_gives_the_same(pieces: list[str], cuts: list[int]) -> None:
    output = "".join(pieces)
    edges = [0, *sorted(min(cut, len(output)) for cut in cuts), len(output)]
    chunks = [output[start:stop] for start, stop in itertools.pairwise(edges)]
    whole = run([output])
    assert run(chunks) == whole
    assert run(list(output)) == whole
    spoken = speech(whole)
    assert OPENING not in spoken
    assert CLOSING not in spoken
    assert spoken == spoken.strip()


@given(st.text(alphabet=st.characters(blacklist_characters="<", blacklist_categories=("Cs",)), max_size=80))
def test_speech_without_markers_is_spoken_as_it_is(text: str) -> None:
    assert speech(run([text])) == text.strip()


def test_a_call_is_complete_at_its_closing_brace() -> None:
    stream = CallStream(OPENING, CLOSING)
    output = 'Yes. <toolcall> {"name": "a", "arguments": {"x": {"y": 1}}}'
    for character in output[:-1]:
        assert not any(isinstance(part, CallPart) for part in stream.feed(character))
    assert isinstance(stream.feed(output[-1])[-1], CallPart)


def test_the_calls_of_a_list_are_complete_one_by_one() -> None:
    stream = CallStream("[CALLS]", "")
    assert not stream.feed('[CALLS] [{"n": 1')
    assert stream.feed("}") == [CallPart('{"n": 1}', 0, 17)]
    assert not stream.feed(', {"n": 2')
    assert stream.feed("}") == [CallPart('{"n": 2}', 19, 27)]
    assert not stream.feed("]")
    assert stream.call_end == 28
    assert stream.feed(" Done.") == [Speech("Done.")]


@pytest.mark.parametrize(
    ("output", "names"),
    [
        ('<toolcall> {"name": "wave", "arguments": {"name": "x"}}', ["wave"]),
        ('<toolcall> {"type": "function", "name": "wave", "arguments": {}}', ["wave"]),
        ('<toolcall> [{"name": "a", "arguments": {}}, {"name": "b", "arguments": {}}]', ["a", "b"]),
        ('<toolcall> {"arguments": {"name": "x"}, "name": "wave"}', []),
        ('<toolcall> {"title": "name", "x": "wave"}', []),
        ('<toolcall> {"name": "wa\\u0076e", "arguments": {}}', []),
        ('{"name": "wave"}', []),
    ],
)
def test_names_are_told_before_the_arguments(output: str, names: list[str]) -> None:
    for chunks in ([output], list(output)):
        parts = run(chunks)
        assert [part.name for part in parts if isinstance(part, CallName)] == names
        for name, call in itertools.pairwise(part for part in parts if not isinstance(part, Speech)):
            if isinstance(name, CallName):
                assert isinstance(call, CallPart)
                assert call.start == name.start


@pytest.mark.parametrize(
    ("output", "spoken", "bodies"),
    [
        ('{"name": "a"}', "", ['{"name": "a"}']),
        (' \n{ "name": "a"} And so on.', "And so on.", ['{ "name": "a"}']),
        ("{'name': 'a'}; {\"name\": \"b\"}", "", ["{'name': 'a'}", '{"name": "b"}']),
        ("{waves} Hello.", "{waves} Hello.", []),
        ('So {"name": "a"}', 'So {"name": "a"}', []),
        ('Well. <|tag|>{"name": "a"}', "Well.", ['{"name": "a"}']),
        ("{     waves}", "{     waves}", []),
        ("{", "", []),
    ],
)
def test_a_dialect_whose_calls_may_stand_bare(output: str, spoken: str, bodies: list[str]) -> None:
    for chunks in ([output], list(output)):
        stream = CallStream("<|tag|>", "", bare=True)
        parts = [part for chunk in chunks for part in stream.feed(chunk)] + stream.finish()
        assert speech(parts) == spoken
        assert [part.body for part in parts if isinstance(part, CallPart)] == bodies
