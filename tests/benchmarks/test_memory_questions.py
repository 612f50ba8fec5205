"""The sheets of questions about worlds: what they promise about themselves must hold, or the measure is none."""

from __future__ import annotations

import pytest

from benchmarks._questions import Question, Sheet, answered, share, sheets
from npcsdk.memory.scoring import Weights
from npcsdk.memory.text import terms

SHEETS = sheets()


def every(kind: str) -> list[tuple[Sheet, Question]]:
    return [(sheet, question) for sheet in SHEETS for question in sheet.questions if question.kind == kind]


def test_there_are_enough_questions_over_enough_worlds() -> None:
    assert len(SHEETS) == 4
    assert len(every("asked")) >= 150
    assert len(every("no_shared_word")) >= 60
    assert len(every("held_out")) >= 60
    assert all(len(sheet.lore) >= 60 for sheet in SHEETS)
    texts = [question.text for sheet in SHEETS for question in sheet.questions]
    assert len(set(texts)) == len(texts)


def test_questions_that_share_no_word_share_none() -> None:
    shared: dict[str, set[str]] = {}
    for sheet, question in every("no_shared_word") + every("held_out"):
        passage = next(each for each in sheet.lore if each.id == question.passage)
        held, asked = terms(f"{passage.title}\n{passage.text}"), terms(question.text)
        # The first letters too: "mender" and "mends" would be caught whatever the stemmer makes of them.
        starts = {word[:4] for word in held if len(word) >= 4}
        if common := {word for word in asked if word in held or word[:4] in starts}:
            shared[question.text] = common
    assert shared == {}


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.world)
def test_the_default_finds_the_right_passage(sheet: Sheet) -> None:
    assert share(answered(sheet), "asked") >= 0.9


def test_words_alone_do_not_answer_questions_that_share_none() -> None:
    alone = Weights(vector=0.0, min_cosine=2.0)
    results = [result for sheet in SHEETS for result in answered(sheet, weights=alone)]
    assert share(results, "no_shared_word", "held_out") < 0.5
