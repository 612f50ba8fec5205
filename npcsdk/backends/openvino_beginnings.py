"""Which prompts should wait for another that is computing the same beginning. Pure.

OpenVINO GenAI lets prompts share pages that are computed, but prompts that begin together compute the same pages once
each. So a prompt that shares its next page with one that is being computed waits until that one has its first token.
It loses nothing: prompts are computed in the order in which they come.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence

__all__ = ["Beginnings"]


class Beginnings:
    """The pages of prompts: those being computed, and those that the runtime can be expected to have.

    Args:
        page: tokens of one page.
        pages: how many the runtime keeps. A wrong guess of what it has costs time and nothing else.
    """

    def __init__(self, page: int, pages: int) -> None:
        self._page = page
        self._most = pages
        self._known: OrderedDict[int, None] = OrderedDict()
        self._computing: dict[Hashable, list[int]] = {}

    def waits(self, prompt: Sequence[int]) -> bool:
        """Whether another prompt is computing the first page of this one that is not there yet."""
        if not self._computing:
            return False
        first = next((page for page in self._pages(prompt) if page not in self._known), None)
        return any(first in pages for pages in self._computing.values())

    def begin(self, key: Hashable, prompt: Sequence[int]) -> None:
        """``prompt`` is being computed from now on."""
        pages = self._pages(prompt)
        if any(page not in self._known for page in pages):
            self._computing[key] = pages

    def computed(self, key: Hashable) -> None:
        """All of the prompt is there."""
        for page in self._computing.pop(key, ()):
            self._known[page] = None
            self._known.move_to_end(page)
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    def dropped(self, key: Hashable) -> None:
        """The prompt will not be computed to its end."""
        self._computing.pop(key, None)

    def _pages(self, prompt: Sequence[int]) -> list[int]:
        """A number for each whole page, which stands for all tokens up to its end. The last token is always computed,
        so a page that ends with it shares nothing."""
        pages: list[int] = []
        before = 0
        for at in range(0, len(prompt) - self._page, self._page):
            before = hash((before, *prompt[at : at + self._page]))
            pages.append(before)
        return pages
