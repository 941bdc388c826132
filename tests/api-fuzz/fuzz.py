"""Sends requests of spec/openapi.json, good and bad ones, to an engine, and compares its answers with the schema.

A finding is an answer 500, one that the schema does not have, or none at all. Ids are mostly those of things that live.
Settings come from the environment: see run.mjs. The last line is 'N requests, N findings'.
"""

import json
import os
import random
import re
import sys
import traceback
from collections import Counter
from pathlib import Path

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from jsonschema_rs import validator_for
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

ROOT = Path(os.environ["NULLSPACE_TEST_ROOT"])
URL = os.environ["NULLSPACE_API_URL"]
SEED = int(os.environ["NULLSPACE_FUZZ_SEED"])
REQUESTS = int(os.environ["NULLSPACE_FUZZ_REQUESTS"])
ONLY = os.environ.get("NULLSPACE_FUZZ_ONLY", "")

# Longer than any answer takes that the schema does not let the caller draw out.
PATIENCE = 30

AUTHORIZATION = {"Authorization": f"Bearer {os.environ['NULLSPACE_API_KEY']}"}
session = requests.Session()
session.headers.update(AUTHORIZATION)
session.trust_env = False


def documented():
    """The schema, with the error codes that the engine adds to it: those of the row of spec/PROTOCOL.md."""
    schema = json.loads((ROOT / "spec/openapi.json").read_text())
    protocol = (ROOT / "spec/PROTOCOL.md").read_text()
    row = re.search(r"^\| codes \|(.*)\|$", protocol, re.MULTILINE).group(1)
    schema["components"]["schemas"]["ErrorResponseCode"]["enum"] += re.findall(r"`([a-z_]+)`", row)
    # Half of the requests would go without the key, and end there.
    schema.pop("security", None)
    for path in schema["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                operation.pop("security", None)
    return schema


class Things:
    """What the ids in paths name, made again when a request has removed it."""

    SMALL = {"template": "code-interpreter", "vcpus": 1, "memory_mb": 256, "timeout_ms": 3_600_000}
    UPLOAD = {
        "kind": "file",
        "source_kind": "restartable_file",
        "target_path": "/workspace/up",
        "content_length": 9_000_000,
        "conflict": "replace",
        "checksum_algorithm": "sha256",
    }
    SLEEP = {"command": "sleep", "args": ["3600"], "background": True}
    # Of a machine: where they are made and with what, where the answer has the id, and what is there while they live.
    INNER = {
        "upload_id": ("uploads", UPLOAD, lambda made: made["session"]["upload_id"], "uploads/{}"),
        "pid": ("exec", SLEEP, lambda made: made["pid"], "processes/{}/logs"),
        "ctx_id": ("code/contexts", {"language": "bash"}, lambda made: made["id"], "code/runs?context_id={}"),
    }

    def __init__(self, random):
        self.random = random
        self.ids = {}

    def _make(self, kind):
        if kind == "machines":
            self.sweep()
            return self._post("/v1/machines", self.SMALL)["id"]
        if kind == "snapshots":
            return self._post(f"/v1/machines/{self.id('machines')}/snapshots", None)["id"]
        if kind == "volumes":
            return self._post("/v1/volumes", {"name": f"fuzz-{self.random.getrandbits(48):x}"})["id"]
        if kind == "template-warm-pools":
            resources = {"vcpus": 1, "memory_mb": 64}
            pool = {"name": "fuzz", "template_ref": "base", "min_ready": 0, "max_ready": 1, "resources": resources}
            return self._post("/v1/template-warm-pools", pool)["id"]
        if kind == "webhooks":
            hook = {"url": "https://hooks.example/", "operations": ["fork"], "signing_secret": "s", "enabled": False}
            return self._post("/v1/lifecycle/webhooks", hook)["id"]
        return None

    def _post(self, path, body):
        answer = session.post(f"{URL}{path}", json=body, timeout=PATIENCE)
        if not answer.ok:
            sys.exit(f"POST {path} answered {answer.status_code}: {answer.text}")
        return answer.json()

    def inner(self, name):
        """Something in the machine."""
        machine = f"/v1/machines/{self.id('machines')}"
        path, body, pick, there = self.INNER[name]
        known = self.ids.get((machine, name))
        if known is None or not session.get(f"{URL}{machine}/{there.format(known)}", timeout=PATIENCE).ok:
            known = self.ids[machine, name] = pick(self._post(f"{machine}/{path}", body))
        return known

    def _lives(self, kind, id):
        path = {"webhooks": "lifecycle/webhooks"}.get(kind, kind)
        answer = session.get(f"{URL}/v1/{path}/{id}", timeout=PATIENCE)
        return answer.ok and (kind != "machines" or answer.json()["status"] == "running")

    def id(self, kind):
        known = self.ids.get(kind)
        if known is None or not self._lives(kind, known):
            self.ids[kind] = self._make(kind)
        return self.ids[kind]

    def sweep(self):
        """Removes the machines that requests have made: there would be hundreds."""
        listed = session.get(f"{URL}/v1/machines", params={"limit": 100}, timeout=PATIENCE).json()
        for machine in listed["items"]:
            if machine["id"] != self.ids.get("machines"):
                session.delete(f"{URL}/v1/machines/{machine['id']}", timeout=PATIENCE)


class Fuzzer:
    def __init__(self, schema):
        self.schema = schemathesis.openapi.from_dict(schema)
        error = {"$ref": "#/components/schemas/ErrorResponse", "components": schema["components"]}
        self.error = validator_for(error)
        self.random = random.Random(SEED)
        self.things = Things(self.random)
        self.sent = 0
        self.answers = Counter()
        self.findings = {}

    def found(self, operation, what, case):
        key = (operation.label, what.splitlines()[0][:160])
        if key not in self.findings:
            self.findings[key] = f"{operation.label}: {what}\n    {case.as_curl_command()[:1500]}"

    def aim(self, operation, case):
        """Three of four requests are about something that lives."""
        kind = "webhooks" if "/webhooks/" in operation.path else operation.path.removeprefix("/v1/").split("/")[0]
        if "{id}" in operation.path and self.random.random() < 0.75:
            id = self.things.id(kind)
            if id is not None:
                case.path_parameters["id"] = id
            for name in Things.INNER:
                if kind == "machines" and f"{{{name}}}" in operation.path:
                    case.path_parameters[name] = str(self.things.inner(name))
        if "{warm_pool_id}" in operation.path and self.random.random() < 0.75:
            case.path_parameters["warm_pool_id"] = self.things.id("template-warm-pools")

    def stay_home(self, case):
        """No registry is asked for an image that a random name means."""
        body = case.body
        if not isinstance(body, dict):
            return
        image, dockerfile = body.get("base_image"), body.get("dockerfile")
        if isinstance(image, str) and image.strip() and not image.strip().startswith(("nullspace/", "local/", "tmpl_")):
            body["base_image"] = "nullspace/base:latest"
        if isinstance(dockerfile, str) and "from" in dockerfile.lower():
            body["dockerfile"] = "FROM nullspace/base:latest"

    def send(self, operation, case):
        self.aim(operation, case)
        self.stay_home(case)
        self.sent += 1
        try:
            response = case.call(
                base_url=URL, session=session, headers=AUTHORIZATION, timeout=PATIENCE, allow_redirects=False
            )
        except requests.exceptions.Timeout:
            return self.found(operation, f"no answer within {PATIENCE} s", case)
        except requests.exceptions.InvalidHeader:
            return None  # nothing was sent
        except requests.exceptions.RequestException as error:
            return self.found(operation, f"no answer: {type(error).__name__}", case)
        self.answers[response.status_code] += 1
        if response.status_code == 500:
            return self.found(operation, f"500: {response.text[:500]}", case)
        if response.status_code >= 400:
            # The schema lists few of the statuses that errors have; all of them have one form.
            return self.judge_error(operation, case, response)
        for check in (status_code_conformance, response_schema_conformance):
            try:
                case.validate_response(response, checks=[check])
            except (Failure, FailureGroup) as failure:
                causes = getattr(failure, "exceptions", [failure])
                what = "; ".join(f"{cause.title}: {cause.message[:300]}" for cause in causes)
                self.found(operation, f"{response.status_code}: {what}\n    answer: {response.text[:300]}", case)
        return None

    def judge_error(self, operation, case, response):
        try:
            wrong = next(self.error.iter_errors(response.json()), None)
        except ValueError:
            wrong = "no JSON"
        if wrong is not None:
            self.found(operation, f"{response.status_code}: {wrong}\n    answer: {response.text[:300]}", case)

    def operation(self, operation, examples):
        if operation.method.upper() == "GET" and operation.path.endswith("/ws"):
            return  # an upgrade; tests/e2e has frames of all kinds
        kinds = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        modes = [operation.as_strategy(generation_mode=kind) for kind in kinds]

        @seed(SEED)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=st.one_of(modes))
        def run(case):
            if self.sent < REQUESTS:
                self.send(operation, case)
                if self.sent % 200 == 0:
                    self.things.sweep()

        try:
            run()
        except Exception:  # noqa: BLE001 - an operation for which no requests can be made must not end the others
            self.findings[(operation.label, "cannot be tried")] = f"{operation.label}: {traceback.format_exc()[-1500:]}"

    def all(self):
        operations = [result.ok() for result in self.schema.get_all_operations()]
        operations = [operation for operation in operations if ONLY in operation.label]
        self.random.shuffle(operations)
        for index, operation in enumerate(operations):
            left = REQUESTS - self.sent
            self.operation(operation, max(1, left // (len(operations) - index)))


fuzzer = Fuzzer(documented())
fuzzer.all()
for text in fuzzer.findings.values():
    print(text, end="\n\n")
print("answers:", ", ".join(f"{count} of {status}" for status, count in sorted(fuzzer.answers.items())))
print(f"{fuzzer.sent} requests, {len(fuzzer.findings)} findings")
sys.exit(1 if fuzzer.findings else 0)
