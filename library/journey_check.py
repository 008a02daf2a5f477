#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Door to the journeys: judge_journey_plan.py says what they are, observe_journey.py walks, judge_journey.py judges."""

from __future__ import annotations

DOCUMENTATION = r"""
module: journey_check
short_description: Walk declared journeys through a web application, and verify every step
description:
  - A journey is a list of requests, each with what is expected of its answer. Values of an answer can be captured and
    used in later steps. Journeys are walked side by side; the steps of one journey, one after the other.
  - B(It writes to the application), as its steps say. Let a journey mark what it makes as test data (C({run}) in a
    name), or clean up after itself.
  - A journey ends at the first finding that does not pass. All later ones are skipped, and name that one. Clean-up
    steps run whatever happened before, and are judged for themselves.
  - A refusal is an expectation like any other. V(status=[403]) passes when it is refused, and not when it is allowed.
  - Names in braces, such as C({vendor_id}), are replaced by values once, before a step is sent. A text that is nothing
    but a name keeps the value's type. In paths, values are percent-encoded; in regular expressions, escaped. What a
    server has answered is neither a template nor an expression. A brace that is no name is written C(\\{).
  - Two names are always there. C({run}) is a mark that no other walk has; C({now}) is the moment in UTC.
  - All of it is understood before anything is sent. A name that has no value by then is an argument error.
  - Redirects are not followed, so they can be judged. Proxies of the environment are not used. No answer is read
    beyond 10 MB.
  - Tokens, captured secrets and cookies are shown nowhere. The whole answer of a step that failed is kept in
    C(recorded) without them, up to 16,384 characters.
version_added: 1.0.0
author: Cutover maintainers (@cutover)
extends_documentation_fragment: [check, targets]
requirements: [requests >= 2.32, jmespath >= 1.0, 'hvac >= 2.4, where something is read from Vault']
attributes:
  check_mode:
    support: partial
    description: Sends the steps that change nothing, up to the first one that may. That one is an C(error), what
      follows is skipped, and neither is a pass.
options:
  component:
    description: What the verdicts call the kind of thing that is looked at.
    type: str
    default: journeys
  targets:
    suboptions:
      name:
        description: Name of the journey in reports; unique among the targets.
        type: str
        required: true
      address:
        description: Where the application is, without credentials, such as V(https://app.example).
        type: str
        required: true
      ca_path:
        description: File of trusted CA certificates in PEM form. Without it, the certificates that requests ships.
        type: path
      tls_name:
        description: Name that the certificate must bear, where it is not the one in the address.
        type: str
      values:
        description: Values that steps use by their names. Shown in logs, so nothing secret; see O(secrets).
        type: dict
      cleanup_timeout_s:
        description: Seconds for all clean-up steps together. They come on top of O(timeout_s) and O(total_timeout_s).
        type: float
        default: 10.0
      steps:
        description: The requests, in their order.
        type: list
        elements: dict
        required: true
        suboptions: &step
          name:
            description: Name of the step in findings, such as V(approve-too-early). Unique within the journey.
            type: str
            required: true
          as:
            description: Identity to send it as, one of O(identities). Without it, nobody in particular.
            type: str
          method:
            description: Method of the request.
            type: str
            choices: [GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE]
            default: GET
          path:
            description: Path below the address, with its query, such as V(/api/v1/users?username={name}).
            type: str
            required: true
          headers:
            description: Headers to send. One that holds a credential as it is, is refused.
            type: dict
          json:
            description: What to send as JSON. A credential is given by the name of a secret.
            type: raw
          form:
            description: What to send as a form.
            type: dict
          changes:
            description:
              - Whether it may change something. Such a step is not sent in check mode, and never asked twice.
              - When not declared, V(false) for GET, HEAD and OPTIONS, and V(true) for all others.
            type: bool
          expected:
            description: What is expected of the answer.
            type: dict
            required: true
            suboptions:
              status:
                description: Status codes that will do.
                type: list
                elements: int
                required: true
              headers:
                description: Headers of the answer, each with a value or a rule as in C(body).
                type: dict
              text:
                description: A regular expression that is found in the body.
                type: str
              body:
                description:
                  - JMESPath expressions on the JSON body, each with the value that it must find, or with one rule of
                    C(equals), C(matches) (a regular expression), C(present), C(at_least) and C(at_most).
                  - What is not there is C(null) in JMESPath, so an expected C(null) does not tell the two apart.
                type: dict
              sha256:
                description: SHA-256 of the body.
                type: str
              max_ms:
                description: Most milliseconds until the last byte of the answer, with connecting.
                type: float
              wait_s:
                description: Seconds for which to ask again until everything expected holds. The last answer is judged.
                  Only for steps that change nothing. They come on top of the time limits.
                type: float
              every_s:
                description: Seconds between two requests while waiting; 1 when not declared.
                type: float
          capture:
            description:
              - Values that later steps may use, by their names. Each is a JMESPath expression on the body, or an object
                with C(body), the expression, or with C(header), the header's name.
              - With C(secret=true) the value is shown nowhere; that is how a login's token is captured.
            type: dict
          files:
            description: Files that the answer lists with their SHA-256. Each is downloaded, and its checksum computed.
            type: dict
            suboptions:
              listed:
                description: JMESPath expression that finds an object of names and checksums, or a list of pairs of
                  them, such as V(files[].[name, sha256]).
                type: str
                required: true
              path:
                description: Path of each file; C({file}) stands for its name.
                type: str
                required: true
          record:
            description: Keep the whole answer as evidence also when it is as expected.
            type: bool
            default: false
      cleanup:
        description: Steps that run at the end, whatever happened before. One that needs a value that was never
          captured is not sent. A failure of one does not keep the next from running.
        type: list
        elements: dict
        suboptions: *step
  identities:
    description: Who steps can be sent as. Each has its own cookies.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the identity, as in C(as) of a step.
        type: str
        required: true
      token:
        description: Its token.
        type: str
      vault_path:
        description: Mount and path of the token in a version 2 key-value engine, such as V(secret/app/tokens).
        type: str
      vault_key:
        description: Key of the token there.
        type: str
      vault_versions_back:
        description: Which version of it, counted back from the newest. With 1, the token before the last rotation.
        type: int
        default: 0
      from_value:
        description: Name of the value that holds its token, such as one that a login captured. It is shown nowhere,
          whether it was captured with C(secret=true) or not.
        type: str
      header:
        description: Header that takes the token.
        type: str
        default: Authorization
      scheme:
        description: Word before the token; empty for none.
        type: str
        default: Bearer
  secrets:
    description: Values that steps use by their names, and that are shown nowhere. Only those that a journey uses are
      read.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the value.
        type: str
        required: true
      value:
        description: The value.
        type: str
      vault_path:
        description: Mount and path of the value in a version 2 key-value engine.
        type: str
      vault_key:
        description: Key of the value there.
        type: str
      vault_versions_back:
        description: Which version of it, counted back from the newest.
        type: int
        default: 0
  vault:
    description: Where C(vault_path) and C(vault_key) are read.
    type: dict
    suboptions:
      address:
        description: URL of Vault or OpenBao, without credentials.
        type: str
        required: true
      ca_path:
        description: File of trusted CA certificates in PEM form.
        type: path
      namespace:
        description: Namespace to read in.
        type: str
      token:
        description: Token to read with.
        type: str
      role_id:
        description: AppRole to log in with.
        type: str
      secret_id:
        description: Secret ID of the AppRole.
        type: str
      approle_mount:
        description: Where the AppRole method is mounted.
        type: str
        default: approle
  timeout_s:
    description: Deadline for one journey, in seconds, without its clean-up and without what its steps are waited for.
    type: float
    default: 60.0
  total_timeout_s:
    description: Deadline for all journeys together, in seconds.
    type: float
    default: 300.0
"""

EXAMPLES = r"""
- name: Verify that nobody becomes an administrator through the API
  journey_check:
    identities:
      - {name: admin, from_value: admin_token}
    secrets:
      - {name: admin_password, vault_path: secret/app/admin, vault_key: password}
    vault: {address: "https://vault.example:8200", role_id: "{{ vault_role_id }}", secret_id: "{{ vault_secret_id }}"}
    targets:
      - name: authority
        address: https://app.example
        steps:
          - name: login
            method: POST
            path: /api/v1/auth/login
            json: {username: admin, password: "{admin_password}"}
            expected: {status: 200}
            capture: {admin_token: {body: access_token, secret: true}}
          - name: refuse-administrator
            as: admin
            method: POST
            path: /api/v1/users
            headers: {Idempotency-Key: "journey-{run}"}
            json: {username: "journey-{run}", password: "not-used-{run}", role: ADMIN}
            expected:
              status: 400
              body: {detail: Cannot create ADMIN users via API}
          - name: nobody-was-made
            as: admin
            path: /api/v1/users?username=journey-{run}
            expected: {status: 200, body: {total: 0}}

- name: Generate an audit pack, wait for it, and compute every checksum anew
  journey_check:
    identities:
      - {name: auditor, token: "{{ auditor_token }}"}
    targets:
      - name: audit-pack
        address: https://app.example
        steps:
          - name: generate
            as: auditor
            method: POST
            path: /api/packs
            json: {notes: "journey {run}"}
            expected: {status: 202}
            capture: {pack: id}
          - name: ready
            as: auditor
            path: /api/packs/{pack}
            expected: {status: 200, body: {status: READY}, wait_s: 30, every_s: 2}
          - name: checksums
            as: auditor
            path: /api/packs/{pack}/checksums.json
            expected: {status: 200}
            files: {listed: "files[].[name, sha256]", path: "/api/packs/{pack}/files/{file}"}
        cleanup:
          - name: delete-the-pack
            as: auditor
            method: DELETE
            path: /api/packs/{pack}
            expected: {status: [204, 404]}
"""

RETURN = r"""
changed:
  description: Whether a step was sent that may change something.
  returned: always
  type: bool
verdicts:
  description: One verdict for each journey, in their order. The fragment C(check) describes its parts.
  returned: always
  type: list
  elements: dict
  sample:
    - component: journeys
      subject: authority
      address: https://app.example
      ok: false
      took_ms: 214
      findings:
        - {check: reachable, status: pass, blocking: true, expected: true, observed: true, cause: null, remedy: null}
        - {check: login.status, status: pass, blocking: true, expected: 200, observed: 200, cause: null, remedy: null}
        - check: refuse-administrator.status
          status: fail
          blocking: true
          expected: 400
          observed: 201
          cause: null
          remedy: read what it answered (in the evidence), and the application's log for that moment
        - check: nobody-was-made.status
          status: skipped
          blocking: true
          expected: 200
          observed: null
          cause: refuse-administrator.status
          remedy: null
      recorded:
        run: 20260228101052-5f2c1f7e
        status: 2 of 3 steps were reached
        steps:
          - step: refuse-administrator
            at: "2026-02-28T10:10:52Z"
            as: admin
            request: POST /api/v1/users
            took_ms: 41
            status: 201
            answered_ms: 40
            headers: {content-type: application/json}
            body: '{"id":17,"username":"journey-20260228101052-5f2c1f7e","role":"ADMIN"}'
            body_bytes: 73
"""

from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cutover.glue import check_arguments, reporting
from ansible.module_utils.cutover.judge_journey import journey_checks
from ansible.module_utils.cutover.judge_journey_plan import METHODS, literal_secrets, plan_journey
from ansible.module_utils.cutover.options import VAULT, VAULT_RULES
from ansible.module_utils.cutover.verify import verify_targets

EXPECTED = {
    "status": {"type": "list", "elements": "int", "required": True},
    "headers": {"type": "dict"},
    "text": {"type": "str"},
    "body": {"type": "dict"},
    "sha256": {"type": "str"},
    "max_ms": {"type": "float"},
    "wait_s": {"type": "float"},
    "every_s": {"type": "float"},
}

STEP = {
    "name": {"type": "str", "required": True},
    "as": {"type": "str"},
    "method": {"type": "str", "default": "GET", "choices": list(METHODS)},
    "path": {"type": "str", "required": True},
    "headers": {"type": "dict"},
    "json": {"type": "raw"},
    "form": {"type": "dict"},
    "changes": {"type": "bool"},
    "expected": {"type": "dict", "required": True, "options": EXPECTED},
    "capture": {"type": "dict"},
    "files": {
        "type": "dict",
        "options": {"listed": {"type": "str", "required": True}, "path": {"type": "str", "required": True}},
    },
    "record": {"type": "bool", "default": False},
}
STEPS = {"type": "list", "elements": "dict", "options": STEP, "mutually_exclusive": [("json", "form")]}

JOURNEY = {
    "address": {"type": "str", "required": True},
    "ca_path": {"type": "path"},
    "tls_name": {"type": "str"},
    "values": {"type": "dict"},
    "cleanup_timeout_s": {"type": "float", "default": 10.0},
    "steps": {**STEPS, "required": True},
    "cleanup": STEPS,
}

FROM_VAULT = {
    "vault_path": {"type": "str"},
    "vault_key": {"type": "str", "no_log": False},
    "vault_versions_back": {"type": "int", "default": 0},
}

IDENTITY = {
    "name": {"type": "str", "required": True},
    "token": {"type": "str", "no_log": True},
    **FROM_VAULT,
    "from_value": {"type": "str"},
    "header": {"type": "str", "default": "Authorization"},
    "scheme": {"type": "str", "default": "Bearer"},
}

SECRET = {"name": {"type": "str", "required": True}, "value": {"type": "str", "no_log": True}, **FROM_VAULT}


def argument_spec() -> dict[str, Any]:
    spec = check_arguments(target=JOURNEY, expected={})
    # What is expected stands with each step.
    del spec["expected"], spec["targets"]["options"]["expected"]
    return spec | {
        "component": {"type": "str", "default": "journeys"},
        "identities": {
            "type": "list",
            "elements": "dict",
            "options": IDENTITY,
            "mutually_exclusive": [("token", "vault_path", "from_value")],
            "required_together": [("vault_path", "vault_key")],
        },
        "secrets": {
            "type": "list",
            "elements": "dict",
            "options": SECRET,
            "no_log": False,
            "required_one_of": [("value", "vault_path")],
            "mutually_exclusive": [("value", "vault_path")],
            "required_together": [("vault_path", "vault_key")],
        },
        "vault": {"type": "dict", "options": VAULT, **VAULT_RULES},
        "timeout_s": {"type": "float", "default": 60.0},
        "total_timeout_s": {"type": "float", "default": 300.0},
    }


def main() -> None:
    module = AnsibleModule(argument_spec(), supports_check_mode=True)
    # A credential that stands in a step as it is, is an error, and must not be shown by its own message.
    module.no_log_values.update(
        secret for journey in module.params["targets"] for _, secret in literal_secrets(journey)
    )
    with reporting(module) as report:
        from ansible.module_utils.cutover.observe_journey import compiled, look_at_journey

        if module.params["vault"]:
            # A client that is missing is named here, with the interpreter that lacks it.
            import ansible.module_utils.cutover.observe_vault_values  # noqa: F401

        walked: set[str] = set()
        journeys = [
            {**target, "expected": {"journey": plan_journey(target, module.params, compiled)}}
            for target in module.params["targets"]
        ]
        verdicts = verify_targets(
            module.params["component"],
            {**module.params, "targets": journeys},
            partial(look_at_journey, check_mode=module.check_mode, note_change=walked.add),
            lambda expected: journey_checks(expected["journey"]),
            reachable_remedy="start the application, and see that its address, port and CA are right as seen from here",
            record=lambda walk: walk.recorded,
            wait_s=lambda target: target["expected"]["journey"].wait_s(),
        )
        report(verdicts, changed=bool(walked))


if __name__ == "__main__":
    main()
