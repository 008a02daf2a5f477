"""A module is documented as it is: one option, one name, one truth; and a secret is marked where it is declared."""

import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring
from contract.layout import PROJECT, modules

fragment_loader.add_directory(str(PROJECT / "plugins" / "doc_fragments"))

# What documentation and specification say when they say nothing.
SILENCE: dict[str, Any] = {"type": "str", "elements": None, "required": False, "default": None, "choices": None}

# AnsibleModule's own idea of an option that may hold a secret; `keys` and `id` are ours.
LOOKS_SECRET = re.compile(r"pass(?!ive)|secret|token|cred|key|role_id", re.IGNORECASE)

each_module = pytest.mark.parametrize("module", modules(), ids=lambda path: path.stem)


def load(path: Path) -> Any:
    """Import a module's file, whatever else has its name."""
    spec = importlib.util.spec_from_file_location(f"contract_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def specification_of(path: Path) -> dict[str, Any]:
    """The options a module takes: its own, or those of the action plugin whose documentation it is."""
    loaded = load(path)
    if not hasattr(loaded, "argument_spec"):
        loaded = load(PROJECT / "plugins" / "action" / path.name)
    return dict(loaded.argument_spec())


def documentation_of(path: Path) -> dict[str, Any]:
    """The documentation as `ansible-doc` shows it, with its fragments merged in."""
    documentation, _, _, _ = get_docstring(str(path), fragment_loader, is_module=True)
    return dict(documentation)


def disagreements(
    documented: Mapping[str, Any] | None, specified: Mapping[str, Any] | None, where: str = ""
) -> Iterator[str]:
    """Yield a sentence for everything that documentation and specification say differently, at any depth."""
    documented, specified = documented or {}, specified or {}
    for name in sorted({*documented, *specified}):
        option = f"{where}{name}"
        if name not in documented:
            yield f"{option} is not documented"
        elif name not in specified:
            yield f"{option} is documented, and no such option exists"
        else:
            said, taken = documented[name], specified[name]
            if not said.get("description"):
                yield f"{option} has no description"
            for aspect, silence in SILENCE.items():
                if said.get(aspect, silence) != taken.get(aspect, silence):
                    yield f"{option}: {aspect} is documented as {said.get(aspect)!r}, and is {taken.get(aspect)!r}"
            if sorted(said.get("aliases", [])) != sorted(taken.get("aliases", [])):
                yield f"{option}: aliases differ"
            yield from disagreements(said.get("suboptions"), taken.get("options"), f"{option}.")


def undeclared_secrets(specified: Mapping[str, Any] | None, where: str = "") -> Iterator[str]:
    """Yield every option whose name says secret and whose specification does not say `no_log`, true or false."""
    for name, option in (specified or {}).items():
        if LOOKS_SECRET.search(name) and option.get("type") not in ("bool", "path") and "no_log" not in option:
            yield f"{where}{name}"
        yield from undeclared_secrets(option.get("options"), f"{where}{name}.")


@each_module
def test_the_documentation_says_what_the_module_takes(module):
    assert list(disagreements(documentation_of(module).get("options"), specification_of(module))) == []


@each_module
def test_the_documentation_is_named_after_the_module(module):
    documentation = documentation_of(module)
    assert documentation["module"] == module.stem
    assert documentation["short_description"]


@each_module
def test_every_option_that_may_hold_a_secret_says_whether_it_does(module):
    assert list(undeclared_secrets(specification_of(module))) == []


@each_module
def test_the_examples_are_tasks_that_use_the_module(module):
    examples = yaml.safe_load(load(module).EXAMPLES)
    assert examples
    assert any(module.stem in task for task in examples)
    assert all("name" in task for task in examples)


@each_module
def test_what_a_module_returns_is_described(module):
    returned = yaml.safe_load(load(module).RETURN)
    assert returned
    assert [name for name, value in returned.items() if not (value.get("description") and value.get("type"))] == []


def test_a_module_that_is_documented_wrongly_is_found_out():
    documented = {
        "targets": {"description": "x", "type": "list", "suboptions": {"name": {"description": "x", "type": "int"}}},
        "gone": {"description": "x"},
    }
    specified = {
        "targets": {"type": "list", "elements": "dict", "options": {"name": {"type": "str"}, "token": {"type": "str"}}}
    }
    assert list(disagreements(documented, specified)) == [
        "gone is documented, and no such option exists",
        "targets: elements is documented as None, and is 'dict'",
        "targets.name: type is documented as 'int', and is 'str'",
        "targets.token is not documented",
    ]
    assert list(undeclared_secrets(specified)) == ["targets.token"]
