"""caption() against the model's own generate and attention; windows; what is refused; the command."""

import json

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from aural import AuralProcessor, Caption, LogMelFeatureExtractor, caption, load_captioner, train_tokenizer
from aural.captioning import audio_windows, longest_window
from aural.cli import app
from aural.modeling.maps import as_grid
from aural.processing.grid import patch_grid
from tests.tiny_spectrogram import MELS, tiny_writer
from tests.whole import save_tagger, wave

TEXTS = ["a dog then two cats"]


@pytest.fixture(scope="module")
def processor():
    return AuralProcessor(LogMelFeatureExtractor(num_mel_bins=MELS), train_tokenizer(TEXTS, "word"))


@pytest.fixture(scope="module")
def model(processor):
    writer = tiny_writer(seed=3, vocab_size=len(processor.tokenizer))
    vars(writer.generation_config).update(max_seconds=1.0, num_beams=3)
    return writer


@pytest.fixture(scope="module")
def folder(model, processor, tmp_path_factory):
    path = tmp_path_factory.mktemp("captioner")
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def test_a_caption_is_what_the_model_generates(model, processor):
    sounds = [wave(0.9, 0), wave(0.5, 1)]
    found = caption(sounds, model, processor)
    for one, sound in zip(found, sounds, strict=True):
        inputs = processor(audio=sound, sampling_rate=16_000, return_tensors="pt")
        ids = model.generate(inputs["input_features"], attention_mask=inputs["attention_mask"])
        assert one.text == processor.batch_decode(ids)[0]
        assert (one.start, one.end) == (0.0, len(sound) / 16_000) and one.seconds == one.end
    assert [one.source for one in found] == ["audio 0", "audio 1"]


def test_words_have_the_attention_of_the_last_layer_on_the_grid(model, processor):
    sound = wave(0.9, 0)
    one = caption([wave(0.4, 5), sound], model, processor)[1]  # padded in the batch, or not
    inputs = processor(audio=sound, sampling_rate=16_000, text=one.text, return_tensors="pt")
    maps = model.attention_maps(inputs["input_features"], inputs["attention_mask"], labels=inputs["labels"])
    expected = as_grid(maps["decoder.1.cross"].mean(1)[0], model.config.encoder)
    expected = expected / expected.sum((-2, -1), keepdim=True)  # what class tokens get has no place
    assert [word.text for word in one.words] == one.text.split()
    for word, weights in zip(one.words, expected, strict=False):
        np.testing.assert_allclose(word.attention, weights, atol=1e-5)
        assert word.attention.sum() == pytest.approx(1, abs=1e-5)
    frames = inputs["input_features"].shape[1]
    grid = patch_grid(model.config.encoder, processor.feature_extractor, frames)
    np.testing.assert_array_equal(one.grid.seconds, grid.seconds)
    np.testing.assert_array_equal(one.grid.hertz, grid.hertz)


def test_confidence_is_the_mean_probability_of_the_tokens(model, processor):
    one = caption(wave(0.9, 0), model, processor)[0]
    inputs = processor(audio=wave(0.9, 0), sampling_rate=16_000, text=one.text, return_tensors="pt")
    with torch.no_grad():
        chances = model(**inputs).logits.softmax(-1)[0].gather(-1, inputs["labels"][0][:, None])[:, 0]
    assert one.confidence == pytest.approx(float(chances.log().mean().exp()), rel=1e-4)
    assert [word.confidence for word in one.words] == pytest.approx(chances[:-1].tolist(), rel=1e-4)


def test_alternatives_are_the_beams_best_first(model, processor):
    one = caption(wave(0.9, 0), model, processor, nbest=3)[0]
    assert one.alternatives[0][0] == one.text and len(one.alternatives) == 3
    scores = [score for _, score in one.alternatives]
    assert scores == sorted(scores, reverse=True)
    assert caption(wave(0.9, 0), model, processor)[0].alternatives == ()
    with pytest.raises(ValueError, match="nbest=4 must be in 1 to num_beams=3"):
        caption(wave(0.9, 0), model, processor, nbest=4)


def repeats(text: str, size: int) -> bool:
    words = text.split()
    grams = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
    return len(set(grams)) < len(grams)


def test_repetition_is_constrained_by_the_call_and_by_the_generation_config(processor):
    looping = tiny_writer(seed=3, vocab_size=len(processor.tokenizer))
    with torch.no_grad():  # it never ends by itself, and likes one word best
        looping.lm_head.weight.mul_(0.02)
        looping.lm_head.bias.zero_()
        looping.lm_head.bias[[0, 1, 2, 3, 5, 6]] = torch.tensor([-99.0, -99.0, -9.0, -99.0, 4.0, 3.7])
    sound = wave(0.9, 0)
    free = caption(sound, looping, processor)[0].text
    assert repeats(free, 2)
    assert not repeats(caption(sound, looping, processor, no_repeat_ngram_size=2)[0].text, 2)
    looping.generation_config.no_repeat_ngram_size = 2
    assert not repeats(caption(sound, looping, processor)[0].text, 2)
    looping.generation_config.no_repeat_ngram_size = 0
    looping.generation_config.repetition_penalty = 3.0
    penalised = caption(sound, looping, processor)[0].text
    assert len(set(penalised.split())) > len(set(free.split()))


def test_longer_recordings_get_a_caption_per_window_the_last_of_which_reaches_back(model, processor):
    sound = wave(2.3, 2)
    found = caption(sound, model, processor)  # max_seconds is 1.0
    assert [(one.start, one.end) for one in found] == [(0, 1), (1, 2), (pytest.approx(1.3), pytest.approx(2.3))]
    for one in found:
        part = sound[round(one.start * 16_000) : round(one.end * 16_000)]
        assert one.text == caption(part, model, processor)[0].text
    assert len(caption(sound, model, processor, max_seconds=2.5)) == 1


WINDOWS = {  # of recordings of so many seconds, windows of at most one: from when to when
    0.001: [(0, 0.001)],
    1.0: [(0, 1)],
    1.1: [(0, 1), (0.1, 1.1)],
    2.0: [(0, 1), (1, 2)],
    2.3: [(0, 1), (1, 2), (1.3, 2.3)],
}


@pytest.mark.parametrize("seconds", WINDOWS)
def test_windows_cover_a_recording_and_are_cut_as_it_is_read(seconds):
    sound = np.arange(1, round(seconds * 1000) + 1, dtype=np.float32) / 4000
    found = list(audio_windows(sound, "x", 1000, 1.0))
    assert [(one.start, round(one.start + len(one.wave) / 1000, 6)) for one in found] == WINDOWS[seconds]
    for one in found:
        start = round(one.start * 1000)
        np.testing.assert_array_equal(one.wave, sound[start : start + len(one.wave)])


def test_progress_tells_how_much_is_heard(model, processor):
    told = []
    caption(wave(2.3, 2), model, processor, batch_size=2, progress=lambda heard, total: told.append((heard, total)))
    assert told == [(2.0, pytest.approx(2.3)), (pytest.approx(2.3), pytest.approx(2.3))]


def test_a_folder_gives_what_the_loaded_model_gives(folder, model, processor):
    ours, theirs = (caption(wave(0.9, 0), *given)[0] for given in ((model, processor), (folder,)))
    assert isinstance(theirs, Caption) and theirs.text == ours.text
    np.testing.assert_allclose(theirs.words[0].attention, ours.words[0].attention, atol=1e-6)


def test_the_length_of_a_window_comes_from_the_call_the_model_or_is_30_s(model, processor):
    assert longest_window(model, 5) == 5 and longest_window(model) == 1
    assert longest_window(tiny_writer()) == 30
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="max_seconds"):
            caption(wave(0.5), model, processor, max_seconds=wrong)


def test_models_that_do_not_caption_are_refused_by_name(tmp_path, model):
    tagger = save_tagger(tmp_path / "tagger")
    with pytest.raises(ValueError, match="not for `aural caption`; `aural tag` is the command for it"):
        load_captioner(tagger)
    with pytest.raises(TypeError, match="model: int"):
        caption(wave(0.5), 3)
    with pytest.raises(ValueError, match="processor=None"):
        caption(wave(0.5), model)
    with pytest.raises(ValueError, match="batch_size=0"):
        caption(wave(0.5), model, batch_size=0)


def test_a_vocabulary_that_does_not_fit_is_refused(model, tmp_path):
    model.save_pretrained(tmp_path)
    AuralProcessor(LogMelFeatureExtractor(num_mel_bins=MELS), train_tokenizer(["a b"], "word")).save_pretrained(
        tmp_path
    )
    with pytest.raises(ValueError, match="the tokenizer has 6 symbols but the model's vocab_size is"):
        load_captioner(tmp_path)


@pytest.fixture
def files(tmp_path):
    for name, seconds, seed in (("a.wav", 0.9, 0), ("long.flac", 2.3, 2)):
        soundfile.write(tmp_path / name, wave(seconds, seed), 16_000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF and nothing more")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["caption", *map(str, arguments)])


def test_the_command_writes_captions_with_times_where_there_are_several(files, folder):
    result = run(files / "a.wav", files / "long.flac", "--model", folder)
    one, *several = result.stdout.splitlines()
    assert result.exit_code == 0 and one == f"{files / 'a.wav'}: {caption(files / 'a.wav', folder)[0].text}"
    assert [line.split(" s: ")[0] for line in several] == [
        f"{files / 'long.flac'}: {times}" for times in ("0.00 to 1.00", "1.00 to 2.00", "1.30 to 2.30")
    ]
    assert run(files / "a.wav", "--model", folder).stdout == f"{caption(files / 'a.wav', folder)[0].text}\n"


def test_the_command_writes_json_with_where_each_word_looked(files, folder):
    out = files / "captions.jsonl"
    result = run(files / "long.flac", "--model", folder, "--json", "--nbest", 2, "--out", out)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    expected = caption(files / "long.flac", folder, nbest=2)
    assert [row["text"] for row in rows] == [one.text for one in expected]
    assert [(row["file"], row["start"]) for row in rows] == [(str(files / "long.flac"), at) for at in (0, 1, 1.3)]
    row, one = next((row, one) for row, one in zip(rows, expected, strict=True) if one.words)
    assert [each["text"] for each in row["alternatives"]] == [text for text, _ in one.alternatives]
    place = one.words[0].attention
    high, at = np.unravel_index(place.argmax(), place.shape)
    looked = row["words"][0]["looked"]
    assert looked["from"] == pytest.approx(one.start + one.grid.seconds[at, 0], abs=1e-3)
    assert looked["hertz"] == [round(edge) for edge in one.grid.hertz[high]]


def test_the_command_draws_where_the_words_looked(files, folder):
    result = run(files / "long.flac", "--model", folder, "--picture", files / "words.png")
    assert result.exit_code == 0, result.output
    assert (files / "words.png").read_bytes().startswith(b"\x89PNG")


def test_one_bad_file_costs_the_others_nothing(files, folder):
    result = run(files / "bad.wav", files / "a.wav", "--model", folder)
    assert result.exit_code == 2
    assert "bad.wav" in result.stderr and str(files / "a.wav") in result.stdout


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--nbest", "2"], "--nbest is for --json"),
        (["--picture", "x.png", "other.wav"], "--picture is of one file"),
        (["--picture", "x.gif"], "x.gif: a picture's name ends in"),
        (["--max-seconds", "0"], "max_seconds=0.0 must be"),
    ],
)
def test_options_that_do_nothing_are_refused(files, folder, flags, said):
    result = run(files / "a.wav", "--model", folder, *flags)
    assert result.exit_code != 0
    assert said in " ".join((result.output + str(result.exception or "")).replace("│", " ").split())
