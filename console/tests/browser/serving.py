"""The built program as tests run it, without a browser."""

import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
MODIOLUS = os.environ.get("MODIOLUS", str(ROOT / "target" / "release" / "modiolus"))


def modiolus(*arguments):
    command = [MODIOLUS, *map(str, arguments)]
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300).stdout


def phantom_store(home, patients, files, *more):
    """The store of a run over phantom patients, in an empty folder."""
    modiolus("phantom", "--patients", patients, "--files", files, "--seed", 5, "--output", home / "scans", *more)
    modiolus("run", home / "scans", "--output", home / "out")
    return home / "out" / ".modiolus"


class Server:
    """`modiolus serve` on a store of its own."""

    def __init__(self, store, log):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{self.address}"
        self.log = log
        self.process = None
        self.store = store

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        arguments = [MODIOLUS, "serve", "--store", str(self.store), "--listen", self.address]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            try:
                return self.get("session") and self
            except urllib.error.HTTPError:
                return self  # it asks who is there
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"no server: {pathlib.Path(self.log).read_text()}")

    def stop(self):
        self.process.terminate()
        self.process.wait(30)

    def get(self, path):
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=30) as answer:
            body = answer.read()
            return json.loads(body) if answer.headers["Content-Type"].startswith("application/json") else body

    def post(self, path, body, kind="application/json"):
        headers = {"X-CSRF": self.get("session")["csrf"], "Content-Type": kind}
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", body, headers, method="POST")
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())
