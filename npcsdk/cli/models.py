"""``npcsdk models list | info MODEL | pull NAME | advise [MODEL]``: what there is, what something is, getting it,
and what suits this machine."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from npcsdk.cli.output import errors, reports_errors
from npcsdk.errors import ModelError, NpcError

if TYPE_CHECKING:
    from npcsdk.models.catalog import CatalogEntry
    from npcsdk.models.download import Plan, Progress
    from npcsdk.models.identify import Found

__all__ = ["models"]

# Modules that know models are imported in the commands, as in `check`: the other commands start faster without.

models = typer.Typer(help="The models that npcsdk knows, and those that you have.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on a line for each model.")]


@models.command("list")
@reports_errors
def list_models(as_json: AsJson = False) -> None:
    """Every model of the catalogue: whether it is here, and whether this installation can run it."""
    from npcsdk.models.catalog import CATALOG

    rows = [(entry, _here(entry), _runs(entry.backend)) for entry in CATALOG.values()]
    if as_json:
        for entry, here, runs in rows:
            _write_json(_entry_facts(entry) | {"here": here, "runs": runs})
        return
    width = max(len(entry.name) for entry, _, _ in rows)
    for entry, here, runs in rows:
        waits = "not downloaded" if entry.repository else "wants a URL"
        state = "ready" if here and runs else waits if runs else f"needs the backend {entry.backend}"
        sys.stdout.write(f"{entry.name:<{width}}  {state:<30}  {entry.summary}\n")


@models.command()
@reports_errors
def info(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A catalogue name, a folder, a .gguf file or a server's URL."),
    ],
    as_json: AsJson = False,
) -> None:
    """What a model is taken for and why, how it is spoken to, and what it needs."""
    from npcsdk.models.catalog import CATALOG
    from npcsdk.models.identify import identify

    entry = CATALOG.get(model)
    if entry is not None and not _here(entry):
        facts = _entry_facts(entry) | {"here": False, "runs": _runs(entry.backend)}
    else:
        found = identify(model)
        facts = (_entry_facts(found.entry) if found.entry else {}) | _found_facts(found)
    if as_json:
        _write_json(facts)
        return
    for key, value in facts.items():
        _write_fact(key, value)


@models.command()
@reports_errors
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of `npcsdk models list`.")],
) -> None:
    """Download a model of the catalogue, or go on with it; every file is checked.

    HF_ENDPOINT names a mirror, HF_TOKEN is for gated models, NPCSDK_MODELS is where models lie.
    """
    from npcsdk.models.catalog import CATALOG
    from npcsdk.models.download import pull as fetch
    from npcsdk.models.licences import remember_shown, was_shown
    from npcsdk.models.places import models_folder

    entry = CATALOG.get(name)
    if entry is None:
        close = difflib.get_close_matches(name, CATALOG, n=1)
        raise ModelError(
            f"No model of the catalogue is called {name!r}.",
            code="model_unknown",
            hint=(f"Did you mean {close[0]!r}? " if close else "") + "See `npcsdk models list`.",
        )
    if not entry.repository:
        sys.stdout.write(f"{name} needs no download.\n")
        return
    folder = models_folder()
    if not was_shown(entry.licence, folder):
        _show_licence(entry)
        remember_shown(entry.licence, folder)
    if not _runs(entry.backend):
        errors.print(f"note: this installation has no backend {entry.backend} to run it with", style="yellow")
    with _bar() as (on_plan, on_progress):
        pulled = fetch(entry, folder / entry.name, on_plan=on_plan, on_progress=on_progress)
    how = "downloaded and checked" if pulled.fresh else "is here already"
    sys.stdout.write(f"{name} {how}: {pulled.folder}\n")
    if not entry.sha256:
        sys.stdout.write(
            f"Its publisher states no checksums of its own; the files are those of revision {pulled.plan.revision}.\n"
        )


@models.command()
@reports_errors
def convert(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A Hugging Face folder (Nemotron, Gemma, Gemma 2), or a name that was pulled.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder; for gguf also a .gguf file.")],
    to: Annotated[str, typer.Option(metavar="TARGET", help="onnx, gguf or openvino.")],
    precision: Annotated[
        str,
        typer.Option(
            metavar="WEIGHTS", help="int8, int4, fp16 or fp32. Default: int4 for onnx, int8 for the others."
        ),
    ] = "",
) -> None:
    """Bring a model into the format of onnxruntime-genai, llama.cpp or OpenVINO.

    Nothing is downloaded. It is whole when it is there: a conversion that fails leaves nothing behind.
    """
    from npcsdk.models.convert import convert as bring

    with _steps() as report:
        made = bring(model, to, out, precision=precision, report=report)
    sys.stdout.write(f"{made}\n")
    errors.print(f"Speak to it: npcsdk play --model {made}", markup=False, soft_wrap=True)


@contextmanager
def _steps() -> Generator[Callable[[str, float], None]]:
    """Progress of a work that knows how far it is: a bar in a terminal, a line for every tenth elsewhere."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    tenths = -1
    if not errors.is_terminal:

        def line(what: str, done: float) -> None:
            nonlocal tenths
            if int(10 * done) > tenths:
                tenths = int(10 * done)
                errors.print(f"{10 * tenths}% {what}", markup=False)

        yield line
        return
    with Bar(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), console=errors, transient=True
    ) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, done: bar.update(task, description=escape(what), completed=done)


def _show_licence(entry: CatalogEntry) -> None:
    licence = entry.licence
    lines = [
        f"{entry.repository} is under: {licence.name}",
        *([licence.url] if licence.url else []),
        *(["What it asks of you, in short (its text is what counts):"] if licence.obligations else []),
        *(f"  - {duty}" for duty in licence.obligations),
        "By downloading it you accept these terms. This is shown once.",
        "",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


@contextmanager
def _bar() -> Generator[tuple[Callable[[Plan], None], Callable[[Progress], None]]]:
    """Progress as a bar in a terminal, as a line for every tenth elsewhere."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    tenths = -1

    def on_plan(plan: Plan) -> None:
        errors.print(f"{plan.repository}: {len(plan.files)} files, {plan.size / 1e6:.1f} MB", markup=False)

    if not errors.is_terminal:

        def line(progress: Progress) -> None:
            nonlocal tenths
            now = 10 * progress.done // max(progress.total, 1)
            if progress.doing == "download" and now > tenths:
                tenths = now
                errors.print(f"{10 * now}% {progress.file}", markup=False)

        yield on_plan, line
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("", total=None)

        def draw(progress: Progress) -> None:
            doing = escape(f"{progress.doing} {progress.file}")
            bar.update(task, description=doing, completed=progress.done, total=progress.total)

        yield on_plan, draw


@models.command()
@reports_errors
def advise(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]", help="A catalogue name, folder or file. Left out: the one that fits."
        ),
    ] = None,
    characters: Annotated[
        int, typer.Option("--characters", metavar="N", min=1, help="How many speak at once.")
    ] = 1,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure what can run here now; takes seconds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Which runtime and precision suit this machine, why, and the command to run next."""
    from npcsdk.cli.advising import report

    report(model, characters, measure=measure, as_json=as_json)


# Facts.


def _runs(backend: str) -> bool:
    from npcsdk.backends.registry import backend_names

    return backend in backend_names()


def _here(entry: CatalogEntry) -> bool:
    from npcsdk.models.identify import identify

    try:
        identify(entry.name)
    except NpcError:
        return False
    return True


def _entry_facts(entry: CatalogEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "summary": entry.summary,
        "repository": entry.repository,
        "files": list(entry.files) or ("all" if entry.repository else ""),
        "checksums": dict(entry.sha256)
        or ("none stated by its publisher; the hub's are checked" if entry.repository else ""),
        "gated": entry.gated,
        "licence": entry.licence.name,
        "licence_url": entry.licence.url,
        "obligations": list(entry.licence.obligations),
        "architecture": entry.architecture,
        "parameters": f"{entry.size.parameters / 1e9:.2f} billion" if entry.size else "",
        "file_format": entry.file_format,
        "backend": entry.backend,
        "prompt_format": entry.prompt_format,
        "tool_format": entry.tool_format,
        "stop": list(entry.stop),
        "context_length": entry.context_length,
        "download": entry.download,
        "memory": entry.memory,
        "runtimes": dict(entry.runtimes),
    }


def _found_facts(found: Found) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": found.name,
        "taken_for": found.why,
        "path": found.path,
        "architecture": found.architecture,
        "backend": found.backend,
        "prompt_format": found.prompt_format,
        "tool_format": found.tool_format,
        "context_length": found.context_length,
        "here": True,
        "runs": _runs(found.backend),
    }
    if found.prompt_format == "jinja":
        facts["prefix_stable"] = _is_stable(found)
    return facts


def _is_stable(found: Found) -> bool:
    """Whether the model's own chat template lets a turn reuse what the turn before computed."""
    from npcsdk.backends.base import ModelSource
    from npcsdk.prompt.templates import template_for

    source = ModelSource(
        name=found.name,
        backend=found.backend,
        path=found.path,
        prompt_format=found.prompt_format,
        tool_format=found.tool_format,
        chat_template=found.chat_template,
        tokens=found.tokens,
    )
    return bool(getattr(template_for(source), "stable", True))


def _write_json(facts: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")


def _write_fact(key: str, value: Any) -> None:
    if value == "" or value == [] or value == {}:
        return
    label = key.replace("_", " ")
    if key == "runs":
        value = "yes" if value else "no: this installation has no such backend"
    elif key == "prefix_stable":
        value = "yes" if value else "no: its chat template rewrites history, so every turn computes it anew"
    elif isinstance(value, bool):
        value = "yes" if value else "no"
    elif isinstance(value, dict):
        value = "; ".join(f"{name}: {what}" for name, what in value.items())  # pyright: ignore[reportUnknownVariableType]
    elif isinstance(value, list):
        value = ", ".join(map(str, value)) if key != "obligations" else " ".join(map(str, value))  # pyright: ignore
    sys.stdout.write(f"{label + ':':<16} {value}\n")
