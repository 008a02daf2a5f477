"""A set-up that cannot go on says why in one sentence and fails: the real scripts, in a copy of their tree."""

import os
import re
import shutil
import socket
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
FILES = (
    "requirements-dev.txt",
    "tools/bootstrap",
    "tools/clean",
    "tools/install-packages",
    "tools/requirements-uv.txt",
)
# All that a machine has here: whatever else it may have cannot help. Its Python is another name for this one.
PROGRAMS = ("awk", "cat", "cp", "cut", "dirname", "find", "grep", "mkdir", "rm", "rmdir", "sed", "sh", "sha256sum")
NO_NETWORK = "no network: the packages could not be fetched"
UNTRUSTED = "the certificate of the package server is not trusted here"
NOT_INSTALLED = "the Python packages could not be installed;"


class Machine:
    """A copy of what sets up, and a PATH that leads to nothing else; whoever runs it seems an ordinary user."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.programs = folder / "tree", folder / "bin"
        for name in FILES:
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, self.tree / name)
        # The system's own Python, which is looked for outside of PATH.
        bootstrap = self.tree / "tools/bootstrap"
        bootstrap.write_text(bootstrap.read_text().replace(" /usr/bin/python3 ", " "))
        self.programs.mkdir()
        for name in PROGRAMS:
            (self.programs / name).symlink_to(shutil.which(name) or f"/bin/{name}")
        self.has("id", "echo 1000")
        self.has("df", "echo; echo / 9 9 9999999 9 /")
        self.has_python()

    def has(self, name: str, script: str) -> None:
        """Give it a program: a shell script."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{dedent(script)}\n")
        path.chmod(0o755)

    def has_python(self, *, prelude: str = "pass", pip: str = "exit 1") -> None:
        """Give it a Python that believes the prelude, and makes virtual environments of itself in no time."""
        self.has(
            "python3",
            f"""\
            case "$1 $2" in
            "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
            "-m pip") {pip} ;;
            -c*) exec {sys.executable} -c "import sys; sys._base_executable = '$0'; {prelude}; $2" ;;
            esac""",
        )

    def has_apt(self, *, update: str = "exit 1", offers: str = "1:99") -> None:
        """Give it Debian's programs, of which none changes anything."""
        self.has("apt-get", update)
        self.has("apt-cache", f"echo '  Candidate: {offers}'")
        self.has("dpkg-query", "exit 1")
        self.has("dpkg", '[ "$2" = 1:99 ]')

    def saying(self, words: str) -> str:
        """The script of a program that fails with these words."""
        (self.tree / "words").write_text(words)
        return f"cat {self.tree}/words >&2; exit 1"

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.tree / script, *arguments],
            env={"PATH": str(self.programs), "HOME": str(self.tree), "PIP_CONFIG_FILE": os.devnull, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def stops_with(self, *arguments: str, **environment: str) -> str:
        """The sentence that the set-up stops with; before it there is only what it was about to do."""
        stopped = self.run("tools/bootstrap", *arguments, **environment)
        *before, sentence = stopped.stderr.splitlines()
        assert (stopped.returncode, stopped.stdout) == (2, "")
        assert [line for line in before if not line.startswith("Installing ")] == []
        assert sentence.startswith("Set-up stopped: ")
        return sentence.removeprefix("Set-up stopped: ")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        pytest.param({}, "Python 3.11 or newer is needed, and python3 here is 3.9: install one", id="found"),
        pytest.param({"PYTHON": "python3"}, "PYTHON=python3 is not a Python 3.11 or newer.", id="chosen"),
    ],
)
def test_a_python_that_is_too_old_is_told_by_its_version(machine, environment, sentence):
    machine.has_python(prelude="sys.version_info = (3, 9, 18)")
    assert machine.stops_with(**environment).startswith(sentence)


def test_a_machine_without_python_is_told_to_get_one(machine):
    (machine.programs / "python3").unlink()
    assert machine.stops_with().startswith("Python 3.11 or newer is needed, and python3 here is missing: install one")


@pytest.mark.parametrize("sudo", ["", "exit 1"], ids=["no sudo", "sudo wants a password"])
def test_packages_that_only_root_can_install_are_named_in_the_command_that_does(machine, sudo):
    machine.has_apt()
    if sudo:
        machine.has("sudo", sudo)
    sentence = machine.stops_with("lab")
    assert sentence.startswith(
        "system packages are missing, and installing them needs root. Run: sudo apt-get install "
    )
    assert sentence.endswith(" gnupg age")
    assert " redis-server " in sentence


def test_a_python_that_cannot_make_environments_needs_its_package(machine):
    machine.has_apt()
    machine.has_python(prelude="sys.modules['ensurepip'] = None")
    assert machine.stops_with().endswith(f"Run: sudo apt-get install python3.{sys.version_info.minor}-venv")


def test_another_system_than_debian_is_told_what_is_needed(machine):
    sentence = machine.stops_with("lab")
    assert sentence.startswith("this needs ")
    assert " age (see tools/bootstrap for versions and places), and only Debian's" in sentence


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param("W: Failed to fetch x  Temporary failure resolving 'x'", NO_NETWORK, id="no name server"),
        pytest.param("E: Could not connect to x:80 - connect (111: Connection refused)", NO_NETWORK, id="refused"),
        pytest.param("write: No space left on device", "the disk is full.", id="full"),
        pytest.param(
            "E: Could not get lock x. It is held by process 7", "another package manager is at work", id="busy"
        ),
        pytest.param("Setting up ca-certificates\nSetting up libconnect0", "apt-get could not install ", id="else"),
    ],
)
def test_what_keeps_apt_from_installing_is_told(machine, words, sentence):
    machine.has("id", "echo 0")
    machine.has_apt(update=machine.saying(words))
    assert machine.stops_with("lab").startswith(sentence)


def test_a_system_that_offers_only_old_versions_is_told_so(machine):
    machine.has("id", "echo 0")
    machine.has_apt(update="exit 0", offers="5:6.0.16-1")
    sentence = re.escape(" 6.0.16 and the lab needs ") + r"\d+ or newer\. Debian 12, Ubuntu 24\.04 and newer have"
    assert re.match(rf"this system offers [a-z-]+{sentence}", machine.stops_with("lab"))


def test_an_index_that_nobody_serves_is_no_network(machine):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and never listens
        # The real pip, which cannot change anything with these options.
        machine.has_python(pip=f'exec {sys.executable} "$@" --dry-run --ignore-installed')
        index = f"http://127.0.0.1:{closed.getsockname()[1]}/index"
        assert machine.stops_with(PIP_INDEX_URL=index, PIP_RETRIES="1").startswith(NO_NETWORK)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(
            "error: Request failed after 3 retries\n  cause: client error (Connect)\n  cause: tcp connect error\n"
            "  cause: Connection refused (os error 111)",
            NO_NETWORK,
            id="uv: refused",
        ),
        pytest.param(
            "  cause: dns error\n  cause: failed to lookup address information: Name or service not known",
            NO_NETWORK,
            id="uv: no name server",
        ),
        pytest.param("  cause: invalid peer certificate: UnknownIssuer", UNTRUSTED, id="uv: unknown authority"),
        pytest.param('ReadTimeoutError("x: Read timed out. (read timeout=20)")', NO_NETWORK, id="pip: no answer"),
        pytest.param("SSLError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] x')", UNTRUSTED, id="pip: unknown authority"),
        pytest.param("ProxyError('Cannot connect to proxy.', x)", NO_NETWORK, id="pip: no proxy"),
        pytest.param("error: No space left on device (os error 28)", "the disk is full.", id="full"),
        pytest.param("THESE PACKAGES DO NOT MATCH THE HASHES", "a package arrived with other content", id="altered"),
        pytest.param(
            "error: No solution found when resolving dependencies\n  cause: Because ca-certificates was not found"
            " in the provided package locations, we can conclude that your requirements are unsatisfiable.",
            NOT_INSTALLED,
            id="uv: not on this index",
        ),
        pytest.param(
            "WARNING: certifi and aioconnect are yanked, and so is httpx-proxy\nERROR: ResolutionImpossible",
            NOT_INSTALLED,
            id="pip: names that sound like a network",
        ),
    ],
)
def test_what_keeps_pip_and_uv_from_installing_is_told(machine, words, sentence):
    machine.has_python(pip=machine.saying(words))
    assert machine.stops_with().startswith(sentence)


def test_a_full_disk_is_told_before_anything_is_written_to_it(machine):
    machine.has("df", "echo; echo / 9 9 2048 9 /")
    assert re.fullmatch(r"the disk is full: 2 MB are free and \d+ MB needed\.", machine.stops_with())


def test_a_folder_that_cannot_be_written_to_is_named(machine):
    # A file in the way keeps root out too.
    (machine.tree / ".cache").touch()
    assert machine.stops_with() == f"{machine.tree} cannot be written to."


def test_the_set_up_looks_for_postgresql_where_the_lab_does():
    variables = yaml.safe_load((PROJECT / "roles/lab/vars/main.yml").read_text(encoding="utf-8"))
    (looked_for,) = re.findall(r"for server in (.+); do", (PROJECT / "tools/bootstrap").read_text(encoding="utf-8"))
    servers = [f"/usr/lib/postgresql/{version}/bin/postgres" for version in range(30)]
    assert [server for server in servers if fnmatch(server, looked_for)] == sorted(
        variables["__lab_postgres_candidates"]
    )


def test_an_argument_that_means_nothing_is_refused(machine):
    assert machine.stops_with("labs") == "tools/bootstrap knows the argument lab, and not labs."


@pytest.mark.parametrize("state", [".lab", "elsewhere"])
def test_a_lab_that_nothing_here_can_take_down_is_not_cleaned_away(machine, state):
    (machine.tree / state).mkdir()
    stopped = machine.run("tools/clean", CUTOVER_LAB_STATE=str(machine.tree / state))
    assert stopped.returncode == 2
    assert f"\nClean stopped: a lab is in {machine.tree / state}, and what takes it down" in stopped.stderr
    assert (machine.tree / state).is_dir()


def test_cleaning_installs_what_takes_labs_down_and_takes_each_down(machine):
    played = machine.tree / "played"
    machine.has("ansible-playbook", f'echo "$CUTOVER_LAB_STATE $*" >>{played}')
    machine.has_python(pip=f"cp {machine.programs}/ansible-playbook .venv/bin/")
    states = [machine.tree / name for name in (".lab", "elsewhere")]
    for state in states:
        state.mkdir()
    assert machine.run("tools/clean", CUTOVER_LAB_STATE=str(states[1])).returncode == 0
    assert played.read_text() == "".join(f"{state} playbooks/lab.yml -e lab_state=absent\n" for state in states)
    assert [(machine.tree / name).exists() for name in (".lab", ".venv", "elsewhere")] == [False, False, True]


def test_cleaning_needs_nothing_where_there_is_no_lab(machine):
    (machine.tree / ".venv").mkdir()
    cleaned = machine.run("tools/clean")
    assert (cleaned.returncode, cleaned.stderr, (machine.tree / ".venv").exists()) == (0, "", False)
