"""labelme itself reads what goes out of the review page, and what labelme writes comes in without loss."""

import io
import pathlib
import sys
import zipfile

import numpy
import PIL.Image
import pytest
from labelme import LabelFile
from labelme.utils import shapes_to_label

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "browser"))
from serving import Server, phantom_store  # noqa: E402

VALUES = {"_background_": 0, "electrode": 1}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("phantoms")
    with Server(phantom_store(home, 2, 30), home / "serve.log") as server:
        yield server


@pytest.fixture(scope="module")
def run(server):
    return server.get("runs")[0]["run"]


def archive(server, path):
    return zipfile.ZipFile(io.BytesIO(server.get(path)))


def drawn(file):
    """The mask that labelme makes of one of its files."""
    label = LabelFile(str(file))
    height, width = numpy.asarray(PIL.Image.open(io.BytesIO(label.image_data))).shape[:2]
    return shapes_to_label((height, width), label.shapes, VALUES)[0]


def masks(server, run):
    """The masks that go out, by the names of labelme's files."""
    with archive(server, f"runs/{run}/masks.zip") as zipped:
        files = [name for name in zipped.namelist() if name.endswith(".png")]
        return {name.replace("/", "_")[:-4]: numpy.asarray(PIL.Image.open(io.BytesIO(zipped.read(name)))) for name in files}


def test_labelme_makes_the_same_masks_of_what_goes_out(server, run, tmp_path):
    archive(server, f"runs/{run}/labelme.zip").extractall(tmp_path)
    expected = masks(server, run)
    files = sorted(tmp_path.glob("*.json"))
    assert len(files) == len(expected) > 0 and any(mask.any() for mask in expected.values())
    for file in files:
        assert set(numpy.unique(expected[file.stem])) <= {0, 1}
        numpy.testing.assert_array_equal(drawn(file), expected[file.stem], file.stem)


def shape(kind, *points):
    return {"label": "electrode", "points": [list(point) for point in points], "group_id": None, "description": "", "shape_type": kind, "flags": {}}


SHAPES = {
    "polygon": [shape("polygon", (10.2, 11.7), (40.9, 14.1), (33.3, 38.8), (12.5, 30.4))],
    "concave polygon": [shape("polygon", (5, 5), (45, 8), (25.5, 20.5), (44, 44), (6, 41))],
    "circle": [shape("circle", (25.4, 24.6), (31.7, 29.9))],
    "rectangle": [shape("rectangle", (33.6, 20.2), (8.1, 41.9))],
    "several": [shape("circle", (15, 15), (15, 18)), shape("polygon", (20, 20), (40, 22), (30, 40)), shape("rectangle", (2, 2), (6, 9))],
    "nothing": [],
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_labelme_writes_comes_in_without_loss(server, run, tmp_path, name):
    archive(server, f"runs/{run}/labelme.zip").extractall(tmp_path)
    picture = sorted(tmp_path.glob("*.png"))[list(SHAPES).index(name)]
    width, height = PIL.Image.open(picture).size
    file = picture.with_suffix(".json")
    # The picture lies inside, as labelme saves it unless it is told otherwise.
    LabelFile().save(str(file), SHAPES[name], picture.name, height, width, LabelFile.load_image_file(str(picture)))
    with zipfile.ZipFile(tmp_path / "annotations.zip", "w") as zipped:
        zipped.write(file, f"annotations/{file.name}")
    answer = server.post(f"runs/{run}/annotations", (tmp_path / "annotations.zip").read_bytes(), "application/zip")
    assert (answer["accepted"], answer["refused"]) == (1, 0), answer
    numpy.testing.assert_array_equal(masks(server, run)[file.stem], drawn(file))
