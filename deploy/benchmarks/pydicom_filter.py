"""Copies the coronal slices of a folder, as people's scripts do it.

usage: pydicom_filter.py SCANS OUTPUT [headers]        headers: stop before the pixels of each file
"""

import os
import shutil
import sys

import pydicom

CORONAL = [1, 0, 0, 0, 0, -1]

scans, output = sys.argv[1:3]
for folder, _, names in os.walk(scans):
    for name in names:
        path = os.path.join(folder, name)
        data = pydicom.dcmread(path, stop_before_pixels="headers" in sys.argv)
        if [round(float(number), 1) for number in data.ImageOrientationPatient] == CORONAL:
            shutil.copyfile(path, os.path.join(output, name))
