"""The whole story on phantom patients, as somebody with a mouse and a keyboard lives it."""

import pathlib
import time
import zipfile

import pytest
from playwright.sync_api import expect

from conftest import SHOTS
from console_pages import SlicePage, WallPage
from serving import Server, modiolus
from test_accessibility import violations


# Some epochs on a machine that does other things, too.
TRAINING_MS = 300_000


@pytest.fixture
def empty_server(tmp_path):
    server = Server(tmp_path / "store", tmp_path / "serve.log").start()
    yield server
    server.stop()


@pytest.fixture
def scans(tmp_path):
    modiolus("phantom", "--patients", 2, "--files", 30, "--seed", 7, "--output", tmp_path / "scans")
    return tmp_path / "scans"


def test_from_a_folder_of_scans_to_a_model_that_has_learned(page, empty_server, scans, shot):
    page.goto(f"{empty_server.url}/runs")
    shot(page, "story-1-empty")
    page.locator("#folder").set_input_files(scans)
    page.get_by_role("button", name="Start a run").click()
    page.wait_for_url("**/runs/*")
    expect(page.locator("#state")).to_have_text("done", timeout=120_000)
    shot(page, "story-2-run")
    run = page.url.split("/")[-1]
    assert str(scans) not in page.content(), "no path of a delivery on a page"

    page.get_by_role("link", name="Look at the slices").click()
    wall = WallPage(page, empty_server, run)
    expect(page.locator("#count")).to_contain_text("slices:")
    wall.press("1", "1", "3", "2")
    expect(page.locator("#count")).to_contain_text("2 clear, 1 unsure, 1 no")
    shot(page, "story-3-wall")
    wall.press("Home", "Enter")

    page.wait_for_selector("#stage[data-shown]")
    first = empty_server.get(f"runs/{run}/slices")["slices"][0]
    slice_page = SlicePage(page, empty_server, run, first)
    expect(page.locator("[data-answer=clear]")).to_have_attribute("aria-checked", "true")
    correct(slice_page)
    slice_page.press("Enter")
    slice_page.badge("Accepted")
    shot(page, "story-4-corrected")
    seen = slice_page.mask()
    newest = slice_page.revisions()[-1]
    assert newest["state"] == "accepted" and slice_page.stored(newest["revision"]) == seen
    slice_page.open()
    assert slice_page.mask() == seen

    page.goto(f"{empty_server.url}/runs")
    expect(page.locator("#runs tbody tr")).to_have_count(1)
    shot(page, "story-5-runs")

    accept_one_of_another_patient(page, empty_server, run, first)
    page.on("dialog", lambda dialog: dialog.accept())
    old, new = retrain(page, empty_server, shot)
    see_the_new_mask_beside_the_old(page, empty_server, shot, first, old, new)
    roll_back(page, empty_server, shot, old)


def accept_one_of_another_patient(page, server, run, first):
    """With two patients annotated, one of them can be held out."""
    slices = server.get(f"runs/{run}/slices")["slices"]
    other = SlicePage(page, server, run, next(one for one in slices if one["patient"] != first["patient"])).open()
    other.press("Enter")
    other.badge("Accepted")


def retrain(page, server, shot):
    page.goto(f"{server.url}/models")
    expect(page.get_by_text("2 slices have new masks")).to_be_visible()
    shot(page, "story-6-before-the-training")
    page.locator("#epochs").fill("3")
    page.get_by_role("button", name="Retrain now").click()
    expect(page.locator("#training")).to_contain_text("asked for it")
    expect(page.locator("#numbers")).to_contain_text("1 of 3 epochs: loss", timeout=TRAINING_MS)
    expect(page.locator("figure.chart")).to_have_count(2)
    shot(page, "story-7-training")
    expect(page.locator("#state")).to_have_text("done", timeout=TRAINING_MS)
    # The page was loaded again: what came of it stands in words.
    expect(page.locator("#training")).to_contain_text("promoted")
    expect(page.locator("figure.chart")).to_have_count(2)
    shot(page, "story-8-trained")
    assert violations(page) == {}
    training = server.get("trainings")["trainings"][0]
    new = training["model"]
    old = next(one["version"] for one in server.get("models") if one["version"] != new)
    if not training["promoted"]:
        page.get_by_role("row", name=new).get_by_role("button", name="Make it current").click()
    expect(page.get_by_role("row", name=new).locator(".badge.current")).to_be_visible()
    return old, new


def see_the_new_mask_beside_the_old(page, server, shot, first, old, new):
    page.goto(f"{server.url}/models/{new}?with={old}")
    expect(page.locator("figure.chart")).to_have_count(2)
    pairs = page.locator(".pairs figure")
    # The new model is drawing what was annotated: look again until both are there.
    end = time.monotonic() + TRAINING_MS / 1000
    while pairs.count() < 2 and time.monotonic() < end:
        page.reload(wait_until="networkidle")
    expect(pairs).to_have_count(2)
    page.locator(".pairs").scroll_into_view_if_needed()
    page.wait_for_function("() => [...document.querySelectorAll('.pairs img')].every((one) => one.complete && one.naturalWidth > 0)")
    shot(page, "story-9-before-and-after")
    page.screenshot(path=SHOTS / "story-9-whole.png", full_page=True)
    masks = [server.get(f"slices/{first['patient']}/{first['slice']}/mask.png?model={model}") for model in (old, new)]
    assert masks[0] != masks[1]
    assert server.get(f"slices/{first['patient']}/{first['slice']}")["model"] == new, "its masks are the next proposals"


def roll_back(page, server, shot, old):
    page.goto(f"{server.url}/models")
    page.get_by_role("button", name=f"Go back to {old}").click()
    expect(page.get_by_role("row", name=old).locator(".badge.current")).to_be_visible()
    shot(page, "story-10-rolled-back")


def correct(slice_page):
    """Threshold, both pens, undo: the mask becomes all that is above the level around the brightest spot, less a corner."""
    rows, columns = slice_page.size()
    values = slice_page.values()
    brightest = max(range(len(values)), key=values.__getitem__)
    row, column = brightest // columns, brightest % columns
    slice_page.press("Delete", "t", "}")
    slice_page.drag((column - 5, row), (column + 5.5, row + 0.5))
    painted = slice_page.mask()
    assert painted[brightest] and all(values[i] >= slice_page.ask("desk.level") for i, value in enumerate(painted) if value)
    slice_page.press("e", "{")
    slice_page.click((column + 0.5, row + 0.5))
    assert not slice_page.mask()[brightest]
    slice_page.press("Control+z")
    assert slice_page.mask() == painted
    slice_page.press("b")
    slice_page.click((column + 0.5, row + 9.5))
    assert slice_page.mask() != painted


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
