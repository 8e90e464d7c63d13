"""Jobs per second on one RabbitMQ: quorum queues on disk, acks after the work, and a follower of each job that is confirmed
before its ack.

Each contestant finds its queue full and takes the time from the first job to the end of the last. Celery and Dramatiq run
two processes; modiolus one process with two slots, its whole runtime (manifest, marker, join, event) over a store in memory.
The limit is lapin alone, which takes letters, publishes, waits for confirmations and acks with 500 in flight. The figures
are the best of three rounds, in which all take turns.
"""

import functools
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time

from measuring import BENCH, ROOT, TARGET, build_examples, higher, python_package, say

HERE = pathlib.Path(__file__).parent
EXAMPLES = TARGET / "release/examples"
TIMES = BENCH / "times"
ROUNDS = 3
PATIENCE_S = 120

# How many jobs each does in a round: some seconds' worth.
OURS = 20_000
PEERS = 2_000

CELERY = ("celery", "5.7.0")
DRAMATIQ = ("dramatiq[rabbitmq]", "2.2.1")


class Broker:
    """A RabbitMQ of one's own."""

    def __enter__(self):
        say("starting RabbitMQ")
        subprocess.run([ROOT / "deploy/rabbitmq-server", "root"], check=True, stdout=subprocess.DEVNULL)
        program = [EXAMPLES / "rabbitmq"]
        self.process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.administrator, self.worker = (self.process.stdout.readline().strip() for _ in range(2))
        return self if self.worker else sys.exit("bench: RabbitMQ does not start")

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def program(name, address, mode):
    """Jobs per second of one of our own programs, which print the seconds."""
    command = [EXAMPLES / name, address, str(OURS), *mode]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE_S)
    return OURS / float(done.stdout)


def peer(package, script, worker, address, mode):
    """Jobs per second of a Python peer, whose jobs write down when they were done."""
    environment = {**python_package(*package), "ADDRESS": address, "TIMES": str(TIMES)}
    TIMES.unlink(missing_ok=True)
    subprocess.run([sys.executable, HERE / script, str(PEERS), *mode], env=environment, check=True, timeout=PATIENCE_S)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-m", *worker], cwd=HERE, env=environment, start_new_session=True, **quiet)
    try:
        return PEERS / seconds_of_all(process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def seconds_of_all(process):
    """The seconds between the ends of the first and the last job."""
    end = time.monotonic() + PATIENCE_S
    while (done := TIMES.stat().st_size // 8) < PEERS:
        if time.monotonic() > end or process.poll() is not None:
            sys.exit(f"bench: {process.args[2]} has done {done} of {PEERS} jobs")
        time.sleep(0.05)
    times = [moment for (moment,) in struct.iter_unpack("d", TIMES.read_bytes())]
    return max(times) - min(times)


def contestants(broker, mode):
    celery = ["celery", "-A", "celery_jobs", "worker", "-c", "2", "-l", "error", "-Q", "celery-jobs", "--without-gossip"]
    dramatiq = ["dramatiq", "dramatiq_jobs", "-p", "2", "-Q", "dramatiq-jobs"]
    return {
        "modiolus": functools.partial(program, "no_op_jobs", broker.worker, mode),
        "Celery": functools.partial(peer, CELERY, "celery_jobs.py", celery, broker.administrator, mode),
        "Dramatiq": functools.partial(peer, DRAMATIQ, "dramatiq_jobs.py", dramatiq, broker.administrator, mode),
        "limit: lapin alone": functools.partial(program, "bare", broker.administrator, mode),
    }


WANTED = {
    "no-op": {"Celery": 8, "Dramatiq": 3, "limit: lapin alone": 0.7},
    "with a confirmed follower": {"Celery": 10, "Dramatiq": None, "limit: lapin alone": 0.7},
}


def compare():
    build_examples("rabbitmq", "bare", "no_op_jobs")
    BENCH.mkdir(parents=True, exist_ok=True)
    with Broker() as broker:
        for jobs, mode in [("no-op", []), ("with a confirmed follower", ["follower"])]:
            best = dict.fromkeys(contestants(broker, mode), 0)
            for round_ in range(ROUNDS):
                say(f"{jobs}: round {round_ + 1} of {ROUNDS}")
                for name, contestant in contestants(broker, mode).items():
                    best[name] = max(best[name], contestant())
            for name, wanted in WANTED[jobs].items():
                yield higher(f"{jobs}, {name} (jobs/s)", best["modiolus"], best[name], wanted)
    TIMES.unlink()
