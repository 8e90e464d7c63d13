"""The cluster of docker-compose.yml, under a name of its own, for one who does harm to it."""

import base64
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import urllib.request

from objects import Objects

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILT = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release"
VHOST = "modiolus"
STAGES = ["ingest", "filter", "preprocess", "train", "infer"]
# How many containers of each stage.
SCALE = {"ingest": 1, "filter": 2, "preprocess": 2, "train": 1, "infer": 2}
# What the store's disk holds beside files, and for each of them: itself, its slice, its masks, its jobs' objects.
DISK_MB, DISK_MB_A_FILE = 512, 0.2
PATIENCE_S = 300

WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def say(text):
    print(f"chaos: {text}", flush=True)


def until(what, is_so, patience=PATIENCE_S, pause=0.2):
    """Waits until something is so; the seconds that it took."""
    begun = time.monotonic()
    while not is_so():
        if time.monotonic() - begun > patience:
            raise TimeoutError(f"{what}: not within {patience} s")
        time.sleep(pause)
    return time.monotonic() - begun


def docker(*arguments, check=True):
    done = subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check and done.returncode:
        raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


class Cluster:
    def __init__(self, folder, files, scale=SCALE):
        """A cluster whose store has room for so many files."""
        self.folder, self.scale = folder, scale
        self.disk_mb = round(DISK_MB + DISK_MB_A_FILE * files)
        self.disk = folder / "disk"
        self.project = f"modiolus-chaos-{os.getpid()}"
        self.environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_FILE": "docker-compose.yml:deploy/experiment/compose.yml",
            "CHAOS_DISK": str(self.disk),
            "MODIOLUS_FOLDER": str(folder),
            "MODIOLUS_SLOTS": "2",
            # Who begins which job, and which were done before: what the evidence is taken from.
            "RUST_LOG": "info,modiolus_runtime=debug",
            # Any free port of this machine.
            **dict.fromkeys(["MODIOLUS_BROKER_PORT", "MODIOLUS_MANAGEMENT_PORT", "MODIOLUS_STORE_PORT", "MODIOLUS_CONSOLE_PORT"], ""),
        }
        self.containers = {}

    def up(self):
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.disk_mb}m,uid=10001,gid=10001,mode=700", "none", self.disk], check=True)
        scale = [part for stage, number in self.scale.items() for part in ("--scale", f"{stage}={number}")]
        self.compose("up", "-d", *scale)
        for service in [*STAGES, "rabbitmq", "garage"]:
            self.containers[service] = self.compose("ps", "-q", service).split()
        until("the workers are ready", lambda: all(map(self.is_ready, self.workers())))
        self.objects = Objects(lambda: (self.ip(self.containers["garage"][0]), 3900), *self.key_of("operator"))

    def down(self):
        self.compose("down", "--volumes", "--timeout", "20", check=False)
        subprocess.run(["umount", self.disk], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.disk, ignore_errors=True)

    def compose(self, *arguments, check=True):
        done = subprocess.run([ROOT / "deploy/compose", *arguments], cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if check and done.returncode:
            raise RuntimeError(f"deploy/compose {' '.join(arguments)}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def tool(self, *arguments):
        """What the operator's tool prints."""
        return self.compose("run", "--rm", "-T", "modiolus", *arguments)

    def secret(self, name):
        return (pathlib.Path(docker("volume", "inspect", "-f", "{{.Mountpoint}}", f"{self.project}_secrets")) / name).read_text().strip()

    def key_of(self, member):
        return self.secret(f"store-{member}.key"), self.secret(f"store-{member}.secret")

    def workers(self):
        return [container for stage in STAGES for container in self.containers[stage]]

    def stage_of(self, container):
        return next(stage for stage in STAGES if container in self.containers[stage])

    def ip(self, container):
        name = f"{self.project}_cluster"
        return docker("inspect", "-f", f'{{{{with index .NetworkSettings.Networks "{name}"}}}}{{{{.IPAddress}}}}{{{{end}}}}', container, check=False)

    def pid(self, container):
        """The process of a container that runs; 0 where it does not."""
        return int(docker("inspect", "-f", "{{.State.Pid}}", container, check=False) or 0)

    def peak_mb(self, container):
        """The most memory that a worker's process has held."""
        with open(f"/proc/{self.pid(container)}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

    def is_ready(self, container):
        """Whether a worker takes jobs."""
        return self._page(container, "readyz") is not None

    def has_jobs(self, container):
        """Whether a worker has jobs in hand."""
        metrics = self._page(container, "metrics") or ""
        running = [line.rsplit(" ", 1)[1] for line in metrics.splitlines() if line.startswith("modiolus_jobs_running")]
        return sum(map(float, running)) > 0

    def _page(self, container, name):
        """What a worker tells of itself; None where it doesn't answer, or says no."""
        try:
            with WITHOUT_PROXY.open(f"http://{self.ip(container)}:9464/{name}", timeout=2) as answer:
                return answer.read().decode() if answer.status == 200 else None
        except (OSError, ValueError):
            return None

    def kill(self, container, number=signal.SIGKILL):
        """To the process itself: what docker is told to kill, it does not start again."""
        pid = self.pid(container)
        if pid:
            os.kill(pid, number)
        return bool(pid)

    def ask(self, method, path, body=None):
        """RabbitMQ's management interface."""
        credentials = base64.b64encode(f"administrator:{self.secret('broker-administrator.password')}".encode()).decode()
        url = f"http://{self.ip(self.containers['rabbitmq'][0])}:15672/api/{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"authorization": f"Basic {credentials}", "content-type": "application/json"}, method=method)
        with WITHOUT_PROXY.open(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def put_into(self, queue, body):
        """Straight into a queue, past its exchange."""
        letter = {"properties": {"delivery_mode": 2}, "routing_key": queue, "payload": body, "payload_encoding": "string"}
        assert self.ask("POST", f"exchanges/{VHOST}/amq.default/publish", letter)["routed"], f"there is no queue {queue}"

    def is_idle(self):
        """Whether no job waits, is being done, or will be tried again."""
        queues = self.ask("GET", f"queues/{VHOST}?disable_stats=true&enable_queue_totals=true")
        return all(queue.get("messages", 0) == 0 for queue in queues if not queue["name"].endswith((".dead", "events")))

    def logs(self):
        """What all workers have logged, by container, as objects."""
        for container in self.workers():
            done = subprocess.run(["docker", "logs", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
            for line in done.stdout.splitlines():
                try:
                    yield container, json.loads(line)
                except ValueError:
                    continue
