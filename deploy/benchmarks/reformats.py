"""Writes the coronal reformats of a folder of axial CT slices as PNG: run as a script, with pydicom and numpy at hand.

usage: reformats.py CT_DIR OUTPUT LOWEST HIGHEST

A picture for each row of the slices, its pixels square; the HU from LOWEST to HIGHEST become the greys 0 to 255.
"""

import pathlib
import struct
import sys
import zlib

import numpy
import pydicom


def volume(folder):
    """HU by slice from the top down, row and column; the distances of slices and of columns in mm."""
    slices = [pydicom.dcmread(path) for path in folder.iterdir()]
    slices.sort(key=lambda one: -float(one.ImagePositionPatient[2]))
    hu = numpy.stack([one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in slices])
    ends = [float(one.ImagePositionPatient[2]) for one in (slices[0], slices[-1])]
    return hu, (ends[0] - ends[1]) / (len(slices) - 1), float(slices[0].PixelSpacing[1])


def with_square_pixels(picture, down, across):
    """The picture with rows as far from each other as columns, between which it is linear."""
    rows = picture.shape[0]
    at = numpy.arange(0, rows - 1, across / down)
    above = at.astype(int)
    share = (at - above)[:, None]
    return picture[above] * (1 - share) + picture[above + 1] * share


def png(grey):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows, columns = grey.shape
    lines = b"".join(b"\0" + line.tobytes() for line in grey)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def main(folder, output, lowest, highest):
    hu, down, across = volume(pathlib.Path(folder))
    greys = numpy.clip((hu - float(lowest)) / (float(highest) - float(lowest)) * 255, 0, 255)
    pathlib.Path(output).mkdir(parents=True, exist_ok=True)
    for row in range(hu.shape[1]):
        picture = with_square_pixels(greys[:, row], down, across).round().astype(numpy.uint8)
        (pathlib.Path(output) / f"row_{row:03}.png").write_bytes(png(picture))


if __name__ == "__main__":
    main(*sys.argv[1:])
