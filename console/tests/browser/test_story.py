"""The whole story on phantom patients, as somebody with a mouse and a keyboard lives it."""

import pathlib
import re
import time
import zipfile
from statistics import mean

import pytest
from playwright.sync_api import expect

from console_pages import SlicePage, WallPage, iou
from serving import Phantoms, Server
from test_accessibility import violations


# Some epochs on a machine that does other things, too.
TRAINING_MS = 300_000
# By so much a mask has to be better at least: chance is far less, and what is seen here far more.
BETTER = 0.1


@pytest.fixture
def empty_server(tmp_path):
    server = Server(tmp_path / "store", tmp_path / "serve.log").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    return Phantoms(tmp_path_factory.mktemp("phantoms"), 3, 30, 11)


@pytest.fixture
def scans(phantoms):
    return phantoms.scans


def test_from_a_folder_of_scans_to_a_model_that_has_learned(page, taught_server, phantoms, tmp_path, shot):
    server = taught_server
    page.on("dialog", lambda dialog: dialog.accept())
    old = server.get("models")[0]["version"]

    run = upload(page, server, phantoms, shot)
    slices = server.get(f"runs/{run}/slices")["slices"]
    wall = WallPage(page, server, run)
    triage(wall, slices, phantoms, shot)
    arrays = [SlicePage(page, server, run, slice_) for slice_ in slices if phantoms.has_array(slice_)]
    first = arrays[0]
    unseen = next(one for one in arrays[1:] if one.slice["patient"] == first.slice["patient"])
    others = [one.slice for one in arrays if one.slice["patient"] != first.slice["patient"]]

    wall.press(*["ArrowRight"] * slices.index(first.slice), "Enter")
    correct_the_proposal(first, old, phantoms, shot)
    import_masks(page, server, run, others, phantoms, tmp_path, shot)
    page.goto(f"{server.url}/runs")
    expect(page.locator("#runs tbody tr")).to_have_count(1)
    shot(page, "story-7-runs")

    annotated = 1 + len(others)
    new = retrain(page, server, annotated, shot)
    the_gate_has_promoted(page, server, old, new, shot)
    see_the_new_masks_beside_the_old(page, server, annotated, old, new, shot)
    the_new_model_draws_better_what_nobody_has_annotated(unseen, old, new, phantoms, shot)
    roll_back(page, server, old, shot)


def upload(page, server, phantoms, shot):
    page.goto(f"{server.url}/runs")
    shot(page, "story-1-empty")
    page.locator("#folder").set_input_files(phantoms.scans)
    page.get_by_role("button", name="Start a run").click()
    page.wait_for_url("**/runs/*")
    expect(page.locator("#state")).to_have_text("done", timeout=120_000)
    shot(page, "story-2-run")
    assert str(phantoms.scans) not in page.content(), "no path of a delivery on a page"
    return page.url.split("/")[-1]


def triage(wall, slices, phantoms, shot):
    """Somebody says of each slice whether it shows an array, and is unsure of the last one."""
    wall.page.get_by_role("link", name="Look at the slices").click()
    expect(wall.page.locator("#count")).to_contain_text("slices:")
    arrays = sum(phantoms.has_array(slice_) for slice_ in slices)
    wall.press(*("1" if phantoms.has_array(slice_) else "2" for slice_ in slices[:-1]), "3")
    unsure_of_an_array = phantoms.has_array(slices[-1])
    clear = arrays - unsure_of_an_array
    expect(wall.page.locator("#count")).to_contain_text(f"{clear} clear, 1 unsure, {len(slices) - 1 - clear} no, 0 left")
    wall.press("Home")
    wait_for_pictures(wall.page, "#tiles")
    shot(wall.page, "story-3-wall")


def correct_the_proposal(first, old, phantoms, shot):
    page = first.page
    page.wait_for_selector("#stage[data-shown]")
    expect(page.locator("[data-answer=clear]")).to_have_attribute("aria-checked", "true")
    proposed = first.mask()
    assert proposed == first.proposal(old)
    shot(page, "story-4-proposal")

    draw_along(first, phantoms.contacts(phantoms.name(first.slice)))
    first.press("Enter")
    first.badge("Accepted")
    shot(page, "story-5-corrected")
    seen, truth = first.mask(), first.truth(phantoms)
    assert iou(seen, truth) > iou(proposed, truth) + BETTER
    newest = first.revisions()[-1]
    assert newest["state"] == "accepted" and first.stored(newest["revision"]) == seen
    first.open()
    assert first.mask() == seen


def draw_along(slice_page, contacts):
    """Threshold, both pens, undo: the mask becomes what is bright around the contacts."""
    window = slice_page.ask("desk.slice.details.window")
    # Where people see a grey of 150 of 255, metal begins. That the level can be seen is switched off again.
    slice_page.page.locator("#level").fill(str(round(window["centre"] + (150 / 255 - 0.5) * window["width"])))
    slice_page.press("s", "Delete", "t", "}")
    slice_page.drag(*contacts)
    painted, values, level = slice_page.mask(), slice_page.values(), slice_page.ask("desk.level")
    assert any(painted) and all(values[i] >= level for i, value in enumerate(painted) if value)
    middle = contacts[len(contacts) // 2]
    slice_page.press("e", "{")
    slice_page.click(middle)
    assert slice_page.mask() != painted
    slice_page.press("Control+z")
    assert slice_page.mask() == painted
    # The lead goes on where the array ends.
    (x, y), (next_x, next_y) = contacts[:2]
    slice_page.click((2 * x - next_x, 2 * y - next_y))
    slice_page.press("b")
    slice_page.click(middle)
    columns = slice_page.size()[1]
    assert slice_page.mask()[int(middle[1]) * columns + int(middle[0])]


def import_masks(page, server, run, slices, phantoms, folder, shot):
    """Good masks of other patients that were drawn elsewhere."""
    for one in slices:
        (folder / f"{one['patient']}_{one['name']}.png").write_bytes(phantoms.mask(one))
    page.goto(f"{server.url}/runs/{run}")
    page.locator("#annotations").set_input_files(sorted(folder.glob("P-*.png")))
    page.get_by_role("button", name="Import").click()
    expect(page.locator("#imported")).to_have_text(f"{len(slices)} masks imported.")
    page.locator("#imported").scroll_into_view_if_needed()
    shot(page, "story-6-imported")


def retrain(page, server, annotated, shot):
    page.goto(f"{server.url}/models")
    expect(page.get_by_text(f"{annotated} slices have new masks")).to_be_visible()
    shot(page, "story-8-before-the-training")
    page.locator("#epochs").fill("4")
    page.get_by_role("button", name="Retrain now").click()
    expect(page.locator("#training")).to_contain_text("asked for it")
    expect(page.locator("#numbers")).to_contain_text(re.compile("[1-4] of 4 epochs: loss"), timeout=TRAINING_MS)
    expect(page.locator("figure.chart")).to_have_count(2)
    shot(page, "story-9-training")
    expect(page.locator("#state")).to_have_text("done", timeout=TRAINING_MS)
    return server.get("trainings")["trainings"][0]["model"]


def the_gate_has_promoted(page, server, old, new, shot):
    """The page was loaded again: what came of the training stands in words."""
    gate = server.get(f"models/{new}")["gate"]
    ours, theirs = [mean(score["iou"] for score in gate[of]) for of in ("candidate_iou", "rival_iou")]
    assert gate["promoted"] and gate["rival"] == old and ours > theirs + BETTER
    said = f"{new} is promoted: mean IoU {ours:.3f} over held-out patients, {old} has {theirs:.3f}."
    expect(page.locator("#training")).to_contain_text(said)
    expect(page.get_by_role("rowheader", name=new).first.locator(".badge.current")).to_be_visible()
    expect(page.locator("figure.chart")).to_have_count(2)
    shot(page, "story-10-trained", full_page=True)
    assert violations(page) == {}


def see_the_new_masks_beside_the_old(page, server, annotated, old, new, shot):
    page.goto(f"{server.url}/models/{new}?with={old}")
    expect(page.locator("figure.chart")).to_have_count(2)
    pairs = page.locator(".pairs figure")
    # The new model is drawing what was annotated: look again until all are there.
    end = time.monotonic() + TRAINING_MS / 1000
    while pairs.count() < annotated and time.monotonic() < end:
        page.reload(wait_until="networkidle")
    expect(pairs).to_have_count(annotated)
    compared = server.get(f"models/{new}/comparison?with={old}")
    assert compared["iou"] > compared["with_iou"] + BETTER
    expect(page.locator("main")).to_contain_text(f"Mean IoU with what people drew: {compared['iou']:.3f}, of {old} {compared['with_iou']:.3f}.")
    pairs.last.scroll_into_view_if_needed()
    wait_for_pictures(page, ".pairs")
    shot(page, "story-11-before-and-after", full_page=True)


def the_new_model_draws_better_what_nobody_has_annotated(unseen, old, new, phantoms, shot):
    end = time.monotonic() + TRAINING_MS / 1000
    while unseen.proposal(new) is None and time.monotonic() < end:
        unseen.page.wait_for_timeout(200)
    before, after = [iou(unseen.proposal(model), unseen.truth(phantoms)) for model in (old, new)]
    assert after > before + BETTER
    unseen.open()
    assert unseen.revisions() == [] and unseen.mask() == unseen.proposal(new), "its masks are the next proposals"
    shot(unseen.page, "story-12-next-proposal")


def roll_back(page, server, old, shot):
    page.goto(f"{server.url}/models")
    page.get_by_role("button", name=f"Go back to {old}").click()
    # A row that only names a version, in its verdict, is another's.
    expect(page.get_by_role("rowheader", name=old).first.locator(".badge.current")).to_be_visible()
    expect(page.locator("figure.chart")).to_have_count(2)
    shot(page, "story-13-rolled-back", full_page=True)


def wait_for_pictures(page, inside):
    """All pictures are there, in a part of the page."""
    are_there = "(inside) => [...document.querySelectorAll(`${inside} img`)].every((one) => one.complete && one.naturalWidth > 0)"
    page.wait_for_function(are_there, arg=inside)


@pytest.mark.complains("400")
def test_what_is_no_zip_is_refused_in_words(page, empty_server, tmp_path):
    page.goto(f"{empty_server.url}/runs")
    (tmp_path / "letter.zip").write_text("this is no zip")
    page.locator("#files").set_input_files(tmp_path / "letter.zip")
    page.get_by_role("button", name="Start a run").click()
    expect(page.locator("#said")).to_contain_text("zip")
    expect(page.get_by_role("button", name="Start a run")).to_be_enabled()


@pytest.fixture
def scans_zip(scans, tmp_path):
    with zipfile.ZipFile(tmp_path / "scans.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for file in pathlib.Path(scans).rglob("*"):
            packed.write(file, file.relative_to(scans))
    return tmp_path / "scans.zip"


def test_a_run_that_somebody_else_starts_appears_in_the_list(page, empty_server, scans_zip):
    page.clock.install()
    page.goto(f"{empty_server.url}/runs")
    expect(page.locator("#runs")).to_contain_text("No runs yet")
    run = empty_server.post("runs?plane=coronal", scans_zip.read_bytes(), "application/zip")["run"]
    page.clock.fast_forward(11_000)
    expect(page.locator("#runs tbody tr")).to_contain_text(run)


def test_a_zip_made_elsewhere_becomes_a_run(page, empty_server, scans_zip):
    page.goto(f"{empty_server.url}/runs")
    page.locator("#files").set_input_files(scans_zip)
    page.get_by_role("button", name="Start a run").click()
    page.wait_for_url("**/runs/*")
    expect(page.locator("#state")).to_have_text("done", timeout=120_000)


def test_an_upload_can_be_cancelled_and_started_again(page, empty_server, scans, held):
    uploads = held("**/api/v1/runs?*")
    page.goto(f"{empty_server.url}/runs")
    page.locator("#folder").set_input_files(scans)
    page.get_by_role("button", name="Start a run").click()
    page.get_by_role("button", name="Cancel the upload").click()
    expect(page.locator("#said")).to_have_text("The upload was cancelled.")
    assert empty_server.get("runs") == []
    page.unroute("**/api/v1/runs?*")
    page.get_by_role("button", name="Start a run").click()
    page.wait_for_url("**/runs/*")
    assert len(uploads) <= 1
