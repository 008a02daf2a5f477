# Ansible, which ships no types, as far as `from ansible import ...` reaches into it.
from typing import Any

constants: Any
context: Any
