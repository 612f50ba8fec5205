"""Chroma as a server: the real `chroma run`, shared, stopped, and started again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from npcsdk.errors import MemoryStoreError
from npcsdk.memory.embed import HashingEmbedder
from npcsdk.memory.recall import Memory
from npcsdk.memory.registry import make_index
from tests.memory.chroma_server import Chroma
from tests.memory.helpers import event, texts

Open = Callable[..., Memory]


@pytest.fixture(scope="module")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chroma]:
    with Chroma(tmp_path_factory.mktemp("chroma")) as chroma:
        yield chroma


def test_game_servers_share_it_and_keep_apart(chroma: Chroma, tmp_path: Path, open_memory: Open) -> None:
    one = open_memory(tmp_path / "one", index=f"chroma:{chroma.url}")
    two = open_memory(tmp_path / "two", index=f"chroma:{chroma.url}")
    one.remember(event("The heron met a fox."))
    two.remember(event("The heron met a cow."), event("The stork met a hen."))
    assert one.indexed(60)
    assert two.indexed(60)
    assert texts(one, "heron") == ["The heron met a fox."]
    assert texts(two, "heron") == ["The heron met a cow."]
    held = one._follower.index
    assert held is not None
    assert held.positions("mira") == {1}
    assert not (tmp_path / "one" / "index").exists()


def test_it_is_stopped_and_started_again(chroma: Chroma, tmp_path: Path, open_memory: Open) -> None:
    memory = open_memory(tmp_path, index=f"chroma:{chroma.url}")
    memory.remember(event("The heron met a fox."))
    assert memory.indexed(60)
    chroma.stop()
    memory.remember(event("The stork met a hen."))
    assert texts(memory, "what of the heron?") == ["The heron met a fox."]
    assert texts(memory, "what of the stork?") == ["The stork met a hen."]
    chroma.start()
    assert memory.indexed(60)
    index = memory._follower.index
    assert index is not None
    assert index.positions("mira") == {1, 2}
    assert memory.forget("stork").records == 1
    assert memory.indexed(60)
    assert index.positions("mira") == {1}


def test_a_server_that_was_never_there_costs_nothing_but_vectors(tmp_path: Path, open_memory: Open) -> None:
    memory = open_memory(tmp_path, index="chroma:http://127.0.0.1:9")
    memory.remember(event("The heron met a fox."))
    assert texts(memory, "heron") == ["The heron met a fox."]
    assert not memory.indexed(0.2)


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(MemoryStoreError) as caught:
        make_index("chroma:here", None, journal="j", embedder=HashingEmbedder(), warn=print)
    assert caught.value.code == "index_unknown"
