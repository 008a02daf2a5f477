"""Rotate the tokens of the roles: new ones into OpenBao, and the web process started again, which reads them there.

rotate_tokens.py STATE_DIR OPENBAO_URL APP_FOLDER...     as whoever issues tokens would; nothing is printed
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path

import hvac

ROLES = ("manager", "analyst", "operator", "viewer")


def main(state: Path, url: str, folders: list[Path]) -> None:
    keep = state / "secrets"
    token = json.loads((keep / "openbao-init.json").read_text())["root_token"]
    vault = hvac.Client(url=url, token=token, verify=str(state / "ca" / "ca.pem")).secrets.kv.v2
    known = vault.read_secret_version("ledger/tokens", raise_on_deleted_version=True)["data"]["data"]
    token_map = json.loads(known["token_map"])
    new = {role: secrets.token_urlsafe(32) for role in ROLES}
    fresh = {value: who for value, who in token_map.items() if who["user_id"] not in ROLES}
    fresh |= {new[who["user_id"]]: who for who in token_map.values() if who["user_id"] in ROLES}
    vault.create_or_update_secret("ledger/tokens", {"token_map": json.dumps(fresh)})
    vault.create_or_update_secret("ledger/journeys", {f"{role}_token": value for role, value in new.items()})
    for role, value in new.items():
        # What the lab would put there when it is started again.
        path = keep / f"ledger-{role}-token"
        path.write_text(value)
        path.chmod(0o600)
    for folder in folders:
        control = [str(Path(sys.executable).with_name("supervisorctl")), "-s", f"unix://{folder}/run/supervisor.sock"]
        web = subprocess.run([*control, "status", "web"], capture_output=True, text=True, timeout=30, check=False)
        if "RUNNING" in web.stdout:
            subprocess.run([*control, "restart", "web"], capture_output=True, timeout=60, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [Path(folder) for folder in sys.argv[3:]])
