"""What OpenVINO GenAI is told of a request: how it samples, and the structural tags that hold its calls.

The package is given as an argument, so that `npcsdk.backends.openvino_genai` stays the one that imports it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from npcsdk.backends.base import Constraint, Request
from npcsdk.backends.ebnf import Grammar, Inexpressible, calls_of

__all__ = ["generation_config", "structural_tags"]

_GAP = r"[ \n]?"


def generation_config(
    genai: Any, request: Request, limit: int, ends: frozenset[int], tags: Any = None
) -> Any:
    """The runtime's settings for a request of at most ``limit`` tokens that ``ends`` end and `structural_tags` hold."""
    sampling = request.sampling
    config = genai.GenerationConfig()
    config.max_new_tokens = limit
    config.set_eos_token_id(min(ends))
    config.stop_token_ids = set(ends)
    config.do_sample = sampling.temperature > 1e-6
    if config.do_sample:
        config.temperature = sampling.temperature
        config.top_p = sampling.top_p
        if sampling.top_k > 0:
            config.top_k = sampling.top_k
        seed = sampling.seed if sampling.seed is not None else random.getrandbits(63)
        config.rng_seed = seed % (1 << 63)
    if sampling.repetition_penalty > 0 and sampling.repetition_penalty != 1.0:
        config.repetition_penalty = sampling.repetition_penalty
    if tags is not None:
        config.structured_output_config = tags
    return config


def structural_tags(genai: Any, constraint: Constraint) -> tuple[Any, bool]:
    """The constraint as structural tags: one for all actions, and one more for each whose schema is beyond our grammar.

    The runtime would read every schema by itself; that takes it seconds where many actions share long lists of names,
    and lets a model write white space without an end.

    Returns:
        The runtime's value, and whether the runtime has a schema to read by itself, which it may not be able to.
    """
    forms = genai.StructuredOutputConfig
    grammar = Grammar()
    # The runtime wants a tag to end with something: the call's own last character where no marker closes it.
    last = "" if constraint.closing else "]" if constraint.listed else "}"
    closed = last != "}"
    alike: dict[str, list[str]] = {}  # the names of the actions that take the same arguments
    tags: list[Any] = []
    for name, schema in constraint.tools:
        try:
            arguments = grammar.arguments(schema, closed=closed or not constraint.after_name)
            alike.setdefault(arguments, []).append(name)
        except Inexpressible:
            tags.append(_read_by_the_runtime(forms, constraint, name, schema))
    read = bool(tags)
    if alike:
        one = calls_of(constraint, alike, closed=closed)
        body = one if constraint.after_name else f"{_GAP} {one}"
        if constraint.listed:
            more = max(constraint.max_calls, 1) - 1
            body = f'{_GAP} "[" {one} (", " {one}){{0,{more}}}' + ("" if last else ' "]"')
        root = f"{body} {_GAP}" if constraint.closing else body
        whole = forms.EBNF(grammar.text(root))
        tags.insert(0, forms.Tag(constraint.opening, whole, constraint.closing or last))
    return forms(structural_tags_config=forms.TriggeredTags([constraint.opening], tags)), read


def _read_by_the_runtime(forms: Any, constraint: Constraint, name: str, schema: Mapping[str, Any]) -> Any:
    """A tag whose schema XGrammar reads. It ignores some of it, ``minLength`` and ``maxLength`` beside a ``pattern``
    for one: what it lets through is checked like every call.
    """
    if constraint.after_name:
        begin, end = f"{constraint.opening}{name}{constraint.after_name}", constraint.closing
    else:
        spelled = json.dumps(name, ensure_ascii=False)
        call = f'{{"name": {spelled}, {json.dumps(constraint.arguments_key)}: '
        begin = f"{constraint.opening} {'[' if constraint.listed else ''}{call}"
        end = "}" + ("]" if constraint.listed else "")
        end += f" {constraint.closing}" if constraint.closing else ""
    arguments = {"type": "object", **schema}
    return forms.Tag(begin, forms.JSONSchema(json.dumps(arguments, ensure_ascii=False)), end)
