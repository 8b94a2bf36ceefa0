"""The pictures of the page in README, taken in a real browser: `python -m tests.app_pictures [FOLDER]`.

Each is what a visitor sees who clicks one example: speech with its words, sounds with their times.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from aural.app import running
from aural.app_models import Shelf, kept_models
from aural.app_room import Limits
from tests.browser import ARGUMENTS

PICTURES = {  # name: model, example, light or dark, height in pixels
    "speech": ("las-demo", "a string of words", "light", 1600),
    "sounds": ("drums", "a drum loop", "light", 1740),
}


def take(page: Any, model: str, example: str) -> None:
    """Choose a model, click an example, wait for all of it, and play to the middle."""
    page.get_by_label("Model").click()
    page.get_by_role("option", name=model).click()
    page.get_by_role("button", name=f"Try {example}").click()
    page.locator("#look iframe").wait_for(timeout=60_000)
    page.wait_for_timeout(2_000)  # the frame draws itself
    page.evaluate(
        "() => { const sound = document.querySelector('#answer audio'); sound.currentTime = sound.duration / 2 }"
    )
    page.wait_for_timeout(500)


def main(folder: Path) -> None:
    """Write the pictures.

    Args:
        folder: Where.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = shutil.which("chromium")
    with running(Shelf(kept_models()), Limits(), port=0) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        for name, (model, example, scheme, height) in PICTURES.items():
            page = browser.new_page(viewport={"width": 900, "height": height}, color_scheme=scheme)
            page.goto(address)
            take(page, model, example)
            page.screenshot(path=folder / f"{name}.png")
            print(folder / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("model_cards/app"))
