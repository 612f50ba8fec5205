"""Whether a backend's options are options of it, and have values that it can take."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from npcsdk.errors import ModelError

__all__ = ["check_options"]


def check_options(
    backend: str,
    given: Mapping[str, Any],
    known: Sequence[str],
    *,
    numbers: Collection[str],
    choices: Mapping[str, Sequence[str]],
    whole: Collection[str] = (),
    switches: Collection[str] = (),
    others: Collection[str] = (),
    secret: Collection[str] = (),
) -> Mapping[str, Any]:
    """What was given, if it can be taken.

    Args:
        known: the options there are, in the order in which a person is told of them.
        numbers: those that are numbers above zero.
        whole: those of the numbers that are whole.
        choices: what those that are one of some words may be. The rest of them are free text.
        switches: those that are true, false or text.
        others: names that belong to somebody else, and are passed over.
        secret: those whose values are not repeated to anybody.

    Raises:
        ModelError: ``option_unknown`` or ``option_invalid``.
    """
    for name, value in given.items():
        if name in others:
            continue
        if name not in known:
            raise ModelError(
                f"The backend {backend} has no option {name!r}.",
                code="option_unknown",
                hint=f"Its options: {', '.join(known)}.",
            )
        if name in numbers:
            good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
            good = good and (name not in whole or value % 1 == 0)
        elif name in switches:
            good = isinstance(value, bool | str)
        else:
            good = isinstance(value, str) and value in choices.get(name, (value,))
        if not good:
            raise ModelError(
                f"The option {name!r} cannot be {'...' if name in secret else repr(value)}.",
                code="option_invalid",
                hint=f"It may be: {_may_be(name, numbers, whole, switches, choices)}.",
            )
    return given


def _may_be(
    name: str,
    numbers: Collection[str],
    whole: Collection[str],
    switches: Collection[str],
    choices: Mapping[str, Sequence[str]],
) -> str:
    if name in choices:
        return ", ".join(choices[name])
    if name in numbers:
        return "a whole number above zero" if name in whole else "a number above zero"
    if name in switches:
        return "true, false or a text"
    return "a name" if name == "device" else "a text"
