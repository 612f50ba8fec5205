"""Lore: how Markdown becomes passages, and that an edit in one place leaves the others alone."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.persona.lore import FEWEST_WORDS, MOST_WORDS, count_words, read_lore, split_passages
from npcsdk.persona.schema import LorePassage
from npcsdk.persona.source import decode


def split(markdown: str) -> list[LorePassage]:
    return list(split_passages(markdown, "lore/gate.md", ["gate"]))


def paragraph(words: int, word: str = "word") -> str:
    return " ".join([word] * (words - 1)) + f" {word}."


def test_front_matter_headings_and_lines() -> None:
    text = "---\ntags: [gate, law]\n---\n\n# The iron gate\n\nIt opens at dawn.\nIt closes at dusk.\n"
    text += "\n## Fees\n\nA cart pays two.\n"
    source = decode("w/lore/gate.md", text.encode())
    lore = read_lore(source, "lore/gate.md")
    assert lore is not None
    assert source.diagnostics == []
    first, second = lore.passages
    assert (first.title, first.source) == ("The iron gate", "lore/gate.md:7")
    assert first.text == "It opens at dawn. It closes at dusk."
    assert (second.title, second.source) == ("Fees", "lore/gate.md:12")
    assert first.tags == second.tags == {"gate", "law"}


def test_without_front_matter_everybody_knows_it_and_the_file_gives_the_title() -> None:
    lore = read_lore(decode("w/lore/old_well.md", b"It is deep.\n"), "lore/old_well.md")
    assert lore is not None
    assert lore.passages[0].title == "Old well"
    assert lore.tags == {"common"}


def test_short_paragraphs_join_and_headings_part_them() -> None:
    texts = [each.text for each in split("# A\n\nOne.\n\nTwo.\n\n# B\n\nThree.\n")]
    assert texts == ["One. Two.", "Three."]


def test_paragraph_of_good_size_stays_alone() -> None:
    first, second = split(f"{paragraph(30)}\n\n{paragraph(30, 'other')}\n")
    assert first.text == paragraph(30)
    assert second.source == "lore/gate.md:3"


def test_long_paragraph_is_cut_between_sentences_into_like_pieces() -> None:
    sentences = [paragraph(12, f"W{number}") for number in range(10)]
    pieces = split(" ".join(sentences))
    assert [count_words(piece.text) for piece in pieces] == [60, 60]
    assert " ".join(piece.text for piece in pieces) == " ".join(sentences)


def test_sentence_ends() -> None:
    words = " ".join(["word"] * 40)
    text = (
        f'Dr. Vell lives at No. 3 {words}. "Who is there?" he asks {words}. It costs 3.50 silver... {words}!'
    )
    ends = [piece.text[-6:] for piece in split(text)]
    assert ends == [" word.", " word.", " word!"]  # neither "Dr.", "No.", "there?" nor "silver..." ends one


@pytest.mark.parametrize("piece", ["e.g. ", "A. ", "One.\n", "one. ", "- x\n", "# x\n", "<!-- ", "\u3002"])
def test_large_files_are_split_soon(piece: str) -> None:
    started = time.perf_counter()
    split(piece * (200_000 // len(piece)))
    assert time.perf_counter() - started < 15


def test_scripts_without_spaces_are_cut_too() -> None:
    sentence = "鉄の門は夜明けに開き、夕暮れに閉じます。"
    pieces = split(sentence * 20)
    assert len(pieces) > 2
    assert all(piece.text.endswith("。") for piece in pieces)


def test_list_entries_comments_and_rules_are_understood() -> None:
    (passage,) = split(
        "- A cart pays two.\n- A rider\n  pays one.\n<!-- secret\n\nnote -->\n\n---\n\n1. Nobody pays three.\n"
    )
    assert passage.text == "A cart pays two. A rider pays one. Nobody pays three."


def test_lines_after_a_comment_keep_their_numbers() -> None:
    (passage,) = split("<!-- a\nlong\ncomment -->\n\nThe gate is iron.\n")
    assert passage.source == "lore/gate.md:5"


def test_same_words_twice_have_two_ids() -> None:
    ids = [each.id for each in split(f"{paragraph(30)}\n\n{paragraph(30)}\n")]
    assert len(set(ids)) == 2


sentences = st.builds(
    lambda words, end: " ".join(words).capitalize() + end,
    st.lists(
        st.sampled_from(["gate", "iron", "St. Ebba", "dusk", "3.5", "opens", "e.g. eels"]),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([".", "!", "?", '."', "..."]),
)
paragraphs = st.lists(sentences, min_size=1, max_size=8).map(" ".join)
sections = st.lists(paragraphs, min_size=1, max_size=4)
documents = st.lists(sections, min_size=1, max_size=4)


def markdown(document: list[list[str]]) -> str:
    return "\n\n".join(
        f"# Part {number}\n\n" + "\n\n".join(section) for number, section in enumerate(document)
    )


@given(documents)
def test_nothing_is_lost_and_nothing_is_cut_inside_a_sentence(document: list[list[str]]) -> None:
    pieces = split(markdown(document))
    whole = " ".join(text for section in document for text in section)
    assert " ".join(piece.text for piece in pieces).split() == whole.split()
    for piece in pieces:
        assert piece.text.rstrip('"')[-1] in ".!?"
        assert len({piece.title}) == 1
    for before, after in pairwise(pieces):
        assert int(before.source.split(":")[1]) <= int(after.source.split(":")[1])


@given(documents)
def test_sizes_are_as_promised(document: list[list[str]]) -> None:
    longest = 40  # a single sentence is never cut, and none here is longer
    for piece in split(markdown(document)):
        assert count_words(piece.text) <= MOST_WORDS + longest
    for section in document:
        words = sum(count_words(text) for text in section)
        pieces = split(markdown([section]))
        if words >= FEWEST_WORDS:
            assert len(pieces) <= words // 12


@given(documents, sections, st.integers(0, 4))
def test_an_edit_elsewhere_changes_no_id(document: list[list[str]], other: list[str], at: int) -> None:
    before = {
        each.id for each in split("\n\n".join(f"# {n}\n\n" + "\n\n".join(s) for n, s in enumerate(document)))
    }
    at = min(at, len(document))
    parts = [f"# {n}\n\n" + "\n\n".join(section) for n, section in enumerate(document)]
    parts.insert(at, "# Something new\n\n" + "\n\n".join(other))
    after = {each.id for each in split("\n\n".join(parts))}
    assert before <= after


@given(st.text(max_size=300))
def test_any_text_is_split_with_unique_ids(text: str) -> None:
    pieces = split(text)
    assert len({each.id for each in pieces}) == len(pieces)
    assert all(each.text.strip() for each in pieces)


@given(st.binary(max_size=80))
def test_any_bytes_are_lore_or_reported(data: bytes) -> None:
    source = decode("lore/x.md", b"---\n" + data)
    lore = read_lore(source, "lore/x.md")
    assert lore is not None or source.diagnostics
    for each in source.diagnostics:
        each.render()
