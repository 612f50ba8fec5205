"""Models from a hub that speaks Hugging Face's protocol. The owner of `huggingface_hub`.

Files come into a folder beside the model's own and are moved when all are there and right, so a model is never half
there. Whatever broke off goes on where it stopped when `pull` is called again. ``HF_ENDPOINT`` names a mirror,
``HF_TOKEN`` is for gated models; both are the hub client's own settings, and so are its timeouts.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from npcsdk.errors import MissingExtra, ModelError, NpcError
from npcsdk.models.catalog import CatalogEntry

__all__ = ["MANIFEST", "Plan", "Progress", "Pulled", "RemoteFile", "manifest_of", "pull"]

MANIFEST = "npcsdk-download.json"
"""In a downloaded model's folder: where it came from, and the checksums of its files."""

_PARTS = ".parts"
_TRIES = 3
_BLOCK = 1 << 20
_AGAIN = "Run the same command again: it goes on where it stopped."


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository; ``sha256`` is "" for small files, whose ``git`` checksum is checked instead."""

    name: str
    size: int
    sha256: str = ""
    git: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to be downloaded, and from which revision."""

    repository: str
    revision: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` bytes of all files; ``doing`` is "download" or "check"."""

    doing: str
    file: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is whole and right at ``folder``; ``fresh`` is false when nothing had to be fetched."""

    folder: Path
    plan: Plan
    fresh: bool


def pull(
    entry: CatalogEntry,
    folder: Path,
    *,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Pulled:
    """Download a model of the catalogue and check it.

    Args:
        folder: where it belongs. It is replaced only by a whole, checked model.
        on_plan: told once what will be fetched.
        on_progress: told often how far it is.

    Raises:
        ModelError: ``model_gated``, ``download_unknown`` (no such repository, revision or file there),
            ``download_failed`` (the network, the hub or the disk; calling again goes on), ``download_corrupt``,
            ``disk_full``.
        MissingExtra: the extra ``hub`` is not installed.
    """
    hub = _client()
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or str(hub.constants.ENDPOINT)
    with _explained(hub, entry, endpoint):
        plan = _plan(hub, entry, endpoint)
        on_plan(plan)
        if _is_there(folder, plan):
            return Pulled(folder, plan, fresh=False)
        partial = folder.with_name(folder.name + ".partial")
        partial.mkdir(parents=True, exist_ok=True)
        _check_room(partial, plan)
        counter = _Counter(plan, on_progress)
        with _quiet(hub):
            for file in plan.files:
                _fetch(hub, plan, file, partial, endpoint, counter)
        _finish(entry, plan, partial, folder)
    return Pulled(folder, plan, fresh=True)


def _client() -> Any:
    try:
        import huggingface_hub  # here: it takes a while, and only this command needs it

        for part in ("constants", "errors", "file_download", "utils"):
            importlib.import_module(f"huggingface_hub.{part}")
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"Downloading needs the package {error.name!r}, which is not installed.",
            hint='Install the extra: pip install "npcsdk[hub]"',
        ) from error
    return cast("Any", huggingface_hub)


# What is there to fetch.


def _plan(hub: Any, entry: CatalogEntry, endpoint: str) -> Plan:
    info = hub.HfApi(endpoint=endpoint).model_info(
        entry.repository, revision=entry.revision, files_metadata=True
    )
    files: list[RemoteFile] = []
    for item in info.siblings or ():
        name = str(item.rfilename)
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
            raise ModelError(
                f"The repository {entry.repository} has a file named {name!r}, which could lie anywhere.",
                code="download_corrupt",
                hint=f"Do not trust {endpoint}.",
            )
        if name.startswith(".git") or not _wanted(name, entry.files):
            continue
        large = item.lfs
        files.append(
            RemoteFile(
                name,
                int((large.size if large else item.size) or 0),
                entry.sha256.get(name) or (str(large.sha256) if large else ""),
                "" if large else str(item.blob_id or ""),
            )
        )
    missing = [
        pattern for pattern in entry.files if not any(_wanted(file.name, (pattern,)) for file in files)
    ]
    if not files or (missing and not missing[0].endswith((".md", ".model"))):
        raise ModelError(
            f"The repository {entry.repository} at {endpoint} has no file {missing[0] if missing else 'at all'}.",
            code="download_unknown",
            hint="It was changed or is another one; download the model's files by hand and name their folder.",
        )
    return Plan(entry.repository, str(info.sha or entry.revision), tuple(files))


def _wanted(name: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _is_there(folder: Path, plan: Plan) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        same = manifest["revision"] == plan.revision and manifest["repository"] == plan.repository
        return same and all((folder / file.name).stat().st_size == file.size for file in plan.files)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _check_room(partial: Path, plan: Plan) -> None:
    there = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
    free = shutil.disk_usage(partial).free
    if plan.size - there > free:
        raise ModelError(
            f"The model takes {plan.size >> 20} MiB, and {free >> 20} MiB are free at {partial.parent}.",
            code="disk_full",
            hint="Make room, or name another place in NPCSDK_MODELS.",
        )


# Fetching.


class _Counter:
    """Adds up the progress of single files."""

    def __init__(self, plan: Plan, tell: Callable[[Progress], None]) -> None:
        self._tell = tell
        self._total = plan.size
        self._before = 0

    def at(self, doing: str, file: RemoteFile, done: int) -> None:
        self._tell(Progress(doing, file.name, self._before + min(done, file.size), self._total))

    def over(self, file: RemoteFile) -> None:
        self._before += file.size


class _Counted:
    """The file that the hub client writes into, counted."""

    def __init__(self, content: BinaryIO, file: RemoteFile, counter: _Counter) -> None:
        self._content = content
        self._file = file
        self._counter = counter
        self.tell, self.seek, self.truncate = content.tell, content.seek, content.truncate

    def write(self, data: bytes) -> int:
        written = self._content.write(data)
        self._counter.at("download", self._file, self._content.tell())
        return written


def _fetch(hub: Any, plan: Plan, file: RemoteFile, partial: Path, endpoint: str, counter: _Counter) -> None:
    """One file, from where an earlier call stopped.

    The client's own downloads begin anew in every process, which for gigabytes is no help; its `http_get` takes a file
    that is partly there, and does the rest: ranges, retries, timeouts.
    """
    path = partial / file.name
    part = (
        partial / _PARTS / hashlib.sha256(f"{file.name} {file.sha256 or file.git}".encode()).hexdigest()[:32]
    )
    for folder in (path.parent, part.parent):
        folder.mkdir(parents=True, exist_ok=True)
    if path.is_file() and not _problem(path, file, counter):
        counter.over(file)
        return
    problem = ""
    for _ in range(_TRIES):
        part.touch()
        with part.open("r+b") as content:
            there = content.seek(0, os.SEEK_END)
            if there > file.size:
                there = content.seek(0)
                content.truncate()
            if there < file.size:
                _get(hub, plan, file, endpoint, _Counted(content, file, counter), there)
        problem = _problem(part, file, counter)
        if not problem:
            part.replace(path)
            counter.over(file)
            return
        if part.stat().st_size >= file.size:
            part.unlink()
    raise ModelError(
        f"{file.name} of {plan.repository} arrived damaged {_TRIES} times: {problem}.",
        code="download_corrupt",
        hint="Try another network or mirror (HF_ENDPOINT); a proxy may be changing what passes.",
    )


def _get(hub: Any, plan: Plan, file: RemoteFile, endpoint: str, content: _Counted, there: int) -> None:
    url = str(hub.hf_hub_url(plan.repository, file.name, revision=plan.revision, endpoint=endpoint))
    headers: dict[str, str] = hub.utils.build_hf_headers()
    location = str(hub.get_hf_file_metadata(url, endpoint=endpoint).location or url)
    if (
        urlsplit(location).netloc != urlsplit(url).netloc
    ):  # the token is for the hub, not for who stores its files
        headers = {key: value for key, value in headers.items() if key.lower() != "authorization"}
    try:
        hub.file_download.http_get(
            location, content, resume_size=there, headers=headers, expected_size=file.size
        )
    except OSError as error:
        # Fewer or more bytes than announced: what came is looked at, and perhaps gone on from.
        if "onsistency check" not in str(error):
            raise


def _problem(path: Path, file: RemoteFile, counter: _Counter) -> str:
    """What is wrong with a file, or ""."""
    size = path.stat().st_size
    if size != file.size:
        return f"it has {size} bytes of {file.size}"
    expected = file.sha256 or file.git
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(usedforsecurity=False)
    if not file.sha256:
        digest.update(f"blob {size}\0".encode())  # as git names a file's content
    done = 0
    with path.open("rb") as content:
        while block := content.read(_BLOCK):
            digest.update(block)
            done += len(block)
            counter.at("check", file, done)
    found = digest.hexdigest()
    return f"its checksum is {found}, not {expected}" if expected and found != expected else ""


def _finish(entry: CatalogEntry, plan: Plan, partial: Path, folder: Path) -> None:
    shutil.rmtree(partial / _PARTS, ignore_errors=True)
    manifest = {
        "model": entry.name,
        "repository": plan.repository,
        "revision": plan.revision,
        "licence": entry.licence.name,
        "files": {
            file.name: {"size": file.size, **({"sha256": file.sha256} if file.sha256 else {"git": file.git})}
            for file in plan.files
        },
    }
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _quiet(hub: Any) -> Generator[None]:
    """The client's own progress bars are off; ours tells of all files together."""
    was = hub.utils.are_progress_bars_disabled()
    if not was:
        hub.utils.disable_progress_bars()
    try:
        yield
    finally:
        if not was:
            hub.utils.enable_progress_bars()


# What went wrong, in words.


@contextmanager
def _explained(hub: Any, entry: CatalogEntry, endpoint: str) -> Generator[None]:
    errors = hub.errors
    try:
        yield
    except NpcError:
        raise
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{entry.repository} is gated: its publisher wants its terms accepted first.",
            code="model_gated",
            hint=f"1. Sign in at {endpoint}/{entry.repository} and accept the terms. 2. Make a token that may read "
            "there (account settings, access tokens). 3. Run `hf auth login`, or set HF_TOKEN to it. 4. Run this "
            "command again.",
        ) from error
    except (
        errors.RepositoryNotFoundError,
        errors.RevisionNotFoundError,
        errors.RemoteEntryNotFoundError,
    ) as error:
        raise ModelError(
            f"{endpoint} has no {entry.repository} (revision {entry.revision}) for you: {_first_line(error)}.",
            code="download_unknown",
            hint="A mirror may lack it (unset HF_ENDPOINT), or a private or gated model needs HF_TOKEN.",
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise ModelError(
            "HF_HUB_OFFLINE is set, so nothing is downloaded.", code="download_failed", hint="Unset it."
        ) from error
    except Exception as error:  # the client lets through what its HTTP library raises, and that changes
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        raise ModelError(
            f"The download of {entry.repository} from {endpoint} broke off: {_first_line(_root(error))}.",
            code="disk_full" if full else "download_failed",
            hint="Make room, or name another place in NPCSDK_MODELS." if full else _hint(error),
        ) from error


def _hint(error: BaseException) -> str:
    if type(_root(error)).__name__ in ("ConnectError", "ConnectTimeout", "ConnectionError"):
        return f"Is there a way to that host from here? HF_ENDPOINT names a mirror. {_AGAIN}"
    return _AGAIN


def _root(error: BaseException) -> BaseException:
    """The reason behind the client's own 'cannot find the file locally'."""
    while type(error).__name__ == "LocalEntryNotFoundError" and error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    line = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    return f"{type(error).__name__}: {line}"[:300]


def manifest_of(folder: Path) -> Mapping[str, Any] | None:
    """Where a downloaded model came from; None for one that was put there by hand."""
    try:
        value = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else None
