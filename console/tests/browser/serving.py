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
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600).stdout


def phantom_store(home, patients, files, *more):
    """The store of a run over phantom patients, in an empty folder."""
    modiolus("phantom", "--patients", patients, "--files", files, "--seed", 5, "--output", home / "scans", *more)
    modiolus("run", home / "scans", "--output", home / "out")
    return home / "out" / ".modiolus"


def first_attempt(home):
    """A group's own first model, made in an empty folder: two epochs from the base model, on outlines far too coarse."""
    truth = Phantoms(home, 6, 20, 100)
    (home / "outlines").mkdir()
    for name in truth.slices:
        (home / "outlines" / f"{name}.json").write_text(json.dumps(truth.coarse_outline(name)))
    plan = json.loads((ROOT / "shared" / "segmentation" / "models" / "base.plan.json").read_text())
    plan |= {"name": "first attempt", "epochs": 2, "frozen_norm": True, "rehearsal": 0.0}
    plan["input"] |= {"patch": 128, "patches": 80}
    plan["optimizer"]["rate"] = 2e-3
    (home / "plan.json").write_text(json.dumps(plan))
    data = ("--images", home / "truth" / "images", "--masks", home / "outlines")
    modiolus("train", *data, "--base", "base", "--plan", home / "plan.json", "--output", home / "first.safetensors")
    return home / "first.safetensors"


class Phantoms:
    """Made patients, in `scans`, of whom the truth is known: a slice of a run is told by its name and size."""

    def __init__(self, home, patients, files, seed):
        self.scans, self.truth = home / "scans", home / "truth"
        how_many = ("--patients", patients, "--files", files, "--seed", seed)
        modiolus("phantom", *how_many, "--output", self.scans, "--truth", self.truth)
        self.slices = json.loads((self.truth / "truth.json").read_text())["images"]

    def name(self, slice_):
        """The name under which the truth has a slice of a run."""
        size = slice_["rows"], slice_["columns"]
        named = {name: one for name, one in self.slices.items() if name.endswith(f"_{slice_['name']}")}
        (name,) = (name for name, one in named.items() if (one["rows"], one["cols"]) == size)
        return name

    def has_array(self, slice_):
        return self.slices[self.name(slice_)]["electrode_px"] > 0

    def mask(self, slice_):
        """The true mask, as a PNG."""
        return (self.truth / "masks" / f"{self.name(slice_)}_mask.png").read_bytes()

    def contacts(self, name):
        """Where the contacts are, one after the other: columns and rows."""
        one = self.slices[name]
        row_mm, column_mm = one["spacing_mm"]
        return [(x / column_mm, y / row_mm) for x, y, _ in one["contacts_mm"]]

    def coarse_outline(self, name):
        """A labelme file of circles around the contacts, several times as wide as they are."""
        one = self.slices[name]
        around = self.contacts(name) if one["electrode_px"] else []
        circles = [{"label": "electrode", "shape_type": "circle", "points": [(x, y), (x + 6, y)]} for x, y in around]
        size = {"imageHeight": one["rows"], "imageWidth": one["cols"]}
        return {"version": "5.0.1", "flags": {}, "shapes": circles, "imagePath": f"{name}.png", "imageData": None, **size}


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
