"""What the API answers is what its description says, whatever is asked: schemathesis asks a console over phantom patients."""

import io
import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "browser"))
from serving import Server, phantom_store  # noqa: E402

CHECKS = ["not_a_server_error", "status_code_conformance", "response_schema_conformance", "content_type_conformance"]
# The same requests every time; so many for each operation in each phase.
SEED, REQUESTS = 7, 20
# The whole takes about two minutes.
MOST_SECONDS = 600
# How often a variable names something that is there.
THERE = 0.7


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("phantoms")
    with Server(phantom_store(home, 2, 30), home / "serve.log") as server:
        yield server


def there(server):
    """What the variables of paths may name, so that not everything that is asked is missing."""
    run = server.get("runs")[0]["run"]
    one = server.get(f"runs/{run}/slices")["slices"][0]
    slice_ = f"slices/{one['patient']}/{one['slice']}"
    # A draft: nothing to train on, which would take long.
    saved = server.post(f"{slice_}/revisions?state=draft", server.get(f"{slice_}/mask.png"), "image/png")
    models = [model["version"] for model in server.get("models")]
    names = {"run": [run], "patient": [one["patient"]], "slice": [one["slice"]], "revision": [saved["revision"]], "version": models}
    return {f"path.{name}": values for name, values in names.items()} | {"query.model": models, "query.with": models}


def configuration(names, csrf):
    """As TOML, whose texts and lists are written as those of JSON."""
    text = io.StringIO()
    text.write(f"headers = {{ X-CSRF = {json.dumps(csrf)} }}\n")
    for number, (name, values) in enumerate(names.items()):
        text.write(f"[dictionaries.d{number}]\nvalues = {json.dumps(values)}\n")
        text.write(f'[parameters.{json.dumps(name)}]\ndictionary = "d{number}"\nprobability = {THERE}\n')
    return text.getvalue()


def test_the_api_answers_what_its_description_says(server, tmp_path):
    file = tmp_path / "schemathesis.toml"
    file.write_text(configuration(there(server), server.get("session")["csrf"]))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", file, "run", f"{server.url}/api/v1/openapi.json"]
    command += ["--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--no-shrink"]
    command += ["--seed", SEED, "--max-examples", REQUESTS, "--workers", 1, "--request-timeout", 60, "--warnings", "off"]
    # Nothing goes through a proxy.
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environment |= {"SCHEMATHESIS_HOOKS": "zips", "PYTHONPATH": str(pathlib.Path(__file__).parent), "PYTHONDONTWRITEBYTECODE": "1"}
    asked = subprocess.run(list(map(str, command)), cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=MOST_SECONDS)
    assert asked.returncode == 0, f"{asked.stdout}\n{asked.stderr}\n{pathlib.Path(server.log).read_text()[-5000:]}"
    assert server.get("session"), "it still answers"
