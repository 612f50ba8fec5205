"""Computing the beginning of a prompt before it is needed."""

from __future__ import annotations

from dataclasses import replace

from npcsdk.backends.base import Backend, CancelFlag, Finish, Prompt, Request, Sampling
from npcsdk.events import Tokens

__all__ = ["Preparation"]

_PRIORITY = -1  # behind everybody who is spoken to


class Preparation:
    """One prefill that may be ended at any time; what the runtime has computed by then stays in its cache."""

    def __init__(self, cancel: CancelFlag) -> None:
        self.cancel = cancel

    def run(self, backend: Backend, prompt: Prompt, sampling: Sampling, session: str) -> Tokens:
        """Compute ``prompt`` for ``session``, and one token that nobody sees."""
        request = Request(
            prompt=prompt,
            sampling=replace(sampling, max_tokens=1),
            cancel=self.cancel,
            session=session,
            priority=_PRIORITY,
        )
        generation = backend.generate(request)
        try:
            for item in generation:
                if isinstance(item, Finish):
                    usage = item.usage
                    return Tokens(
                        prompt=usage.prompt_tokens, cached=usage.cached_tokens, computed=usage.computed_tokens
                    )
        finally:
            close = getattr(generation, "close", None)
            if close is not None:
                close()
        return Tokens()
