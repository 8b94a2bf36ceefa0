"""The pictures of README that show where models look, made by the commands that README shows.

    python -m tests.attention_pictures

Writes `model_cards/string.flac`, a string of words that the demo's model was not trained on, and
`model_cards/attention/`: its alignment, light and dark, self-attention and rollout over drums, and the page as
Debian's chromium shows it.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import soundfile

from aural import cli, load_recognizer
from aural.demo import PLANS, TEST_SEED, WORDS
from aural.training.clips import load_clips
from aural.training.compose import STRINGS, ComposedStrings
from tests.browser import ARGUMENTS, until

CARDS = Path(__file__).parent.parent / "model_cards"
NUMBER = 0  # of the string
LAS, DRUMS = CARDS / "las-demo", CARDS / "drums"
STRING, LOOP = CARDS / "string.flac", CARDS / "drum-loop.flac"


def string(path: Path) -> None:
    """Write one of the demo's held-out strings."""
    words = load_clips(WORDS)
    test = ComposedStrings(words, load_recognizer(LAS)[1], PLANS["long"].strings, TEST_SEED, STRINGS, held_out=True)
    audio, text = test.compose(NUMBER)
    print(text)
    soundfile.write(path, audio, 16_000)


def attention(*arguments: object) -> None:
    """`aural attention ARGUMENTS`."""
    sys.argv = ["aural", "attention", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            raise


def photograph(page: Path, picture: Path) -> None:
    """The page as a browser shows it, at the second word."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        opened = browser.new_page(viewport={"width": 900, "height": 640}, color_scheme="dark")
        opened.goto(page.as_uri())
        until(opened, "document.getElementById('audio').readyState >= 2")
        opened.locator(".words button").nth(1).click()
        until(opened, "document.querySelector('.words button.now') !== null")
        box = opened.locator("canvas").bounding_box()
        opened.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
        opened.screenshot(path=picture, full_page=True)
        browser.close()


def main() -> None:
    """Make all of them."""
    out = CARDS / "attention"
    out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "string.html"
        string(STRING)
        attention(STRING, "--model", LAS, "--dpi", 100, "-o", out / "alignment.png")
        attention(STRING, "--model", LAS, "--dark", "--dpi", 100, "-o", out / "alignment-dark.png")
        attention(STRING, "--model", LAS, "-o", page)
        photograph(page, out / "page.png")
    attention(LOOP, "--model", DRUMS, "-o", out / "drums-rollout.png")
    attention(LOOP, "--model", DRUMS, "--layer", 6, "--query", "2.6,6000", "-o", out / "drums-heads.png")


if __name__ == "__main__":
    main()
