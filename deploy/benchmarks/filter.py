"""Finding the coronal slices among 1,000 files of 400 x 400 x 16 bit (26 of them match), warm cache, best of seven.

Everybody walks the folder, decides by ImageOrientationPatient and copies the matches, time of start included: ours is
`modiolus select`. `modiolus run --until filter`, at the end of the table, does more: it decodes what it keeps, removes
identity from it, finds duplicates and visible arrays, and writes a store that can be resumed and a report.
"""

import functools
import pathlib
import re
import shutil
import subprocess
import sys
import time

from measuring import BENCH, MODIOLUS, below, compiled, debian, emptied, faster, interleaved, measure, python_package, say

HERE = pathlib.Path(__file__).parent
WORK = BENCH / "filter"
SCANS = WORK / "scans-1000"
MANY = WORK / "scans-50000"
CORONAL = [1, 0, 0, 0, 0, -1]
MATCHES = 26
ROUNDS = 7


def scans(folder, patients, files, *options):
    """The folder of scans, made if it is not there."""
    if not folder.is_dir():
        say(f"making {patients * files} files in {folder}")
        work = emptied(folder.with_suffix(".new"))
        subprocess.run([sys.executable, HERE / "scans.py", work, str(patients), str(files), *options], env=pydicom(), check=True)
        work.rename(folder)
    return folder


def pydicom():
    return python_package("pydicom", "3.0.2")


def is_coronal(orientation):
    return [round(float(number), 1) for number in orientation.split("\\")] == CORONAL


def command(command, **options):
    """A contestant that copies its matches by itself, into the folder that it is given."""
    seconds, _ = measure([part if part != "OUTPUT" else output() for part in command], **options)
    return seconds


def output():
    """An empty folder for the matches, emptied outside of the measured time."""
    return emptied(WORK / "output")


def listing(command, pattern):
    """A contestant that prints each file's orientation: this reads what it prints and copies the matches."""
    folder = output()
    start = time.perf_counter()
    printed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    matches = [path for path, orientation in re.findall(pattern, printed) if is_coronal(orientation)]
    copy(matches, folder)
    seconds = time.perf_counter() - start
    assert len(matches) == MATCHES, f"{command[0]} found {len(matches)} coronal slices"
    return seconds


def copy(matches, folder):
    for path in matches:
        shutil.copyfile(path, folder / pathlib.Path(path).name)


def copying_known(command, matches):
    """A contestant that decides nothing; the matches are copied for it."""
    folder = output()
    seconds, _ = measure(command)
    start = time.perf_counter()
    copy(matches, folder)
    return seconds + time.perf_counter() - start


def coronal_files():
    """The matching files, as the pydicom script finds them."""
    folder = output()
    measure([sys.executable, HERE / "pydicom_filter.py", SCANS, folder, "headers"], env=pydicom())
    names = {path.name for path in folder.iterdir()}
    assert len(names) == MATCHES, f"pydicom found {len(names)} coronal slices"
    return [path for path in SCANS.rglob("*") if path.name in names]


def select():
    """What people use the peers for."""
    seconds = command([MODIOLUS, "select", SCANS, "--output", "OUTPUT", "--plane", "coronal"])
    found = sum(path.is_file() for path in (WORK / "output").rglob("*"))
    assert found == MATCHES, f"modiolus select found {found} coronal slices"
    return seconds


def run(folder=SCANS):
    return [MODIOLUS, "run", folder, "--output", "OUTPUT", "--until", "filter", "--plane", "coronal"]


def peers():
    """What each peer is called, and a function that runs it once and returns the seconds."""
    script = [sys.executable, HERE / "pydicom_filter.py", SCANS, "OUTPUT"]
    gdcm = [debian("gdcmscanner", "libgdcm-tools"), "-r", "-d", SCANS, "-t", "20,37", "-p"]
    dcmtk = [debian("dcmdump", "dcmtk"), "-q", "+Fs", "+sd", "+r", "-M", "+st", "0020,0037", "+P", "0020,0037", SCANS]
    everything = sorted(path for path in SCANS.rglob("*") if path.is_file())
    names = WORK / "names"
    names.write_text("".join(f"{path}\n" for path in everything))
    matches = coronal_files()
    return {
        "pydicom, whole files": functools.partial(command, script, env=pydicom()),
        "pydicom, stop_before_pixels": functools.partial(command, [*script, "headers"], env=pydicom()),
        "gdcmscanner": functools.partial(listing, gdcm, r"Filename: (.*) \(could be read\)\n\(0020,0037\) -> \[(.*?)\s*\]"),
        "dcmdump": functools.partial(listing, dcmtk, r"# dcmdump \(\d+\): (.*)\n\(0020,0037\) DS \[(.*?)\s*\]"),
        "cat of all files": functools.partial(copying_known, ["cat", *everything], matches),
        "limit: open each file, read 8 KiB": functools.partial(copying_known, [compiled(HERE / "first_bytes.c"), names], matches),
    }


WANTED = {
    "pydicom, whole files": 60,
    "pydicom, stop_before_pixels": 1,
    "gdcmscanner": 4,
    "dcmdump": 1,
    "cat of all files": 1,
    "limit: open each file, read 8 KiB": 0.5,
}


def compare():
    scans(SCANS, 1, 1000)
    contestants = peers() | {"select": select, "run": functools.partial(command, run())}
    best = interleaved(contestants, ROUNDS)
    for name, wanted in WANTED.items():
        yield faster(name, best["select"], best[name], wanted)
    for name in ["pydicom, whole files", "gdcmscanner"]:
        yield faster(f"run --until filter and {name}", best["run"], best[name], None)
    scans(MANY, 50, 1000, "sparse")
    for count, folder in [("1,000", SCANS), ("50,000", MANY)]:
        say(f"peak memory at {count} files")
        seconds, peak = measure([part if part != "OUTPUT" else output() for part in run(folder)])
        say(f"{count} files took {seconds:.2f} s")
        yield below(f"peak memory at {count} files (MB)", peak, 150)
    shutil.rmtree(MANY)
    shutil.rmtree(WORK / "output")
