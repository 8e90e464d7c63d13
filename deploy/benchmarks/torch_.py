"""A training step and a prediction of the field's reference U-Net (one level, 64 features, 256 x 256) on the processor's cores, in
modiolus and in Python: PyTorch 2.11 eager and compiled, for prediction also ONNX Runtime.

All use every core. Medians of single steps, round by round, so that a busy moment of the machine meets all. The time of a
compilation does not count. Ours takes one grey channel where the published network takes three equal ones, which is the same function.
"""

import os
import pathlib
import statistics
import subprocess
import sys

from measuring import BENCH, FIELDS, TARGET, build_examples, python_package, say

HERE = pathlib.Path(__file__).parent
SPEED = TARGET / "release/examples/speed"
PACKAGES = [("torch", "2.11.0"), ("onnx", "1.21.0"), ("onnxruntime", "1.32.0")]
ROUNDS = 3
STEPS = 4
# The most that ours may take of the peer's time, by what is done.
WANTED = {("train", "eager"): 0.75, ("predict", "onnxruntime"): 1.0}
PEERS = {"train": ["eager", "compiled"], "predict": ["eager", "compiled", "onnxruntime"]}
BATCHES = {"train": [2, 8], "predict": [1, 2, 8]}


def peers_environment():
    paths = [python_package(*package)["PYTHONPATH"] for package in PACKAGES]
    caches = {"TORCHINDUCTOR_CACHE_DIR": str(BENCH / "inductor")}
    return {**os.environ, **caches, "PYTHONPATH": os.pathsep.join(paths)}


def seconds(command, environment):
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"bench: {command[0]} failed: {done.stderr[-2000:]}")
    return [float(line) for line in done.stdout.split()]


def contestant(name, what, batch, environment):
    if name == "modiolus":
        return seconds([SPEED, what, str(batch), str(STEPS)], os.environ)
    return seconds([sys.executable, HERE / "torch_peers.py", name, what, str(batch), str(STEPS)], environment)


def row(what, batch, peer, ours, theirs):
    ratio = ours / theirs
    most = WANTED.get((what, peer))
    kind = "training step" if what == "train" else "prediction"
    name = f"{kind}, batch {batch} (s); peer: {peer}"
    judged = [None, None] if most is None else [f"<= {most}", ratio <= most]
    return dict(zip(FIELDS, [name, round(ours, 3), round(theirs, 3), round(ratio, 2), *judged]))


def compare():
    build_examples("speed")
    BENCH.mkdir(parents=True, exist_ok=True)
    environment = peers_environment()
    for what, peers in PEERS.items():
        for batch in BATCHES[what]:
            times = {name: [] for name in ["modiolus", *peers]}
            for round_ in range(ROUNDS):
                say(f"{what}, batch {batch}: round {round_ + 1} of {ROUNDS}")
                for name, all_ in times.items():
                    all_ += contestant(name, what, batch, environment)
            medians = {name: statistics.median(all_) for name, all_ in times.items()}
            for peer in peers:
                yield row(what, batch, peer, medians["modiolus"], medians[peer])
