"""Writes the ``.meta`` files that Unity keeps beside every file and folder of the package, where one is missing.

Their GUIDs follow from the path inside the package, so that they are the same on every machine and for ever: scenes and
prefabs of games refer to them. A file that moves takes its ``.meta`` along. ``python bindings/metas.py``
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent / "csharp"
TAIL = "  userData:\n  assetBundleName:\n  assetBundleVariant:\n"
SCRIPT = (
    "MonoImporter:\n  externalObjects: {}\n  serializedVersion: 2\n  defaultReferences: []\n  executionOrder: 0\n"
    "  icon: {instanceID: 0}\n"
)
IMPORTERS = {".cs": SCRIPT} | {
    suffix: f"{name}:\n  externalObjects: {{}}\n"
    for suffix, name in {
        ".asmdef": "AssemblyDefinitionImporter",
        ".json": "PackageManifestImporter",
        ".md": "TextScriptImporter",
    }.items()
}
FOLDER = "folderAsset: yes\nDefaultImporter:\n  externalObjects: {}\n"
OTHER = "DefaultImporter:\n  externalObjects: {}\n"


def assets(package: Path = PACKAGE) -> Iterator[Path]:
    """What Unity keeps a ``.meta`` for: all but what it hides. What is below ``Samples~`` it copies into the game."""
    for path in sorted(package.rglob("*")):
        if path.suffix != ".meta" and not path.name.endswith("~") and not path.name.startswith("."):
            yield path


def meta(path: Path, package: Path = PACKAGE) -> str:
    """The ``.meta`` file of one asset."""
    inside = path.relative_to(package).as_posix()
    guid = hashlib.md5(f"org.npcsdk.unity/{inside}".encode(), usedforsecurity=False).hexdigest()
    importer = FOLDER if path.is_dir() else IMPORTERS.get(path.suffix, OTHER)
    return f"fileFormatVersion: 2\nguid: {guid}\n{importer}{TAIL}"


def main() -> None:
    for path in assets():
        beside = path.with_name(path.name + ".meta")
        if not beside.exists():
            beside.write_text(meta(path), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
