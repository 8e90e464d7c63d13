"""The rules of axe-core (WCAG 2.2 A and AA) on every page, light and dark, and with a key alone."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}


def violations(page):
    found = Axe().run(page, options=RULES).response["violations"]
    return {one["id"]: [node["target"] for node in one["nodes"]] for one in found}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_a_rule(new_page, server, run, slices, shot, scheme):
    page = new_page(color_scheme=scheme)
    model = server.get("models")
    first = f"/slices/{slices[0]['patient']}/{slices[0]['slice']}?run={run}"
    paths = {"runs": "/runs", "run": f"/runs/{run}", "wall": f"/runs/{run}/wall", "slice": first, "models": "/models", "work": "/work", "help": "/help"}
    if model:
        paths["model"] = f"/models/{model[0]['version']}"
    for name, path in paths.items():
        page.goto(server.url + path)
        page.wait_for_load_state("networkidle")
        shot(page, f"{name}-{scheme}")
        assert violations(page) == {}, path


def test_the_sheet_of_keys_breaks_no_rule(slice_page, shot):
    slice_page.press("?")
    expect(slice_page.page.get_by_role("dialog")).to_be_visible()
    shot(slice_page.page, "keys")
    assert violations(slice_page.page) == {}


def test_all_controls_of_a_slice_are_reached_with_the_tab_key(slice_page):
    page = slice_page.page
    reached = set()
    page.locator("body").focus()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => { const e = document.activeElement; return e.id || e.dataset.do || e.dataset.tool || e.dataset.answer || e.tagName; }"))
    assert {"pen", "canvas", "accept", "reject", "size", "level", "fill", "trim", "centre", "width", "invert", "opacity"} <= reached
