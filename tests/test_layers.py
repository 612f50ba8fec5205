"""Who may import whom. The table is the design's; the imports are read from the source, lazy ones included."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "npcsdk"

LAYER_1 = ("npcsdk.errors", "npcsdk.events", "npcsdk.conditions")
SEAM = "npcsdk.backends.base"

# A module (the longest prefix counts) -> the modules of npcsdk that it may import, besides layer 1 and its own prefix.
ALLOWED: dict[str, tuple[str, ...]] = {
    "npcsdk": ("npcsdk",),  # the public names, loaded on first use
    "npcsdk.__main__": ("npcsdk.cli",),
    "npcsdk.errors": (),
    "npcsdk.events": (),
    "npcsdk.conditions": (),
    "npcsdk.persona": (),
    "npcsdk.actions": (SEAM,),
    "npcsdk.prompt": (SEAM, "npcsdk.persona", "npcsdk.actions", "npcsdk.memory"),
    "npcsdk.memory": (),
    "npcsdk.backends": (SEAM,),
    "npcsdk.backends.openai_compat": (
        SEAM,
        "npcsdk.actions.formats",
        "npcsdk.prompt.templates.instructions",
    ),
    "npcsdk.backends.registry": (SEAM, "npcsdk.models"),
    "npcsdk.backends.server_chat": (SEAM, "npcsdk.actions"),
    "npcsdk.backends.server_json": (SEAM, "npcsdk.actions.formats"),
    "npcsdk.models": (),
    "npcsdk.wire": (),
    "npcsdk.dialogue": (
        SEAM,
        "npcsdk.actions",
        "npcsdk.backends.registry",
        "npcsdk.memory.recall",
        "npcsdk.persona",
        "npcsdk.prompt",
    ),
    "npcsdk.bridge": ("npcsdk.wire", "npcsdk.dialogue", "npcsdk.actions.schema"),
    "npcsdk.cli": ("npcsdk",),
}
PURE = ("npcsdk.errors", "npcsdk.events", "npcsdk.conditions")

# Runtimes and stores are adapters: nobody but their registry's string names them.
ADAPTERS = (
    "npcsdk.backends.llama_cpp",
    "npcsdk.backends.onnx_genai",
    "npcsdk.backends.openai_compat",
    "npcsdk.backends.openvino_genai",
    "npcsdk.backends.transformers",
    "npcsdk.memory.index",
    "npcsdk.memory.embed",
    "npcsdk.memory.embed_endpoint",
    "npcsdk.memory.embed_foreign",
    "npcsdk.memory.embed_sentence",
    "npcsdk.models.download",
)

OWNERS = {
    "zmq": ("npcsdk.bridge",),
    "msgpack": ("npcsdk.wire",),
    "yaml": ("npcsdk.persona",),
    "sentence_transformers": ("npcsdk.memory.embed_sentence",),
    "chromadb": ("npcsdk.memory.index",),
    "onnxruntime_genai": ("npcsdk.backends.onnx_genai",),
    "tokenizers": ("npcsdk.backends.encoding",),
    "llguidance": ("npcsdk.backends.guidance",),
    "jsonschema": ("npcsdk.actions",),
    "pydantic": ("npcsdk.persona", "npcsdk.actions.schema", "npcsdk.cli.settings"),
    "pydantic_core": ("npcsdk.persona",),
    "numpy": ("npcsdk.backends", "npcsdk.memory", "npcsdk.models.convert"),
    "jinja2": ("npcsdk.prompt.templates.jinja_render",),
    "gguf": ("npcsdk.models.convert.to_gguf",),
    "openvino": ("npcsdk.backends.openvino_genai", "npcsdk.models.convert.to_openvino"),
    "openvino_genai": ("npcsdk.backends.openvino_genai",),
    "llama_cpp": ("npcsdk.backends.llama_cpp", "npcsdk.backends.device_queries"),
    "torch": ("npcsdk.backends.transformers",),
    "transformers": ("npcsdk.backends.transformers",),
    "httpx": ("npcsdk.backends.http_stream", "npcsdk.backends.http_waits"),
    "httpcore": ("npcsdk.backends.http_waits",),
    "huggingface_hub": ("npcsdk.models.download",),
    "typer": ("npcsdk.cli",),
    "rich": ("npcsdk.cli",),
}


def modules() -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("npcsdk", *path.relative_to(PACKAGE).with_suffix("").parts)
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            # `from package import module` names a module too
            if (PACKAGE.parent / node.module.replace(".", "/")).is_dir():
                yield from (
                    f"{node.module}.{alias.name}"
                    for alias in node.names
                    if (PACKAGE.parent / node.module.replace(".", "/") / f"{alias.name}.py").exists()
                )


def within(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


MODULES = modules()


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_imports_point_down(module: str, path: Path) -> None:
    home = max((prefix for prefix in ALLOWED if within(module, (prefix,))), key=len)
    package = ".".join(module.split(".")[:2])
    for target in imports(path):
        if target.split(".")[0] == "npcsdk":
            if target == "npcsdk" and home != "npcsdk.cli":
                continue  # the package itself: its version
            allowed = (*LAYER_1, *ALLOWED[home]) if module not in PURE else LAYER_1
            own = within(target, (package,)) and home != "npcsdk"
            assert own or within(target, allowed), f"{module} imports {target}"
            if within(target, ADAPTERS) and not within(module, ("npcsdk.cli",)):
                assert module == target, f"{module} names the adapter {target} directly"
            assert not (within(target, ("npcsdk.cli",)) and home not in ("npcsdk.cli", "npcsdk.__main__"))
        else:
            top = target.split(".")[0]
            if top in sys.stdlib_module_names:
                continue
            assert module not in PURE, f"{module} imports {target}, and may use the standard library only"
            assert top in OWNERS, f"{module} imports {target}: give the dependency one owner"
            assert within(module, OWNERS[top]), f"{module} imports {target}, which belongs to {OWNERS[top]}"


def test_the_client_needs_the_wire_alone() -> None:
    """A game that talks to a server over the socket loads no dialogue, memory or model."""
    allowed = ("npcsdk.wire", "npcsdk.bridge", "npcsdk.actions.schema", *LAYER_1)
    client = PACKAGE / "bridge" / "client.py"
    for target in imports(client):
        if target.startswith("npcsdk"):
            assert target == "npcsdk" or within(target, allowed), f"bridge.client imports {target}"


def test_modules_stay_small() -> None:
    long = {
        name: lines for name, path in MODULES if (lines := path.read_text(encoding="utf-8").count("\n")) > 500
    }
    assert not long, f"each of these is perhaps two modules: {long}"
