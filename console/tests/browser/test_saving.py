"""From the page to the store: what is saved is what was seen, and nobody's work is lost."""

import pytest
from playwright.sync_api import expect

from console_pages import SlicePage


def test_an_accepted_proposal_is_stored_as_it_was_seen(slice_page):
    slice_page.badge("Proposal, untouched")
    seen = slice_page.mask()
    assert any(seen)
    slice_page.press("Enter")
    slice_page.saved()
    slice_page.badge("Accepted")
    (revision,) = slice_page.revisions()
    assert revision["state"] == "accepted" and revision["proposal"] == slice_page.slice["model"]
    assert slice_page.stored(revision["revision"]) == seen


def test_what_is_drawn_is_saved_by_itself_pixel_by_pixel(slice_page):
    slice_page.press("}")
    slice_page.drag((20, 20), (90, 45), (30, 80))
    slice_page.press("e", "{")
    slice_page.drag((25, 25), (70, 60))
    slice_page.press("p", "x")
    slice_page.click((5.5, 5.5), (60.2, 8.1), (33.3, 50.9))
    slice_page.press("Enter")
    slice_page.badge("Draft")
    slice_page.saved()
    seen = slice_page.mask()
    newest = slice_page.revisions()[-1]
    assert newest["state"] == "draft" and newest["mask"]
    assert slice_page.stored(newest["revision"]) == seen
    slice_page.open()
    assert slice_page.mask() == seen
    slice_page.badge("Draft")


def test_no_array_is_an_empty_mask_and_can_be_taken_back(slice_page):
    proposal = slice_page.mask()
    slice_page.press("n")
    slice_page.badge("No array here")
    slice_page.saved()
    newest = slice_page.revisions()[-1]
    assert newest["state"] == "rejected" and not any(slice_page.stored(newest["revision"]))
    slice_page.press("Control+z")
    assert slice_page.mask() == proposal
    slice_page.press("Enter")
    slice_page.badge("Accepted")
    assert [revision["state"] for revision in slice_page.revisions()][-1] == "accepted"


def test_revisions_are_only_ever_added(slice_page):
    slice_page.press("Enter")
    slice_page.badge("Accepted")
    slice_page.click((30, 30))
    slice_page.press("Control+s")
    slice_page.saved()
    slice_page.press("Enter")
    slice_page.badge("Accepted")
    revisions = slice_page.revisions()
    assert [revision["state"] for revision in revisions] == ["accepted", "draft", "accepted"]
    assert [revision["parent"] for revision in revisions[1:]] == [revision["revision"] for revision in revisions[:-1]]
    slice_page.page.get_by_text("Revisions").click()
    expect(slice_page.page.locator("#revisions li")).to_have_count(3)


@pytest.mark.complains("409", "Conflict")
def test_of_two_people_on_one_slice_the_second_is_warned_and_chooses(slice_page, new_page, shot):
    second = SlicePage(new_page(), slice_page.server, slice_page.run, slice_page.slice).open()
    slice_page.drag((20, 20), (40, 20))
    slice_page.press("Enter")
    slice_page.badge("Accepted")
    theirs = slice_page.mask()
    second.drag((60, 60), (80, 60))
    mine = second.mask()
    expect(second.page.get_by_role("alert").filter(has_text="Somebody else")).to_be_visible()
    shot(second.page, "slice-conflict")
    assert len(second.revisions()) == 1
    second.page.get_by_role("button", name="Take theirs").click()
    expect(second.page.locator("#conflict")).to_be_hidden()
    assert second.mask() == theirs
    second.press("Control+z")
    assert second.mask() == mine, "one's own work stays in undo"
    second.saved()
    assert [second.stored(revision["revision"]) for revision in second.revisions()] == [theirs, mine]


@pytest.mark.complains("409", "Conflict")
def test_saving_on_top_keeps_both(slice_page, new_page):
    second = SlicePage(new_page(), slice_page.server, slice_page.run, slice_page.slice).open()
    slice_page.press("Enter")
    slice_page.badge("Accepted")
    second.drag((60, 60), (80, 60))
    second.page.get_by_role("button", name="Save mine on top").click()
    second.saved()
    assert len(second.revisions()) == 2
    assert second.stored(second.revisions()[-1]["revision"]) == second.mask()


@pytest.mark.complains("ERR_CONNECTION_REFUSED", "Failed to load resource")
def test_a_server_that_goes_away_and_comes_back_loses_nothing(slice_page):
    slice_page.server.stop()
    slice_page.drag((20, 20), (60, 40))
    expect(slice_page.page.locator("#save-state")).to_have_attribute("data-state", "retry")
    expect(slice_page.page.get_by_role("alert").filter(has_text="not saved")).to_be_visible()
    drawn = slice_page.mask()
    slice_page.press("d")
    expect(slice_page.page.locator("#stage")).to_have_attribute("aria-busy", "false")
    assert slice_page.mask() == drawn, "a slice that isn't saved is not left"
    slice_page.server.start()
    # The token of a page belongs to one run of the server: what was drawn is sent with the new one.
    slice_page.saved()
    assert slice_page.stored(slice_page.revisions()[-1]["revision"]) == drawn


def beside(server, slices, equal):
    """A slice, the side on which a neighbour of equal size (or of another) lies, and that neighbour."""
    by_id = {one["slice"]: one for one in slices}
    for one in slices:
        for side, other in server.get(f"slices/{one['patient']}/{one['slice']}")["neighbours"].items():
            if other and ((one["rows"], one["columns"]) == (by_id[other]["rows"], by_id[other]["columns"])) == equal:
                return one, side, by_id[other]
    raise AssertionError("the phantoms have slices of equal size beside each other, and of different size")


COPY = {"previous": "Shift+A", "next": "Shift+D"}


def test_the_mask_of_the_slice_before_can_be_copied(page, server, run, slices):
    slice_, side, neighbour = beside(server, slices, equal=True)
    other = SlicePage(page, server, run, neighbour).open()
    other.press("Delete")
    other.drag((20, 20), (50, 50))
    drawn = other.mask()
    other.press("Enter")
    other.badge("Accepted")
    here = SlicePage(page, server, run, slice_).open()
    assert here.mask() != drawn
    here.press(COPY[side])
    here.badge("Draft")
    assert here.mask() == drawn


def test_a_mask_of_another_size_is_not_copied_and_the_page_says_why(page, server, run, slices):
    slice_, side, neighbour = beside(server, slices, equal=False)
    here = SlicePage(page, server, run, slice_).open()
    before = here.mask()
    here.press(COPY[side])
    sizes = f"{neighbour['rows']} x {neighbour['columns']} pixels, this one {slice_['rows']} x {slice_['columns']}"
    expect(page.get_by_role("alert").filter(has_text=sizes)).to_be_visible()
    assert here.mask() == before
    assert here.revisions() == []
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#trouble")).to_be_hidden()


def test_a_viewer_looks_and_changes_nothing(page, server, run, slices):
    """The page of a viewer; that the server refuses a viewer's changes is the API's test."""
    def as_viewer(route):
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('data-role="operator"', 'data-role="viewer"'))

    page.route("**/slices/*/*?run=*", as_viewer)
    viewer = SlicePage(page, server, run, slices[0]).open()
    before = viewer.mask()
    for name in ["Accept", "No array", "Clear the mask", "Pen", "Take the proposal again"]:
        expect(page.get_by_role("button", name=name).or_(page.get_by_role("radio", name=name)).first).to_be_disabled()
    viewer.press("Delete", "b")
    viewer.drag((20, 20), (60, 60))
    viewer.press("Enter")
    assert viewer.mask() == before
    assert viewer.revisions() == []


def test_half_a_polygon_is_not_saved(slice_page):
    slice_page.press("Delete", "r")
    slice_page.drag((20, 20), (40, 40))
    slice_page.press("p")
    finished = slice_page.mask()
    slice_page.click((60, 20), (90, 20), (90, 60))
    assert slice_page.mask() != finished
    slice_page.press("Control+s")
    slice_page.saved()
    assert slice_page.stored(slice_page.revisions()[-1]["revision"]) == finished
    slice_page.press("Enter")
    whole = slice_page.mask()
    slice_page.press("Control+s")
    slice_page.saved()
    assert whole != finished
    assert slice_page.stored(slice_page.revisions()[-1]["revision"]) == whole, "what was begun before the save went on"


@pytest.mark.complains("ERR_FAILED", "409", "Failed to load resource")
def test_an_answer_that_gets_lost_is_no_conflict_with_oneself(slice_page):
    lost = []

    def lose(route):
        if route.request.method != "POST" or lost:
            return route.fallback()
        lost.append(route.fetch().status)
        route.abort()

    slice_page.page.route("**/revisions?*", lose)
    slice_page.drag((20, 20), (60, 40))
    slice_page.badge("Draft")
    slice_page.saved()
    assert lost == [201]
    expect(slice_page.page.locator("#conflict")).to_be_hidden()
    assert slice_page.stored(slice_page.revisions()[-1]["revision"]) == slice_page.mask()


def first_of_a_patient(server, slices):
    """The first slice of a patient and the one after it."""
    for one in slices:
        neighbours = server.get(f"slices/{one['patient']}/{one['slice']}")["neighbours"]
        if neighbours["previous"] is None and neighbours["next"]:
            return one, next(other for other in slices if other["slice"] == neighbours["next"])
    raise AssertionError("a patient has several slices")


def test_keys_that_come_before_the_next_slice_do_nothing_to_this_one(page, server, run, slices, held):
    first, second = first_of_a_patient(server, slices)
    pixels = held(f"**/{second['slice']}/pixels")
    here = SlicePage(page, server, run, first).open()
    before = here.mask()
    here.press("d")
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "true")
    here.press("Enter", "Delete", "Shift+1")
    here.drag((20, 20), (60, 40))
    assert here.mask() == before
    for route in pixels:
        route.continue_()
    expect(page.locator("#stage")).to_have_attribute("data-shown", f"{second['patient']}/{second['slice']}")
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "false")
    after = SlicePage(page, server, run, second)
    after.press("Enter")
    after.badge("Accepted")
    assert here.revisions() == [] and len(after.revisions()) == 1
    assert server.get(here.api)["triage"] is None


def test_what_was_drawn_before_a_step_is_saved_and_the_way_back_leaves_half_a_shape(page, server, run, slices):
    first, second = first_of_a_patient(server, slices)
    here = SlicePage(page, server, run, first).open()
    here.drag((20, 20), (60, 40))
    drawn = here.mask()
    here.press("d")
    shown = page.locator("#stage")
    expect(shown).to_have_attribute("data-shown", f"{second['patient']}/{second['slice']}")
    there = SlicePage(page, server, run, second)
    untouched = there.mask()
    there.press("p")
    there.click((20, 20), (60, 20), (60, 60))
    page.go_back()
    expect(shown).to_have_attribute("data-shown", f"{first['patient']}/{first['slice']}")
    assert here.mask() == drawn == here.stored(here.revisions()[-1]["revision"])
    page.go_forward()
    expect(shown).to_have_attribute("data-shown", f"{second['patient']}/{second['slice']}")
    assert there.mask() == untouched and there.revisions() == []


@pytest.mark.complains("409", "Conflict")
def test_after_take_theirs_the_way_back_shows_what_was_saved_last(page, new_page, server, run, slices):
    first, second = first_of_a_patient(server, slices)
    here = SlicePage(page, server, run, first).open()
    other = SlicePage(new_page(), server, run, first).open()
    other.press("Enter")
    other.badge("Accepted")
    here.drag((20, 20), (60, 40))
    page.get_by_role("button", name="Take theirs").click()
    expect(page.locator("#conflict")).to_be_hidden()
    here.drag((70, 20), (90, 40))
    here.badge("Draft")
    here.saved()
    drawn = here.mask()
    shown = page.locator("#stage")
    for key, of in [("d", second), ("a", first)]:
        here.press(key)
        expect(shown).to_have_attribute("data-shown", f"{of['patient']}/{of['slice']}")
    assert here.mask() == drawn == here.stored(here.revisions()[-1]["revision"])


def test_a_second_answer_before_the_first_has_arrived_is_the_one_that_stays(slice_page, held):
    page = slice_page.page
    waiting = held("**/triage")
    slice_page.press("Shift+1", "Shift+2")
    no = page.locator("[data-answer=no]")
    expect(no).to_have_attribute("aria-checked", "true")
    assert len(waiting) == 1, "the second waits for the first"
    with page.expect_request("**/triage"):
        waiting[0].continue_()
    expect(no).to_have_attribute("aria-checked", "true")
    with page.expect_response("**/triage"):
        waiting[1].continue_()
    expect(no).to_have_attribute("aria-checked", "true")
    assert slice_page.server.get(slice_page.api)["triage"] == "no"


def test_accepting_twice_in_a_row_keeps_one_revision(slice_page):
    slice_page.page.evaluate("""() => {
        for (let i = 0; i < 2; i++) document.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", code: "Enter", bubbles: true }));
        document.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", code: "Enter", bubbles: true, repeat: true }));
    }""")
    slice_page.saved()
    slice_page.press("Control+s")
    slice_page.saved()
    assert [one["state"] for one in slice_page.revisions()] == ["accepted"]


def test_after_a_click_in_the_panel_keys_mean_the_picture(slice_page):
    slice_page.page.get_by_label("Invert").click()
    slice_page.press("Enter")
    slice_page.badge("Accepted")
    slice_page.page.locator("#opacity").click()
    size = slice_page.ask("desk.size")
    slice_page.press("]")
    assert slice_page.ask("desk.size") == size + 1
    expect(slice_page.page.locator("#canvas")).to_be_focused()
