# SPDX-License-Identifier: Apache-2.0
"""From nothing to the embedded model: `python examples/embedded_model/train.py --out DIR [--minutes N] [--resume]`.

Trains the tokenizer on generated conversations, then the network on conversations that another process generates as it
goes, and writes checkpoints, a log, a report and the ONNX INT4 artefact. Stop it with Ctrl-C at any time and go on with
`--resume`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import random
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parent))
import evaluate
import export
import mix
import render
import tokenizer as T
from model import Config, Nemotron
from optim import Muon

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


def make_tokenizer(out: Path, seed: int, vocab: int, documents: int = 12000) -> Tokenizer:
    """Train the tokenizer on the last stage's mix and write it to `out`."""
    rng = random.Random(seed)
    texts = ("".join(t for t, _ in render.pieces(mix.conversation(rng, 1e8))) for _ in range(documents))
    tok = T.train(texts, vocab)
    T.save(tok, out)
    return tok


def longest(millions: float, rng: random.Random) -> int:
    """The cut for one pool of conversations: short at first, now and then long."""
    r = rng.random()
    if millions < 6:
        return 512
    if millions < 16:
        return 640 if r < 0.9 else 1024
    return 704 if r < 0.8 else 1024 if r < 0.95 else 2048


def batches(folder: str, seed: int, seen: Any, queue: Any, size: int) -> None:
    """The generating process: pools of conversations, cut into batches of about `size` tokens of like length."""
    torch.set_num_threads(1)
    tok = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    rng = random.Random(seed)
    while True:
        millions = seen.value / 1e6
        most = longest(millions, rng)
        rows = render.encode(
            tok, [mix.conversation(rng, millions, most=most) for _ in range(240 if most < 1024 else 120)]
        )
        rows = [(i[:most], t[:most], w[:most]) for i, t, w in rows]
        rows.sort(key=lambda r: len(r[0]))
        ready: list[Batch] = []
        start = 0
        while start < len(rows):
            stop = start + 1
            while stop < len(rows) and len(rows[stop][0]) * (stop + 1 - start) <= size:
                stop += 1
            group, start = rows[start:stop], stop
            n = len(group[-1][0])
            ids, target, weight = (
                np.zeros((len(group), n), np.int64),
                np.full((len(group), n), -1),
                np.zeros((len(group), n), np.float32),
            )
            for k, (i, t, w) in enumerate(group):
                ids[k, : len(i)], target[k, : len(i)], weight[k, : len(i)] = i, t, w
            ready.append((ids, target, weight))
        rng.shuffle(ready)
        for b in ready:
            queue.put(b)


def loss_of(
    model: Nemotron, ids: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """Weighted cross entropy at the positions that bear a loss, and the share of replies' tokens guessed right."""
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model(ids)
        at = ((weight > 0) & (target >= 0)).flatten().nonzero().squeeze(1)
        scores = model.logits(hidden.flatten(0, 1).index_select(0, at)).float()
    want, w = target.flatten()[at], weight.flatten()[at]
    losses = F.cross_entropy(scores, want, reduction="none")
    reply = w >= 1
    right = (scores.argmax(-1) == want)[reply].float().mean().item() if reply.any() else 0.0
    return (losses * w).sum() / w.sum(), right


@dataclass
class Shared:
    """What the training processes have in common; all tensors lie in shared memory."""

    model: Nemotron
    grads: list[torch.Tensor]
    """One flat vector for each process."""
    barrier: Any
    rate: Any
    """The learning rate of the coming step; negative: stop."""
    seen: Any
    queue: Any
    request: Any
    """1: write the optimizer's state."""


class Rank:
    """One training process: the gradient of its own batches, and the update of its own share of the parameters.

    On few cores, and beside other work, processes of one thread that meet once a step lose less time than one process
    whose threads meet in every product.
    """

    def __init__(self, me: int, shared: Shared, out: Path, resume: bool) -> None:
        self.me, self.s, self.state = me, shared, out / f"optimizer{me}.pt"
        named = list(shared.model.named_parameters())
        start = 0
        for _, p in named:
            p.grad = shared.grads[me][start : start + p.numel()].view_as(p)
            start += p.numel()
        self.slices: list[slice] = []
        matrices: list[torch.nn.Parameter] = []
        rest: list[torch.nn.Parameter] = []
        start, count = 0, {True: 0, False: 0}
        for name, p in named:
            matrix = p.ndim == 2 and "embed" not in name
            if count[matrix] % len(shared.grads) == me:
                (matrices if matrix else rest).append(p)
                self.slices.append(slice(start, start + p.numel()))
            count[matrix] += 1
            start += p.numel()
        self.rest = rest
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(matrices, 1.0),
            torch.optim.AdamW(rest, 1.0, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        ]
        if resume and self.state.exists():
            for o, state in zip(self.optimizers, torch.load(self.state, weights_only=True), strict=True):
                o.load_state_dict(state)

    def step(self) -> tuple[float, float, int]:
        """One step of this process; returns loss, share right, tokens."""
        s = self.s
        s.grads[self.me].zero_()
        # The wait ends in an error when the generating process has died.
        ids, target, weight = (torch.from_numpy(x) for x in s.queue.get(timeout=300))
        loss, right = loss_of(s.model, ids, target, weight)
        loss.backward()
        s.barrier.wait()
        mine = s.grads[self.me]
        for part in self.slices:
            for other, g in enumerate(s.grads):
                if other != self.me:
                    mine[part] += g[part]
            if len(s.grads) > 1:
                mine[part] /= len(s.grads)
        torch.nn.utils.clip_grad_norm_(self.rest, 1.0)
        rate = s.rate.value
        for o in self.optimizers:
            for g in o.param_groups:
                g["lr"] = rate
            o.step()
        with s.seen.get_lock():
            s.seen.value += ids.numel()
        s.barrier.wait()
        return loss.item(), right, ids.numel()

    def save(self) -> None:
        torch.save([o.state_dict() for o in self.optimizers], self.state)


def follow(me: int, shared: Shared, out: Path, resume: bool) -> None:
    """A training process beside the first: the same steps, no log."""
    torch.set_num_threads(1)
    rank = Rank(me, shared, out, resume)
    while True:
        shared.barrier.wait()
        if shared.request.value:
            rank.save()
            shared.barrier.wait()
        if shared.rate.value < 0:
            return
        rank.step()


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--out", type=Path, required=True)
    ap.add_argument(
        "--minutes", type=float, default=160, help="wall-clock minutes of training, the decay included"
    )
    ap.add_argument("--tokens", type=float, default=0, help="instead of minutes: tokens of training")
    ap.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--vocab", type=int, default=3072)
    ap.add_argument("--batch", type=int, default=5120, help="tokens in a step, all processes together")
    ap.add_argument("--lr", type=float, default=4e-3)
    ap.add_argument(
        "--decay", type=float, default=0.2, help="the share of the run in which the rate falls to zero"
    )
    ap.add_argument(
        "--processes",
        type=int,
        default=min(8, os.cpu_count() or 2),
        help="training processes, of one thread each",
    )
    ap.add_argument("--no-export", action="store_true")
    a = ap.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    out: Path = a.out
    out.mkdir(parents=True, exist_ok=True)
    log = (out / "log.txt").open("a", encoding="utf-8")

    def say(line: str) -> None:
        print(line, flush=True)
        log.write(line + "\n")
        log.flush()

    last = out / "last.pt"
    if not (a.resume and (out / "tokenizer.json").exists()):
        say("training the tokenizer")
        make_tokenizer(out, a.seed, a.vocab)
    tok = Tokenizer.from_file(str(out / "tokenizer.json"))
    model = Nemotron(Config(vocab_size=tok.get_vocab_size()))
    step, spent, tokens0 = 0, 0.0, 0.0
    if a.resume and last.exists():
        saved = torch.load(last, weights_only=True)
        model.load_state_dict(saved["model"])
        tokens0, step, spent = float(saved["tokens"]), saved["step"], saved["spent"]
        say(f"resumed at step {step}, {tokens0 / 1e6:.2f}M tokens, {spent / 60:.1f} min")

    context = mp.get_context("spawn")
    model.share_memory()
    size = sum(p.numel() for p in model.parameters())
    grads = [torch.zeros(size).share_memory_() for _ in range(a.processes)]
    seen = context.Value("d", tokens0)
    shared = Shared(
        model,
        grads,
        context.Barrier(a.processes),
        context.Value("d", 0.0),
        seen,
        context.Queue(24),
        context.Value("i", 0),
    )
    others = [
        context.Process(
            target=batches,
            args=(str(out), a.seed * 1000 + step, seen, shared.queue, a.batch // a.processes),
            daemon=True,
        )
    ]
    others += [
        context.Process(target=follow, args=(k, shared, out, a.resume), daemon=True)
        for k in range(1, a.processes)
    ]
    for process in others:
        process.start()
    rank = Rank(0, shared, out, a.resume)

    begun = time.monotonic()
    running, hits, tick, tick_tokens = 0.0, 0.0, begun, tokens0
    next_eval, next_save = 420.0, 240.0
    first, stop = step, False
    while not stop:
        try:
            elapsed = time.monotonic() - begun
            done = (seen.value - tokens0) / a.tokens if a.tokens else elapsed / 60 / a.minutes
            stop = done >= 1
            rate = (
                a.lr
                * min(1.0, (step - first + 1) / (10 if first else 150))
                * min(1.0, max(0.02, (1 - done) / a.decay))
            )
            shared.rate.value = -1.0 if stop else rate
            shared.request.value = int(stop or elapsed >= next_save)
            shared.barrier.wait()
            if shared.request.value:
                next_save = elapsed + 240
                state = {
                    "model": model.state_dict(),
                    "tokens": seen.value,
                    "step": step,
                    "spent": spent + elapsed,
                    "config": asdict(model.c),
                }
                torch.save(state, last.with_suffix(".tmp"))
                last.with_suffix(".tmp").replace(last)
                rank.save()
                shared.barrier.wait()
            if stop:
                break
            loss, right, _ = rank.step()
            step += 1
            running = loss if step == first + 1 else 0.97 * running + 0.03 * loss
            hits = right if step == first + 1 else 0.97 * hits + 0.03 * right
            if step % 50 == 0:
                now, clock = time.monotonic(), time.strftime("%H:%M:%S")
                bar = "#" * int(30 * done)
                speed = (seen.value - tick_tokens) / (now - tick)
                say(
                    f"[{bar:<30}] {100 * done:5.1f}% step {step} {seen.value / 1e6:6.2f}M loss {running:.3f} "
                    f"right {100 * hits:.1f}% lr {rate:.1e} {speed:.0f} tok/s {clock}"
                )
                tick, tick_tokens = now, seen.value
            if elapsed >= next_eval:
                next_eval = elapsed + 600
                torch.set_num_threads(a.processes)
                say(evaluate.quick(model, tok))
                torch.set_num_threads(1)
                tick, tick_tokens = time.monotonic(), seen.value
        except KeyboardInterrupt:
            raise SystemExit(
                "stopped; the last checkpoint is at most four minutes old; go on with --resume"
            ) from None
    spent += time.monotonic() - begun
    torch.set_num_threads(a.processes)
    report = evaluate.quick(model, tok, cases=40)
    say(report)
    export.write_hf(model, out, out / "hf")
    facts = {"tokens": seen.value, "steps": step, "minutes": spent / 60, "report": report}
    (out / "report.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    if not a.no_export:
        for target, place in (("onnx", "onnx"), ("gguf", "model.gguf"), ("openvino", "openvino")):
            old = out / place  # of a run that was resumed
            if old.is_dir():
                shutil.rmtree(old)
            old.unlink(missing_ok=True)
            try:
                say(f"wrote {export.write(out / 'hf', out / place, target)}")
            except (
                SystemExit
            ) as error:  # a converter is not installed: the other formats are made all the same
                say(str(error))


if __name__ == "__main__":
    main()
