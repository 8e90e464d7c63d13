"""Unpacks of the wheels in a folder what a C++ program needs to run libtorch on the CPU.

usage: libtorch.py WHEELS LIBTORCH
"""

import fnmatch
import pathlib
import shutil
import sys
import zipfile

# A file's place in its wheel, and the folder of libtorch that it goes to. libtorch.so itself is made by deploy/setup:
# the wheel's loads a gigabyte of CUDA.
KEPT = {
    "torch/lib/libc10.so": "lib",
    "torch/lib/libtorch_cpu.so": "lib",
    "torch/lib/libgomp*.so*": "lib",
    "nvidia/cu13/lib/libcudart.so.13": "lib",
    "nvidia/cu13/lib/libcupti.so.13": "lib",
    "*.dist-info/licenses/*": "licenses",
    "*.dist-info/METADATA": "licenses",
}
HEADERS = "torch/include/"


def destination(name):
    """Where in libtorch a wheel's file goes; None if it is not kept."""
    path = pathlib.PurePosixPath(name)
    if name.startswith(HEADERS):
        return path.relative_to("torch")
    for pattern, folder in KEPT.items():
        if fnmatch.fnmatchcase(name, pattern):
            return pathlib.PurePosixPath(folder, *((path.parts[0],) if folder == "licenses" else ()), path.name)
    return None


def unpack(wheels, libtorch):
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                place = destination(entry.filename)
                if place is None or entry.is_dir():
                    continue
                target = libtorch / place
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, open(target, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 22)


if __name__ == "__main__":
    unpack(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
