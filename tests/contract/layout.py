"""Where things are in this project, and what each contract test reads from there."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[2]
LIBRARY = PROJECT / "library"
THINKING = PROJECT / "module_utils" / "cutover"
ROLES = PROJECT / "roles"


def relative(path: Path) -> str:
    """The path as people name it."""
    return str(path.relative_to(PROJECT))


def modules() -> list[Path]:
    """Every module of this project."""
    return sorted(LIBRARY.glob("*.py"))


def roles() -> list[Path]:
    """Every role of this project."""
    return sorted(path for path in ROLES.glob("*") if path.is_dir())


def tracked_files() -> list[Path]:
    """All files that are, or are about to be, under version control, except binary ones."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    paths = [PROJECT / name for name in names.split("\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()]


def load_yaml(path: Path) -> Any:
    """Read a YAML file; Ansible's own tags (`!vault`, `!unsafe`) stand for their plain value."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_TagBlindLoader)


class _TagBlindLoader(yaml.SafeLoader):
    """Reads what Ansible reads, without its tags."""


_TagBlindLoader.add_multi_constructor("!", lambda loader, _tag, node: loader.construct_scalar(node))


def tasks_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every task of a task file or playbook, those within blocks and plays too."""

    def within(entries: Any) -> Iterator[dict[str, Any]]:
        for entry in entries or []:
            yield entry
            for part in ("pre_tasks", "tasks", "post_tasks", "handlers", "block", "rescue", "always"):
                yield from within(entry.get(part))

    yield from within(load_yaml(path))


def imports_of(path: Path) -> Iterator[str]:
    """Yield the name of every module that a Python file imports, anywhere in it; relative ones begin with a dot."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            # `from . import verdict` imports a sibling, `from .verdict import Finding` a name from it.
            yield from ([module] if node.module else [module + alias.name for alias in node.names])


def is_standard(name: str) -> bool:
    """Tell whether Python brings this module itself."""
    return name.partition(".")[0] in sys.stdlib_module_names
