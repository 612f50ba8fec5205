# SPDX-License-Identifier: Apache-2.0
"""The recipe of the embedded model: what it spells, what it holds out, and that its network is Nemotron."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

RECIPE = Path(__file__).parents[2] / "examples" / "embedded_model"
SHIPPED = Path(__file__).parents[2] / "npcsdk" / "models" / "embedded"


@pytest.fixture(autouse=True)
def recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RECIPE))


def test_the_hand_written_exchanges_follow_their_format() -> None:
    import corpus

    assert corpus.problems() == []
    assert len(corpus.book()) >= 2300
    assert len(corpus.cast()) >= 80


def test_the_hand_written_lore_and_tools_follow_their_formats() -> None:
    import lore
    import toolbook

    passages, problems = lore.read()
    assert problems == []
    assert len(passages) >= 600
    tools, problems = toolbook.read()
    assert problems == []
    assert len(tools) >= 500


def test_a_request_means_arguments_that_its_tool_takes_and_its_words_say() -> None:
    import toolbox
    from lexicon import Lexicon

    jsonschema: Any = pytest.importorskip("jsonschema")
    rng = random.Random(3)
    for deed in [*toolbox.WRITTEN, *toolbox.SHORT]:
        lex = Lexicon(rng)
        tool = toolbox.invent(lex, deed)
        implied = {value for line in deed.lines for value in line.implied.values()}
        for _ in range(4):
            asked = toolbox.request(lex, tool, [])
            assert "{" not in asked.line
            jsonschema.validate(asked.arguments, tool.schema["parameters"])
            for value in asked.arguments.values():
                if isinstance(value, str) and value not in implied:
                    assert value.split()[-1].lower() in asked.line.lower()


@pytest.mark.parametrize(
    "block",
    [
        "= One. | Two.\n3 what",
        "One.\n1 what",
        "= One.\n? what",
        "= One {of.\n1 what",
    ],
)
def test_broken_lore_is_refused(block: str) -> None:
    import lore

    with pytest.raises(lore.LoreError):
        lore.parse(block)


@pytest.mark.parametrize(
    "lines",
    [
        ["n: n: how many", "- some"],
        ["n: n: how many", "- {n} and {m}"],
        ["n: n: how many", "- {n} => n=2"],
        ["n: n: how many", "- some => n=few"],
        ["k: a/b: which", "- some => k=c"],
        ["k: zzz: which", "- {k}"],
        ["k: i: which"],
    ],
)
def test_a_broken_tool_is_refused(lines: list[str]) -> None:
    import toolbook

    with pytest.raises(ValueError):
        toolbook.parse("\n".join(["@ do_it", "Do it.", *lines]))


def test_every_kind_of_conversation_is_rendered_as_the_official_template_does() -> None:
    import jinja2
    import mix
    import render
    from tokenizer import TEMPLATE

    environment = jinja2.Environment()
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    environment.filters["tojson"] = lambda value: __import__("json").dumps(value, ensure_ascii=False)
    template = environment.from_string(TEMPLATE)
    rng = random.Random(5)
    for _ in range(150):
        c = mix.conversation(rng, 100.0)
        last = c.turns.pop()
        roles = {"User": "user", "Assistant": "assistant", "Tool": "tool"}
        messages = [{"role": "system", "content": c.system}]
        messages += [{"role": roles[t.role], "content": t.text} for t in c.turns]
        expected = template.render(messages=messages, tools=c.tools, contexts=c.contexts)
        assert render.prompt(c) == expected
        c.turns.append(last)
        assert "".join(t for t, _ in render.pieces(c)) == expected + last.text


def test_only_replies_bear_a_loss_and_each_ends_with_the_end_token() -> None:
    import mix
    import render
    from tokenizer import EOS
    from tokenizers import Tokenizer

    tok = Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))
    rng = random.Random(6)
    for _ in range(40):
        c = mix.conversation(rng, 100.0)
        if c.everything:
            continue
        ((ids, target, weight),) = render.encode(tok, [c])
        assert len(ids) == len(target) == len(weight)
        replies: list[str] = []
        current: list[int] = []
        for t, w in zip(target, weight, strict=True):
            if w and t == EOS:
                replies.append(tok.decode(current, skip_special_tokens=False))
                current = []
            elif w:
                current.append(t)
        assert replies == [t.text for t in c.turns if t.role == "Assistant"]


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_text_survives_the_tokenizer(text: str) -> None:
    from tokenizers import Tokenizer

    tok = Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))
    if any(s in text for s in ("<pad>", "<unk>", "<s>", "</s>", "<extra_id_")):
        return
    assert tok.decode(tok.encode(text, add_special_tokens=False).ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("name", ["Veldran", "iron gate", "Bramblewick", "Tessa Quillon", "207"])
def test_a_name_has_the_same_pieces_wherever_it_stands(name: str) -> None:
    from tokenizers import Tokenizer

    tok = Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))
    pieces = tok.encode(name, add_special_tokens=False).tokens

    def inside(text: str) -> bool:
        got = tok.encode(text, add_special_tokens=False).tokens
        return any(got[i : i + len(pieces)] == pieces for i in range(len(got)))

    frames = [
        "{} stands here.",
        "Who knows {}?",
        "the road to {}, then",
        '{{"target": "{}"}}',
        "({})",
        "x\n{}\ny",
    ]
    assert [f for f in frames if not inside(f.format(name))] == []


def test_training_and_evaluation_share_no_invented_name() -> None:
    from lexicon import Lexicon

    seen = {Lexicon(random.Random(i)).invented() for i in range(3000)}
    held = {Lexicon(random.Random(i), held_out=True).invented() for i in range(3000)}
    assert not seen & held


def test_the_network_is_the_nemotron_of_transformers() -> None:
    torch: Any = pytest.importorskip("torch")
    transformers: Any = pytest.importorskip("transformers")
    from model import Config, Nemotron

    torch.manual_seed(0)
    config = Config(vocab_size=300, num_hidden_layers=2)
    ours = Nemotron(config)
    theirs = transformers.NemotronForCausalLM(
        transformers.NemotronConfig(**{**config.hf(), "torch_dtype": None})
    )
    theirs.load_state_dict(
        ours.state_dict() | {"lm_head.weight": ours.state_dict()["model.embed_tokens.weight"]}
    )
    ids = torch.randint(0, 300, (2, 40))
    with torch.no_grad():
        difference = (
            (theirs.eval()(ids).logits - ours(ids).matmul(ours.model.embed_tokens.weight.T)).abs().max()
        )
    assert difference < 1e-5
    assert sys.modules["model"].__file__ == str(RECIPE / "model.py")
