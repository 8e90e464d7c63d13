"""What the rendered manifests have to be; deploy/kubernetes/test calls it, with the libraries that it needs.

Kubernetes' own kinds are held against its schemas, strictly: an unknown field is an error. KEDA's kinds are read by models made
from its definitions, and no field may be lost on the way. Then our own rules: rights, drains, names that have to fit.
"""

import copy
import pathlib
import re
import sys

import kubernetes_validate
import yaml
from cloudcoil.models.keda import v1alpha1 as keda

# The oldest of the releases that the manifests are for, and the newest that has schemas.
RELEASES = ["1.31", "1.37"]
KEDA = {"ScaledObject": keda.ScaledObject, "ScaledJob": keda.ScaledJob, "TriggerAuthentication": keda.TriggerAuthentication}
STAGES = ["ingest", "filter", "preprocess", "train", "infer"]
ROOT = pathlib.Path(__file__).resolve().parents[2]


def lost(given, kept, path=""):
    """The fields that a model doesn't know."""
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(kept, dict) or key not in kept:
                yield f"{path}.{key} is no field"
            else:
                yield from lost(value, kept[key], f"{path}.{key}")
    elif isinstance(given, list):
        for number, (one, other) in enumerate(zip(given, kept)):
            yield from lost(one, other, f"{path}[{number}]")


def schema(item):
    if item["kind"] in KEDA and item["apiVersion"] == "keda.sh/v1alpha1":
        yield from keda_schema(item)
        if item["kind"] == "ScaledJob":
            # What KEDA makes of it.
            job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": item["metadata"], "spec": item["spec"]["jobTargetRef"]}
            yield from schema(job)
        return
    for release in RELEASES:
        try:
            kubernetes_validate.validate(item, release, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {release}: {'.'.join(map(str, error.path))}: {error.message}"


def keda_schema(item):
    item = copy.deepcopy(item)
    if "jobTargetRef" in item["spec"]:
        # The models can't read quantities, of memory or of disk; Kubernetes' schemas are held against the whole job.
        pod = item["spec"]["jobTargetRef"]["template"]["spec"]
        for part in [*pod["containers"], *(volume.get("emptyDir", {}) for volume in pod["volumes"])]:
            part.pop("resources", None)
            part.pop("sizeLimit", None)
    try:
        kept = KEDA[item["kind"]].model_validate(item).model_dump(mode="json", by_alias=True, exclude_none=True)
    except ValueError as error:
        yield str(error)
        return
    yield from lost(item, kept)


def pods(items):
    for item in items:
        spec = item.get("spec", {})
        template = spec.get("template") or spec.get("jobTargetRef", {}).get("template")
        if template is not None:
            yield item, template["spec"]


def rights(pod):
    who = pod.get("securityContext", {})
    if not (who.get("runAsNonRoot") is True and who.get("runAsUser", 0) > 0):
        yield "may run as root"
    if who.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "may use any system call"
    if pod.get("automountServiceAccountToken") is not False:
        yield "gets a token for the cluster"
    for container in pod["containers"]:
        may = container.get("securityContext", {})
        if may != {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}:
            yield f"{container['name']} may do more than it has to"
        if not container.get("resources", {}).get("limits", {}).get("memory"):
            yield f"{container['name']} may take all memory"
        if re.search(r":latest$|^[^:]+$", container["image"]):
            yield f"{container['name']} has no version: {container['image']}"
        for variable in container.get("env", []):
            if re.search("PASSWORD|SECRET|KEY", variable["name"]) and not variable["name"].endswith(("_FILE", "_SECRETS")):
                yield f"{variable['name']} is a secret outside a file"


def program(who, pod, keys):
    """What fits the programs and the compose file."""
    container = pod["containers"][0]
    probes = [container.get(name, {}).get("httpGet", {}).get("path") for name in ("livenessProbe", "readinessProbe")]
    if probes != ["/livez", "/readyz"]:
        yield f"is asked at {probes}"
    if pod.get("terminationGracePeriodSeconds") != grace():
        yield f"has {pod.get('terminationGracePeriodSeconds')} s to drain, in docker-compose.yml {grace()}"
    secrets = [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
    if secrets != [f"modiolus-{who}"]:
        yield f"gets the secrets {secrets}"
    for variable in container["env"]:
        if variable["name"] not in keys:
            yield f"{variable['name']} is no key of docs/configuration.md"
    knows = any(variable["name"] == "MODIOLUS__PSEUDONYMS__KEY_FILE" for variable in container["env"])
    if knows != (who == "filter"):
        yield "only filter gets the key of the pseudonyms"


def grace():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    minutes = re.fullmatch(r"(\d+)m", compose["x-worker"]["stop_grace_period"])
    return 60 * int(minutes[1])


def scaling(items):
    """Each stage is scaled by its own queue, jobs in hand counted."""
    scaled = {item["metadata"]["name"]: item for item in items if item["kind"] in ("ScaledObject", "ScaledJob")}
    if sorted(scaled) != sorted(STAGES):
        yield f"scaled are {sorted(scaled)}"
    for stage, item in scaled.items():
        [trigger] = item["spec"]["triggers"]
        wanted = {"protocol": "http", "queueName": stage, "mode": "QueueLength", "value": "1", "excludeUnacknowledged": "false"}
        if (trigger["type"], trigger["metadata"]) != ("rabbitmq", wanted):
            yield f"{stage}: scaled by {trigger}"
        if (item["kind"] == "ScaledJob") != (stage == "train"):
            yield f"{stage}: a {item['kind']}"


def secrets(items):
    """Whatever secret somebody names, deploy/kubernetes/secrets has made, with the files that are read."""
    made = {item["metadata"]["name"]: set(item["data"]) for item in items if item["kind"] == "Secret"}
    for item in items:
        if item["kind"] == "TriggerAuthentication":
            for wanted in item["spec"]["secretTargetRef"]:
                if wanted["key"] not in made.get(wanted["name"], ()):
                    yield f"nobody makes {wanted['key']} of the secret {wanted['name']}"
    for item, pod in pods(items):
        names = [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
        files = {key for name in names for key in made.get(name, ())}
        read = [variable["value"] for container in pod["containers"] for variable in container.get("env", [])]
        lacking = [name for name in names if name not in made]
        lacking += [path for path in read if path.startswith("/run/secrets/") and pathlib.PurePath(path).name not in files]
        if lacking:
            yield f"{item['kind']} {item['metadata']['name']}: nobody makes {', '.join(lacking)}"


def selectors(items):
    """Whoever selects pods finds some."""
    labels = [template["metadata"]["labels"] for item in items if (template := item.get("spec", {}).get("template"))]
    labels += [item["spec"]["jobTargetRef"]["template"]["metadata"]["labels"] for item in items if item["kind"] == "ScaledJob"]
    for item in items:
        selector = item.get("spec", {}).get("selector") or item.get("spec", {}).get("podSelector")
        if selector:
            wanted = selector.get("matchLabels", selector)
            if not any(wanted.items() <= found.items() for found in labels):
                yield f"{item['kind']} {item['metadata']['name']} selects no pod"


def faults(items):
    keys = set(re.findall(r"`(MODIOLUS__\w+)`", (ROOT / "docs/configuration.md").read_text()))
    for item in items:
        name = f"{item['kind']} {item['metadata']['name']}"
        yield from (f"{name}: {fault}" for fault in schema(item))
    for item, pod in pods(items):
        name = f"{item['kind']} {item['metadata']['name']}"
        yield from (f"{name}: {fault}" for fault in rights(pod))
        if item["metadata"].get("labels", {}).get("app.kubernetes.io/component") in ("worker", "console"):
            yield from (f"{name}: {fault}" for fault in program(item["metadata"]["name"], pod, keys))
    yield from scaling(items)
    yield from selectors(items)
    yield from secrets(items)


def main():
    items = [item for item in yaml.safe_load_all(sys.stdin) if item]
    found = list(faults(items))
    for fault in found:
        print(f"kubernetes: {fault}")
    if not found:
        print(f"kubernetes: {len(items)} manifests are good for Kubernetes {' and '.join(RELEASES)}")
    return 1 if found or len(items) < 15 else 0


if __name__ == "__main__":
    sys.exit(main())
