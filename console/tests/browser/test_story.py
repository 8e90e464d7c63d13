"""The whole story on phantom patients, as somebody with a mouse and a keyboard lives it."""

import pathlib
import zipfile

import pytest
from playwright.sync_api import expect

from conftest import Server, modiolus
from console_pages import SlicePage, WallPage


@pytest.fixture
def empty_server(tmp_path):
    server = Server(tmp_path / "store", tmp_path / "serve.log").start()
    yield server
    server.stop()


@pytest.fixture
def scans(tmp_path):
    modiolus("phantom", "--patients", 2, "--files", 30, "--seed", 7, "--output", tmp_path / "scans")
    return tmp_path / "scans"


def test_from_a_folder_of_scans_to_a_corrected_mask(page, empty_server, scans, shot):
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


def test_a_zip_made_elsewhere_becomes_a_run(page, empty_server, scans, tmp_path):
    with zipfile.ZipFile(tmp_path / "scans.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for file in pathlib.Path(scans).rglob("*"):
            packed.write(file, file.relative_to(scans))
    page.goto(f"{empty_server.url}/runs")
    page.locator("#files").set_input_files(tmp_path / "scans.zip")
    page.get_by_role("button", name="Start a run").click()
    page.wait_for_url("**/runs/*")
    expect(page.locator("#state")).to_have_text("done", timeout=120_000)
