"""A real, headless browser, driven through the W3C's WebDriver protocol.

It is plain JSON over HTTP, so no library that downloads drivers is needed.
"""

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

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name for an element's id
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
    """Return whether the element is no longer on the page."""
    return "stale element" in str(error) or "does not belong" in str(error)


class Element:
    """Something on the page."""

    def __init__(self, browser: Browser, handle: str) -> None:
        self.browser = browser
        self.handle = handle

    def click(self) -> None:
        """Press it, as a person would: it must be there to be seen."""
        self._do("click")

    def write(self, text: str) -> None:
        """Replace what is in a field."""
        self._do("clear")
        self._do("value", text=text)

    @property
    def text(self) -> str:
        """What a person can read of it; nothing when it has just gone."""
        try:
            return str(self.browser.call("GET", f"/element/{self.handle}/text"))
        except AssertionError as error:
            if is_gone(error):
                return ""
            raise

    @property
    def value(self) -> str:
        """What is in a field."""
        return str(self.browser.call("GET", f"/element/{self.handle}/property/value"))

    def _do(self, what: str, **parameters: Any) -> None:
        self.browser.call("POST", f"/element/{self.handle}/{what}", parameters)


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
        asked = {"capabilities": {"alwaysMatch": wanted}}
        self._session = ""
        self._session = "/session/" + self.call("POST", "/session", asked)["sessionId"]

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """A command of the protocol, below the session; AssertionError with the driver's words."""
        json = dict(body or {}) if method == "POST" else None
        answer = self._http.request(method, self._session + path, json=json)
        value = answer.json()["value"]
        assert answer.is_success, f"{value['error']}: {value['message'].splitlines()[0]}"
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.call("DELETE", "")
        self._http.close()

    def open(self, url: str) -> None:
        """Go there."""
        self.call("POST", "/url", {"url": url})

    def find(self, css: str) -> Element:
        """The first element of a selector."""
        return self._found("css selector", css)

    def link(self, text: str) -> Element:
        """The first link or button that contains this text."""
        kinds = "self::a or self::button or self::summary"
        return self._found("xpath", f"//*[{kinds}][contains(normalize-space(),'{text}')]")

    def press(self, text: str) -> None:
        """Click a link or a button, and wait for the page that follows."""
        self.run("window.seenBefore = true")
        self.click(text)
        there = "return !window.seenBefore && document.readyState === 'complete'"
        poll_until(lambda: self.run(there), what=f"a page after {text!r}")

    def unfold(self, text: str) -> None:
        """Click what opens a panel."""
        self.click(text)

    def click(self, text: str) -> None:
        """Click a link or a button; a page that just looked again has another in its place."""

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
        """The field with a label, which a person finds it by."""
        labelled = f"//*[@id=//label[contains(normalize-space(),'{label}')]/@for]"
        return self._found("xpath", labelled)

    @property
    def text(self) -> str:
        """Everything a person can read on the page; nothing while another page comes."""
        return "\n".join(each.text for each in self._all("body"))

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self.call("GET", "/url"))

    def run(self, script: str) -> Any:
        """The value of a script in the page."""
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def keys(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        parameters = {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]}
        self.call("POST", "/actions", parameters)

    def look(self, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        """Be a screen of this size in pixels, light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", {"features": [scheme]})

    def scripts(self, *, on: bool) -> None:
        """Whether pages may run scripts."""
        self._devtools("Emulation.setScriptExecutionDisabled", {"value": not on})

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Keep the page as PNG, all of its height or what the screen shows."""
        parameters = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self._devtools("Page.getLayoutMetrics", {})["cssContentSize"]
            parameters["clip"] = {**size, "x": 0, "y": 0, "scale": 1}
        path.write_bytes(
            base64.b64decode(self._devtools("Page.captureScreenshot", parameters)["data"])
        )

    def complaints(self) -> list[str]:
        """What the browser wrote to its console since it was asked last: refused styles, errors."""
        logged = self.call("POST", "/se/log", {"type": "browser"})
        return [each["message"] for each in logged]

    def _all(self, css: str) -> list[Element]:
        parameters = {"using": "css selector", "value": css}
        return [
            Element(self, each[_ELEMENT]) for each in self.call("POST", "/elements", parameters)
        ]

    def _found(self, using: str, value: str) -> Element:
        found = self.call("POST", "/element", {"using": using, "value": value})
        return Element(self, found[_ELEMENT])

    def _devtools(self, command: str, parameters: Mapping[str, Any]) -> Any:
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})


BrowserFactory = Callable[..., Browser]


@pytest.fixture
def browser_of(chromium: Path, processes: Processes, tmp_path: Path) -> Iterator[BrowserFactory]:
    """Opens browsers, each with a fresh profile."""
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
    """A browser with a fresh profile."""
    return browser_of()
