"""The page in a real browser, through each thing that a visitor does, against what the models say themselves.

Skipped, with the reason, without gradio, playwright or chromium (`tests/browser.py`).
"""

import json
import re
import shutil
import socket
import tempfile
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aural import caption, cli_app, load_audio, tag, transcribe
from aural.app import running
from aural.app_models import Shelf
from aural.app_room import Limits
from aural.training.clips import clips_folder
from tests.browser import ARGUMENTS
from tests.test_app import save_captioner
from tests.test_cli import run
from tests.tones import TEXTS, save_tones, sung
from tests.whole import save_folder, wave

pytestmark = pytest.mark.xdist_group("browser")

ROOT = Path(__file__).parent.parent
RATE = 16_000
LOOP = ROOT / "model_cards" / "drum-loop.flac"
SECONDS = 30_000  # milliseconds that a machine with other work may take


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    save_folder(root / "pools", memory_slots=3)
    save_captioner(root / "captions")
    save_tones(root / "tones")
    kept = [ROOT / "model_cards" / name for name in ("las-demo", "drums")]
    return Shelf([str(folder) for folder in (*kept, root / "pools", root / "captions", root / "tones")])


@pytest.fixture(scope="module")
def address(browser, shelf):
    if find_spec("gradio") is None:
        pytest.skip("the package gradio is not installed (aural[app])")
    torch.set_num_threads(1)
    with running(shelf, Limits(minutes=0.75, megabytes=2), port=0) as found:
        yield found


@pytest.fixture
def clip(tmp_path):
    """Writes samples as a file to upload."""

    def write(samples, name="clip.wav"):
        soundfile.write(tmp_path / name, samples, RATE, subtype="FLOAT")
        return tmp_path / name

    return write


def visit(page, address, model="las-demo"):
    page.goto(address)
    page.locator("#run").wait_for(timeout=SECONDS)
    if model != "las-demo":
        choose(page, model)


def choose(page, model):
    page.get_by_label("Model").click()
    page.get_by_role("option", name=model).click()
    sliders = {"las-demo": "beams", "drums": "threshold", "pools": "slots"}
    page.locator(f"#{sliders.get(model, 'beams')}").wait_for(timeout=SECONDS)


def is_upload(answer):
    return answer.url.split("?")[0].endswith("/upload")


def upload(page, path):
    if (other := page.get_by_label("Clear")).count():
        other.first.click()
    with page.expect_response(is_upload, timeout=SECONDS) as uploaded:
        page.locator("#clip input[type=file]").set_input_files(path)
    assert uploaded.value.ok
    page.locator("#clip [data-testid*=waveform], #clip .waveform-container").first.wait_for(timeout=SECONDS)


def listen(page, click="#run"):
    """Click, and wait until a new answer and its view of attention, or trouble in words, are there."""
    before = page.evaluate(
        """() => {
            document.querySelectorAll('#answer .problem').forEach(old => old.remove());
            return document.querySelector('#answer audio')?.getAttribute('src') || '';
        }"""
    )
    page.locator(click).click()
    settle(page, before)


def settle(page, before=""):
    page.wait_for_function(
        """before => {
            const sound = document.querySelector('#answer audio');
            const answered = sound && sound.getAttribute('src') !== before;
            return document.querySelector('#answer .problem') || (answered && document.querySelector('#look iframe'));
        }""",
        arg=before,
        timeout=SECONDS,
    )


def text_of(page):
    return page.locator("#answer .text").inner_text()


def test_the_page_asks_nobody_else_and_is_refused_nothing(page, address):
    asked, refused = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    visit(page, address)
    page.get_by_role("button", name="Try one word").click()
    settle(page)
    page.wait_for_load_state("networkidle")
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((address, "data:", "blob:", "about:"))] == []
    assert refused == []


def test_an_uploaded_clip_is_written_and_its_words_light_up_as_it_plays(page, address, shelf):
    visit(page, address)
    page.get_by_role("button", name="Try a string of words").click()
    settle(page)
    heard = page.locator("#answer audio").get_attribute("src")
    with urllib.request.urlopen(f"{address}/{heard}") as answer:
        samples = load_audio(answer.read(), RATE)
    told = transcribe(samples, *shelf.loaded("las-demo"))[0]
    assert text_of(page) == told.text == "thousandth tango twelve"
    words = page.locator("#answer .word")
    assert [float(at) for at in words.evaluate_all("all => all.map(one => one.dataset.start)")] == pytest.approx(
        [word.start for word in told.words], abs=0.05
    )
    assert page.frame_locator("#look iframe").get_by_text(told.text).first.is_visible()
    lit = "[...document.querySelectorAll('#answer .word.now')].map(word => word.textContent).join(' ')"
    page.wait_for_function("document.querySelector('#answer audio').readyState >= 2", timeout=SECONDS)
    for word in told.words:
        page.evaluate(
            "at => { document.querySelector('#answer audio').currentTime = at }", (word.start + word.end) / 2
        )
        page.wait_for_function(f"{lit} === '{word.text}'", timeout=SECONDS)
    page.evaluate(
        """() => {
            const sound = document.querySelector('#answer audio');
            window.played = [];
            new MutationObserver(changes => changes.forEach(({target}) => {
                if (target.classList.contains('now')) window.played.push(target.textContent);
            })).observe(document.querySelector('#answer .text'), {subtree: true, attributeFilter: ['class']});
            sound.currentTime = 0;
            sound.play();
        }"""
    )
    page.wait_for_function(f"document.querySelector('#answer audio').ended && {lit} === ''", timeout=SECONDS)
    assert page.evaluate("window.played") == [word.text for word in told.words]
    words.nth(1).click()
    page.wait_for_function(
        "at => (sound => !sound.paused && sound.currentTime >= at)(document.querySelector('#answer audio'))",
        arg=told.words[1].start,
    )


def test_a_shipped_clip_uploaded_gives_the_text_of_transcribe(page, address, shelf):
    visit(page, address)
    path = clips_folder() / "digits-mon-8.opus"
    upload(page, path)
    listen(page)
    assert text_of(page) == transcribe(path, *shelf.loaded("las-demo"))[0].text
    assert not page.locator("#slots").is_visible() and not page.locator("#threshold").is_visible()


def test_sounds_and_when_are_those_of_tag_and_enter_runs(page, address, shelf):
    visit(page, address, "drums")
    upload(page, LOOP)
    listen(page)
    tagging = tag(LOOP, *shelf.loaded("drums"))[0]

    def rows(table):
        cells = "all => all.map(row => [...row.cells].map(cell => cell.textContent))"
        return page.locator(f"#answer table.{table} tbody tr").evaluate_all(cells)

    def events(threshold):
        return [
            [one.label, f"{one.onset:.2f}", f"{one.offset:.2f}", f"{one.score:.2f}"]
            for one in tagging.events(threshold)
        ]

    assert rows("tags") == [[label, f"{score:.2f}"] for label, score in tagging.top(5)]
    assert rows("events") == events(0.5)
    assert page.locator("#answer .lane").count() == 10
    number = page.locator("#threshold input[type=number]")
    number.fill("0.3")
    number.press("Enter")
    page.wait_for_function(
        "rows => document.querySelectorAll('#answer table.events tbody tr').length === rows",
        arg=len(events(0.3)),
        timeout=SECONDS,
    )
    assert rows("events") == events(0.3) != events(0.5)
    assert page.locator("#beams").is_hidden()


def test_memory_slots_have_a_slider_where_the_model_has_them(page, address, shelf, clip):
    path = clip(wave(0.4, seed=4))
    visit(page, address, "pools")
    upload(page, path)
    texts = {}
    for slots in (2, 3):
        page.locator("#slots input[type=number]").fill(str(slots))
        page.locator("#slots input[type=number]").press("Tab")
        page.locator("#beams input[type=number]").fill("1")
        page.locator("#beams input[type=number]").press("Tab")
        listen(page)
        expected = transcribe(path, *shelf.loaded("pools"), memory_slots=slots, num_beams=1)[0].text
        texts[slots] = text_of(page)
        assert texts[slots] == expected
    assert texts[2] != texts[3]


def test_a_caption_is_written_where_the_model_can(page, address, shelf, clip):
    path = clip(wave(0.9))
    visit(page, address, "captions")
    upload(page, path)
    listen(page)
    assert text_of(page) == caption(path, *shelf.loaded("captions"))[0].text
    assert page.locator("#beams input[type=number]").input_value() == "3"


def test_trouble_is_words_and_the_page_goes_on(page, address, shelf, clip, tmp_path):
    visit(page, address, "tones")

    def problem(path):
        if path is not None:
            upload(page, path)
        listen(page)
        words = page.locator("#answer .problem").inner_text()
        assert "Traceback" not in words and "/" not in words
        return words

    assert "no recording yet" in problem(None)
    good = clip(sung("noon bee"), "good.wav")
    upload(page, good)
    listen(page)
    assert text_of(page) == "noon bee"
    (tmp_path / "cut.wav").write_bytes(good.read_bytes()[:9000])
    assert "cut.wav: truncated" in problem(tmp_path / "cut.wav")
    assert "silent" in problem(clip(np.zeros(RATE, np.float32), "silence.wav"))
    soundfile.write(tmp_path / "long.flac", np.tile(sung("a son"), 60), RATE)
    assert "longer than 0.75 minutes" in problem(tmp_path / "long.flac")
    upload(page, good)
    listen(page)
    assert text_of(page) == "noon bee"


def test_what_is_too_large_is_refused_in_words(browser, address, tmp_path):
    context = browser.new_context()
    page = context.new_page()  # not the fixture's: the refusal stands in its console
    visit(page, address)
    (tmp_path / "large.wav").write_bytes(bytes(2_100_000))
    page.locator("#clip input[type=file]").set_input_files(tmp_path / "large.wav")
    page.get_by_text("maximum allowed size").first.wait_for(timeout=SECONDS)
    context.close()


def test_a_long_recording_is_heard_whole_and_seen_by_stretches(page, address, shelf, clip):
    pause = np.zeros(RATE, np.float32)
    path = clip(np.concatenate([part for text in TEXTS * 2 for part in (sung(text), pause)]))
    visit(page, address, "tones")
    upload(page, path)
    listen(page)
    assert text_of(page) == transcribe(path, *shelf.loaded("tones"))[0].text == " ".join(TEXTS * 2)
    assert "from 0.00 to 15.00 s" in page.locator("#look .facts").inner_text()
    page.locator("#start input").fill("6.5")
    page.locator("#closer").click()
    page.get_by_text("from 6.50 to 21.50 s").wait_for(timeout=SECONDS)


def test_two_visitors_at_once_each_get_their_own(browser, address, clip):
    visitors = []
    for text in ("noon bee", "a son on abba"):
        context = browser.new_context()
        visitors.append((context, context.new_page(), text, clip(sung(text), f"{text}.wav")))
    for _, own, _, path in visitors:
        visit(own, address, "tones")
        upload(own, path)
    source = "document.querySelector('#answer audio')?.getAttribute('src') || ''"
    for _ in range(3):
        before = [own.evaluate(source) for _, own, _, _ in visitors]
        for _, own, _, _ in visitors:  # nobody waits for the other
            own.locator("#run").click()
        for (_, own, text, _), old in zip(visitors, before, strict=True):
            settle(own, old)
            assert text_of(own) == text
            assert own.frame_locator("#look iframe").get_by_text(text).first.is_visible()
    sources = {own.locator("#answer audio").get_attribute("src") for _, own, _, _ in visitors}
    assert len(sources) == 2
    for context, *_ in visitors:
        context.close()


def test_no_other_file_of_the_machine_is_read(address):
    def answer(path, data=None):
        request = urllib.request.Request(f"{address}{path}", data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    for path in ("/etc/passwd", ROOT / "README.md", ROOT / "model_cards" / "las-demo" / "config.json", "README.md"):
        code, said = answer(f"/gradio_api/file={path}")
        assert code == 403 and "root:" not in said and "aural" not in said.replace(str(path), ""), path
    assert answer("/gradio_api/file=../../etc/passwd")[0] in (403, 404)
    for path in ("/gradio_api/info", "/gradio_api/api/listen", "/monitoring", "/gradio_api/file=http://127.0.0.1/"):
        assert answer(path) == (404, "not here")
    # A program that sends a path in place of an upload.
    config = json.loads(answer("/config")[1])
    function = next(one for one in config["dependencies"] if len(one["outputs"]) == 3)
    stolen = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    asked = {"data": [stolen, "tones", 1, 1, 0.5], "fn_index": function["id"], "session_hash": "thief"}
    assert answer("/gradio_api/queue/join", json.dumps(asked).encode())[0] == 200
    said = answer("/gradio_api/queue/data?session_hash=thief")[1]
    assert '"success":false' in said.replace(" ", "") and "root:" not in said and "not audio" not in said


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page, address, clip):
    choosers = []
    page.on(
        "filechooser", lambda chooser: choosers.append(chooser)
    )  # from the start: asked for late, the browser would open its own
    visit(page, address)
    path, reached = clip(sung("a son")), []
    where = """() => {
        const at = document.activeElement, block = at.closest('#clip, #model, #beams, #run') || at;
        return [block.id, at.textContent.trim(), getComputedStyle(at).outlineStyle];
    }"""
    page.locator("#clip .upload-container").wait_for(timeout=SECONDS)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # on the place to upload
    for _ in range(100):
        if choosers:
            break
        page.wait_for_timeout(100)
    assert len(choosers) == 1
    reached.append(page.evaluate(where))
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(where))
        if reached[-1][0] == "run":
            break
    order = list(dict.fromkeys(name for name, *_ in reached if name in ("clip", "model", "beams", "run")))
    assert order == ["clip", "model", "beams", "run"]
    assert reached[-1][2] == "solid"
    page.locator("#model input").focus()
    page.get_by_role("option", name="tones").wait_for(timeout=SECONDS)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert page.locator("#model input").input_value() != "las-demo"
    upload(page, path)
    page.locator("#run").focus()
    page.keyboard.press("Enter")
    settle(page)
    assert page.locator("#answer audio").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(browser, address, scheme):
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    visit(page, address, "drums")
    page.get_by_role("button", name="Try a drum loop").click()
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("#run").bounding_box()["width"] > 250
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in ground.strip("rgba()").split(",")[:3]) / 3
    assert (brightness > 200) if scheme == "light" else (brightness < 60)
    context.close()


def test_a_visitor_records_with_the_microphone(browser, address, shelf, tmp_path):
    spoken = load_audio(clips_folder() / "digits-mon-8.opus", 48_000)
    soundfile.write(tmp_path / "microphone.wav", spoken, 48_000, subtype="PCM_16")
    flags = (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={tmp_path / 'microphone.wav'}",
    )
    other = browser.browser_type.launch(executable_path=shutil.which("chromium"), args=[*ARGUMENTS, *flags])
    page = other.new_context(permissions=["microphone"]).new_page()
    visit(page, address)
    page.locator("#clip").get_by_label("Record audio").click()
    page.locator("#clip .record-button").first.click()
    page.wait_for_timeout(2_000)
    with page.expect_response(is_upload, timeout=SECONDS):
        page.locator("#clip .stop-button").first.click()
    page.wait_for_timeout(500)
    listen(page)
    with urllib.request.urlopen(f"{address}/{page.locator('#answer audio').get_attribute('src')}") as answer:
        samples = load_audio(answer.read(), RATE)
    assert 1 < len(samples) / RATE < 6
    assert text_of(page) == transcribe(samples, *shelf.loaded("las-demo"))[0].text != ""
    other.close()


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", ""), ("0.0.0.0", "without a password")])
def test_ctrl_c_ends_the_command_and_its_files(address, capsys, monkeypatch, shelf, host, warned):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_app, "wait_for_the_end", stop)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # where nobody answers, and nobody is to be asked
    folder = next(card.folder for card in shelf.cards if card.name == "tones")
    before = {*Path(tempfile.gettempdir()).glob("aural-app-*")}
    code, out, err = run(capsys, monkeypatch, "app", "--model", folder, "--port", "0", "--host", host)
    assert code == 0 and (warned in err if warned else err == "")
    told = re.fullmatch(r"aural listens at http://([\d.]+):(\d+) with tones; Ctrl-C ends it\n\naural: ended\n", out)
    assert told[1] == host
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(told[2])), timeout=5)
    assert {*Path(tempfile.gettempdir()).glob("aural-app-*")} <= before
