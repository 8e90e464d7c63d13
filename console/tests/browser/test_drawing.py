"""The tools: what each does to the mask, seen through the page."""

import pytest
from playwright.sync_api import expect

from console_pages import SlicePage


def blank(page):
    """Begins with an empty mask."""
    page.press("Delete")
    assert not any(page.mask())


def set_pixels(page):
    rows, columns = page.size()
    return {(i // columns, i % columns) for i, value in enumerate(page.mask()) if value}


def test_a_pen_of_one_pixel_sets_the_pixel_under_the_cursor(slice_page):
    blank(slice_page)
    slice_page.press(*["["] * 5)
    slice_page.click((40.5, 30.5))
    assert set_pixels(slice_page) == {(30, 40)}


def test_the_black_pen_takes_away_what_the_white_pen_drew(slice_page):
    blank(slice_page)
    slice_page.drag((30.5, 30.5), (60.5, 30.5))
    drawn = set_pixels(slice_page)
    assert {(30, column) for column in range(30, 61)} <= drawn
    slice_page.press("e")
    slice_page.drag((30.5, 30.5), (60.5, 30.5))
    assert not set_pixels(slice_page)


def test_the_threshold_pen_paints_only_above_the_level(slice_page):
    blank(slice_page)
    level = slice_page.ask("desk.level")
    slice_page.press("t", "}", "}")
    rows, columns = slice_page.size()
    slice_page.drag((0.5, rows / 2), (columns - 0.5, rows / 2))
    values, mask = slice_page.values(), slice_page.mask()
    middle = range(int(rows / 2) * columns, (int(rows / 2) + 1) * columns)
    assert all(values[i] >= level for i, value in enumerate(mask) if value)
    assert all(mask[i] for i in middle if values[i] >= level)


def test_the_threshold_pen_paints_what_is_bright_where_the_lowest_value_is_white(page, server, run, slices):
    headers = lambda one: page.request.get(f"{server.url}/api/v1/slices/{one['patient']}/{one['slice']}/pixels").headers  # noqa: E731
    inverted = next(one for one in slices if headers(one)["x-inverted"] == "true")
    slice_page = SlicePage(page, server, run, inverted).open()
    blank(slice_page)
    stored = slice_page.ask("Array.from(desk.slice.values)")
    rows, columns = slice_page.size()
    row = stored.index(min(stored)) // columns
    slice_page.press("t", "}")
    slice_page.drag((0.5, row + 0.5), (columns - 0.5, row + 0.5))
    level = int(page.locator("#level-value").inner_text())
    painted = [stored[i] for i, value in enumerate(slice_page.mask()) if value]
    assert min(stored) in painted and max(painted) <= level < sorted(stored)[len(stored) // 2]


def test_a_click_grows_a_region_and_another_tool_erases_it(slice_page):
    blank(slice_page)
    rows, columns = slice_page.size()
    values = slice_page.values()
    brightest = max(range(len(values)), key=values.__getitem__)
    at = (brightest % columns + 0.5, brightest // columns + 0.5)
    slice_page.press("g")
    slice_page.click(at)
    grown = set_pixels(slice_page)
    level = slice_page.ask("desk.level")
    assert (brightest // columns, brightest % columns) in grown
    assert all(values[row * columns + column] >= level for row, column in grown)
    slice_page.press("k")
    slice_page.click(at)
    assert not set_pixels(slice_page)


def test_shapes_are_filled_by_labelmes_rules(slice_page):
    """The sizes are those that PIL gives (see shared/imaging/src/annotation.rs)."""
    blank(slice_page)
    slice_page.press("c")
    slice_page.drag((20.01, 20.01), (23.01, 20.01))
    assert len(set_pixels(slice_page)) == 37
    blank(slice_page)
    slice_page.press("r")
    slice_page.drag((28.5, 15.5), (25.2, 18.9))
    assert set_pixels(slice_page) == {(row, column) for row in range(15, 19) for column in range(25, 29)}
    blank(slice_page)
    slice_page.press("p")
    slice_page.click((22.9, 22.9), (22.2, 38.1), (38.7, 38.7), (38.1, 22.9))
    slice_page.press("Enter")
    assert set_pixels(slice_page) == {(row, column) for row in range(22, 39) for column in range(22, 39)}


def test_a_centreline_has_the_pens_width_and_points_can_be_taken_back(slice_page):
    blank(slice_page)
    slice_page.press("l", "[", "[")
    slice_page.click((20.5, 20.5), (40.5, 20.5), (40.5, 60.5))
    slice_page.press("Backspace", "Enter")
    drawn = set_pixels(slice_page)
    assert {row for row, _ in drawn} == {19, 20, 21}
    assert {(20, column) for column in range(20, 41)} <= drawn


def test_escape_leaves_no_trace_of_a_shape(slice_page):
    before = slice_page.mask()
    slice_page.press("p")
    slice_page.click((20, 20), (80, 20), (80, 80))
    assert slice_page.mask() != before
    slice_page.press("Escape")
    assert slice_page.mask() == before
    expect(slice_page.page.get_by_role("button", name="Undo")).to_be_disabled()


def test_a_hundred_strokes_and_a_clear_are_undone_and_done_again(slice_page):
    first = slice_page.mask()
    slice_page.press("x")
    slice_page.press("x")
    seen = []
    for i in range(100):
        slice_page.click((10 + i % 20 * 6 + 0.5, 10 + i // 20 * 10 + 0.5))
        seen.append(slice_page.mask())
    slice_page.press("Delete")
    for mask in reversed(seen):
        slice_page.press("Control+z")
        assert slice_page.mask() == mask
    slice_page.press("Control+z")
    assert slice_page.mask() == first
    slice_page.press(*["Control+Shift+z"] * 101)
    assert not any(slice_page.mask())


def test_the_right_button_drags_the_contrast_and_the_wheel_zooms_at_the_cursor(slice_page, shot):
    page = slice_page.page
    before = slice_page.ask("({ ...stage.window })")
    mask = slice_page.mask()
    slice_page.drag((50, 50), (90, 80), button="right")
    after = slice_page.ask("({ ...stage.window })")
    assert after["width"] > before["width"] and after["centre"] != before["centre"]
    assert slice_page.mask() == mask
    zoom = slice_page.ask("stage.view.zoom")
    x, y = map(round, slice_page.at(60, 70))
    under = slice_page.under(x, y)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -600)
    assert slice_page.ask("(async () => { while (stage.view.zoom <= argument) await new Promise(requestAnimationFrame); return true; })()", zoom)
    assert slice_page.under(x, y) == pytest.approx(under, abs=0.01)
    slice_page.press("m")
    slice_page.drag((55, 70), (65, 75))
    shot(page, "slice-ruler")


def test_a_touch_pen_draws_and_its_other_end_erases(slice_page):
    blank(slice_page)
    pen = """(() => {
        const [x, y, buttons, button] = argument;
        const options = { pointerId: 7, pointerType: "pen", isPrimary: true, bubbles: true, cancelable: true, clientX: x, clientY: y, buttons, button };
        stage.canvas.setPointerCapture = () => {};
        stage.canvas.dispatchEvent(new PointerEvent("pointerdown", options));
        stage.canvas.dispatchEvent(new PointerEvent("pointerup", { ...options, buttons: 0 }));
    })()"""
    x, y = slice_page.at(50.5, 50.5)
    slice_page.ask(pen, [x, y, 1, 0])
    assert (50, 50) in set_pixels(slice_page)
    slice_page.ask(pen, [x, y, 32, 5])
    assert not set_pixels(slice_page)
    assert slice_page.ask("desk.colour") == 1


@pytest.mark.complains("willReadFrequently")
@pytest.mark.parametrize("scale", [1, 1.25, 2])
def test_what_is_seen_is_what_is_drawn_on_every_screen(new_page, server, run, slices, scale):
    """One pixel is drawn and zoomed to: the canvas is coloured on that pixel and on no neighbour."""
    page = SlicePage(new_page(device_scale_factor=scale), server, run, slices[0]).open()
    blank(page)
    page.press(*["["] * 5)
    x, y = map(round, page.at(40.5, 30.5))
    page.page.mouse.move(x, y)
    page.page.mouse.wheel(0, -1200)
    page.page.mouse.click(*page.at(40.5, 30.5))
    page.page.mouse.move(*page.at(43.5, 33.5))
    assert set_pixels(page) == {(30, 40)}
    coloured = """(async () => {
        await new Promise(requestAnimationFrame);
        await new Promise(requestAnimationFrame);
        const context = stage.canvas.getContext("2d");
        return argument.map(([column, row]) => {
            const [x, y] = stage.view.toScreen([column + 0.5, row + 0.5]);
            const [red, , blue] = context.getImageData(Math.floor(x * devicePixelRatio), Math.floor(y * devicePixelRatio), 1, 1).data;
            return red - blue > 40;
        });
    })()"""
    around = [[40 + dx, 30 + dy] for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    assert page.ask(coloured, around) == [at == [40, 30] for at in around]


def test_undo_in_the_middle_of_a_stroke_leaves_nothing_of_it(slice_page):
    blank(slice_page)
    slice_page.drag((20.5, 20.5), (40.5, 20.5))
    drawn = slice_page.mask()
    mouse = slice_page.page.mouse
    mouse.move(*slice_page.at(60, 60))
    mouse.down()
    mouse.move(*slice_page.at(70, 60), steps=3)
    slice_page.press("Control+z")
    mouse.move(*slice_page.at(90, 90), steps=3)
    mouse.up()
    assert not any(slice_page.mask())
    slice_page.press("Control+Shift+z")
    assert slice_page.mask() == drawn


def test_a_length_is_measured_in_mm_also_where_pixels_are_not_square(slice_page):
    """The spacing is what a file would say: 0.5 mm between rows, 0.25 mm between columns."""
    def wide(route):
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "spacing_mm": [0.5, 0.25]})

    page = slice_page.page
    page.route("**/api/v1/slices/*/*?run=*", wide)
    slice_page.open()
    expect(page.locator("#hud-slice")).to_contain_text("0.5 x 0.25 mm")
    assert slice_page.ask("stage.view.aspect") == 2
    slice_page.press("Delete", "r")
    slice_page.drag((20.5, 20.5), (29.5, 29.5))
    expect(page.locator("#measure")).to_contain_text("100 pixels · 12.50 mm²")
    length = """(async () => {
        const { lengthText } = await import("/assets/view.js");
        return [lengthText([0, 0], [0, 10], desk.spacing), lengthText([0, 0], [40, 0], desk.spacing)];
    })()"""
    assert slice_page.ask(length) == ["5.00 mm", "10.0 mm"]


def test_a_number_in_the_panel_is_taken_with_enter_and_keys_mean_the_picture_again(slice_page):
    page = slice_page.page
    page.locator("#centre").fill("1234")
    slice_page.press("d", "Enter")
    expect(page.locator("#hud-window")).to_contain_text("C 1234")
    expect(page.locator("#canvas")).to_be_focused()
    assert slice_page.revisions() == [], "this Enter was for the field"
    slice_page.press("x")
    assert slice_page.ask("desk.colour") == 0


def test_a_window_that_changes_its_size_keeps_what_was_zoomed_to(slice_page):
    page = slice_page.page
    page.mouse.move(*slice_page.at(60, 60))
    page.mouse.wheel(0, -600)
    expect(page.locator("#hud-scale")).to_be_visible()
    zoom = slice_page.ask("(async () => { while (stage.view.isWhole) await new Promise(requestAnimationFrame); return stage.view.zoom; })()")
    page.set_viewport_size({"width": 1200, "height": 700})
    page.wait_for_function("() => document.getElementById('canvas').height === document.getElementById('canvas').clientHeight && innerWidth === 1200")
    assert slice_page.ask("stage.view.zoom") == zoom
    slice_page.press("0")
    assert slice_page.ask("stage.view.isWhole")
