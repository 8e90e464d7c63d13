"""The wall: triage by keys, filters, the contact sheet."""

import pytest
from playwright.sync_api import expect


def test_slices_are_ordered_by_score_and_answered_with_one_key_each(wall_page, slices, server, shot):
    scores = [one["array_score"] for one in slices]
    assert scores == sorted(scores, reverse=True)
    wall_page.press("1", "2", "3", "1")
    expect(wall_page.page.locator("#count")).to_contain_text("2 clear, 1 unsure, 1 no")
    expect(wall_page.selected).to_have_attribute("data-index", "4")
    wall_page.press("ArrowLeft", "0")
    expect(wall_page.page.locator("#count")).to_contain_text("1 clear, 1 unsure, 1 no")
    shot(wall_page.page, "wall")
    wall_page.page.reload()
    expect(wall_page.page.locator("#count")).to_contain_text("1 clear, 1 unsure, 1 no")
    answers = [one["triage"] for one in server.get(f"runs/{wall_page.run}/slices")["slices"]]
    assert answers[:4] == ["clear", "no", "unsure", None]


def test_slices_are_answered_with_the_mouse_alone(wall_page, slices):
    page = wall_page.page
    page.locator(".tile").nth(2).click()
    for name in ["Clear", "Unsure"]:
        page.get_by_role("group").get_by_role("button", name=name).click()
    expect(page.locator("#count")).to_contain_text("1 clear, 1 unsure, 0 no")
    expect(wall_page.selected).to_have_attribute("data-index", "4")
    expect(page.locator("#tiles")).to_be_focused()
    wall_page.press("2")
    expect(page.locator("#count")).to_contain_text("1 clear, 1 unsure, 1 no")
    page.get_by_role("button", name="Open the slice").click()
    page.wait_for_url(f"**/slices/{slices[5]['patient']}/{slices[5]['slice']}*")


def test_filters_narrow_the_wall_and_stay_in_the_address(wall_page, slices):
    page = wall_page.page
    patient = slices[0]["patient"]
    wall_page.press("1")
    page.locator("#patient").select_option(patient)
    own = [one for one in slices if one["patient"] == patient]
    expect(page.locator("#count")).to_contain_text(f"{len(own)} slice")
    page.locator("#answer").select_option("clear")
    expect(page.locator("#count")).to_contain_text("1 slice: 1 clear")
    assert f"patient={patient}" in page.url and "triage=clear" in page.url
    page.reload()
    expect(page.locator("#count")).to_contain_text("1 slice: 1 clear")
    page.locator("#answer").select_option("unsure")
    expect(page.locator("#count")).to_contain_text("No slice here")


def test_enter_opens_the_selected_slice(wall_page, slices):
    wall_page.press("ArrowRight", "Enter")
    wall_page.page.wait_for_url(f"**/slices/{slices[1]['patient']}/{slices[1]['slice']}*")


def test_a_patients_contact_sheet_is_saved_as_a_picture(wall_page, slices, tmp_path):
    page = wall_page.page
    patient = slices[0]["patient"]
    page.locator("#patient").select_option(patient)
    own = [one for one in slices if one["patient"] == patient]
    expect(page.locator("#count")).to_contain_text(f"{len(own)} slice")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save contact sheet").click()
    assert download.value.suggested_filename == f"contact-sheet-{patient}.png"
    download.value.save_as(tmp_path / "sheet.png")
    header = (tmp_path / "sheet.png").read_bytes()[:24]
    assert header.startswith(b"\x89PNG") and int.from_bytes(header[16:20], "big") >= 250


def test_a_question_mark_shows_the_keys(wall_page):
    wall_page.press("?")
    expect(wall_page.page.get_by_role("dialog")).to_contain_text("clear array")
    wall_page.press("Escape")
    expect(wall_page.page.get_by_role("dialog")).to_be_hidden()


def test_a_key_that_is_held_down_answers_once(wall_page, server):
    keyboard = wall_page.page.keyboard
    for _ in range(4):
        keyboard.down("1")
    keyboard.up("1")
    expect(wall_page.page.locator("#count")).to_contain_text("1 clear, 0 unsure, 0 no")
    expect(wall_page.selected).to_have_attribute("data-index", "1")


def test_who_comes_back_from_a_slice_finds_it_selected(wall_page, slices):
    page = wall_page.page
    wall_page.press("ArrowRight", "ArrowRight", "3", "Enter")
    page.wait_for_url(f"**/slices/{slices[3]['patient']}/{slices[3]['slice']}*")
    page.go_back()
    expect(wall_page.selected).to_have_attribute("data-index", "3")
    expect(page.locator("#count")).to_contain_text("1 unsure")
    wall_page.press("Enter")
    page.wait_for_selector("#stage[data-shown]")
    page.get_by_role("link", name="All slices of the run").click()
    expect(wall_page.selected).to_have_attribute("data-index", "3")


@pytest.mark.complains("ERR_CONNECTION_REFUSED", "Failed to load resource")
def test_answers_wait_for_a_server_that_is_away(wall_page, slices, shot):
    page, server = wall_page.page, wall_page.server
    server.stop()
    wall_page.press("1", "3")
    expect(page.get_by_role("alert")).to_contain_text("2 answers are not saved yet")
    expect(page.locator("#count")).to_contain_text("1 clear, 1 unsure")
    shot(page, "wall-unsaved")
    server.start()
    expect(page.get_by_role("alert")).to_be_hidden()
    page.wait_for_function("() => [...document.querySelectorAll('.tile img')].every((one) => one.naturalWidth > 0 || !one.complete)")
    answers = [one["triage"] for one in server.get(f"runs/{wall_page.run}/slices")["slices"]]
    assert answers[:2] == ["clear", "unsure"]


def test_after_a_choice_with_the_mouse_keys_answer(wall_page, slices):
    page = wall_page.page
    page.locator("#size").click()
    wall_page.press("1")
    expect(page.locator("#count")).to_contain_text("1 clear")
