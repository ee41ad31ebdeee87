"""A finished run, and a browser to look at its report."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_run import READER, Made, images_in, make_run

from fsad.data.synthetic import Synthetic

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    """A generated data set of two categories; what is above it is the run's data.root."""
    settings = {name: value for name, value in READER.items() if not name.startswith("_")}
    return Synthetic(tmp_path_factory.mktemp("data"), **settings)


@pytest.fixture(scope="session")
def made(
    dataset: Synthetic, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Made]]:
    """A run of two categories whose data set is at hand, and what is in it."""
    folder = tmp_path_factory.mktemp("run")
    categories = {name: images_in(dataset, name) for name in ("knob", "tile")}
    return folder, make_run(folder, categories, dataset.root.parent)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The system's Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Visit:
    """A page opened in the browser, with all that it said and asked for."""

    def __init__(self, page: Any, path: Path) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._heard)
        page.route("**/*", self._asked)
        page.goto(path.as_uri())
        page.wait_for_function("document.readyState === 'complete'")
        self.settle()

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _asked(self, route: Any) -> None:
        self.requests.append(route.request.url)
        route.continue_()

    def settle(self) -> None:
        """Wait until what was asked for is shown: the page draws in the next frame."""
        frames = "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"
        self.page.evaluate(frames)

    def js(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)

    def reset(self) -> None:
        """Choose everything as it was when the page was opened."""
        for name, value in (("category", ""), ("defect", ""), ("order", "mistake")):
            self.page.select_option(f"#{name}", value)
        self.page.click("#share-reset")
        self.settle()


@pytest.fixture(scope="session")
def visit(browser: Any) -> Iterator[Callable[[Path], Visit]]:
    """Open a file in the browser."""
    opened = []

    def go(path: Path) -> Visit:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(120_000)  # of machines that do much else
        opened.append(page)
        return Visit(page, path)

    yield go
    for page in opened:
        page.close()
