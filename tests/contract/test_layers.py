"""Thinking is pure, clients are in one place, and nothing of the product knows the lab or the machine it came from."""

import re
from pathlib import Path

import pytest
from contract.layout import PROJECT, THINKING, imports_of, is_standard, relative, tracked_files

PURE_NAMES = {
    "checks",
    "drills",
    "gate",
    "journal",
    "journey_names",
    "masking",
    "options",
    "report",
    "report_drift",
    "restore",
    "runs",
    "triggers",
    "verdict",
    "versions",
}
# The one file that speaks to Ansible.
GLUE = "glue"
# Python's own clients: what opens a connection or starts a process is no thinking either.
CLIENTS = {"asyncio", "ftplib", "http", "smtplib", "socket", "ssl", "subprocess", "telnetlib", "urllib.request"}

FILES = sorted(THINKING.rglob("*.py"))


def is_pure(path: Path) -> bool:
    """Tell whether this file only thinks."""
    return path.stem in PURE_NAMES or path.stem.startswith(("judge", "facts"))


def is_observer(path: Path) -> bool:
    """Tell whether this file looks at servers, or changes them, through a client library."""
    return path.stem.startswith(("observe", "apply"))


def within(name: str, packages: set[str]) -> bool:
    """Tell whether a module is one of these packages or in one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def sibling(name: str) -> Path:
    """The file that a relative import in `module_utils/cutover` leads to."""
    return THINKING / f"{name.lstrip('.').partition('.')[0]}.py"


def test_every_file_that_is_named_here_is_there():
    assert {*PURE_NAMES, GLUE} - {path.stem for path in FILES} == set()


@pytest.mark.parametrize("path", [path for path in FILES if is_pure(path)], ids=lambda path: path.stem)
def test_what_judges_only_thinks(path):
    impure = [
        name
        for name in imports_of(path)
        if (name.startswith(".") and not is_pure(sibling(name)))
        or (not name.startswith(".") and (not is_standard(name) or within(name, CLIENTS)))
    ]
    assert impure == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_only_observers_import_clients_and_only_the_glue_imports_ansible(path):
    foreign = {name for name in imports_of(path) if not name.startswith(".") and not is_standard(name)}
    speaks_to_ansible = {name for name in foreign if within(name, {"ansible"})}
    assert not speaks_to_ansible or path.stem == GLUE
    assert foreign == speaks_to_ansible or is_observer(path)


def test_nothing_of_the_product_knows_the_lab():
    knows = re.compile(r"\bledger\b|\blab_\w+", re.IGNORECASE)
    product = re.compile(r"(library|module_utils|plugins|roles/(?!lab/))")
    knowing = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in tracked_files()
        if product.match(relative(path))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if knows.search(line)
    ]
    assert knowing == []


def test_no_file_names_a_machine_or_a_package_index():
    # Put together here, so that this file does not find itself.
    machine = r"(?<![\w.~-])/(work|root|farm|home/[a-z]\w*)" + "/"
    index = r"--(extra-)?index-url[ =]\S|https?://[^\s/]+/(?:\S+/)?simple\b|\bpypi\.org|pythonhosted"
    pattern = re.compile(f"{machine}|{index}".replace("pythonhosted", "python" + "hosted"))
    naming = [
        f"{relative(path)}:{number}: {line.strip()[:120]}"
        for path in tracked_files()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert naming == []


def test_every_script_that_has_a_first_line_can_be_run():
    scripts = [path for path in tracked_files() if path.parent.name in ("tools", ".ci") and path.suffix == ""]
    assert scripts
    assert [relative(path) for path in scripts if not path.stat().st_mode & 0o100] == []
    assert PROJECT.joinpath(".ci/run") in scripts
