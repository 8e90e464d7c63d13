"""Who gets in: the first link, the login, what each role sees, and the audit log."""

import shutil

import pytest
from playwright.sync_api import expect

from console_pages import SlicePage
from serving import Server, modiolus
from test_accessibility import violations

PASSWORD = "correct horse battery staple"


class Guarded(Server):
    """A review page that people log in to."""

    def add(self, name, role):
        return self.url + modiolus("users", "add", name, "--role", role, "--store", self.store).strip()


@pytest.fixture
def guarded(finished_store, tmp_path):
    shutil.copytree(finished_store, tmp_path / "store")
    server = Guarded(tmp_path / "store", tmp_path / "serve.log")
    server.links = {role: server.add(name, role) for name, role in [("vera", "viewer"), ("anton", "annotator"), ("olga", "operator")]}
    server.start()
    yield server
    server.stop()


def set_password(page, link):
    page.goto(link)
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_label("The same again").fill(PASSWORD)
    page.get_by_role("button", name="Set the password").click()
    page.wait_for_url("**/runs")


@pytest.mark.complains("401", "410", "422")
def test_from_the_first_link_to_the_audit_log(page, guarded, shot):
    page.goto(f"{guarded.url}/models")
    expect(page).to_have_title("Log in - Modiolus")
    shot(page, "accounts-1-login")

    page.goto(guarded.links["operator"])
    shot(page, "accounts-2-link")
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_label("The same again").fill(PASSWORD + "!")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not the same")
    set_password(page, guarded.links["operator"])
    expect(page.get_by_role("link", name="olga, operator")).to_be_visible()
    shot(page, "accounts-3-in")
    page.goto(guarded.links["operator"])
    expect(page.get_by_role("alert")).to_contain_text("used already")
    shot(page, "accounts-4-used")

    page.goto(f"{guarded.url}/runs")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto(f"{guarded.url}/models")
    page.get_by_label("Name").fill("olga")
    page.get_by_label("Password").fill("this is not it")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("name or password is wrong")
    shot(page, "accounts-5-wrong")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/models")

    page.get_by_role("link", name="Audit").click()
    expect(page.get_by_role("row", name="logged in").filter(has_text="refused")).to_be_visible()
    expect(page.get_by_role("row", name="logged in").filter(has_text="done")).to_be_visible()
    shot(page, "accounts-6-audit")
    page.get_by_label("Person").fill("vera")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("cell", name="Nothing on this day by vera.")).to_be_visible()


def test_another_password_is_set_by_keyboard_alone(page, guarded, shot):
    set_password(page, guarded.links["annotator"])
    page.get_by_role("link", name="anton, annotator").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/account")
    page.get_by_label("The password that you have now").focus()
    for text in [PASSWORD, PASSWORD + " 2", PASSWORD + " 2"]:
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("another one now")
    shot(page, "accounts-7-account")


@pytest.mark.complains("403")
def test_pages_hide_what_a_role_may_not_do(new_page, guarded, shot):
    viewer, operator = new_page(), new_page()
    set_password(viewer, guarded.links["viewer"])
    set_password(operator, guarded.links["operator"])
    expect(operator.get_by_role("button", name="Start a run")).to_be_visible()
    expect(viewer.get_by_role("button", name="Start a run")).to_have_count(0)
    expect(viewer.get_by_role("link", name="Audit")).to_have_count(0)
    viewer.goto(f"{guarded.url}/audit")
    expect(viewer.get_by_role("alert")).to_contain_text("operator")
    shot(viewer, "accounts-8-refused")


@pytest.mark.complains("401", "403")
def test_who_is_logged_out_while_drawing_logs_in_elsewhere_and_loses_nothing(new_page, guarded):
    page = new_page()
    set_password(page, guarded.links["annotator"])
    run = page.evaluate("async () => (await (await fetch('/api/v1/runs')).json())[0].run")
    first = page.evaluate("async (run) => (await (await fetch(`/api/v1/runs/${run}/slices`)).json()).slices[0]", run)
    slice_page = SlicePage(page, guarded, run, first).open()
    other = page.context.new_page()
    other.goto(f"{guarded.url}/runs")
    other.get_by_role("button", name="Log out").click()
    other.wait_for_url("**/login")
    slice_page.drag((20, 20), (60, 40))
    drawn = slice_page.mask()
    expect(page.get_by_role("alert").filter(has_text="Sign in again")).to_be_visible()
    other.get_by_label("Name").fill("anton")
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Log in").click()
    other.wait_for_url("**/runs")
    # By itself: it goes on trying.
    slice_page.saved()
    assert slice_page.mask() == drawn
    revisions = page.evaluate("async (at) => (await (await fetch(`/api/v1/${at}/revisions`)).json()).map((one) => one.revision)", slice_page.api)
    assert [slice_page.stored(revision) for revision in revisions] == [drawn]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.complains("410")
def test_no_page_of_the_login_breaks_a_rule(new_page, guarded, shot, scheme):
    page = new_page(color_scheme=scheme)
    for name, path in {"login": "/login", "link": guarded.links["operator"].removeprefix(guarded.url)}.items():
        page.goto(guarded.url + path)
        shot(page, f"{name}-{scheme}")
        assert violations(page) == {}, path
    set_password(page, guarded.links["operator"])
    for name, path in {"account": "/account", "audit": "/audit", "failed": guarded.links["operator"].removeprefix(guarded.url)}.items():
        page.goto(guarded.url + path)
        shot(page, f"{name}-{scheme}")
        assert violations(page) == {}, path
