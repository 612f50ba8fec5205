"""Damaged pages of a journal: what can be read is in a new one, and what is lost is named."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.journal import FILE_NAME, TRANSCRIPT, Entry, Journal
from npcsdk.memory.pages import Branch, Leaf, Pages, logged
from npcsdk.memory.records import Record, record_of
from npcsdk.memory.salvage import Salvaged, find, heal, salvage
from tests.memory.helpers import event, texts

PAGE = 4096
# Read as a page of its own it would be one with rows: a line of a player's is never taken for that.
PAGE_LIKE = "\x0d\x00\x00\x00\x01\x00\x08\x00\x00\x10" * 900


def written(number: int) -> Entry:
    """One of many that fill some pages, of all kinds; some lie on more than one page."""
    kind = ("event", "note", TRANSCRIPT, "value", "fact")[number % 5]
    text = PAGE_LIKE if number % 20 == 7 else f"Heron {number} flew. " * (number % 31)
    return Entry(
        npc=("mira", "bram")[number % 2],
        interlocutor="player",
        kind=kind,
        origin="game",
        text=text,
        conversation="talk" if kind == TRANSCRIPT else "",
        at=float(number),
        place="inn",
        importance=1.0,
        data={"number": number, "subject": "gate", "attribute": str(number)} if number % 2 else None,
    )


def every(journal: Journal) -> list[Record]:
    return journal.traces(lambda record: True)


def read_all(folder: Path) -> None:
    with closing(Journal(folder)) as journal:
        every(journal)
        journal.of_npc("mira")
        journal.transcript("talk")


@pytest.fixture(scope="module")
def sound() -> Any:
    """A folder with a closed journal, its records by position, and its bytes."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with closing(Journal(folder)) as journal:
            journal.append([written(number) for number in range(60)])
            journal.save("early")
            journal.append([written(number) for number in range(60, 90)])
            journal.load("early")
            journal.append([written(number) for number in range(90, 120)])
            journal.save("late")
            journal.remove([20, 21, 119])  # forgotten before: never lost
            journal.mark({5: 3}, {6: True})
            records = {record.seq: record for record in every(journal)}
        yield folder, records, (folder / FILE_NAME).read_bytes()


def damaged(folder: Path, target: Path, numbers: list[int], junk: bytes = b"\xa5") -> Path:
    """A copy of which some pages are damaged."""
    shutil.copytree(folder, target)
    with (target / FILE_NAME).open("r+b") as stream:
        for number in numbers:
            stream.seek((number - 1) * PAGE)
            stream.write(junk * PAGE)
    return target


def numbers_of(content: bytes, fits: Callable[[Any], bool]) -> list[int]:
    pages = Pages(content)
    return [number for number in range(2, pages.count + 1) if fits(pages.read(number))]


def leaves(content: bytes, *, index: bool = False) -> list[int]:
    """The pages with records, or with the index by character."""
    columns = 3 if index else 14
    return numbers_of(
        content,
        lambda page: (
            isinstance(page, Leaf) and page.index == index and {len(row) for _, row in page.rows} == {columns}
        ),
    )


def positions(found: Salvaged) -> set[int]:
    return {position for first, last in found.lost for position in range(first, last + 1)}


# -- reading


@settings(max_examples=25)
@given(data=st.data())
def test_whatever_page_is_damaged_the_others_are_read_and_nothing_is_made_up(sound: Any, data: Any) -> None:
    _, records, content = sound
    number = data.draw(st.integers(1, len(content) // PAGE))
    start = data.draw(st.sampled_from([0, 0, 512, 2048]))
    junk = data.draw(st.sampled_from([b"\0", b"\xff", b"\r", None]))
    size = PAGE - start
    fill = data.draw(st.binary(min_size=64, max_size=64)) * (size // 64) if junk is None else junk * size
    at = (number - 1) * PAGE + start
    pages = Pages(content[:at] + fill + content[at + size :])
    rows: dict[int, Any] = {}
    found = find(pages, lambda row: rows.setdefault(row[0], row))
    if start == 0:  # a row that is damaged inside may still be a row
        assert {seq: record_of(row) for seq, row in rows.items()} == {seq: records[seq] for seq in rows}
    assert rows.keys() <= records.keys()
    assert len(rows) >= len(records) - 40
    runs, certain = found.lost()
    lost = {position for first, last in runs for position in range(first, last + 1)}
    assert lost >= records.keys() - rows.keys()
    if certain:
        assert lost == records.keys() - rows.keys()


def test_a_sound_file_is_read_as_sqlite_reads_it(sound: Any) -> None:
    _, records, content = sound
    rows: list[Any] = []
    found = find(Pages(content), rows.append)
    assert [record_of(row) for row in sorted(rows)] == list(records.values())
    assert found.lost() == ([], True)
    assert found.meta["timeline"] == "2"
    assert found.marks == {5: (3, 0), 6: (0, 1)}
    assert {name: slot[:2] for name, slot in found.slots.items()} == {"early": (1, 60), "late": (2, 120)}


def test_what_is_in_the_log_alone_counts_up_to_the_last_commit(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        for number in range(8):
            journal.append([written(number)])
        file, log = (tmp_path / FILE_NAME).read_bytes(), (tmp_path / f"{FILE_NAME}-wal").read_bytes()
    for cut, most in ((0, 8), (PAGE, 7)):  # the process died while the last one was written
        rows: dict[int, Any] = {}
        find(Pages(file, logged(log[: len(log) - cut])), lambda row, rows=rows: rows.setdefault(row[0], row))
        assert len(rows) == most
    at = len(log) // 2
    broken = log[:at] + b"\xa5" * 200 + log[at + 200 :]
    rows = {}
    find(Pages(file, logged(broken)), lambda row: rows.setdefault(row[0], row))
    assert len(rows) == 8  # the pages behind the damage hold it all


# -- a new journal


@pytest.mark.parametrize("what", ["leaf", "branch", "index", "header", "the whole first page", "cut off"])
def test_a_damaged_journal_names_the_command_that_saves_what_can_be_read(
    tmp_path: Path, sound: Any, what: str
) -> None:
    source, records, content = sound
    gone: set[int] = set()
    if what == "leaf":
        middle = leaves(content)[len(leaves(content)) // 2]
        page = Pages(content).read(middle)
        assert isinstance(page, Leaf)
        gone = {row for row, _ in page.rows}
        folder = damaged(source, tmp_path / "memory", [middle])
    elif what == "branch":
        numbers = numbers_of(content, lambda page: isinstance(page, Branch))
        folder = damaged(source, tmp_path / "memory", numbers)
    elif what == "index":
        folder = damaged(source, tmp_path / "memory", leaves(content, index=True))
    else:
        folder = damaged(source, tmp_path / "memory", [1] if what == "the whole first page" else [])
        with (folder / FILE_NAME).open("r+b") as stream:
            if what == "header":
                stream.write(b"\0" * 100)
            elif what == "cut off":
                stream.truncate(len(content) - 3 * PAGE)
    with pytest.raises(MemoryStoreError) as caught:
        read_all(folder)
    assert caught.value.code == "journal_damaged"
    assert "npcsdk memory --doctor" in caught.value.hint
    assert str(folder) in caught.value.hint
    before = (folder / FILE_NAME).read_bytes()

    found = heal(folder)

    assert found is not None
    assert found.kept.read_bytes() == before
    with closing(Journal(folder)) as journal:
        assert journal.check() == []
        kept = {record.seq: record for record in every(journal)}
        assert kept == {seq: records[seq] for seq in kept}
        if what == "cut off":
            assert len(kept) > 80
            assert positions(found) >= records.keys() - kept.keys()
        else:
            assert records.keys() - kept.keys() == gone
            assert positions(found) - {20, 21, 119} == gone
            assert found.certain == (what != "index")
        assert found.records == len(kept)
        assert journal.slots() == ["early", "late"]
        assert journal.timeline == 2
        assert journal.last == 120
        assert journal.append([written(1)])[0].seq == 121  # positions are never used again
        journal.load("early")
        assert all(record.seq <= 60 for record in journal.visible("mira"))
    assert heal(folder) is None


def test_what_cannot_be_put_in_its_place_at_once_is_at_the_next_start(
    tmp_path: Path, sound: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, records, _ = sound
    replace, left = Path.replace, [0]

    def dies(self: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return replace(self, target)

    for steps in range(5):
        folder = damaged(source, tmp_path / str(steps), [1])
        (folder / f"{FILE_NAME}-wal").write_bytes(b"of the damaged one")
        left[0] = steps
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", dies)
            try:
                salvage(folder)
            except KeyboardInterrupt:
                assert steps < 4
        if steps == 0:  # the new one was not whole yet: the damaged one is untouched
            with pytest.raises(MemoryStoreError):
                Journal(folder)
            salvage(folder)
        with closing(Journal(folder)) as journal:
            assert len(every(journal)) == len(records)
        assert len(list(folder.glob("journal.damaged-*.sqlite3"))) == 1
        assert not list(folder.glob("journal.salvaged-*"))


def test_lost_timelines_and_saved_moments_hide_nothing(tmp_path: Path, sound: Any) -> None:
    source, records, content = sound
    pages = Pages(content)
    tables = find(pages, lambda row: None).tables
    folder = damaged(source, tmp_path / "memory", [tables["timelines"], tables["slots"]])
    found = salvage(folder)
    assert (found.slots_lost, found.timelines_lost, found.count) == (True, True, 0)
    with closing(Journal(folder)) as journal:
        assert {record.seq for record in journal.visible(None)} == records.keys()
        assert journal.slots() == ["salvaged 1", "salvaged 2"]
        journal.collect()
        assert len(every(journal)) == len(records)


def test_a_file_of_which_nothing_can_be_read_is_left_alone(tmp_path: Path) -> None:
    junk = bytes(range(256)) * 64
    (tmp_path / FILE_NAME).write_bytes(junk)
    with pytest.raises(MemoryStoreError) as caught:
        heal(tmp_path)
    assert caught.value.code == "journal_foreign"
    assert [path.name for path in tmp_path.iterdir() if "owner" not in path.name] == [FILE_NAME]
    assert (tmp_path / FILE_NAME).read_bytes() == junk


def test_memory_goes_on_with_what_was_recovered(tmp_path: Path, open_memory: Any) -> None:
    memory = open_memory(tmp_path, index="exact")
    memory.remember(*(event(f"Heron {number} met a fox. " * 9) for number in range(60)))
    memory.remember(event("The stork met a cow."))
    assert memory.indexed(60)
    memory.close()
    content = (tmp_path / FILE_NAME).read_bytes()
    with (tmp_path / FILE_NAME).open("r+b") as stream:
        stream.seek((leaves(content)[1] - 1) * PAGE)
        stream.write(bytes(PAGE))
    found = heal(tmp_path)
    assert found is not None
    again = open_memory(tmp_path, index="exact")
    assert texts(again, "stork") == ["The stork met a cow."]
    health = again.doctor(60)
    assert health.well
    assert health.records == found.records
    assert health.records + found.count == 61
    # The damaged file tells of people, too.
    assert found.kept.exists()
    again.forget("nobody there")
    assert not list(tmp_path.glob("journal.damaged-*"))


def test_data_that_is_no_longer_json_is_damage(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        journal.append([written(1)])
        with journal._store.lock:
            journal._store.db.execute("UPDATE records SET data = '{\"number'")
        with pytest.raises(MemoryStoreError) as caught:
            every(journal)
    assert caught.value.code == "journal_damaged"
    found = heal(tmp_path)  # though SQLite sees nothing wrong
    assert found is not None
    assert positions(found) == {1}
