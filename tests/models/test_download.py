"""Downloading with the real hub client from a hub on this machine: whole, broken, truncated, slow, gated."""

from __future__ import annotations

import errno
import json
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

constants = pytest.importorskip("huggingface_hub.constants")
file_download = pytest.importorskip("huggingface_hub.file_download")

from npcsdk.errors import MissingExtra, ModelError  # noqa: E402
from npcsdk.models.catalog import CATALOG, CatalogEntry  # noqa: E402
from npcsdk.models.download import MANIFEST, Plan, Progress, manifest_of, pull  # noqa: E402
from npcsdk.models.identify import identify  # noqa: E402
from tests.models.hub_server import (  # noqa: E402
    COMMIT,
    REPOSITORY,
    TOKEN,
    Hub,
    cut_off,
    damaged,
    serving,
    stalled,
    too_many,
    trickled,
    whole_again,
)

ENTRY = replace(CATALOG["nemotron-mini-4b"], repository=REPOSITORY)
WEIGHTS = bytes(range(256)) * 400


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no_token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)  # the client keeps whole pieces only
    # the client's pauses between its own attempts
    monkeypatch.setattr(file_download, "time", types.SimpleNamespace(sleep=lambda seconds: None))
    files = {
        "genai_config.json": b'{"model": {}}',
        "model.onnx.data": WEIGHTS,
        "onnx/extra.txt": b"more\n",
        ".gitattributes": b"*",
    }
    with serving(Hub(files)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def is_whole(folder: Path) -> bool:
    return (folder / "model.onnx.data").read_bytes() == WEIGHTS and (folder / "onnx" / "extra.txt").is_file()


def test_a_mirror_gives_the_whole_model_with_progress(hub: Hub, tmp_path: Path) -> None:
    plans: list[Plan] = []
    seen: list[Progress] = []
    pulled = pull(ENTRY, tmp_path / "m", on_plan=plans.append, on_progress=seen.append)
    assert pulled.fresh
    assert is_whole(tmp_path / "m")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("m")) == [
        "m"
    ]  # nothing left over
    assert not (tmp_path / "m" / ".gitattributes").exists()
    manifest = manifest_of(tmp_path / "m")
    assert manifest is not None
    assert (manifest["repository"], manifest["revision"]) == (REPOSITORY, COMMIT)
    assert len(manifest["files"]["model.onnx.data"]["sha256"]) == 64
    assert plans[0].size == sum(len(data) for name, data in hub.files.items() if name != ".gitattributes")
    assert {progress.doing for progress in seen} == {"download", "check"}
    assert max(progress.done for progress in seen) == seen[0].total == plans[0].size


def test_what_is_there_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    pull(ENTRY, tmp_path / "m")
    hub.asked.clear()
    assert not pull(ENTRY, tmp_path / "m").fresh
    assert hub.asked == []
    (tmp_path / "m" / "model.onnx.data").write_bytes(b"short")
    assert pull(ENTRY, tmp_path / "m").fresh
    assert is_whole(tmp_path / "m")


def test_only_the_files_that_the_row_names(hub: Hub, tmp_path: Path) -> None:
    pull(replace(ENTRY, files=("*.json",)), tmp_path / "m")
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["genai_config.json", MANIFEST]
    with pytest.raises(ModelError, match=r"\*\.gguf") as caught:
        pull(replace(ENTRY, files=("*.json", "*.gguf")), tmp_path / "m")
    assert caught.value.code == "download_unknown"


def test_a_connection_that_breaks_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [cut_off, cut_off]
    pull(ENTRY, tmp_path / "m")
    assert is_whole(tmp_path / "m")
    ranges = [asked for name, asked in hub.asked if name == "model.onnx.data"]
    assert ranges == ["", f"bytes={len(WEIGHTS) // 2}-", f"bytes={len(WEIGHTS) * 3 // 4}-"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [cut_off] + [stalled] * 40
    with pytest.raises(ModelError) as caught:
        pull(ENTRY, tmp_path / "m")
    assert caught.value.code == "download_failed"
    assert hub.url in caught.value.message
    assert "goes on" in caught.value.hint
    assert not (tmp_path / "m").exists()
    hub.faults.clear()
    hub.asked.clear()
    pull(ENTRY, tmp_path / "m")
    assert is_whole(tmp_path / "m")
    ((_, asked),) = [item for item in hub.asked if item[0] == "model.onnx.data"]
    assert int(asked.removeprefix("bytes=").rstrip("-")) >= len(WEIGHTS) // 2


def test_a_slow_hub_is_waited_for(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [trickled]
    pull(ENTRY, tmp_path / "m")
    assert is_whole(tmp_path / "m")


def test_damage_on_the_way_is_noticed_and_fetched_again(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [damaged]
    pull(ENTRY, tmp_path / "m")
    assert is_whole(tmp_path / "m")


def test_damage_that_stays_is_named_and_nothing_is_installed(hub: Hub, tmp_path: Path) -> None:
    hub.announced = {"model.onnx.data": WEIGHTS[:-1] + b"?"}
    with pytest.raises(ModelError, match="checksum") as caught:
        pull(ENTRY, tmp_path / "m")
    assert caught.value.code == "download_corrupt"
    assert not (tmp_path / "m").exists()


def test_a_hub_that_minds_no_ranges_does_not_spoil_the_file(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [cut_off, whole_again]
    pull(ENTRY, tmp_path / "m")
    assert is_whole(tmp_path / "m")


def test_a_hub_that_has_had_enough_is_named_or_waited_for(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [too_many]
    try:
        pull(ENTRY, tmp_path / "m")
    except ModelError as error:
        assert error.code == "download_failed"
        assert "429" in error.message
        pull(ENTRY, tmp_path / "m")
    assert is_whole(tmp_path / "m")


@pytest.mark.parametrize(
    "listing",
    [
        b"<html>Sign in to this network</html>",
        b'{"id": "studio/model", "sib',
        b"",
        b"[]",
        b'{"siblings": [{}]}',
    ],
    ids=["a captive portal", "cut off", "nothing", "a list", "no names"],
)
def test_a_listing_that_is_no_listing_is_named(hub: Hub, tmp_path: Path, listing: bytes) -> None:
    hub.listing = listing
    with pytest.raises(ModelError) as caught:
        pull(ENTRY, tmp_path / "m")
    assert caught.value.code in ("download_failed", "download_unknown")
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert not (tmp_path / "m").exists()
    hub.listing = None
    assert pull(ENTRY, tmp_path / "m").fresh


def test_files_that_are_stored_elsewhere_come_without_the_token(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serving(Hub(hub.files)) as store:
        # the same machine by another name, as a store of files has
        hub.elsewhere = store.url.replace("127.0.0.1", "localhost")
        pull(ENTRY, tmp_path / "m")
        assert is_whole(tmp_path / "m")
        assert {name for name, _ in store.keys} == set(hub.files) - {".gitattributes"}
        assert {key for _, key in store.keys} == {""}


def test_a_disk_that_fills_up_is_named(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from npcsdk.models import download

    def full(self: object, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(download._Counted, "write", full)
        with pytest.raises(ModelError) as caught:
            pull(ENTRY, tmp_path / "m")
    assert caught.value.code == "disk_full"
    assert "NPCSDK_MODELS" in caught.value.hint
    pull(ENTRY, tmp_path / "m")
    assert is_whole(tmp_path / "m")


def test_a_repository_with_its_model_in_a_sub_folder_is_found(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPCSDK_MODELS", str(tmp_path))
    hub.files.clear()
    hub.files |= {
        "README.md": b"# A model",
        "int4/genai_config.json": b'{"model": {"type": "nemotron", "context_length": 4096}}',
        "int4/model.onnx.data": WEIGHTS,
    }
    pull(ENTRY, tmp_path / ENTRY.name)
    found = identify(ENTRY.name)
    assert found.path == str(tmp_path / ENTRY.name / "int4")
    assert "the only model there" in found.why


def test_a_small_file_is_checked_too(hub: Hub, tmp_path: Path) -> None:
    hub.announced = {"genai_config.json": b'{"model": []}'}
    with pytest.raises(ModelError, match="genai_config") as caught:
        pull(ENTRY, tmp_path / "m")
    assert caught.value.code == "download_corrupt"


def test_the_rows_own_checksum_counts(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="checksum"):
        pull(replace(ENTRY, sha256={"model.onnx.data": "0" * 64}), tmp_path / "m")


def test_a_gated_model_says_what_to_do(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated = True
    with pytest.raises(ModelError) as caught:
        pull(ENTRY, tmp_path / "m")
    assert caught.value.code == "model_gated"
    assert f"{hub.url}/{REPOSITORY}" in caught.value.hint
    assert "HF_TOKEN" in caught.value.hint
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    pull(ENTRY, tmp_path / "m")
    assert is_whole(tmp_path / "m")


def gone(entry: CatalogEntry) -> CatalogEntry:
    return replace(entry, repository="studio/other")


def test_what_the_hub_does_not_have_is_named(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="studio/other") as caught:
        pull(gone(ENTRY), tmp_path / "m")
    assert caught.value.code == "download_unknown"


@pytest.mark.parametrize("status", [500, 418])
def test_a_hub_in_trouble_is_named(hub: Hub, tmp_path: Path, status: int) -> None:
    hub.status = status
    with pytest.raises(ModelError, match=str(status)) as caught:
        pull(ENTRY, tmp_path / "m")
    assert caught.value.code == "download_failed"


def test_no_hub_at_all(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError) as caught:
        pull(ENTRY, tmp_path / "m")
    assert caught.value.code == "download_failed"
    assert "mirror" in caught.value.hint


def test_a_hub_cannot_write_elsewhere(hub: Hub, tmp_path: Path) -> None:
    hub.files["../../evil.txt"] = b"x"
    with pytest.raises(ModelError) as caught:
        pull(ENTRY, tmp_path / "m")
    assert caught.value.code == "download_corrupt"
    assert not (tmp_path / "m").exists()


def test_a_full_disk_is_seen_before(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=10))
    with pytest.raises(ModelError) as caught:
        pull(ENTRY, tmp_path / "m")
    assert caught.value.code == "disk_full"
    assert hub.asked == []


def test_a_manifest_that_is_damaged_is_no_manifest(tmp_path: Path) -> None:
    assert manifest_of(tmp_path) is None
    (tmp_path / MANIFEST).write_text("{")
    assert manifest_of(tmp_path) is None
    (tmp_path / MANIFEST).write_text(json.dumps([]))
    assert manifest_of(tmp_path) is None


def test_without_the_client_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra) as caught:
        pull(ENTRY, tmp_path / "m")
    assert "npcsdk[hub]" in caught.value.hint
