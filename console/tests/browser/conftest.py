"""The built program, phantoms, and a browser that reports what it doesn't like."""

import os
import shutil
import warnings

import pytest
from playwright.sync_api import Error, expect, sync_playwright

from console_pages import SlicePage, WallPage
from serving import ROOT, Server, first_attempt, modiolus, phantom_store

SHOTS = ROOT / "target" / "browser"
LAPTOP = {"width": 1366, "height": 768}
# A test fails after this long: the machine may be busy, the pages may not hang.
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def finished_store(tmp_path_factory):
    """The store of a run over three phantom patients; tests work on copies."""
    home = tmp_path_factory.mktemp("phantoms")
    return phantom_store(home, 3, 40, "--truth", home / "truth")


@pytest.fixture
def server(finished_store, tmp_path):
    shutil.copytree(finished_store, tmp_path / "store")
    with Server(tmp_path / "store", tmp_path / "serve.log") as server:
        yield server


@pytest.fixture(scope="session")
def first_model(tmp_path_factory):
    """A model file that draws badly, and learns quickly."""
    return first_attempt(tmp_path_factory.mktemp("first"))


@pytest.fixture
def taught_server(first_model, tmp_path):
    """A server without runs, whose current model is the first that its people have trained."""
    store = tmp_path / "store"
    store.mkdir()
    # Of which patients a model is judged hangs on their pseudonyms.
    (store / "pseudonym.key").write_text("07" * 32)
    modiolus("models", "--store", store, "promote", first_model)
    with Server(store, tmp_path / "serve.log") as server:
        yield server


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        program = os.environ.get("CHROMIUM") or shutil.which("chromium")
        # Chromium's own sandbox can't be had as root; the only pages that it opens here are ours.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser, request):
    """Makes pages; at the end none of them may have complained, unless the test says which words it expects."""
    # Pages close before their server stops: made after it, they go first.
    for server in {"server", "empty_server", "taught_server", "guarded"} & set(request.fixturenames):
        request.getfixturevalue(server)
    contexts, complaints = [], []

    def make(**options):
        context = browser.new_context(viewport=LAPTOP, **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
        return page

    yield make
    for context in contexts:
        context.close()
    expected = getattr(request.node.get_closest_marker("complains"), "args", ())
    assert not [words for words in complaints if not any(part in words for part in expected)]


@pytest.fixture
def page(new_page):
    return new_page()


@pytest.fixture
def run(server):
    return server.get("runs")[0]["run"]


@pytest.fixture
def slices(server, run):
    """The run's slices, the clearest array first."""
    return server.get(f"runs/{run}/slices")["slices"]


@pytest.fixture
def slice_page(page, server, run, slices):
    return SlicePage(page, server, run, slices[0]).open()


@pytest.fixture
def wall_page(page, server, run):
    return WallPage(page, server, run).open()


def pytest_configure(config):
    config.addinivalue_line("markers", "complains(*words): the browser's console may say these words")


@pytest.fixture
def quiet_machine():
    """Times mean something only where the processors are not all taken by others."""
    processors, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    if load > 2 * processors:
        pytest.skip(f"the load average is {load:.1f} on {processors} processors: times would say nothing about the pages")


@pytest.fixture
def held(page):
    """Holds requests to a pattern: gives a list of those that wait, each to be let go with its `continue_()`."""
    def hold(pattern, if_=lambda request: True):
        waiting = []
        page.route(pattern, lambda route: waiting.append(route) if if_(route.request) else route.fallback())
        return waiting

    return hold


@pytest.fixture
def shot():
    """Keeps a picture of a page, of what is in sight or of all of it, in target/browser."""
    SHOTS.mkdir(parents=True, exist_ok=True)

    def take(page, name, full_page=False):
        # Chromium now and then can't, while a page is being replaced.
        for _ in range(3):
            try:
                return page.screenshot(path=SHOTS / f"{name}.png", full_page=full_page)
            except Error as error:
                if "Unable to capture" not in str(error):
                    raise
        warnings.warn(f"Chromium took no picture of {name}", stacklevel=2)

    return take
