"""The worlds that ship: Harrowmere and the starter. They are clean, small enough, and hang together."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from npcsdk.conditions import compile_condition
from npcsdk.errors import WorldError
from npcsdk.persona import starter
from npcsdk.persona.json_schema import SCHEMA_FOLDER, json_schemas
from npcsdk.persona.loader import check_paths, load_world
from npcsdk.persona.lore import count_words
from npcsdk.persona.schema import Persona, WorldDefinition
from npcsdk.persona.starter import create_world, shipped_world


@pytest.fixture(scope="module")
def harrowmere() -> WorldDefinition:
    return load_world(shipped_world())


def test_the_shipped_world_checks_clean() -> None:
    assert [each.render() for each in check_paths([shipped_world()])] == []


def test_it_is_rich_enough_to_talk_about(harrowmere: WorldDefinition) -> None:
    assert len(harrowmere.personas) >= 6
    assert 8 <= len(harrowmere.actions) <= 12
    assert len(harrowmere.lore) >= 60
    assert len({passage.source.split(":")[0] for passage in harrowmere.lore}) >= 8
    assert any(action.returns == "result" for action in harrowmere.actions.values())
    for persona in harrowmere.personas.values():
        assert len(persona.examples) >= 2, persona.id
        assert persona.manner, persona.id
        assert persona.style, persona.id
        assert persona.secrets, persona.id
        assert persona.refuses, persona.id
        assert persona.voice, persona.id
        assert persona.actions, persona.id


def test_voices_differ(harrowmere: WorldDefinition) -> None:
    personas = list(harrowmere.personas.values())
    for field in ("manner", "style", "voice"):
        values = [getattr(persona, field) for persona in personas]
        assert len(set(values)) == len(values), field


def test_not_everybody_knows_everything(harrowmere: WorldDefinition) -> None:
    for persona in harrowmere.personas.values():
        known = [each for each in harrowmere.lore if each.tags & {*persona.knows, "common"}]
        assert 0 < len(known) < len(harrowmere.lore) / 2, persona.id


def test_secrets_are_locked_at_first_and_can_be_opened(harrowmere: WorldDefinition) -> None:
    for persona in harrowmere.personas.values():
        state = harrowmere.initial_state(persona.id)
        for secret in persona.secrets:
            condition = compile_condition(secret.when)
            assert not condition.evaluate(state), (persona.id, secret.id)
            assert not condition.evaluate({}), (persona.id, secret.id)
            assert condition.evaluate({**state, "trust": 100, "quest.mine": "done"}), (persona.id, secret.id)


def test_no_lore_gives_a_secret_away(harrowmere: WorldDefinition) -> None:
    everything = {passage.text for passage in harrowmere.lore}
    for persona in harrowmere.personas.values():
        for secret in persona.secrets:
            for sentence in secret.text.split(". "):
                assert not any(sentence.rstrip(".") in text for text in everything), secret.id


def test_persona_text_is_compact(harrowmere: WorldDefinition) -> None:
    for persona in harrowmere.personas.values():
        assert len(system_text(harrowmere, persona)) <= 1300, persona.id


def system_text(world: WorldDefinition, persona: Persona) -> str:
    """About what a prompt says of a persona before any secret; the exact spelling is the prompt's own."""
    parts = [
        world.rules,
        world.setting,
        *world.facts,
        persona.name,
        persona.role,
        persona.about,
        persona.manner,
    ]
    parts += [persona.style, *persona.examples, *persona.goals, *persona.refuses, *persona.knowledge]
    parts += [f"{who}: {what}" for who, what in persona.relations.items()]
    labels = len(
        "Setting: You are , . Manner: Speech: You might say: Goals: Relations: You refuse: You know:"
    )
    return "\n- ".join(parts) + " " * labels


def test_passages_are_short_and_plain(harrowmere: WorldDefinition) -> None:
    for passage in harrowmere.lore:
        assert 12 <= count_words(passage.text) <= 70, passage.source
        assert passage.text.isascii(), passage.source
        assert passage.text.endswith((".", "!", "?")), passage.source


@pytest.mark.parametrize("name", ["world.schema.json", "persona.schema.json"])
def test_committed_schemas_are_the_generated_ones(name: str) -> None:
    committed = json.loads((shipped_world() / SCHEMA_FOLDER / name).read_text(encoding="utf-8"))
    assert committed == json_schemas()[name], (
        'run: python -c "from pathlib import Path; from npcsdk.persona.json_schema import write_schemas; '
        "write_schemas(Path('personas'))\""
    )


@pytest.mark.parametrize("which", ["shipped", "starter", "valid"])
def test_files_satisfy_the_schemas_that_they_name(which: str, tmp_path: Path) -> None:
    folder = {"shipped": shipped_world(), "valid": Path(__file__).parent / "valid"}.get(
        which, tmp_path / "new"
    )
    if which == "starter":
        create_world(folder)
    for path in folder.glob("*.yaml"):
        kind = "world" if path.name == "world.yaml" else "persona"
        text = path.read_text(encoding="utf-8")
        if which != "valid":
            assert text.splitlines()[0].endswith(f"$schema={SCHEMA_FOLDER}/{kind}.schema.json")
            assert (folder / SCHEMA_FOLDER / f"{kind}.schema.json").is_file()
        schema = json_schemas()[f"{kind}.schema.json"]
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(yaml.safe_load(text), schema)


@pytest.mark.parametrize(
    "persona",
    [
        {"name": "A", "role": "b", "about": "c", "manor": "d"},
        {"name": "A", "role": "b"},
        {"name": "A", "role": "b", "about": "c", "goals": "d"},
        {"name": "A", "role": "b", "about": "c", "voice": None},
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(persona: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(persona, json_schemas()["persona.schema.json"])


def test_starter_world_is_small_commented_and_clean(tmp_path: Path) -> None:
    written = create_world(tmp_path / "new")
    assert all(path.is_file() for path in written)
    assert check_paths([tmp_path / "new"]) == []
    world = load_world(tmp_path / "new")
    assert (len(world.personas), len(world.actions)) == (2, 2)
    assert (tmp_path / "new" / "world.yaml").read_text(encoding="utf-8").count("#") >= 10


def test_starter_never_writes_over_anything(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious", encoding="utf-8")
    for target in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(WorldError, match="not an empty folder") as caught:
            create_world(target)
        assert caught.value.code == "folder_not_empty"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert create_world(tmp_path / "empty")


def test_starter_says_when_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(WorldError) as caught:
        create_world(tmp_path / "file" / "below")
    assert caught.value.code == "folder_not_writable"


def test_a_wheel_finds_the_personas_inside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "site" / "npcsdk"
    monkeypatch.setattr(starter, "_PACKAGE", inside)
    with pytest.raises(WorldError, match="missing from this installation"):
        shipped_world()
    create_world(tmp_path / "site" / "personas")
    assert shipped_world() == tmp_path / "site" / "personas"
    create_world(inside / "_personas")
    assert shipped_world() == inside / "_personas"
