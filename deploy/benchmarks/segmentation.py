"""Masks on 600 phantoms with seeds that no network was trained on (every vendor, every blur, every style,
wires without an array, and no implant at all), on the coronal reformats of a real head CT without an implant, and on five real slices of one person.

Peers: whatever is brighter than 150, and the reference of the field (`one-level-unet`) trained on the same phantoms by the same
loop, loss, optimizer and schedule for the same time, forty minutes on one core (its steps take eleven times as long as ours: 64
epochs of 12 steps of four patches). Figures are means over pictures with an array, on their own grid, at the plan's threshold. An
array that isn't found, or whose contacts aren't, counts as a wrong count of contacts.

`--share 0.2` takes a fifth of the slices and of the reference's training: a quarter of an hour instead of more than one.

The real pictures lie beside the project (../shared/real) and are left out where they are absent.
"""

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys

from measuring import BENCH, FIELDS, ROOT, TARGET, build_examples, python_package, say

WORK = BENCH / "segmentation"
MODELS = ROOT / "shared/segmentation/models"
OURS = MODELS / "base.safetensors"
REAL = ROOT.parent / "shared/real"
HERE = ROOT / "deploy/benchmarks"
EXAMPLES = TARGET / "release/examples"

# Of each of the judge's nine kinds.
SLICES = 67
REFERENCE = {"network": {"kind": "one-level-unet", "features": 64}, "name": "one-level-unet"}
REFERENCE_EPOCHS = 64
REFERENCE_PATCHES = 48
# The head CT's own window, and one in which all of its bone is told apart: HU shown as black and as white.
WINDOWS = {"bone window": (-700, 1300), "wide window": (-500, 2560)}

MEASURES = {
    "IoU": "iou",
    "NSD at 2 px": "nsd_2px",
    "Dice": "dice",
    "centreline distance (px)": "centreline_px",
    "contacts, right count of all slices": "exact",
    "contacts, distance to the true one (mm)": "error_mm",
    "lead, wires and coil drawn, by pixels": "other_metal",
    "slices without an array drawn on": "drawn_on",
}


def reference(share):
    """The reference network's model, trained once."""
    epochs = math.ceil(REFERENCE_EPOCHS * share)
    plan = json.loads((MODELS / "base.first.plan.json").read_text()) | REFERENCE | {"epochs": epochs}
    plan["input"]["patches"] = REFERENCE_PATCHES
    plan["loss"]["deep"] = 0.0
    text = json.dumps(plan)
    home = WORK / f"one-level-unet-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    model = home / "one-level-unet.safetensors"
    if not model.is_file():
        say(f"training the reference network, about {math.ceil(40 * share)} minutes on one core")
        home.mkdir(parents=True, exist_ok=True)
        (home / "plan.json").write_text(text)
        # Under another name until it is done.
        subprocess.run([EXAMPLES / "train_base", home / "unfinished", home / "plan.json"], check=True, stdout=subprocess.DEVNULL)
        (home / "unfinished").rename(model)
    return model


def head_ct(share):
    """Folders with (a share of) the head CT's coronal reformats, by window."""
    if not (REAL / "head-ct").is_dir():
        say(f"skipped: there is no head CT in {REAL}")
        return {}
    path = os.pathsep.join(python_package(*package)["PYTHONPATH"] for package in [("numpy", "2.4.6"), ("pydicom", "3.0.2")])
    folders = {}
    for name, window in WINDOWS.items():
        folders[name] = WORK / f"head-ct {name}"
        if not folders[name].is_dir():
            command = [sys.executable, HERE / "reformats.py", REAL / "head-ct", folders[name], *map(str, window)]
            subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=True)
        folders[name] = some_of(folders[name], share)
    return folders


def some_of(folder, share):
    """A folder of links to an even share of a folder's files."""
    if share == 1:
        return folder
    some = folder.with_name(f"{folder.name}, {share}")
    shutil.rmtree(some, ignore_errors=True)
    some.mkdir()
    for file in sorted(folder.iterdir())[:: round(1 / share)]:
        (some / file.name).symlink_to(file)
    return some


def real_pairs():
    truth = REAL / "cbct-truth"
    if truth.is_dir():
        return [truth / "images", truth / "masks"]
    say(f"skipped: there are no real slices in {REAL}")
    return None


def judged(models, folders, pairs, share):
    """What the judge says, by model and set."""
    sets = [["--", folder] for folder in folders.values()] + ([["--", *pairs]] if pairs else [])
    command = [EXAMPLES / "judge", "--json", str(math.ceil(SLICES * share)), *models, *(part for one in sets for part in one)]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    told = {}
    for line in map(json.loads, lines):
        told.setdefault(line["model"], {})[line["set"]] = line
    return told


def figures(sets):
    """The measures of several sets as of one."""
    def mean(name, weight):
        return sum(one[name] * one[weight] for one in sets) / max(sum(one[weight] for one in sets), 1)

    def total(*names):
        return [sum(one["contacts"][name] for one in sets) for name in names]

    exact, found = total("exact", "found")
    arrays = sum(one["with_array"] for one in sets)
    error = sum(one["contacts"]["error_mm"] * one["contacts"]["found"] for one in sets)
    empty = sum(one["without_array"] for one in sets)
    known = {name: mean(name, "with_array") for name in ["iou", "nsd_2px", "dice", "centreline_px"]}
    return known | {
        "exact": exact / max(arrays, 1),
        "error_mm": error / max(found, 1),
        "other_metal": mean("other_metal", "other_metal_px"),
        "drawn_on": sum(one["drawn_on"] for one in sets) / max(empty, 1),
    }


def row(what, ours, peer=None, least=None, most=None):
    """A row about a figure that has to be at least, or at most, so much; or is only told."""
    wanted, met = None, None
    if least is not None:
        wanted, met = f">= {least}", ours >= least
    if most is not None:
        wanted, met = f"<= {most}", ours <= most
    ratio = round(ours / peer, 2) if peer else None
    return dict(zip(FIELDS, [what, round(ours, 3), None if peer is None else round(peer, 3), ratio, wanted, met]))


def compare(share=1):
    build_examples("judge", "train_base")
    WORK.mkdir(parents=True, exist_ok=True)
    folders, pairs = head_ct(share), real_pairs()
    peers = {"threshold 150": "threshold", "one-level-unet": str(reference(share))}
    told = judged([OURS, *peers.values()], folders, pairs, share)
    real = {str(folder) for folder in folders.values()} | ({str(pairs[0])} if pairs else set())
    phantoms = [name for name in told["threshold"] if name not in real and not name.startswith("arrays on")]

    def of(model, *sets):
        return figures([told[str(model)][name] for name in sets])

    for peer, model in peers.items():
        ours, theirs = of(OURS, *phantoms), of(model, *phantoms)
        for what, measure in MEASURES.items():
            yield row(f"phantoms: {what}; peer: {peer}", ours[measure], theirs[measure])
    for kind, least in [("Anatomy Clean", 0.9), ("Anatomy Blurred", 0.8)]:
        yield row(f"{kind}: IoU; peer: threshold 150", of(OURS, kind)["iou"], of("threshold", kind)["iou"], least=least)
    clean = of(OURS, "Anatomy Clean")
    yield row("Anatomy Clean: contacts, right count of all slices", clean["exact"], least=0.95)
    yield row("Anatomy Clean: contacts, distance to the true one (mm)", clean["error_mm"], most=0.15)
    for empty, most in [("Anatomy, no implant", 0.02), ("Anatomy, no array", None)]:
        drawn_on = [of(model, empty)["drawn_on"] for model in [OURS, peers["one-level-unet"]]]
        yield row(f"{empty}: share drawn on; peer: one-level-unet", *drawn_on, most=most)
    for name, folder in folders.items():
        ours, theirs = (of(model, str(folder))["drawn_on"] for model in [OURS, peers["one-level-unet"]])
        yield row(f"head CT without an implant, {name}: share drawn on; peer: one-level-unet", ours, theirs, most=0.02)
        metal = f"arrays on {folder}"
        yield row(f"made arrays on parts of it, {name}: IoU; peer: threshold 150", of(OURS, metal)["iou"], of("threshold", metal)["iou"])
    for peer, model in peers.items() if pairs else []:
        ours, theirs = of(OURS, str(pairs[0])), of(model, str(pairs[0]))
        for what in ["IoU", "NSD at 2 px", "Dice", "centreline distance (px)"]:
            yield row(f"five real slices: {what}; peer: {peer}", ours[MEASURES[what]], theirs[MEASURES[what]])
