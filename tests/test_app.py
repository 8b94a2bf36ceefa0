"""Behind the page in the browser: models on the shelf, recordings within limits, answers, trouble in words, HTML."""

import html
import os
import re
import socket
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aural import (
    AuralProcessor,
    LogMelFeatureExtractor,
    Transcript,
    app_hearing,
    app_models,
    caption,
    load_audio,
    tag,
    train_tokenizer,
    transcribe,
)
from aural.app import FIRST_PORT, PORTS, free_port
from aural.app_files import write_examples, write_playback
from aural.app_gate import is_open
from aural.app_hearing import Heard, Wishes, closest_view, hear, in_words, look_closely, read_clip, stretch_of
from aural.app_models import Shelf, kept_models, read_card, short_names
from aural.app_page import CURVE_POINTS, answer_html, lanes_html, tick_step, words_html
from aural.app_room import Limits, Room
from aural.modeling.spectrogram_pretraining import SpectrogramTransformerForPreTraining
from aural.processing.alignment import TimedWord
from aural.processing.events import Event
from aural.processing.streaming import AudioStream
from aural.tagging import Tagging
from tests.test_cli import error_line, run
from tests.tiny_spectrogram import MELS, tiny_spectrogram, tiny_writer
from tests.tones import TEXTS, save_tones, sung
from tests.whole import save_folder, save_tagger, wave

RATE = 16_000


def save_captioner(path: Path) -> Path:
    """A whole folder of a tiny model that captions, with one word per token."""
    processor = AuralProcessor(LogMelFeatureExtractor(num_mel_bins=MELS), train_tokenizer(["a dog then cats"], "word"))
    writer = tiny_writer(seed=3, vocab_size=len(processor.tokenizer))
    vars(writer.generation_config).update(max_seconds=1.0, num_beams=3)
    writer.save_pretrained(path)
    processor.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    save_folder(root / "spells")
    save_folder(root / "pools", memory_slots=3)
    save_tagger(root / "tags")
    save_captioner(root / "captions")
    save_tones(root / "tones")
    return Shelf([str(root / name) for name in ("spells", "pools", "tags", "captions", "tones")])


def heard_by(shelf, name, sound, **wishes):
    progress = []
    heard = hear(sound, shelf.card(name), shelf.loaded(name), Wishes(**wishes), lambda *told: progress.append(told))
    return heard, progress


# Models


def test_what_a_model_can_do_is_told_by_its_folder(shelf):
    told = {card.name: (card.kind, card.beams, card.slots) for card in shelf.cards}
    assert told == {
        "spells": ("speech", 4, None),
        "pools": ("speech", 4, 3),
        "tags": ("sounds", None, None),
        "captions": ("captions", 3, None),
        "tones": ("speech", 1, None),
    }


def test_a_report_tells_whether_a_text_decoder_captions(shelf, tmp_path):
    folder = save_captioner(tmp_path / "model")
    (folder / "report.json").write_text('{"results": [{"kind": "speech"}]}')
    assert read_card("model", str(folder)).kind == "speech"
    (folder / "report.json").write_text('{"results": [{"kind": "captions"}]}')
    assert read_card("model", str(folder)).kind == "captions"


def test_names_are_as_short_as_tells_models_apart():
    assert short_names(["runs/a/model", "b/model/", "sounds"]) == ["a/model", "b/model", "sounds"]
    assert short_names(["x/model"]) == ["model"]
    with pytest.raises(ValueError, match="a/b is given twice"):
        short_names(["a/b", "a/b"])


def test_a_model_is_loaded_once_whoever_asks_at_once(shelf, monkeypatch):
    other, loads = Shelf([shelf.card("spells").folder]), []
    load = app_models.LOADERS["speech"]

    def slow(*arguments):
        loads.append(arguments)
        time.sleep(0.1)
        return load(*arguments)

    monkeypatch.setitem(app_models.LOADERS, "speech", slow)
    found = []
    threads = [threading.Thread(target=lambda: found.append(other.loaded("spells"))) for _ in range(4)]
    assert loads == []  # not before someone asks
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1 and len({id(pair[0]) for pair in found}) == 1 and len(found) == 4


def test_folders_that_cannot_be_shown_are_refused_in_words(tmp_path):
    tiny_spectrogram(SpectrogramTransformerForPreTraining).save_pretrained(tmp_path / "masked")
    with pytest.raises(ValueError, match="SpectrogramTransformerForPreTraining, which neither writes nor tags"):
        Shelf([str(tmp_path / "masked")])
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        Shelf([str(tmp_path)])
    with pytest.raises(ValueError, match="at least one model"):
        Shelf([])


def test_a_clone_comes_with_models():
    assert [Path(folder).name for folder in kept_models()] == ["las-demo", "drums"]


def test_a_visitor_names_no_path(shelf):
    with pytest.raises(ValueError, match="allowed are spells, pools, tags, captions, tones"):
        shelf.loaded("/etc")


# Recordings


def test_a_recording_is_read_as_load_audio_reads_it(tmp_path):
    path = tmp_path / "stereo.flac"
    soundfile.write(path, np.stack([wave(1.5, 0), wave(1.5, 1)], axis=1), 44_100)
    np.testing.assert_array_equal(read_clip(path, RATE, 1.0), load_audio(path, RATE))


def test_what_cannot_be_heard_is_refused_in_words(tmp_path):
    def refused(content, **limits):
        path = tmp_path / "clip.wav"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            soundfile.write(path, content, RATE)
        with pytest.raises(ValueError) as error:
            read_clip(path, RATE, limits.get("max_minutes", 1.0))
        words = in_words(error.value)
        assert str(tmp_path) not in words
        return words

    assert "clip.wav: not audio" in refused(b"words, not sound")
    assert "clip.wav: empty" in refused(b"")
    whole = tmp_path / "whole.wav"
    soundfile.write(whole, wave(1.0), RATE)
    assert "clip.wav: truncated" in refused(whole.read_bytes()[:9000])
    assert "silent" in refused(np.zeros(RATE))
    assert "silent" in refused(1e-3 * wave(1.0))  # 20 dB more, and it is heard
    assert "longer than 0.02 minutes" in refused(wave(1.3), max_minutes=0.02)
    assert "only 2 ms long" in refused(wave(0.002))
    with pytest.raises(ValueError, match="no recording yet"):
        read_clip(None, RATE, 1.0)
    soundfile.write(tmp_path / "quiet.wav", 1e-2 * wave(1.0), RATE, subtype="FLOAT")
    assert len(read_clip(tmp_path / "quiet.wav", RATE, 1.0)) == RATE


def test_a_small_file_of_hours_is_not_decoded_to_its_end(monkeypatch):
    decoded = []

    @contextmanager
    def endless(promised):
        blocks = (decoded.append(1) or np.ones(RATE, np.float32) for _ in range(10**6))
        yield AudioStream("clip", promised, blocks)

    for promised, most in ((None, 7), (3600.0, 1)):
        monkeypatch.setattr(app_hearing, "open_stream", lambda path, rate, promised=promised: endless(promised))
        with pytest.raises(ValueError, match=r"longer than 0\.1 minutes"):
            read_clip("clip", RATE, 0.1)
        assert len(decoded) <= most
        decoded.clear()


def test_words_about_trouble_name_no_folder():
    path = "/srv/my data/clip.wav"
    assert in_words(ValueError(f"{path}: not audio"), path, None) == "clip.wav: not audio"
    assert in_words(ValueError("/srv/data/clip.wav: not\n audio")) == "clip.wav: not audio"
    assert in_words(ValueError(r"C:\data\clip.wav: not audio")) == "clip.wav: not audio"
    assert (
        in_words(FileNotFoundError(2, "No such file or directory", "/srv/a/b.wav"))
        == "No such file or directory: b.wav"
    )
    assert in_words(ValueError("3/4 of 5 s")) == "3/4 of 5 s"
    assert in_words(RuntimeError()) == "RuntimeError"
    assert "memory" in in_words(MemoryError())


def test_a_stretch_lies_in_the_recording():
    sound = np.arange(10 * 100, dtype=np.float32)
    for start, first in ((0, 0.0), (3.5, 3.5), (9, 6.0), (-2, 0.0), (400, 6.0)):
        part, begins, ends = stretch_of(sound, 100, start, 4.0)
        assert (begins, ends) == (first, first + 4.0)
        np.testing.assert_array_equal(part, sound[round(first * 100) :][:400])
    assert stretch_of(sound, 100, 5.0, 60.0)[1:] == (0.0, 10.0)


# Answers


def test_an_answer_is_that_of_transcribe_caption_and_tag(shelf):
    sound = wave(0.5)
    heard, _ = heard_by(shelf, "spells", sound)
    told = transcribe(sound, *shelf.loaded("spells"))[0]
    assert heard.transcript.text == told.text and heard.transcript.words == told.words
    torch.testing.assert_close(heard.transcript.alignment, told.alignment)
    sound = wave(1.9)
    heard, progress = heard_by(shelf, "captions", sound)
    assert [(one.text, one.start, one.end) for one in heard.captions] == [
        (one.text, one.start, one.end) for one in caption(sound, *shelf.loaded("captions"))
    ]
    assert len(heard.captions) == 2 and progress[-1][0] == 1.9
    heard, _ = heard_by(shelf, "tags", sound, threshold=0.6)
    tagging = tag(sound, *shelf.loaded("tags"))[0]
    np.testing.assert_array_equal(heard.tagging.scores, tagging.scores)
    assert list(heard.events) == tagging.events(0.6) != tagging.events(0.999)


def test_a_long_recording_goes_the_long_way_and_tells_how_far_it_is(shelf):
    pause = np.zeros(RATE, np.float32)
    sound = np.concatenate([part for text in TEXTS * 4 for part in (sung(text), pause)])
    assert len(sound) / RATE > 2 * closest_view(shelf.card("tones"), shelf.loaded("tones"))
    heard, progress = heard_by(shelf, "tones", sound)
    told = transcribe(sound, *shelf.loaded("tones"))[0]
    assert heard.transcript.text == " ".join(TEXTS * 4)
    assert (heard.transcript.text, heard.transcript.words) == (told.text, told.words)
    assert heard.transcript.seconds == told.seconds == len(sound) / RATE
    assert len(progress) > 1 and [at for at, _ in progress] == sorted(at for at, _ in progress)


def test_wishes_reach_the_model_that_knows_them(shelf):
    sound = wave(0.4, seed=4)
    for slots in (1, 2, 3):
        heard, _ = heard_by(shelf, "pools", sound, slots=slots, beams=1)
        expected = transcribe(sound, *shelf.loaded("pools"), memory_slots=slots, num_beams=1)[0]
        assert heard.transcript.text == expected.text
        torch.testing.assert_close(heard.transcript.alignment, expected.alignment)
    wish = Wishes(beams=1, slots=1, threshold=0.2)
    assert wish.options(shelf.card("tags")) == {}
    assert wish.options(shelf.card("spells")) == {"num_beams": 1}
    assert Wishes(beams=4, slots=3).options(shelf.card("pools")) == {}  # its own
    assert Wishes(beams=8).options(shelf.card("tones")) == {"num_beams": 8}
    assert heard_by(shelf, "tones", sung("abba on"), beams=8)[0].transcript.text == "abba on"


def test_attention_is_looked_at_as_the_answer_was_made(shelf):
    sound = wave(0.4)
    seen = look_closely(sound, shelf.card("pools"), shelf.loaded("pools"), Wishes(slots=2, beams=1))
    expected = transcribe(sound, *shelf.loaded("pools"), memory_slots=2, num_beams=1)[0]
    np.testing.assert_allclose(seen.map("alignment").of_head()[:, 0], expected.alignment.numpy(), atol=1e-6)
    assert look_closely(sound, shelf.card("captions"), shelf.loaded("captions"), Wishes()).caption is not None
    part = stretch_of(sound, RATE, 0.0, closest_view(shelf.card("tags"), shelf.loaded("tags")))[0]
    seen = look_closely(part, shelf.card("tags"), shelf.loaded("tags"), Wishes(threshold=0.1))
    assert list(seen.events) == tag(part, *shelf.loaded("tags"))[0].events(0.1)
    assert closest_view(shelf.card("spells"), shelf.loaded("spells")) == 15.0
    assert closest_view(shelf.card("captions"), shelf.loaded("captions")) == 1.0


# HTML


def shown(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


def test_a_text_keeps_every_letter_and_its_words_their_times():
    words = (TimedWord("a<b", 0.1, 0.25, 0.9), TimedWord("&", 0.3, 0.4, 0.2), TimedWord("b", 0.5, 0.75, 0.5))
    markup = words_html("«a<b»  & b!", words)
    assert shown(markup) == "«a<b»  & b!"
    spans = re.findall(r'<span class="(.*?)" data-start="(.*?)" data-end="(.*?)" title=".*?">(.*?)</span>', markup)
    assert spans == [
        ("word", "0.100", "0.250", "a&lt;b"),
        ("word doubtful", "0.300", "0.400", "&amp;"),
        ("word", "0.500", "0.750", "b"),
    ]
    assert words_html("<i>", ()) == "&lt;i&gt;"


def tagging(labels=("dog", "<cat>"), steps=4, seconds=8.0, seed=0):
    scores = np.random.default_rng(seed).random((steps, len(labels)), dtype=np.float32)
    edges = np.linspace(0, seconds, steps + 1)
    return Tagging("x", seconds, tuple(labels), scores, edges[:-1], edges, scores.mean(0))


def test_lanes_lie_where_the_scores_and_events_are():
    told = tagging()
    markup = lanes_html(told, [Event(onset=2.0, offset=6.0, label="<cat>", score=0.7)])
    assert 'data-start="2.000" data-end="6.000"' in markup and "left:25.000%;width:50.000%" in markup
    assert "<cat>" not in markup
    names = [html.unescape(name) for name in re.findall(r'<div class="lane"><span title="(.*?)">', markup)]
    assert names == [told.labels[at] for at in np.argsort(-told.scores.max(0))]
    curves = re.findall(r'<path d="M0 1(.*?)V1Z"', markup)
    points = [re.findall(r"V([\d.]+)H([\d.]+)", curve) for curve in curves]
    for name, curve in zip(names, points, strict=True):
        heights = [1 - float(y) for y, _ in curve]
        np.testing.assert_allclose(heights, told.scores[:, told.labels.index(name)], atol=6e-4)
        assert [float(x) for _, x in curve] == [0.25, 0.5, 0.75, 1.0]


def test_a_long_curve_keeps_its_peaks():
    told = tagging(labels=("dog",), steps=10_001, seconds=600.0)
    told.scores[:] *= 0.1
    told.scores[7_777] = 0.9
    curve = re.findall(r"V([\d.]+)H([\d.]+)", lanes_html(told, []))
    assert CURVE_POINTS / 2 < len(curve) <= CURVE_POINTS
    heights, ends = np.array(curve, float).T
    peak = int(heights.argmin())
    assert 1 - heights[peak] == pytest.approx(0.9)
    assert ends[peak - 1] < 7_777.5 / 10_001 < ends[peak]


def test_ticks_are_round_and_few():
    steps = [tick_step(seconds) for seconds in (0.8, 3.2, 8.0, 10.0, 45.0, 600.0)]
    assert steps == pytest.approx([0.1, 0.5, 1.0, 2.0, 10.0, 100.0])


def test_an_answer_without_words_says_so(shelf):
    nothing = Transcript("", 1.0, "audio 0", torch.zeros(0, 0), (), 0.04)
    assert "The model wrote nothing" in answer_html(Heard(shelf.card("tones"), 1.0, nothing), "file=x")


def test_a_room_answers_first_and_then_shows_where_it_listened(shelf, tmp_path):
    room = Room(shelf, Limits(minutes=0.1), tmp_path / "run")
    path = tmp_path / "<b>.wav"
    soundfile.write(path, sung("noon bee"), RATE, subtype="FLOAT")
    progress = []
    first, second = room.answer(str(path), "tones", Wishes(), lambda *told: progress.append(told))
    assert first[1:] == ("", False) and second[0] == first[0]
    assert "noon bee" in shown(first[0])
    assert re.findall(r'sandbox="(.*?)"', second[1]) == ["allow-scripts"]
    page = html.unescape(re.search(r'srcdoc="(.*?)"', second[1], re.DOTALL)[1])
    assert "noon bee" in page and "<b>" not in second[1].split("srcdoc")[0]
    assert [part for part, _ in progress] == sorted(part for part, _ in progress)


def test_a_room_shows_the_stretch_that_is_asked_for_and_says_so(shelf, tmp_path):
    room = Room(shelf, Limits(), tmp_path / "run")
    sound = np.concatenate([wave(1.5, 0), wave(1.5, 1)])
    soundfile.write(tmp_path / "long.wav", sound, RATE, subtype="FLOAT")
    wishes = Wishes(beams=1)
    (answer, _, long), (_, view, _) = room.answer(str(tmp_path / "long.wav"), "captions", wishes, lambda *told: None)
    assert long and "from 0.00 to 1.00 s" in view and answer.count('class="text"') == 3
    view = room.closer(str(tmp_path / "long.wav"), "captions", wishes, 1.5)
    assert "from 1.50 to 2.50 s" in view
    assert caption(sound[24_000:40_000], *shelf.loaded("captions"), num_beams=1)[0].text in html.unescape(view)


def test_trouble_in_a_room_is_words_and_the_room_goes_on(shelf, tmp_path, monkeypatch, capsys):
    room = Room(shelf, Limits(), tmp_path / "run")
    (tmp_path / "my notes.wav").write_bytes(b"no sound")
    good = tmp_path / "good.wav"
    soundfile.write(good, sung("a son"), RATE)

    def told(clip, name="tones"):
        (answer,) = room.answer(clip, name, Wishes(), lambda *told: None)
        assert answer[1:] == ("", False) and 'role="alert"' in answer[0]
        return shown(answer[0])

    assert told(str(tmp_path / "my notes.wav")).startswith("my notes.wav: not audio")
    assert "no recording yet" in told(None)
    assert "allowed are" in told(str(good), "nothing")
    assert "not audio" in shown(room.closer(str(tmp_path / "my notes.wav"), "tones", Wishes(), 0.0))
    assert capsys.readouterr().err == ""
    with monkeypatch.context() as patch:
        patch.setattr("aural.app_room.hear", lambda *asked: {}["a mistake of ours"])
        assert "Something went wrong here" in told(str(good))
    assert "a mistake of ours" in capsys.readouterr().err
    assert "a son" in shown(next(room.answer(str(good), "tones", Wishes(), lambda *told: None))[0])


# Files, ports, routes


def test_playback_is_what_was_heard_and_old_recordings_go(tmp_path):
    sound = wave(0.5)
    first = write_playback(sound, RATE, tmp_path / "playback")
    back, rate = soundfile.read(first, dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(back, sound.clip(-1, 1), atol=1 / 32_000)
    os.utime(first, (0, 0))
    second = write_playback(sound, RATE, tmp_path / "playback")
    assert list((tmp_path / "playback").iterdir()) == [second] and len(second.stem) >= 20 and second != first


def test_examples_are_sounds_of_their_kind(tmp_path):
    kinds = {"speech": ["a string of words", "one word"], "sounds": ["a drum loop"], "captions": ["a drum loop"]}
    for kind, labels in kinds.items():
        (tmp_path / kind).mkdir()
        found = write_examples(kind, tmp_path / kind)
        assert list(found) == labels
        assert all(len(read_clip(path, RATE, 1.0)) > RATE / 4 for path in found.values())


def test_only_what_the_page_needs_is_open():
    needed = [
        "/",
        "/config",
        "/assets/index-1.js",
        "/gradio_api/queue/join",
        "/gradio_api/upload",
        "/gradio_api/file=/a/b",
    ]
    assert [path for path in needed if not is_open(path)] == []
    shut = [
        *("/gradio_api/run/predict", "/gradio_api/api/predict", "/gradio_api/call/listen", "/gradio_api/info"),
        *("/gradio_api/file=http://10.0.0.1/", "/gradio_api/file=https://a.example/x", "/gradio_api/proxy=http://x"),
        *("/monitoring", "/docs", "/openapi.json", "/gradio_api/component_server", "/gradio_api/vibe-edit/", "/login"),
        *("/gradio_api/file/a", "/gradio_api/queue/join/x", "/dev/reload", "/gradio_api/process_recording"),
    ]
    assert [path for path in shut if is_open(path)] == []


def test_ports_are_free_or_refused_in_words():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="is in use; give another, or 0 for any"):
            free_port("127.0.0.1", taken.getsockname()[1])
        assert free_port("127.0.0.1", 0) not in (0, taken.getsockname()[1])
    assert FIRST_PORT <= free_port("127.0.0.1", None) < FIRST_PORT + PORTS
    with pytest.raises(OSError, match=r"--host 192\.0\.2\.1: is no address of this machine"):
        free_port("192.0.2.1", 0)


def test_limits_are_numbers_above_0():
    for wrong in ({"minutes": 0}, {"megabytes": -1}, {"at_once": 0}, {"minutes": float("nan")}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
            Limits(**wrong)


# The command


def test_without_gradio_the_command_says_how_to_get_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    code, out, err = run(capsys, monkeypatch, "app")
    assert (code, out) == (2, "")
    assert "pip install 'aural[app]'" in error_line(err)


def test_without_a_model_the_command_says_where_one_comes_from(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(app_models, "KEPT", ())
    code, out, err = run(capsys, monkeypatch, "app")
    assert (code, out) == (2, "")
    assert "--model" in error_line(err) and "aural demo" in error_line(err)
    assert "is not a model folder" in error_line(run(capsys, monkeypatch, "app", "--model", tmp_path)[2])


def test_a_port_in_use_is_told_in_words(capsys, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        code, _, err = run(capsys, monkeypatch, "app", "--port", number)
    assert code == 2
    assert f"--port {number}: is in use" in error_line(err)


def test_the_command_explains_itself(capsys, monkeypatch):
    code, out, _ = run(capsys, monkeypatch, "app", "--help")
    assert code == 0
    assert "Example: aural app" in " ".join(out.replace("`", "").split())
