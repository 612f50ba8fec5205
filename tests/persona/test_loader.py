"""Worlds from folders: what a good one gives, and how a bad one ends."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from npcsdk.errors import WorldError, WorldInvalid
from npcsdk.persona.loader import check_paths, load_world, read_world
from npcsdk.persona.schema import DEFAULT_RULES, ParameterEntry, Persona

VALID = Path(__file__).parent / "valid"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(VALID, tmp_path / "world"))


def add(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_what_is_loaded(folder: Path) -> None:
    world = load_world(folder)
    assert (world.name, world.rules, world.folder) == ("Testing", DEFAULT_RULES, folder)
    assert world.actions["give_item"].parameters["item"] == ParameterEntry(type="string")
    assert world.actions["open_gate"].parameters["gate"].source == "state.nearby"
    mara = world.personas["mara"]
    assert (mara.id, mara.language, mara.actions) == ("mara", "English", ("open_gate",))
    assert [passage.source for passage in world.lore] == ["lore/inn.md:6"]


def test_initial_state_is_the_worlds_and_then_the_personas(folder: Path) -> None:
    add(
        folder,
        "bram.yaml",
        "name: Bram\nrole: a guard\nabout: x\nstate: {trust: 5, mood: calm, nearby: [gate]}\n",
    )
    assert load_world(folder).initial_state("bram") == {
        "nearby": ("gate",),
        "trust": 5,
        "quest.mine": "none",
        "mood": "calm",
    }


def test_id_is_the_files_name_unless_it_says_so(folder: Path) -> None:
    add(folder, "smith_2.yml", "name: Torva\nrole: a smith\nabout: x\n")
    add(folder, "x.yaml", "id: bram\nname: Bram\nrole: a guard\nabout: x\n")
    world = load_world(folder)
    assert sorted(world.personas) == ["bram", "mara", "smith_2"]
    assert world.personas["smith_2"].actions is None


def test_relations_are_known_by_name(folder: Path) -> None:
    add(
        folder,
        "bram.yaml",
        "name: Old Bram\nrole: a guard\nabout: x\nrelations: {mara: kind, the Earl: far}\n",
    )
    assert load_world(folder).personas["bram"].relations == {"Mara": "kind", "the Earl": "far"}


def test_wrapped_text_becomes_one_line(folder: Path) -> None:
    wrapped = "|\n  One.\n\n  Two.   Three.\n"
    add(
        folder,
        "bram.yaml",
        f"name: Bram\nrole: a guard\nabout: {wrapped}manner: {wrapped}goals:\n- {wrapped}",
    )
    bram = load_world(folder).personas["bram"]
    assert (bram.about, bram.manner, *bram.goals) == ("One. Two. Three.",) * 3


def test_hidden_files_and_other_files_are_left_alone(folder: Path) -> None:
    add(folder, ".draft.yaml", "not: a persona")
    add(folder, "notes.txt", "hello")
    add(folder, "lore/.hidden.md", "---\n")
    add(folder, ".schema/persona.yaml", "{")
    assert check_paths([folder]) == []


def test_lore_in_folders_below(folder: Path) -> None:
    add(folder, "lore/town/square.md", "The well is deep.\n")
    assert "lore/town/square.md:1" in [passage.source for passage in load_world(folder).lore]


def test_missing_folder_is_named() -> None:
    with pytest.raises(WorldError, match="nowhere") as caught:
        load_world("nowhere")
    assert caught.value.code == "world_missing"
    assert "npcsdk init" in caught.value.hint


def test_all_mistakes_of_all_files_are_in_one_error(folder: Path) -> None:
    add(folder, "bram.yaml", "name: Bram\nrle: a guard\nabout: 7\n")
    add(folder, "mara.yaml", "name: Mara\nrole: x\nabout: y\nactions: [fly]\nknows: [inn]\n")
    with pytest.raises(WorldInvalid) as caught:
        load_world(folder)
    for code in ("NPC030", "NPC032", "NPC040"):
        assert code in caught.value.message
    assert "3 mistakes" in caught.value.message
    assert "\n            ^^^\n" in caught.value.message


def test_world_without_personas_and_persona_twice(folder: Path) -> None:
    (folder / "mara.yaml").rename(folder / "elsewhere.txt")
    with pytest.raises(WorldInvalid, match="no personas"):
        load_world(folder)
    for name in ("mara.yaml", "mara.yml"):
        add(folder, name, f"name: {name[-4:]}\nrole: x\nabout: y\n")
    with pytest.raises(WorldInvalid, match="exists twice"):
        load_world(folder)


def test_values_are_frozen_and_checked_when_made_in_python() -> None:
    persona = Persona(id="a", name="A", role="b", about="c")
    with pytest.raises(ValidationError):
        persona.name = "B"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="when"):
        Persona.model_validate(
            {
                "id": "a",
                "name": "A",
                "role": "b",
                "about": "c",
                "secrets": [{"id": "s", "text": "t", "when": "x ="}],
            }
        )


pieces = st.sampled_from(
    [
        "name: Mara",
        "role: x",
        "about: y",
        "id: bram",
        "knows: [inn, mine]",
        "actions: [open_gate]",
        "actions: {a: b}",
        "secrets: [{id: a, text: b, when: trust > 1}]",
        "secrets: [1, {}, [], null]",
        "state: {trust: [1, a]}",
        "relations: {mara: x, marra: y}",
        "state: []",
        "facts: 3",
        "setting: z",
        "actions: {go: {description: x, parameters: {a: {from: state.x}, b: [], c: 5}}}",
        "tags: [x]",
        "---",
        "- a",
        "&x *x",
        "'",
    ]
)
texts = st.lists(pieces, max_size=6).map("\n".join) | st.text(max_size=40)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=texts, personas=st.lists(texts, max_size=3), lore=st.lists(texts, max_size=2))
def test_any_folder_gives_a_world_or_diagnostics(
    tmp_path_factory: pytest.TempPathFactory, world: str, personas: list[str], lore: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "lore").mkdir()
    (folder / "world.yaml").write_bytes(world.encode("utf-8", "surrogatepass"))
    for number, text in enumerate(personas):
        (folder / f"p{number}.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    for number, text in enumerate(lore):
        (folder / "lore" / f"l{number}.md").write_bytes(text.encode("utf-8", "surrogatepass"))
    loaded, diagnostics = read_world(folder)
    assert (loaded is None) == any(each.severity == "error" for each in diagnostics)
    for each in diagnostics:
        assert each.render().startswith(folder.as_posix())
