"""A role is its verbs: each is a task file, an entry point, a page of README, and has its way back."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract.layout import PROJECT, ROLES, load_yaml, relative, roles, tasks_of
from cutover.proof import LEAST_GATES

each_role = pytest.mark.parametrize("role", roles(), ids=lambda path: path.name)
each_playbook = pytest.mark.parametrize(
    "playbook", sorted((PROJECT / "playbooks").glob("*.yml")), ids=lambda path: path.stem
)

# A playbook is a table of contents: work is done in roles (STYLE 1).
WORK = frozenset({"command", "include_vars", "lineinfile", "raw", "script", "set_fact", "shell"})


def verbs(role: Path) -> set[str]:
    """A role's verbs: its task files.

    Not those in subfolders, nor those named after a driver (`haproxy.yml`, `haproxy_share.yml`): a verb includes them.
    """
    step = re.compile(rf"({'|'.join(map(re.escape, drivers(role)))})(_|$)") if drivers(role) else None
    return {path.stem for path in (role / "tasks").glob("*.yml") if not (step and step.match(path.stem))}


def entry_points(role: Path) -> dict[str, Any]:
    """What `meta/argument_specs.yml` declares, by the name of the entry point."""
    specs = role / "meta" / "argument_specs.yml"
    return dict(load_yaml(specs)["argument_specs"]) if specs.exists() else {}


def drivers(role: Path) -> list[str]:
    """The drivers that a role lets one choose from: the choices of its options named `..._driver`."""
    options = [option for entry in entry_points(role).values() for option in (entry.get("options") or {}).items()]
    return sorted(
        {choice for name, option in options if name.endswith("_driver") for choice in option.get("choices", [])}
    )


def undescribed(options: dict[str, Any], where: str = "") -> Iterator[str]:
    """Yield every option, at any depth, that has no type or no description."""
    for name, option in options.items():
        if not (option.get("type") and option.get("description")):
            yield f"{where}{name}"
        yield from undescribed(option.get("options") or {}, f"{where}{name}.")


def role_defaults() -> dict[str, Any]:
    """What the roles' inputs are when nobody sets them, as far as it is written out: a template is worked out later."""
    files = [path for role in roles() if (path := role / "defaults" / "main.yml").exists()]
    values = {name: value for path in files for name, value in (load_yaml(path) or {}).items()}
    return {name: value for name, value in values.items() if "{{" not in str(value)}


def belongs_to(variable: str, role: Path) -> bool:
    """Tell whether a variable carries the role's name, as an input or as a private one."""
    return bool(re.match(rf"(__)?{re.escape(role.name)}(_|$)", variable))


def short_names(task: dict[str, Any]) -> set[str]:
    """The last words of all keys of a task: the module, whatever its collection, among them."""
    return {str(key).rpartition(".")[2] for key in task}


@each_role
def test_every_verb_has_its_entry_point_and_the_reverse(role):
    assert set(entry_points(role)) == verbs(role)


@each_role
def test_every_driver_that_can_be_chosen_is_there(role):
    files = [path.stem for path in (role / "tasks").rglob("*.yml")]
    assert [driver for driver in drivers(role) if not any(re.match(rf"{driver}(_|$)", stem) for stem in files)] == []


@each_role
def test_every_entry_point_says_what_it_is_for_and_what_it_takes(role):
    for verb, entry in entry_points(role).items():
        assert entry.get("short_description"), verb
        assert list(undescribed(entry.get("options") or {})) == [], verb


@each_role
def test_an_input_is_by_default_what_its_entry_points_say(role):
    given = role_defaults()
    wrong = [
        f"{verb}: {name} is documented as {option['default']!r}, and is {given[name]!r}"
        for verb, entry in entry_points(role).items()
        for name, option in (entry.get("options") or {}).items()
        if "default" in option and name in given and option["default"] != given[name]
    ]
    assert wrong == []


@each_role
def test_every_switch_has_its_rollback(role):
    assert "rollback" in verbs(role) or "switch" not in verbs(role)


@each_role
def test_a_roles_variables_carry_its_name(role):
    for path in (role / "defaults" / "main.yml", role / "vars" / "main.yml"):
        names = load_yaml(path) if path.exists() else {}
        assert [name for name in names or {} if not belongs_to(name, role)] == [], relative(path)


@each_role
def test_what_a_role_registers_carries_its_name(role):
    registered = {
        task["register"] for path in (role / "tasks").rglob("*.yml") for task in tasks_of(path) if "register" in task
    }
    assert [name for name in sorted(registered) if not belongs_to(name, role)] == []


@each_role
def test_a_role_says_in_its_readme_what_each_verb_does(role):
    readme = role / "README.md"
    assert readme.exists(), relative(readme)
    text = readme.read_text(encoding="utf-8")
    assert [verb for verb in sorted(verbs(role)) if verb not in text] == []


@each_role
def test_no_failure_is_ignored(role):
    ignoring = [
        f"{relative(path)}: {task.get('name')}"
        for path in (role / "tasks").rglob("*.yml")
        for task in tasks_of(path)
        if "ignore_errors" in task
    ]
    assert ignoring == []


@each_playbook
def test_a_playbook_is_a_table_of_contents(playbook):
    assert [task.get("name") for task in tasks_of(playbook) if short_names(task) & WORK] == []


@each_playbook
def test_a_run_of_each_playbook_is_proven_by_a_gate_that_it_decides(playbook):
    said = [task.get("vars") or {} for task in tasks_of(playbook)]
    for verb in [words["run_verb"] for words in said if "run_verb" in words]:
        files = [playbook, *(ROLES / "run" / "tasks").glob("*.yml"), *(ROLES / verb / "tasks").glob("*.yml")]
        decided = {(task.get("vars") or {}).get("run_gate") for path in files for task in tasks_of(path)}
        assert set(LEAST_GATES[verb]) <= decided


def test_the_steps_of_a_run_stand_in_the_order_in_which_a_cutover_takes_them():
    cutover = PROJECT / "playbooks" / "cutover.yml"
    taken = [task["vars"]["run_step"] for task in tasks_of(cutover) if "run_step" in (task.get("vars") or {})]
    assert taken == list(load_yaml(ROLES / "run" / "vars" / "main.yml")["run_steps"])


def test_every_step_of_a_run_is_there_and_so_is_its_way_back():
    words = load_yaml(ROLES / "run" / "vars" / "main.yml")
    steps, ways = words["run_steps"], words["__run_way_back"]
    files = [f"{step['role']}/{step['verb']}" for step in steps.values()] + [way["taken"] for way in ways]
    assert [name for name in files if not (ROLES / name.replace("/", "/tasks/")).with_suffix(".yml").exists()] == []
    back = {(step, way["taken"]) for way in ways for step in way["undoes"]}
    assert {step for step, _ in back} <= steps.keys()
    assert {(name, step["undone_by"]) for name, step in steps.items() if "undone_by" in step} <= back
