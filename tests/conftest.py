"""What every test may use: the project's modules under Ansible's own import path, recorded answers, one module run."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import ansible.module_utils
import pytest
from ansible.module_utils.testing import patch_module_args
from hypothesis import settings

PROJECT = Path(__file__).resolve().parent.parent

# Ansible finds our package beside its own through `module_utils =` in ansible.cfg; tests find it through this line.
ansible.module_utils.__path__.append(str(PROJECT / "module_utils"))

# A slow machine is no defect of what is tested.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's folder."""
    return PROJECT


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], Any]:
    """Read an answer that a real server gave: `recorded("openbao-2.7/seal-status-sealed.json")`, from tests/recorded/.

    JSON files come back parsed, all others as text.
    """

    def read(name: str) -> Any:
        text = (PROJECT / "tests" / "recorded" / name).read_text(encoding="utf-8")
        return json.loads(text) if name.endswith(".json") else text

    return read


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Run a module's `main` here: `run_module(vault_check, targets=[...], expected={...})` returns its result.

    Arguments whose names start with `_ansible_` (`_ansible_check_mode=True`) steer Ansible's side. A module that fails
    returns too, with `failed` set, as it does in a playbook.
    """

    def run(module: ModuleType, **arguments: Any) -> dict[str, Any]:
        capsys.readouterr()
        with patch_module_args(dict[str, Any](arguments)), pytest.raises(SystemExit):
            module.main()
        result: Mapping[str, Any] = json.loads(capsys.readouterr().out)
        return dict(result)

    return run
