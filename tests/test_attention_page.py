"""The page of a look: its numbers, its sound, what cannot break out of it; and in a browser all that a reader does."""

import base64
import html
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib import colormaps

from aural import look, plots
from aural.attention_page import attention_page, audio_uri, decode_map, framed_page, script_json
from aural.look_maps import LazyMaps, Query
from tests.browser import until
from tests.looks import RATE, captioner, hand_made, hand_made_patches, las, tagger
from tests.whole import wave

pytestmark = pytest.mark.xdist_group("browser")  # one worker, one browser

DRUMS = Path(__file__).parent.parent / "model_cards" / "drums"
EVIL = '</script><img src=x onerror="document.title=1">'


def data_of(text):
    """What the page's script is told, from the document as a browser would cut it."""
    (content,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(content)


@pytest.mark.parametrize("make", [las, tagger, captioner])
def test_the_weights_of_every_map_come_back_within_the_steps_of_8_bits(make):
    model, processor = make()
    seen = look(wave(0.9), model, processor)
    (told,) = data_of(attention_page(seen))["looks"]
    assert [each["name"] for each in told["maps"]] == list(seen.maps)
    for each in told["maps"]:
        found, decoded = seen.maps[each["name"]], decode_map(each)
        assert decoded.shape == found.weights.shape  # so small a clip has room for every query
        step = found.weights.max((2, 3), keepdims=True) / 510
        assert (np.abs(decoded - found.weights) <= step * 1.01 + 1e-9).all()
        np.testing.assert_allclose(each["columns"], found.seconds, atol=1e-4)
        np.testing.assert_allclose(each["rows"], found.hertz, atol=0.06)
    assert [item["text"] for item in told["items"]] == [item.text for item in seen.words] + [
        e.label for e in seen.events
    ]


def test_of_more_patches_than_there_is_room_for_evenly_spread_moments_are_kept(monkeypatch):
    seen = hand_made_patches()
    monkeypatch.setattr("aural.attention_page.BUDGET", 160)  # 3 heads in all of 10 weights: the clip's and 4 queries
    (told,) = data_of(attention_page(seen))["looks"]
    kept = [query.get("seconds") for query in told["maps"][0]["queries"]]
    assert kept == [None, *[[0.2, 0.4], [0.8, 1.0]] * 2]  # the clip, and both patches of two columns
    np.testing.assert_allclose(decode_map(told["maps"][0]), seen.map(0).weights[:, [0, 2, 5, 7, 10]], atol=1e-6)
    (told,) = data_of(attention_page(seen, layer=0, query=(0.1, 500)))["looks"]
    assert told["maps"][0]["queries"][told["open"]["query"]]["seconds"] == [0.0, 0.2]  # what is asked for is there


def test_ten_seconds_of_a_small_model_are_less_than_3_megabytes():
    loop, rate = soundfile.read(DRUMS.parent / "drum-loop.flac", dtype="float32")
    assert rate == RATE
    seen = look(np.tile(loop, 4)[: 10 * RATE], DRUMS)
    text = attention_page(seen)
    assert 1_000_000 < len(text.encode()) < 3_000_000
    assert len(data_of(text)["looks"][0]["maps"]) == 13


def test_the_sound_comes_along_in_16_bits():
    sound = wave(0.5)
    kind, content = re.fullmatch(r"data:audio/(\w+);base64,(.*)", audio_uri(sound, RATE)).groups()
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), dtype="float32")
    assert (kind, rate) == ("wav", RATE)
    np.testing.assert_allclose(heard, sound, atol=1.1 / 32768)
    loud = soundfile.read(io.BytesIO(base64.b64decode(audio_uri(sound * 1e3, RATE).split(",")[1])))[0]
    assert np.abs(loud).max() <= 1  # clipped, not wrapped


def test_the_page_is_one_file_that_may_load_nothing():
    text = attention_page(hand_made(), dark=True)
    assert (
        not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:)\w+:""", text)
        and "http" not in text.split("<style>")[1]
    )
    assert "default-src 'none'" in text and "unsafe-inline'; script-src 'sha256-" in text
    assert '<html lang="en" data-theme="dark">' in text


def evil_look():
    found = hand_made().maps["alignment"]
    queries = (Query(EVIL, "token", (0.0, 0.2)), *found.queries[1:])
    seen = replace(
        hand_made(), source=f"/home/{EVIL}", model=EVIL, text=EVIL, maps=LazyMaps({"alignment": lambda: None})
    )
    words = (replace(seen.words[0], text=EVIL), *seen.words[1:])
    maps = LazyMaps({"alignment": lambda: replace(found, queries=queries)})
    return replace(seen, tokens=(EVIL, *seen.tokens[1:]), words=words, maps=maps)


def test_no_name_breaks_out_of_the_page():
    text = attention_page(evil_look(), title=EVIL)
    assert "<img src=x" not in text and text.count("</script>") == 2
    assert data_of(text)["looks"][0]["model"] == EVIL
    assert json.loads(script_json({"a": "<!--\u2028&</script>"})) == {"a": "<!--\u2028&</script>"}
    frame = framed_page(evil_look())
    assert "<img src=x" not in frame and frame.count("<iframe") == 1


def test_a_notebook_shows_the_page_in_a_frame_of_its_own():
    seen = hand_made()
    shown = seen._repr_html_()
    (inside,) = re.findall(r'srcdoc="(.*?)"', shown, re.S)
    assert html.unescape(inside) == attention_page(seen)
    assert 'sandbox="allow-scripts"' in shown


def test_what_a_page_cannot_show_is_refused():
    with pytest.raises(ValueError, match=r"layer='layers\.9': tagger has layers\.0, rollout"):
        attention_page(hand_made_patches(), layer="layers.9")
    with pytest.raises(ValueError, match="head=7"):
        attention_page(hand_made_patches(), layer=0, head=7)
    with pytest.raises(ValueError, match="word='x': the words are"):
        attention_page(hand_made(), word="x")
    with pytest.raises(ValueError, match=r"one clip: 1\.00 s and 0\.50 s"):
        attention_page(hand_made(), replace(hand_made(), audio=np.zeros(8000, np.float32)))


@pytest.fixture
def show(page, tmp_path):
    """Opens the page of looks in the browser, and returns it."""

    def opened(*looks, **options):
        path = tmp_path / "page.html"
        path.write_text(attention_page(*looks, **options), encoding="utf-8")
        page.goto(path.as_uri())
        until(page, "document.getElementById('audio').readyState >= 2")
        return page

    return opened


def point(page, selector, x, y):
    """Move the mouse to a share of an element's width and height."""
    box = page.locator(selector).bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def colour(page, x, y):
    """Red, green and blue of the map at a share of its width and height."""
    script = """([x, y]) => { const c = document.querySelector("canvas");
        return [...c.getContext("2d").getImageData(x * c.width, y * c.height, 1, 1).data.slice(0, 3)]; }"""
    return page.evaluate(script, [x, y])


def test_pointing_at_a_cell_says_token_seconds_and_weight(show):
    page = show(hand_made())
    darkest, brightest = colormaps["cividis"]([0, 255], bytes=True)[:, :3].tolist()
    for row, column, token in ((0, 0, "a"), (1, 2, "b"), (2, 4, "␣"), (3, 5, "c"), (4, 9, "end")):
        at = ((column + 0.5) / 10, (row + 0.5) / 5)
        point(page, "canvas", *at)
        assert page.inner_text("#tip") == f"“{token}” · {column / 10:.2f}–{column / 10 + 0.1:.2f} s · weight 1.00"
        assert colour(page, *at) == brightest
    point(page, "canvas", 0.5, 0.1)
    assert page.inner_text("#tip").endswith("0.50–0.60 s · weight 0.00")
    assert colour(page, 0.55, 0.1) == darkest
    point(page, ".sound", 0.25, 0.0)
    assert page.inner_text("#tip") == "0.25 s · 6.00 kHz"
    page.mouse.move(5, 5)
    assert page.locator("#tip").is_hidden()


def test_the_cursor_moves_and_words_light_up_while_the_sound_plays(show):
    page = show(hand_made())
    left = "() => [...document.querySelectorAll('.cursor')].map((line) => parseFloat(line.style.left))"
    assert page.evaluate(left) == [0, 0]
    sound = "document.getElementById('audio')"
    page.evaluate(f"{sound}.playbackRate = 0.25; void {sound}.play().catch(() => 0)")
    until(page, f"({left})().every((share) => share > 2)")
    page.evaluate(f"{sound}.pause()")
    until(page, f"Math.abs(({left})()[0] - 100 * {sound}.currentTime) < 0.01")  # a second is the whole width
    now = page.evaluate(f"{sound}.currentTime")
    lit = page.locator(".words button.now").all_inner_texts()
    assert lit == [word.text for word in hand_made().words if word.start <= now < word.end]
    page.evaluate(f"{sound}.currentTime = 0.7")
    until(page, f"({left})().every((share) => Math.abs(share - 70) < 0.01)")
    assert page.locator(".words button.now").all_inner_texts() == ["c"]


def test_a_click_on_a_word_the_sound_or_the_map_seeks(show):
    page = show(hand_made())
    now = "document.getElementById('audio').currentTime"
    page.get_by_role("button", name="c, 0.60 to 0.80 s").click()
    assert page.evaluate(now) == pytest.approx(0.6, abs=0.01)
    until(page, "document.querySelector('.words button.now')?.textContent === 'c'")
    assert page.locator('.words button[aria-pressed="true"]').inner_text() == "c"
    assert page.locator(".marks span.now").inner_text() == "c"  # the token's row, too
    box = page.locator(".sound").bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 20)
    assert page.evaluate(now) == pytest.approx(0.25, abs=0.01)
    box = page.locator("canvas").bounding_box()
    page.mouse.click(box["x"] + 0.95 * box["width"], box["y"] + 0.9 * box["height"])
    assert page.evaluate(now) == pytest.approx(0.9, abs=0.01)


def test_all_of_it_works_by_keyboard(show):
    page = show(hand_made())
    page.locator("canvas").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    assert page.inner_text("output") == "“b” · 0.20–0.30 s · weight 1.00"  # the first key only enters the map
    page.keyboard.press("Enter")
    assert page.evaluate("document.getElementById('audio').currentTime") == pytest.approx(0.2, abs=0.01)
    page.get_by_role("button", name="ab, 0.00 to 0.40 s").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.getElementById('audio').currentTime") == 0
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    names = [page.locator(each).get_attribute("aria-label") for each in ("audio", "#theme", "canvas", ".words")]
    assert all(names) and "brightest 1.000" in names[2]


def test_light_and_dark_follow_the_system_and_the_button(show):
    page = show(hand_made())
    ground = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ground) == "rgb(20, 23, 28)"
    page.locator("#theme").click()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="light")
    page.locator("#theme").click()
    assert page.evaluate(ground) == "rgb(20, 23, 28)"


def test_layers_heads_and_patches_are_chosen(show):
    page = show(hand_made_patches())
    assert page.locator("#layer-0").input_value() == "1"  # the rollout
    point(page, "canvas", 0.7, 0.2)
    assert page.inner_text("#tip") == "0.60–0.80 s · 1.0–6.0 kHz · weight 1.00"
    point(page, "canvas", 0.7, 0.95)
    assert page.inner_text("#tip") == "0.60–0.80 s · 0.1–1.0 kHz · weight 0.00"
    page.locator("#layer-0").select_option("layers.0")
    box = page.locator("canvas").bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.2 * box["height"])
    chosen = page.locator("#query-0 option:checked").inner_text()
    assert chosen == "0.40–0.60 s, 1.0–6.0 kHz"
    page.locator("#head-0").select_option("1")
    point(page, "canvas", 0.1, 0.9)
    assert page.inner_text("#tip").endswith("weight 0.100")  # head 1 looks everywhere alike from there
    page.locator("#head-0").select_option("mean")
    point(page, "canvas", 0.7, 0.2)
    assert page.inner_text("#tip").endswith("weight 0.550")  # the mean of 1 and 0.1


def test_a_page_opens_where_it_is_asked_to(show):
    page = show(hand_made_patches(), layer=0, head=1, query=(0.5, 3000))
    assert page.locator("#layer-0 option:checked").inner_text() == "layers.0"
    assert page.locator("#head-0").input_value() == "1"
    assert page.locator("#query-0 option:checked").inner_text() == "0.40–0.60 s, 1.0–6.0 kHz"
    page = show(hand_made(), word="c")
    assert page.locator('.words button[aria-pressed="true"]').inner_text() == "c"


def test_a_word_of_a_caption_shows_its_own_map(show):
    model, processor = captioner()
    seen = look(wave(0.9), model, processor, text="a dog then")
    page = show(seen)
    page.get_by_role("button", name="dog").click()
    assert page.locator("#query-0 option:checked").inner_text() == "word: dog"
    word = seen.word("dog")
    expected = seen.map("decoder.1.cross").of_head()[word.first : word.last].mean(0)
    row, column = np.unravel_index(expected.argmax(), expected.shape)
    page.locator("canvas").focus()
    page.keyboard.press("ArrowRight")
    for _ in range(column):
        page.keyboard.press("ArrowRight")
    for _ in range(row):  # it entered at the uppermost row
        page.keyboard.press("ArrowDown")
    said = page.inner_text("output")
    lowest = len(expected) - 1
    assert float(said.rsplit(" ", 1)[1]) == pytest.approx(expected[lowest - row, column], abs=0.006)


def test_two_models_stand_below_each_other(show):
    page = show(hand_made_patches(name="one"), hand_made_patches((0, 1), "two"))
    assert page.locator("h2").all_inner_texts() == ["one", "two"]
    point(page, "section:nth-of-type(2) canvas", 0.3, 0.9)
    assert page.inner_text("#tip") == "0.20–0.40 s · 0.1–1.0 kHz · weight 1.00"


def test_names_are_shown_as_the_text_that_they_are(show):
    page = show(evil_look(), title=EVIL)
    assert page.inner_text("h1") == EVIL and page.title() == EVIL
    assert page.locator(".words button").first.inner_text() == EVIL
    assert page.locator("img").count() == 1  # the spectrogram


def test_the_frame_of_a_notebook_works(page):
    page.set_content(framed_page(hand_made()))
    inside = page.frame_locator("iframe")
    inside.get_by_role("button", name="c, 0.60 to 0.80 s").click()
    inside.locator('.words button[aria-pressed="true"]').wait_for()


def test_a_picture_of_the_same_look_shows_the_same_weights():
    seen = hand_made()
    shown = plots.alignment(seen).axes[2].images[0].get_array()
    np.testing.assert_allclose(decode_map(data_of(attention_page(seen))["looks"][0]["maps"][0])[0, :, 0], shown)
