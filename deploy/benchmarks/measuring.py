"""Measures programs and gets the peers that they are compared with."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

NAMES = ["filter", "queue", "cluster", "segmentation", "torch"]
FIELDS = ["what", "ours", "peer", "ratio", "wanted", "met"]
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
BENCH = TARGET / "bench"
MODIOLUS = TARGET / "release/modiolus"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "modiolus"


def say(text):
    print(f"bench: {text}", flush=True)


def faster(what, ours, peer, wanted):
    """A row about seconds: how many times faster than the peer we are, and have to be (None: only told)."""
    ratio = peer / ours
    judged = [None, None] if wanted is None else [f">= {wanted}", ratio >= wanted]
    return dict(zip(FIELDS, [f"{what} (s)", round(ours, 4), round(peer, 4), round(ratio, 2), *judged]))


def higher(what, ours, peer, wanted):
    """A row about a rate: how many times the peer's is ours. Without a wanted figure it only says so."""
    ratio = ours / peer
    met = None if wanted is None else ratio >= wanted
    return dict(zip(FIELDS, [what, round(ours), round(peer), round(ratio, 2), wanted and f">= {wanted}", met]))


def below(what, ours, wanted):
    """A row about a figure of ours that must stay below a limit."""
    return dict(zip(FIELDS, [what, round(ours, 1), None, None, f"< {wanted}", ours < wanted]))


def measure(command, **options):
    """Runs a command to its end; the seconds it took and the most memory that its process held, in MB."""
    with tempfile.TemporaryFile() as complaints:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=complaints, stdin=subprocess.DEVNULL, **options)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            complaints.seek(0)
            sys.exit(f"bench: {command[0]} failed: {complaints.read().decode(errors='replace')[-2000:]}")
    return seconds, usage.ru_maxrss / 1024


def interleaved(contestants, rounds):
    """The best time of each contestant (name: function that returns seconds), round by round so that a busy moment of
    the machine meets all of them."""
    best = {}
    for round_ in range(rounds):
        say(f"round {round_ + 1} of {rounds}")
        for name, contestant in contestants.items():
            best[name] = min(best.get(name, float("inf")), contestant())
    return best


def emptied(folder):
    """The folder, there and empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def debian(program, package):
    """The path of a program, from its Debian package if it is not there."""
    if not shutil.which(program):
        say(f"installing {package} with apt-get")
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        if subprocess.run(["apt-get", "install", "-y", "-qq", package], stderr=subprocess.DEVNULL, **quiet).returncode:
            subprocess.run(["apt-get", "update", "-qq"], check=True, **quiet)
            subprocess.run(["apt-get", "install", "-y", "-qq", package], check=True, **quiet)
    return shutil.which(program) or sys.exit(f"bench: {program} is missing: install the Debian package {package}")


def python_package(name, version):
    """An environment in which python3 imports the package, installed once into the cache folder."""
    home = CACHE / f"{name}-{version}"
    if not home.is_dir():
        say(f"installing {name} {version} with pip")
        CACHE.mkdir(parents=True, exist_ok=True)
        work = tempfile.mkdtemp(prefix=f"{home.name}.", dir=CACHE)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
        subprocess.run([*pip, "--only-binary=:all:", "--target", work, f"{name}=={version}"], check=True)
        os.rename(work, home)
    return {**os.environ, "PYTHONPATH": str(home)}


def build(*targets):
    """Builds targets of the workspace as deploy/test builds its own: with another choice of packages, or without tests or
    examples among the targets, libraries would have other features and be compiled once more."""
    subprocess.run(["cargo", "build", "--workspace", "--release", "--locked", *targets], cwd=ROOT, check=True)


def build_examples(*names):
    """Builds programs that only benchmarks need."""
    build(*(part for name in names for part in ("--example", name)))


def compiled(source):
    """A C program of this folder, compiled."""
    program = BENCH / source.stem
    BENCH.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-O2", "-o", program, source], check=True)
    return program
