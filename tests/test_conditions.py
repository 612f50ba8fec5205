"""Conditions: what they mean, what they refuse and where, and that nothing makes them raise or slow."""

from __future__ import annotations

import contextlib
import pickle
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.conditions import MAX_DEPTH, MAX_LENGTH, Condition, ConditionError, Mention, compile_condition

STATE: dict[str, Any] = {
    "trust": 60,
    "mood": "calm",
    "angry": False,
    "ratio": 0.5,
    "nearby": ["iron gate", "old well"],
    "quest.mine": "done",
    "quest": {"bell": "given", "deep": {"er": 3}, "x.y": 1},
    "nothing": None,
    "empty": "",
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('trust >= 60 and quest.mine == "done"', True),
        ("trust > 60", False),
        ("trust == 60.0", True),
        ("-1 < ratio", True),
        ("not angry", True),
        ("not not trust", True),
        ("not trust == 60", False),
        ("angry or mood == 'calm'", True),
        ("angry and mood == 'calm' or trust < 61", True),
        ("angry and (mood == 'calm' or trust < 61)", False),
        ('mood in ["calm", "merry"]', True),
        ("mood not in [1, true]", True),
        ('"old well" in nearby', True),
        ('"well" in nearby', False),
        ("trust in []", False),
        ("(trust) >= (60)", True),
        ("'b' > 'a'", True),
        (r'"a\"b" == ' + "'a\"b'", True),
        ("quest.bell == 'given'", True),
        ("quest.deep.er == 3", True),
        ("quest.x.y == 1", True),
        ("empty", False),
        ("true", True),
        ("false or true", True),
        # A name that the state does not have is false, and so is every comparison with it.
        ("unknown", False),
        ("not unknown", True),
        ("unknown == unknown", False),
        ("unknown != 5", False),
        ("unknown not in [5]", False),
        ("unknown < 5", False),
        ("nothing != 5", False),
        ("quest.none.at.all == 1", False),
        ("mood.of.the.day == 1", False),
        # Kinds do not mix.
        ("mood < 5", False),
        ("mood >= 5", False),
        ("trust == '60'", False),
        ("trust != '60'", True),
        ("angry == 0", False),
        ("true == 1", False),
        ("true < false", False),
        ("nearby < 5", False),
        ("'iron' in mood", False),
    ],
)
def test_meaning(text: str, holds: bool) -> None:
    assert compile_condition(text).evaluate(STATE) is holds


@pytest.mark.parametrize(
    ("text", "offset", "length", "says"),
    [
        ("", 0, 1, "empty"),
        ("   ", 0, 1, "empty"),
        ("trust = 5", 6, 1, "`==`"),
        ("trust >= 5 && angry", 11, 2, "`and`"),
        ("angry || trust", 6, 2, "`or`"),
        ("!angry", 0, 1, "`not`"),
        ("trust >= ", 9, 1, "too early"),
        ("trust >= 5 angry", 11, 5, "`and`"),
        ("1 < trust < 5", 10, 1, "two things"),
        ("trust + 1 > 5", 6, 1, "calculate"),
        ("(trust > 5", 10, 1, "`)`"),
        ("trust in [1, 2", 14, 1, "`,` or `]`"),
        ("trust in [1 2]", 12, 1, "`,` or `]`"),
        ("trust in [,]", 10, 1, "expected a name"),
        ("trust not 5", 10, 1, "`in`"),
        ("mood == 'calm", 8, 5, "never closed"),
        ("Not angry", 0, 3, "lower case"),
        ("trust > 5abc", 8, 4, "neither"),
        ("trust > 1.2.3", 8, 5, "neither"),
        ("a.b.c.d.e.f.g.h.i", 0, 17, "8 parts"),
        ("__import__('os')", 10, 1, "`and`"),
        ("trust; angry", 5, 1, "`;`"),
        ("quest. mine", 5, 1, "`.`"),
    ],
)
def test_refusals_say_where(text: str, offset: int, length: int, says: str) -> None:
    with pytest.raises(ConditionError) as caught:
        compile_condition(text)
    assert (caught.value.offset, caught.value.length) == (offset, length)
    assert says in caught.value.message


def test_names_and_where_they_stand() -> None:
    condition = compile_condition("trust > 5 and (quest.mine == 'x' or trust in steps)")
    assert condition.names == {"trust", "quest.mine", "steps"}
    assert condition.mentions[1] == Mention("quest.mine", 15)


def test_depth_and_length_are_bounded() -> None:
    assert compile_condition("(" * (MAX_DEPTH - 1) + "a" + ")" * (MAX_DEPTH - 1))
    for text in ("(" * 500 + "a" + ")" * 500, "not " * 400 + "a", "[" * 500, "a in " + "[" * 300):
        with pytest.raises(ConditionError, match="deep"):
            compile_condition(text)
    with pytest.raises(ConditionError, match=str(MAX_LENGTH)):
        compile_condition("a or " * MAX_LENGTH + "a")


@pytest.mark.parametrize("piece", ["a or ", "not a and ", "'", '"\\', "a.", "a-", "1.", "[", "a in [1,", "-"])
def test_reading_takes_linear_time(piece: str) -> None:
    text = (piece * MAX_LENGTH)[:MAX_LENGTH]
    started = time.perf_counter()
    for _ in range(5):
        with contextlib.suppress(ConditionError):
            compile_condition(text)
    assert time.perf_counter() - started < 1


def test_equal_texts_are_equal_and_travel() -> None:
    condition = compile_condition("a > 1")
    assert condition == compile_condition("a > 1")
    assert hash(condition) == hash(compile_condition("a > 1"))
    assert pickle.loads(pickle.dumps(condition)) == condition
    with pytest.raises(ConditionError) as caught:
        compile_condition("a =")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.message, copy.offset, copy.length) == ("`=` is not known here: write `==` to compare", 2, 1)


class Stubborn:
    """What no game should send: it cannot be compared and has no truth."""

    def __bool__(self) -> bool:
        raise RuntimeError

    __eq__ = __lt__ = None  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


def test_values_of_other_kinds_count_as_unknown() -> None:
    state = {"a": Stubborn(), "b": {"c": Stubborn()}, "d": [Stubborn()], "nan": float("nan")}
    for text in ("a", "a == 1", "b.c != 1", "1 in d", "nan", "nan == nan", "nan < 1", "b"):
        assert compile_condition(text).evaluate(state) is False


# What a condition means is told a second time, by Python itself, for expressions of both languages.

numbers = st.integers(-50, 50).map(str) | st.sampled_from(["0.5", "-2.25", "12.0"])
texts = st.sampled_from(['"done"', "'done'", '""', '"a b"'])
booleans = st.sampled_from(["true", "false"])
names = st.sampled_from(["trust", "level", "mood", "angry"])
lists = st.lists(numbers | texts, max_size=3).map(lambda items: f"[{', '.join(items)}]")


def comparison(kind: Any, signs: list[str]) -> Any:
    return st.tuples(kind, st.sampled_from(signs), kind).map(
        lambda parts: f"{parts[0]} {parts[1]} {parts[2]}"
    )


comparisons = (
    comparison(numbers | st.sampled_from(["trust", "level"]), ["==", "!=", "<", "<=", ">", ">="])
    | comparison(texts | st.just("mood"), ["==", "!=", "<", ">="])
    | st.tuples(
        numbers | texts | st.sampled_from(["trust", "mood"]), st.sampled_from(["in", "not in"]), lists
    ).map(" ".join)
    | booleans
    | names
)
expressions = st.recursive(
    comparisons,
    lambda inner: (
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join)
        | inner.map(lambda text: f"not {text}")
        | inner.map(lambda text: f"({text})")
    ),
    max_leaves=8,
)


@given(
    expressions,
    st.fixed_dictionaries(
        {
            "trust": st.integers(-50, 50),
            "level": st.floats(-50, 50),
            "mood": st.sampled_from(["done", "", "a b"]),
            "angry": st.booleans(),
        }
    ),
)
def test_agrees_with_python(text: str, state: dict[str, Any]) -> None:
    expected = bool(eval(text, {"true": True, "false": False}, dict(state)))
    assert compile_condition(text).evaluate(state) is expected


words = st.sampled_from(
    [
        "and",
        "or",
        "not",
        "in",
        "true",
        "(",
        ")",
        "[",
        "]",
        ",",
        "==",
        "!=",
        "<",
        ">=",
        "a",
        "a.b",
        "1",
        "-1.5",
        "'x'",
    ]
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "a.b"]), inner),
    max_leaves=6,
)


@given(
    st.text(max_size=40) | st.lists(words, max_size=12).map(" ".join),
    st.dictionaries(st.sampled_from(["a", "b", "a.b"]), plain),
)
def test_any_text_is_a_condition_or_refused_with_its_place(text: str, state: dict[str, Any]) -> None:
    refusal = None
    try:
        condition = compile_condition(text)
    except ConditionError as error:
        refusal = error
    else:
        assert isinstance(condition, Condition)
        assert condition.evaluate(state) in (True, False)
        for mention in condition.mentions:
            assert text[mention.offset :].startswith(mention.name)
    if refusal:
        assert 0 <= refusal.offset <= len(text)
        assert 1 <= refusal.length <= max(1, len(text) - refusal.offset)
        assert refusal.message
