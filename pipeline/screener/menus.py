"""The page's two filter menus: a region is ticked, a band is typed. Whether Apply had the wanted effect is checked in table.py."""

from __future__ import annotations

import contextlib
from typing import Any

from selenium.common.exceptions import ElementNotInteractableException, StaleElementReferenceException
from selenium.webdriver.remote.webelement import WebElement

from pipeline.screener.page_driver import NotSettled, PageDriver
from pipeline.wire.market_cap import read_market_cap
from pipeline.wire.regions import REGIONS, screener_label


class Menus:
    """Raises LayoutChanged for a control that is not there, and NotSettled for an input that does not take a number."""

    def __init__(self, driver: PageDriver) -> None:
        self._driver = driver

    def tick_region(self, label: str) -> None:
        """Open the region's menu and tick this region and no other."""
        self._open("region", "region_option")
        complaint = f"the region menu's option {label!r}"
        options = self._driver.until(lambda: self._options(label), complaint, "region_option")
        regions = {screener_label(code) for code in REGIONS}
        for option in options:
            if option["checked"] and not option["is_only_one"] and option["label"] != label and option["label"] in regions:
                self._tick(option["label"], False, complaint)
        self._tick(label, True, complaint)

    def type_band(self, low: str, high: str) -> None:
        """Open the market cap's menu and type both bounds."""
        driver = self._driver
        self._open("market_cap", "custom_band", "between_button", "band_input")
        driver.repeat(
            lambda: driver.click_found("find", "custom_band"),
            lambda: driver.page("checked", "custom_band") is not False and bool(driver.page("there", ["between_button", "band_input"])),
            "the market cap's own band",
            "custom_band",
            "between_button",
        )
        driver.repeat(
            lambda: driver.click_found("find", "between_button"),
            lambda: len(driver.page("inputs")) == 2,
            "the market cap's two inputs",
            "between_button",
            "band_input",
        )
        for index, text in enumerate((low, high)):
            if not self._type(index, text):
                raise NotSettled(f"{driver.name}: the market cap's input does not take {text}", driver.state())

    def _options(self, label: str) -> list[dict[str, Any]]:
        """The region menu's options, once the wanted one is among them: they may come seconds after the menu, Apply before them."""
        options: list[dict[str, Any]] = self._driver.page("options")
        return options if any(option["label"] == label for option in options) else []

    def _tick(self, label: str, wanted: bool, complaint: str) -> None:
        def done() -> bool:
            return any(option["label"] == label and option["checked"] is wanted for option in self._driver.page("options"))

        self._driver.repeat(lambda: self._driver.click_found("option", label), done, complaint, "region_option")

    def _type(self, index: int, text: str) -> bool:
        """Type into one of the two inputs as a person would, so that the page's own events fire; False if it didn't take it."""
        for _ in range(3):
            element = self._driver.page("input", index)
            if isinstance(element, WebElement):
                with contextlib.suppress(StaleElementReferenceException, ElementNotInteractableException), self._driver.browser.guard():
                    element.send_keys(text)
            values: list[str] = self._driver.page("inputs")
            if len(values) == 2 and read_market_cap(values[index]) == read_market_cap(text):
                return True
        return False

    def _open(self, name: str, *content: str) -> None:
        """Open a filter's menu, in whichever of the site's two ways the page has, until something of `content` is there."""
        two = self._driver.state().menu == 2
        steps = ["add_filters_button", "market_data_category", f"{name}_metric"] if two else [name]
        for number, step in enumerate(steps):
            goal = steps[number + 1 : number + 2] or list(content)
            self._open_step(f"the filter menu {name}", step, goal)

    def _open_step(self, complaint: str, step: str, goal: list[str]) -> None:
        driver = self._driver

        def click() -> bool:
            # What the menu holds may come seconds after it: a second click would close it.
            return (step in ("region", "market_cap") and bool(driver.page("menu is open"))) or driver.click_found("find", step)

        driver.repeat(click, lambda: bool(driver.page("there", goal)), complaint, step, *goal)
