"""What OpenVINO GenAI is told of a request: how it samples, and the structural tags that hold its calls.

The package is given as an argument, so that `npcsdk.backends.openvino_genai` stays the one that imports it.
"""

from __future__ import annotations

import json
import random
from typing import Any

from npcsdk.backends.base import Constraint, Request

__all__ = ["generation_config"]


def generation_config(genai: Any, request: Request, limit: int, ends: frozenset[int]) -> Any:
    """The runtime's settings for a request of at most ``limit`` tokens that ``ends`` end."""
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
    if request.constraint is not None and request.constraint.tools and request.constraint.opening:
        config.structured_output_config = _tags(genai, request.constraint)
    return config


def _tags(genai: Any, constraint: Constraint) -> Any:
    """The constraint as structural tags, one for each action."""
    forms = genai.StructuredOutputConfig
    tags: list[Any] = []
    for name, schema in constraint.tools:
        if constraint.after_name:
            begin, end = f"{constraint.opening}{name}{constraint.after_name}", constraint.closing
        else:
            spelled = json.dumps(name, ensure_ascii=False)
            call = f'{{"name": {spelled}, {json.dumps(constraint.arguments_key)}: '
            begin = f"{constraint.opening} {'[' if constraint.listed else ''}{call}"
            end = "}" + ("]" if constraint.listed else "")
            end += f" {constraint.closing}" if constraint.closing else ""
        arguments = {"type": "object", **schema}
        tags.append(forms.Tag(begin, forms.JSONSchema(json.dumps(arguments, ensure_ascii=False)), end))
    return forms(structural_tags_config=forms.TriggeredTags([constraint.opening], tags))
