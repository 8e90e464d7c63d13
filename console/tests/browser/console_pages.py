"""The pages as tests use them: by what people see and do, and, for pixels, by what the page's own modules hold."""

import array
import base64

from playwright.sync_api import expect

# Bytes travel from the page as one text: as a list of numbers they take a second.
BASE64 = "(bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))"


def pixels(page, png):
    """A mask as bytes of 0 and 1, row by row, decoded by the browser's own decoder of pictures, not by ours."""
    decode = """async (png) => {
        const picture = await createImageBitmap(new Blob([Uint8Array.from(atob(png), (sign) => sign.charCodeAt(0))]));
        const canvas = new OffscreenCanvas(picture.width, picture.height);
        const context = canvas.getContext("2d");
        context.drawImage(picture, 0, 0);
        const { data } = context.getImageData(0, 0, picture.width, picture.height);
        return (%s)(Uint8Array.from({ length: data.length / 4 }, (_, i) => (data[4 * i] > 127 ? 1 : 0)));
    }""" % BASE64
    return base64.b64decode(page.evaluate(decode, base64.b64encode(png).decode()))


def iou(one, other):
    """How far two masks are the same, 0 to 1."""
    both = sum(a & b for a, b in zip(one, other, strict=True))
    either = sum(one) + sum(other) - both
    return both / either if either else 1.0


class WallPage:
    def __init__(self, page, server, run):
        self.page, self.server, self.run = page, server, run

    def open(self, query=""):
        self.page.goto(f"{self.server.url}/runs/{self.run}/wall{query}")
        expect(self.page.locator("#count")).to_contain_text("slices:")
        return self

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def selected(self):
        return self.page.locator('.tile[aria-selected="true"]')


class SlicePage:
    def __init__(self, page, server, run, slice_):
        self.page, self.server, self.run, self.slice = page, server, run, slice_

    def open(self, wait=True):
        self.page.goto(f"{self.server.url}/slices/{self.slice['patient']}/{self.slice['slice']}?run={self.run}")
        if wait:
            self.page.wait_for_selector("#stage[data-shown]")
        return self

    @property
    def api(self):
        return f"slices/{self.slice['patient']}/{self.slice['slice']}"

    def ask(self, expression, argument=None):
        """The value of an expression over the page's `desk` and `stage`."""
        module = "async (argument) => { const { desk, stage } = await import('/assets/slice.js'); return EXPRESSION; }"
        return self.page.evaluate(module.replace("EXPRESSION", expression), argument)

    def mask(self):
        """The mask in the page, as bytes of 0 and 1, row by row."""
        return base64.b64decode(self.ask(f"({BASE64})(desk.mask.data)"))

    def values(self):
        return array.array("f", base64.b64decode(self.ask(f"({BASE64})(new Uint8Array(Float32Array.from(desk.values).buffer))")))

    def size(self):
        return tuple(self.ask("[desk.mask.rows, desk.mask.columns]"))

    def stored(self, revision):
        """A stored mask as bytes of 0 and 1."""
        return self.drawn(f"revisions/{revision}/mask.png")

    def proposal(self, model):
        """What a model has drawn, as bytes of 0 and 1; nothing before it has."""
        return self.drawn(f"mask.png?model={model}")

    def truth(self, phantoms):
        """What is true, as bytes of 0 and 1."""
        return pixels(self.page, phantoms.mask(self.slice))

    def drawn(self, mask):
        """As who is signed in to the page gets it."""
        answer = self.page.request.get(f"{self.server.url}/api/v1/{self.api}/{mask}")
        return pixels(self.page, answer.body()) if answer.ok else None

    def revisions(self):
        return self.server.get(f"{self.api}/revisions")

    def at(self, column, row):
        """Where a position in the picture is on the screen."""
        place = "(() => { const box = stage.canvas.getBoundingClientRect(); const [x, y] = stage.view.toScreen(argument); return [box.left + x, box.top + y]; })()"
        return self.ask(place, [column, row])

    def under(self, x, y):
        """The position in the picture (column, row) that is under a position on the screen."""
        place = "(() => { const box = stage.canvas.getBoundingClientRect(); return stage.view.toPicture([argument[0] - box.left, argument[1] - box.top]); })()"
        return self.ask(place, [x, y])

    def drag(self, *points, button="left"):
        """Presses at the first point (column, row), moves through the others and lets go."""
        mouse = self.page.mouse
        mouse.move(*self.at(*points[0]))
        mouse.down(button=button)
        for point in points[1:]:
            mouse.move(*self.at(*point), steps=4)
        mouse.up(button=button)

    def click(self, *points):
        for point in points:
            self.page.mouse.click(*self.at(*point))

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def saved(self):
        expect(self.page.locator("#save-state")).to_have_attribute("data-state", "saved")
        expect(self.page.locator("#save-state")).to_contain_text("Saved")

    def badge(self, text):
        expect(self.page.locator("#badge")).to_have_text(text)
