"""The main job in the cluster of docker-compose.yml on this machine, beside `modiolus run`: upload and start of the tool included.

Phantom patients with 1,000 files each, or MODIOLUS_BENCH_FILES. Needs what deploy/chaos needs. The store's disk is
memory, so that its flushes cost nothing; one machine's folder is never flushed either.
"""

import os
import pathlib
import subprocess
import sys
import time

from measuring import BENCH, MODIOLUS, ROOT, below, emptied, say

sys.path.insert(0, str(ROOT / "deploy/experiment"))
from containers import STAGES, Cluster  # noqa: E402

FILES = int(os.environ.get("MODIOLUS_BENCH_FILES", 1000))
PATIENTS = [8, 16, 32]
WORKERS = [1, 2]
WORK = BENCH / "cluster"
MOST_MB = 150
MOST_OVERHEAD = 1.25
# Seconds per patient may not grow; so much is the machine's own unrest.
UNREST = 1.15


def phantoms(patients):
    folder = WORK / f"scans-{patients}"
    command = [MODIOLUS, "phantom", "--patients", str(patients), "--files", str(FILES), "--seed", str(patients), "--output", folder]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder.name


def seconds(do):
    begun = time.perf_counter()
    do()
    return time.perf_counter() - begun


def on_this_machine(scans):
    command = [MODIOLUS, "run", scans, "--output", f"machine-{scans}"]
    return seconds(lambda: subprocess.run(command, cwd=WORK, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


def in_cluster(workers, scans):
    """The seconds for each delivery, and the most memory of a worker of each stage."""
    cluster = Cluster(pathlib.Path(WORK), FILES * sum(PATIENTS), dict.fromkeys(STAGES, workers))
    try:
        cluster.up()
        times = {patients: seconds(lambda name=name: cluster.tool("submit", name, "--wait")) for patients, name in scans.items()}
        memory = {stage: max(map(cluster.peak_mb, cluster.containers[stage])) for stage in STAGES}
        return times, memory
    finally:
        cluster.down()


def against(what, ours, peer, most):
    """A row about seconds that may exceed the peer's by a factor at most."""
    ratio = ours / peer
    return dict(what=what, ours=round(ours, 2), peer=round(peer, 2), ratio=round(ratio, 2), wanted=f"<= {most}", met=ratio <= most)


def compare():
    subprocess.run([ROOT / "deploy/airgap"], check=True, env={**os.environ, "MODIOLUS_BUILT": "yes"})
    emptied(WORK)
    scans = {patients: phantoms(patients) for patients in PATIENTS}
    alone = {patients: on_this_machine(name) for patients, name in scans.items()}
    for workers in WORKERS:
        say(f"{workers} of each worker")
        times, memory = in_cluster(workers, scans)
        for patients in PATIENTS:
            name = f"{patients} patients x {FILES} files, {workers} of each worker (s); peer: modiolus run"
            yield against(name, times[patients], alone[patients], MOST_OVERHEAD)
        first = times[PATIENTS[0]] / PATIENTS[0]
        for patients in PATIENTS[1:]:
            name = f"seconds per patient of {patients}, {workers} of each worker; peer: of {PATIENTS[0]}"
            yield against(name, times[patients] / patients, first, UNREST)
        for stage in STAGES:
            if stage not in ("train", "infer"):
                yield below(f"peak memory of {stage}, {workers} of each worker (MB)", memory[stage], MOST_MB)
