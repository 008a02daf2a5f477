"""The lock files, the requirements they lock, and the collections in use agree."""

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import ansible_collections
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

PROJECT = Path(__file__).resolve().parents[2]
LOCKS = ["requirements", "requirements-dev", "tools/requirements-uv"]
BUILTIN = {"ansible.builtin", "ansible.legacy"}

each_lock = pytest.mark.parametrize("lock", LOCKS)


def locked(text: str) -> dict[str, list[str]]:
    """Split a lock file into its requirements and the hashes of each; a name may stand there once a Python version."""
    entries: dict[str, list[str]] = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        first, *rest = entry.splitlines()
        entries[first.rstrip(" \\")] = [line.strip(" \\") for line in rest if "--hash=" in line]
    return entries


def named(requirements: str) -> Iterator[str]:
    """Yield the names of what a requirements file asks for, those of files it includes too."""
    path = PROJECT / f"{requirements}.in"
    for line in path.read_text(encoding="utf-8").splitlines():
        wanted = line.partition("#")[0].strip()
        if wanted.startswith("-r "):
            yield from named(wanted.removeprefix("-r ").removesuffix(".in").strip())
        elif wanted:
            yield Requirement(wanted).name


def lock_text(lock: str) -> str:
    return (PROJECT / f"{lock}.txt").read_text(encoding="utf-8")


def listed_collections() -> dict[str, SpecifierSet]:
    """The collections of requirements.yml and the versions it allows."""
    listed = yaml.safe_load((PROJECT / "requirements.yml").read_text(encoding="utf-8"))["collections"]
    return {collection["name"]: SpecifierSet(collection["version"]) for collection in listed}


def installed_version(collection: str) -> str | None:
    """The version of a collection that the `ansible` package brought, if it did."""
    manifest = Path(ansible_collections.__path__[0], *collection.split("."), "MANIFEST.json")
    if not manifest.exists():
        return None
    return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])


def collections_in(text: str) -> set[str]:
    """The collections whose modules, filters, tests or lookups a YAML text names.

    A key of three dotted words is a module of any collection. Elsewhere, dotted words are taken for a collection's only
    where that collection is installed: `item.value.name` is not.
    """
    keys = re.findall(r"^[ -]*([a-z]\w*\.[a-z]\w*)\.[a-z]\w*:(?:\s|$)", text, re.MULTILINE)
    words = re.findall(r"(?<![\w./-])([a-z]\w*\.[a-z]\w*)\.[a-z]\w*\b(?!\.[a-z])", text)
    return {*keys, *(name for name in words if installed_version(name))} - BUILTIN


def collections_in_use() -> set[str]:
    """The collections named by what Ansible reads here."""
    folders = ("playbooks", "roles", "molecule", "inventories")
    paths = [path for folder in folders for path in (PROJECT / folder).rglob("*") if path.suffix in (".yml", ".j2")]
    return {collection for path in paths for collection in collections_in(path.read_text(encoding="utf-8"))}


@each_lock
def test_every_locked_package_has_one_version_and_hashes(lock):
    entries = locked(lock_text(lock))
    assert entries
    assert [entry for entry in entries if not re.match(r"[a-z0-9-]+==\S+( ;|$)", entry)] == []
    assert [entry for entry, hashes in entries.items() if not hashes] == []
    assert [
        text for hashes in entries.values() for text in hashes if not re.fullmatch(r"--hash=sha256:\w{64}", text)
    ] == []


@each_lock
def test_a_lock_names_no_index_so_that_any_mirror_will_do(lock):
    # An option of the whole file, such as an index, begins its line; the options of one package are indented.
    assert [line for line in lock_text(lock).splitlines() if line.startswith("-") or "://" in line] == []


@each_lock
def test_everything_asked_for_is_locked(lock):
    packages = {entry.partition("==")[0] for entry in locked(lock_text(lock))}
    assert [name for name in named(lock) if name.lower().partition("[")[0] not in packages] == []


def test_every_linter_is_locked_and_so_never_left_out():
    linters = {step.argv[0] for step in runpy.run_path(str(PROJECT / "tools" / "test"))["linters"]()}
    packages = {entry.partition("==")[0].removesuffix("-py") for entry in locked(lock_text("requirements-dev"))}
    assert linters == {"ansible-lint", "mypy", "ruff", "shellcheck", "yamllint"}
    assert linters <= packages


def test_both_locks_hold_the_same_versions():
    production, development = (
        {entry.partition(" ")[0] for entry in locked(lock_text(lock))} for lock in ("requirements", "requirements-dev")
    )
    assert production - development == set()


def test_python_311_keeps_an_ansible_core_that_runs_on_it():
    cores = [entry for entry in locked(lock_text("requirements")) if entry.startswith("ansible-core==")]
    assert len(cores) == 2
    assert [core for core in cores if core.startswith("ansible-core==2.19.") and "< '3.12'" in core]


def test_the_collections_listed_are_the_ones_in_use():
    assert set(listed_collections()) == collections_in_use()


def test_the_ansible_package_brings_a_version_of_each_that_is_allowed():
    brought = {collection: installed_version(collection) for collection in listed_collections()}
    refused = {name: version for name, version in brought.items() if version not in listed_collections()[name]}
    assert refused == {}


def test_a_collection_is_found_wherever_it_is_named():
    text = """
    - name: Use one as a module
      community.postgresql.postgresql_ping:
    - unknown.collection.module:
    - ansible.builtin.debug:
        msg: "{{ lookup('community.hashi_vault.vault_kv2_get') | community.general.json_query(item.value.name) }}"
    """
    assert collections_in(text) == {
        "community.general",
        "community.hashi_vault",
        "community.postgresql",
        "unknown.collection",
    }
