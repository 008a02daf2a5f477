"""What the documentation names is there: playbooks, pages, variables, modules, and the twelve lines for an auditor."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from contract.layout import PROJECT, ROLES, modules, relative, roles, tasks_of
from cutover.journal import Journal

PAGES = [
    *(PROJECT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((PROJECT / "docs").rglob("*.md")),
    *sorted(ROLES.glob("*/README.md")),
]
EXAMPLE = sorted((PROJECT / "inventories" / "example").rglob("*.yml"))
DECISIONS = sorted((PROJECT / "docs" / "decisions").glob("*.md"))

each_page = pytest.mark.parametrize("page", PAGES, ids=relative)

VARIABLE = re.compile(rf"(?<![\w.<{{/-])(?:{'|'.join(path.name for path in roles())})_[a-z0-9_]*[a-z0-9](?![\w(])")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def known_variables() -> set[str]:
    """Every word of that form in what Ansible reads of roles and the lab: inputs, results, host variables, modules."""
    files = [path for folder in ("defaults", "meta", "tasks", "vars") for path in ROLES.glob(f"*/{folder}/**/*.yml")]
    files += sorted((PROJECT / "inventories" / "lab").rglob("*.yml"))
    return {word for path in files for word in re.findall(r"\w+", text_of(path))} | {path.stem for path in modules()}


def names_beside_variables() -> set[str]:
    """Words of that form that are no variables of ours: options of modules, and what the example calls its secrets."""
    options = {word for path in modules() for word in re.findall(r"\w+", text_of(path))}
    secrets = set(re.findall(r"^(\w+):", text_of(PROJECT / "inventories/example/group_vars/all/secrets.yml"), re.M))
    return options | secrets


@each_page
def test_every_playbook_that_is_named_is_there(page):
    named = set(re.findall(r"playbooks/([\w-]+\.yml)", text_of(page)))
    assert [name for name in sorted(named) if not (PROJECT / "playbooks" / name).exists()] == []


@each_page
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?://)([^)\s]+)\)", text_of(page))
    assert [link for link in links if not (page.parent / link.partition("#")[0]).exists()] == []


@each_page
def test_every_link_into_a_page_meets_a_heading(page):
    for target, anchor in re.findall(r"\]\((?!https?://)([^)\s#]*)#([^)\s]+)\)", text_of(page)):
        text = text_of(page.parent / target if target else page)
        headings = [re.sub(r"[^\w -]", "", title.lower()) for title in re.findall(r"^#+ (.+)$", text, re.M)]
        assert anchor in [heading.replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("path", [*PAGES, *EXAMPLE], ids=relative)
def test_every_variable_that_is_named_exists(path):
    named = set(VARIABLE.findall(text_of(path)))
    assert sorted(named - known_variables() - names_beside_variables()) == []


def test_a_variable_that_does_not_exist_is_found_out():
    named = set(
        VARIABLE.findall("Set `traffic_pools` and `traffic_colour`, below <release_base_dir>/schedulers_x.yml.")
    )
    assert named - known_variables() == {"traffic_colour"}


def test_the_operators_page_names_every_gate_of_a_cutover():
    tasks = tasks_of(PROJECT / "playbooks" / "cutover.yml")
    gates = [task["vars"]["run_gate"] for task in tasks if "run_gate" in (task.get("vars") or {})]
    assert re.findall(r"\*\*gate `(\w+)`\*\*", text_of(PROJECT / "docs" / "runbooks" / "cutover.md")) == gates


def test_the_labs_page_names_every_release():
    named = re.findall(r"^\| (\d\S*) \|", text_of(PROJECT / "lab" / "README.md"), re.M)
    built = [path.name for path in (PROJECT / "lab" / "releases").iterdir()]
    assert sorted(named) == sorted(["1.0.0", *built])


def test_the_readme_names_every_check_module():
    readme = text_of(PROJECT / "README.md")
    checks = [path.stem for path in modules() if path.stem.endswith("_check")]
    assert [name for name in checks if f"| `{name}` |" not in readme] == []


def test_decisions_are_numbered_and_listed():
    assert [path.name[:4] for path in DECISIONS] == [f"{number:04d}" for number in range(1, len(DECISIONS) + 1)]
    assert [text_of(path).split("\n")[0][:4] for path in DECISIONS] == [
        f"# {number}." for number in range(1, len(DECISIONS) + 1)
    ]
    architecture = text_of(PROJECT / "docs" / "architecture.md")
    assert [path.name for path in DECISIONS if path.name not in architecture] == []


def test_the_lines_for_an_auditor_verify_a_journal_and_find_one_that_was_changed(tmp_path):
    program = re.search(r"```python\n(.*?)```", text_of(PROJECT / "docs" / "evidence.md"), re.S)
    assert program is not None
    assert len(program[1].splitlines()) == 12
    journal = Journal(path=tmp_path / "journal.jsonl", run="r", clock=lambda: datetime(2026, 1, 31, tzinfo=UTC))
    for kind in ("opened", "verdict", "closed"):
        journal.append(kind, {"text": "größer \x7f", "kind": kind})

    def audited() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program[1], str(journal.path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert audited().stdout == f"3 records, head {journal.head}\n"
    lines = journal.path.read_text(encoding="ascii").splitlines()
    changed = json.dumps(json.loads(lines[1]) | {"kind": "decision"}, sort_keys=True, separators=(",", ":"))
    for wrong in ([lines[0], changed, lines[2]], [lines[0], lines[2]], [lines[1], lines[0], lines[2]]):
        journal.path.write_text("\n".join(wrong) + "\n", encoding="ascii")
        assert audited().returncode == 1
