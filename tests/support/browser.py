"""A real headless browser, driven through the W3C's WebDriver protocol: plain JSON over HTTP,
without a library and without anything that downloads drivers."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from support.environment import environment
from support.polling import poll_until
from support.ports import find_free_port
from support.processes import Processes
from support.services import chromedriver_of

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's key of an element's id
TAB, ENTER, ESCAPE, SPACE = "\ue004", "\ue007", "\ue00c", " "
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)


def is_gone(error: AssertionError) -> bool:
    """Return whether an element is no longer on the page."""
    return "stale element" in str(error) or "does not belong" in str(error)


class Element:
    """An element of the page."""

    def __init__(self, browser: Browser, handle: str) -> None:
        self.browser = browser
        self.handle = handle

    def click(self) -> None:
        """Click it, as a person would: it must be visible."""
        self._do("click")

    def write(self, text: str) -> None:
        """Replace the content of a field."""
        self._do("clear")
        self._do("value", text=text)

    @property
    def text(self) -> str:
        """Return its visible text; an empty one if it has just gone."""
        try:
            return str(self.browser.call("GET", f"/element/{self.handle}/text"))
        except AssertionError as error:
            if is_gone(error):
                return ""
            raise

    @property
    def value(self) -> str:
        """Return the content of a field."""
        return str(self.browser.call("GET", f"/element/{self.handle}/property/value"))

    def _do(self, command: str, **arguments: Any) -> None:
        self.browser.call("POST", f"/element/{self.handle}/{command}", arguments)


class Browser:
    """One window; `driver` is the address of a chromedriver."""

    def __init__(self, driver: str, chromium: Path, profile: Path, *flags: str) -> None:
        self._http = httpx.Client(base_url=driver, timeout=120, trust_env=False)
        arguments = [*FLAGS, *flags, f"--user-data-dir={profile}"]
        options = {"binary": str(chromium), "args": arguments}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        request = {"capabilities": {"alwaysMatch": wanted}}
        self._session = ""
        self._session = "/session/" + self.call("POST", "/session", request)["sessionId"]

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Run a command of the session; AssertionError has the driver's message."""
        json = dict(body or {}) if method == "POST" else None
        response = self._http.request(method, self._session + path, json=json)
        value = response.json()["value"]
        assert response.is_success, f"{value['error']}: {value['message'].splitlines()[0]}"
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.call("DELETE", "")
        self._http.close()

    def open(self, url: str) -> None:
        """Open an address."""
        self.call("POST", "/url", {"url": url})

    def find(self, css: str) -> Element:
        """Return the first element of a selector."""
        return self._found("css selector", css)

    def link(self, text: str) -> Element:
        """Return the first link or button that contains the text."""
        kinds = "self::a or self::button or self::summary"
        return self._found("xpath", f"//*[{kinds}][contains(normalize-space(),'{text}')]")

    def press(self, text: str) -> None:
        """Click a link or a button, and wait for the next page."""
        self.run("window.isOldPage = true")
        self.click(text)
        is_next = "return !window.isOldPage && document.readyState === 'complete'"
        poll_until(lambda: self.run(is_next), what=f"a page after {text!r}")

    def unfold(self, text: str) -> None:
        """Click the button that opens a panel."""
        self.click(text)

    def click(self, text: str) -> None:
        """Click a link or a button; try again if a refresh replaces it meanwhile."""

        def clicked() -> bool:
            try:
                self.link(text).click()
            except AssertionError as error:
                if is_gone(error):
                    return False
                raise
            return True

        poll_until(clicked, what=f"a click on {text!r}")

    def field(self, label: str) -> Element:
        """Return the field with a label."""
        labelled = f"//*[@id=//label[contains(normalize-space(),'{label}')]/@for]"
        return self._found("xpath", labelled)

    @property
    def text(self) -> str:
        """Return the visible text of the page; an empty one while the next page loads."""
        return "\n".join(each.text for each in self._all("body"))

    @property
    def url(self) -> str:
        """Return the current address."""
        return str(self.call("GET", "/url"))

    def run(self, script: str) -> Any:
        """Run a script in the page and return its value."""
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def keys(self, *keys: str) -> None:
        """Press keys, one after the other."""
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        actions = {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]}
        self.call("POST", "/actions", actions)

    def emulate_screen(self, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        """Emulate a screen of this size in pixels, light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", {"features": [scheme]})

    def scripts(self, *, on: bool) -> None:
        """Allow or forbid scripts."""
        self._devtools("Emulation.setScriptExecutionDisabled", {"value": not on})

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Save the page as PNG, in full height or as the screen shows it."""
        options = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self._devtools("Page.getLayoutMetrics", {})["cssContentSize"]
            options["clip"] = {**size, "x": 0, "y": 0, "scale": 1}
        path.write_bytes(
            base64.b64decode(self._devtools("Page.captureScreenshot", options)["data"])
        )

    def console_errors(self) -> list[str]:
        """Return what the console got since the last call: errors, refused styles."""
        logged = self.call("POST", "/se/log", {"type": "browser"})
        return [each["message"] for each in logged]

    def _all(self, css: str) -> list[Element]:
        selector = {"using": "css selector", "value": css}
        return [Element(self, each[_ELEMENT]) for each in self.call("POST", "/elements", selector)]

    def _found(self, using: str, value: str) -> Element:
        found = self.call("POST", "/element", {"using": using, "value": value})
        return Element(self, found[_ELEMENT])

    def _devtools(self, command: str, params: Mapping[str, Any]) -> Any:
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": params})


BrowserFactory = Callable[..., Browser]


@pytest.fixture
def browser_of(chromium: Path, processes: Processes, tmp_path: Path) -> Iterator[BrowserFactory]:
    """Opens browsers, each with an empty profile."""
    port = find_free_port()
    driver = processes.run(
        [str(chromedriver_of(chromium)), f"--port={port}"], env=environment({}), name="driver"
    )
    driver.wait_for("started successfully")
    opened: list[Browser] = []

    def make(*flags: str) -> Browser:
        profile = tmp_path / f"profile-{len(opened)}"
        opened.append(Browser(f"http://127.0.0.1:{port}", chromium, profile, *flags))
        return opened[-1]

    yield make
    for each in opened:
        each.__exit__()


@pytest.fixture
def browser(browser_of: BrowserFactory) -> Browser:
    """Open a browser with an empty profile."""
    return browser_of()
