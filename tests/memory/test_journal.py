"""The journal: what was acknowledged is there, what was un-done is not, and faults have names."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.journal import FILE_NAME, TRANSCRIPT, Entry, Journal


def entry(text: str = "", **fields: Any) -> Entry:
    given: dict[str, Any] = {"npc": "mira", "interlocutor": "player", "kind": "event", "origin": "game"}
    return Entry(text=text, **{**given, **fields})


def visible(journal: Journal) -> list[str]:
    return [
        record.text for record in journal.of_npc("mira") if journal.view.sees(record.timeline, record.seq)
    ]


@pytest.fixture
def journal() -> Iterator[Journal]:
    made = Journal()
    yield made
    made.close()


def run(code: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs Python code in another process, with this one's path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        **options,
    )


# -- records


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    data = {"a": [1, 2.5, None, True], "b": {"c": "d"}}
    given = entry("the gate", conversation="c", turn="t", at=12.5, place="inn", importance=0.9, data=data)
    with_closed = Journal(tmp_path)
    written = with_closed.append([given])
    with_closed.close()
    again = Journal(tmp_path)
    read = again.of_npc("mira")
    again.close()
    assert read == written
    assert {name: getattr(read[0], name) for name in given.__slots__} == {
        name: getattr(given, name) for name in given.__slots__
    }


SPECIMENS = [
    "",
    "\0 in the mid\0dle\0",
    "👩‍👩‍👧‍👦 joined, שלום right to left, ‮override‬",
    "नमस्ते 門番 Ворота ไทย",
    "x" * 100_000,
    "line\nline\r\nline\u2028\ufeff",
    "\U0010ffff",
]


@pytest.mark.parametrize("text", SPECIMENS, ids=range(len(SPECIMENS)))
def test_any_text_is_kept_as_it_came(journal: Journal, text: str) -> None:
    journal.append([entry(text, npc="mira", place=text, data={"text": text})])
    (record,) = journal.of_npc("mira")
    assert (record.text, record.place, record.data) == (text, text, {"text": text})


@settings(max_examples=60, deadline=None)
@given(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_whatever_is_accepted_comes_back(text: str, value: Any) -> None:
    journal = Journal()
    try:
        journal.append([entry(text, npc=text, conversation=text, data={"value": value})])
        (record,) = journal.of_npc(text)
        assert (record.text, record.conversation, record.data) == (text, text, {"value": value})
    finally:
        journal.close()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"text": "half \ud83d a pair"}, "text_invalid"),
        ({"npc": "\udc00"}, "text_invalid"),
        ({"at": float("nan")}, "data_invalid"),
        ({"importance": float("inf")}, "data_invalid"),
        ({"data": {"a": float("nan")}}, "data_invalid"),
        ({"data": {"a": {1, 2}}}, "data_invalid"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_of_it_is_written(
    journal: Journal, fields: dict[str, Any], code: str
) -> None:
    with pytest.raises(MemoryStoreError) as caught:
        journal.append([entry("good"), entry(**fields)])
    assert caught.value.code == code
    assert caught.value.hint
    assert journal.of_npc("mira") == []


def test_a_transcript_is_history_and_not_memory(journal: Journal) -> None:
    journal.append([entry(kind=TRANSCRIPT, conversation="c", data={"n": 1}), entry("seen", conversation="c")])
    assert [record.data for record in journal.transcript("c")] == [{"n": 1}]
    assert [record.text for record in journal.of_npc("mira")] == ["seen"]
    assert journal.transcript("other") == []


def test_many_threads_write_without_losing_or_doubling(journal: Journal) -> None:
    def write(name: str) -> None:
        for number in range(50):
            journal.append([entry(f"{name}{number}")])

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    texts = [record.text for record in journal.of_npc("mira")]
    assert sorted(texts) == sorted(f"{name}{number}" for name in "abcd" for number in range(50))
    assert [record.seq for record in journal.of_npc("mira")] == list(range(1, 201))


def test_reading_by_position_takes_any_number(journal: Journal) -> None:
    journal.append([entry(str(number)) for number in range(1200)])
    found = journal.read([*range(1, 1201), 9999])
    assert {position: record.text for position, record in found.items()} == {
        n + 1: str(n) for n in range(1200)
    }
    assert [record.seq for record in journal.after(1190, limit=4)] == [1191, 1192, 1193, 1194]
    assert journal.counts(upto=1000) == {"mira": 1000}
    assert journal.positions("mira", upto=3) == [1, 2, 3]


# -- timelines


def test_loading_un_does_what_came_after_and_keeps_what_came_before(journal: Journal) -> None:
    journal.append([entry("before")])
    journal.save("slot")
    journal.append([entry("un-done")])
    journal.load("slot")
    journal.append([entry("instead")])
    assert visible(journal) == ["before", "instead"]


def test_an_older_slot_does_not_see_a_newer_one(journal: Journal) -> None:
    journal.append([entry("one")])
    journal.save("early")
    journal.append([entry("two")])
    journal.save("late")
    journal.load("early")
    journal.append([entry("three")])
    journal.load("late")
    assert visible(journal) == ["one", "two"]
    journal.load("early")
    assert visible(journal) == ["one"]


def test_a_slot_may_be_saved_again(journal: Journal) -> None:
    journal.append([entry("one")])
    journal.save("slot")
    journal.append([entry("two")])
    journal.save("slot")
    journal.append([entry("three")])
    journal.load("slot")
    assert visible(journal) == ["one", "two"]
    assert journal.slots() == ["slot"]


def test_a_write_that_began_before_the_load_is_refused(journal: Journal) -> None:
    journal.save("slot")
    began = journal.timeline
    journal.load("slot")
    with pytest.raises(MemoryStoreError) as caught:
        journal.append([entry("late")], timeline=began)
    assert caught.value.code == "timeline_abandoned"
    assert visible(journal) == []
    journal.append([entry("in time")], timeline=journal.timeline)
    assert visible(journal) == ["in time"]


def test_histories_follow_the_timeline_too(journal: Journal) -> None:
    journal.append([entry(kind=TRANSCRIPT, conversation="c", data={"n": 1})])
    journal.save("slot")
    journal.append([entry(kind=TRANSCRIPT, conversation="c", data={"n": 2})])
    journal.load("slot")
    assert [record.data for record in journal.transcript("c")] == [{"n": 1}]


def test_the_timeline_outlives_the_process(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([entry("before")])
    journal.save("slot")
    journal.append([entry("un-done")])
    journal.load("slot")
    journal.close()
    journal = Journal(tmp_path)
    assert visible(journal) == ["before"]
    journal.close()


def test_loading_the_same_slot_a_thousand_times_makes_no_long_ancestry(journal: Journal) -> None:
    journal.append([entry("before")])
    journal.save("slot")
    for _ in range(1000):
        journal.load("slot")
        journal.save("slot")
    assert visible(journal) == ["before"]
    assert len(journal.view.limits) == 2


def test_an_unknown_slot_is_an_error_that_lists_the_known(journal: Journal) -> None:
    journal.save("chapter 1")
    with pytest.raises(MemoryStoreError) as caught:
        journal.load("chapter 2")
    assert caught.value.code == "slot_unknown"
    assert "chapter 1" in caught.value.hint


STEPS = st.lists(
    st.one_of(
        st.just(("write", "")),
        st.tuples(st.sampled_from(["save", "load"]), st.sampled_from("abc")),
        st.just(("reopen", "")),
    ),
    max_size=40,
)


def unhurried(folder: Path) -> Journal:
    """A journal that does not wait for the disk: nothing is pulled out of this machine."""
    journal = Journal(folder)
    journal._store.db.execute("PRAGMA synchronous = OFF")
    return journal


@settings(max_examples=30, deadline=None)
@given(steps=STEPS)
def test_any_course_of_saving_and_loading_is_like_copying_the_whole_memory(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = unhurried(folder)
    now: list[str] = []
    copies: dict[str, list[str]] = {}
    for number, (step, slot) in enumerate(steps):
        if step == "write":
            journal.append([entry(str(number))])
            now.append(str(number))
        elif step == "save":
            journal.save(slot)
            copies[slot] = list(now)
        elif step == "load" and slot in copies:
            journal.load(slot)
            now = list(copies[slot])
        elif step == "reopen":
            journal.close()
            journal = unhurried(folder)
        assert visible(journal) == now
    journal.close()


# -- faults


def test_a_second_process_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    code = (
        "import sys\nfrom pathlib import Path\nfrom npcsdk.errors import MemoryStoreError\n"
        "from npcsdk.memory.journal import Journal\n"
        "try:\n    Journal(Path(sys.argv[1]))\n"
        "except MemoryStoreError as error:\n    print(error.code, error)\n"
    )
    refused = run(code, tmp_path)
    assert refused.stdout.startswith("memory_in_use"), refused
    assert f"pid {os.getpid()}" in refused.stdout
    journal.append([entry("still mine")])
    journal.close()
    assert run(code, tmp_path).stdout == ""


def test_a_second_owner_in_the_same_process_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(MemoryStoreError, match="this process") as caught:
        Journal(tmp_path)
    assert caught.value.code == "memory_in_use"
    journal.close()
    journal.close()
    Journal(tmp_path).close()


def test_after_kill_everything_acknowledged_is_there_once_and_the_folder_is_free(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom npcsdk.memory.journal import Entry, Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for number in range(100000):\n"
        "    text = f'{sys.argv[2]}-{number}'\n"
        "    journal.append([Entry(npc='mira', interlocutor='p', kind='event', origin='game', text=text)] * 2)\n"
        "    print(text, flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    acknowledged: list[str] = []
    for round_ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(round_)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        for _ in range(7 + 5 * round_):
            acknowledged.append(writer.stdout.readline().strip())
        writer.kill()
        rest, _ = writer.communicate()
        # a line cut off by the kill was printed after its commit all the same
        acknowledged += rest.split("\n")[:-1]
    journal = Journal(tmp_path)
    texts = [record.text for record in journal.of_npc("mira")]
    journal.close()
    assert all(text and texts.count(text) == 2 for text in acknowledged)
    assert all(texts.count(text) == 2 for text in texts), "a pair was written by half"


def test_a_full_disk_is_named_and_loses_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([entry("kept")])
    pages = journal._store.db.execute("PRAGMA page_count").fetchone()[0]
    # SQLite's own limit raises the very error of a full disk
    journal._store.db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(MemoryStoreError) as caught:
        journal.append([entry("small"), entry("x" * 100_000)])
    assert caught.value.code == "disk_full"
    assert "space" in caught.value.hint
    journal._store.db.execute("PRAGMA max_page_count = 1000000")
    journal.append([entry("after")])
    assert visible(journal) == ["kept", "after"]
    journal.close()


def test_room_is_made_for_what_will_be_written_and_leaves_no_trace(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([entry("The heron met a fox.")])
    log = tmp_path / f"{FILE_NAME}-wal"
    before = log.stat().st_size
    journal.make_room()
    full = log.stat().st_size
    assert full > before + 4_000_000
    journal.append([entry(f"Cart {number} rolled by.") for number in range(100)])
    assert log.stat().st_size == full
    journal.close()
    assert (tmp_path / FILE_NAME).stat().st_size < 200_000
    again = Journal(tmp_path)
    assert len(again.of_npc("mira")) == 101
    assert again.check() == []
    again.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(MemoryStoreError, match="file") as caught:
        Journal(tmp_path / "file" / "memory")
    assert caught.value.code == "memory_unwritable"


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of folders work differently there")
def test_a_read_only_folder_is_named() -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom npcsdk.errors import MemoryStoreError\n"
        "from npcsdk.memory.journal import Journal\n"
        # root may write anywhere: be somebody else
        "os.getuid() or os.setuid(65534)\n"
        "try:\n    Journal(Path(sys.argv[1]))\n"
        "except MemoryStoreError as error:\n    print(error.code, '|', error.hint)\n"
    )
    # not in tmp_path, whose parents are closed to other users
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Journal(folder).close()
        for path in (*folder.iterdir(), folder):
            path.chmod(0o555 if path.is_dir() else 0o444)
        refused = run(code, folder, cwd="/")
        folder.chmod(0o755)
    assert refused.stdout.startswith("memory_unwritable"), refused
    assert "permissions" in refused.stdout


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append([entry("x" * 500) for _ in range(200)])
    journal.close()
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    content[8192:-4096] = b"\xaa" * (len(content) - 4096 - 8192)
    path.write_bytes(content)
    with pytest.raises(MemoryStoreError) as caught, closing(Journal(tmp_path)) as damaged:
        damaged.of_npc("mira")
    assert caught.value.code == "journal_damaged"
    assert "--doctor" in caught.value.hint


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"shopping list\n" * 100)
    with pytest.raises(MemoryStoreError) as caught:
        Journal(tmp_path)
    assert caught.value.code == "journal_damaged"
    (tmp_path / FILE_NAME).unlink()
    Journal(tmp_path).close()


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / FILE_NAME)
    other.execute("CREATE TABLE shopping (item TEXT)")
    other.close()
    with pytest.raises(MemoryStoreError) as caught:
        Journal(tmp_path)
    assert caught.value.code == "journal_foreign"


def test_a_journal_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    Journal(tmp_path).close()
    newer = sqlite3.connect(tmp_path / FILE_NAME)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(MemoryStoreError, match="99") as caught:
        Journal(tmp_path)
    assert caught.value.code == "journal_newer"


def test_a_closed_journal_says_so(journal: Journal) -> None:
    journal.close()
    with pytest.raises(MemoryStoreError) as caught:
        journal.append([entry("late")])
    assert caught.value.code == "memory_closed"
