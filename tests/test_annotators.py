"""Transcriber and Tagger: what they give for columns, in `Dataset.map` and for batches as Ray Data hands them over."""

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from datasets import Audio, ClassLabel, Dataset, Features, Value

from aural import Tagger, Transcriber, annotators, decoding, load_recognizer, tag, transcribe
from aural.annotation import model_fingerprint
from aural.decoding import load_ngram, ngram_of_texts
from tests.test_tagging import MOMENTS, changing
from tests.test_tagging import save_tagger as save_moments
from tests.whole import save_folder, save_tagger, wave

SECONDS = (0.4, 1.1, 0.3, 0.9, 0.6)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return save_folder(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return save_tagger(tmp_path_factory.mktemp("sounds"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    paths = [folder / f"{index}.wav" for index in range(len(SECONDS))]
    for index, (path, seconds) in enumerate(zip(paths, SECONDS, strict=True)):
        soundfile.write(path, wave(seconds, index), 16_000)
    return [str(path) for path in paths]


@pytest.mark.parametrize("options", [{}, {"batch_size": 2}, {"seconds_per_batch": 1.3}, {"num_beams": 1}])
def test_texts_are_those_of_each_clip_alone(speech, files, options):
    beams = {name: value for name, value in options.items() if name == "num_beams"}
    expected = [transcribe(file, speech, **beams)[0].text for file in files]
    assert len(set(expected)) > 1
    columns = Transcriber(speech, **options)({"audio": files, "speaker": list("abcde")})
    assert columns == {
        "speaker": list("abcde"),
        "predicted_text": expected,
        "duration": list(SECONDS),
        "error": [""] * 5,
    }


@pytest.mark.parametrize("options", [{}, {"batch_size": 1}, {"batch_size": 3, "window": 0.3, "hop": 0.1}])
def test_tags_are_those_of_each_clip_alone(sounds, files, options):
    windows = {name: value for name, value in options.items() if name != "batch_size"}
    expected = [result.top(3) for result in tag(files, sounds, **windows)]
    columns = Tagger(sounds, **options)({"audio": files})
    assert columns["predicted_labels"] == [[label for label, _ in top] for top in expected]
    np.testing.assert_allclose(
        columns["predicted_scores"], [[score for _, score in top] for top in expected], atol=1e-5
    )
    assert columns["duration"] == list(SECONDS)
    assert [len(labels) for labels in Tagger(sounds, top_k=1)({"audio": files})["predicted_labels"]] == [1] * 5


def test_tags_of_a_model_of_moments_are_those_of_each_clip_alone(tmp_path):
    folder = save_moments(tmp_path, MOMENTS)
    clips = [changing(seconds, seed) for seed, seconds in enumerate((0.7, 1.5, 0.4))]
    columns = Tagger(folder, window=0.3, batch_size=4)({"audio": clips})
    expected = [result.top(3) for result in tag(clips, folder, window=0.3)]
    assert columns["predicted_labels"] == [[label for label, _ in top] for top in expected]
    np.testing.assert_allclose(
        columns["predicted_scores"], [[score for _, score in top] for top in expected], atol=1e-5
    )


def batches_of(annotator, durations):
    order = sorted(range(len(durations)), key=lambda index: -durations[index])
    return [[durations[index] for index in batch] for batch in annotator._cut(order, durations.__getitem__)]


def test_batches_hold_like_lengths_within_their_limits(speech):
    seconds = [1.0, 4.0, 2.0, 9.0, 1.0, 2.0, 3.0]
    assert batches_of(Transcriber(speech, batch_size=3), seconds) == [[9, 4, 3], [2, 2, 1], [1]]
    assert batches_of(Transcriber(speech, seconds_per_batch=8), seconds) == [[9], [4, 3], [2, 2, 1, 1]]
    assert batches_of(Transcriber(speech, 2, seconds_per_batch=8), seconds) == [[9], [4, 3], [2, 2], [1, 1]]
    assert list(map(len, batches_of(Transcriber(speech), [1.0] * 17))) == [8, 8, 1]


@pytest.mark.parametrize("kind", ["las", "tagger"])
def test_what_cannot_be_heard_is_a_row_that_says_why(speech, sounds, files, tmp_path, kind):
    cut = tmp_path / "cut.flac"
    soundfile.write(cut, wave(2.0), 16_000)
    cut.write_bytes(cut.read_bytes()[:-9000])
    sources = [files[0], str(cut), None, b"", str(tmp_path / "gone.wav"), files[1]]
    annotator = Transcriber(speech) if kind == "las" else Tagger(sounds, window=0.2, batch_size=4)
    columns = annotator({"audio": sources})
    assert [bool(error) for error in columns["error"]] == [False, True, True, True, True, False]
    assert "cut.flac: truncated" in columns["error"][1]
    assert "gone.wav: no such audio file" in columns["error"][4]
    alone = annotator({"audio": [files[0], files[1]]})
    for name, values in columns.items():
        empty = annotator.columns[name]
        assert [values[0], values[5]] == [pytest.approx(value, abs=1e-5) for value in alone[name]], name
        assert name == "error" or values[1:5] == [empty] * 4


@pytest.mark.parametrize("kind", ["las", "tagger"])
def test_two_workers_of_a_dataset_give_what_one_call_gives(speech, sounds, files, kind):
    annotator = Transcriber(speech) if kind == "las" else Tagger(sounds)
    features = {"audio": Value("string"), "label": ClassLabel(names=["x", "y"])}
    rows = Dataset.from_dict({"audio": files, "label": [0, 1, 0, 1, 0]}, features=Features(features))
    rows = rows.cast_column("audio", Audio(decode=False))
    mapped = rows.map(annotator, batched=True, batch_size=2, num_proc=2)
    expected = annotator({"audio": files})
    assert mapped["label"][:] == [0, 1, 0, 1, 0]
    assert mapped.features["label"] == ClassLabel(names=["x", "y"])
    for name, values in expected.items():
        assert mapped[name][:] == [pytest.approx(value, abs=1e-5) for value in values], name


def test_batches_as_ray_gives_them(speech, sounds, files):
    content = [Path(file).read_bytes() for file in files]
    structs = np.array([{"bytes": one, "path": None} for one in content], dtype=object)
    for annotator in (Transcriber(speech), Tagger(sounds)):
        expected = annotator({"audio": files})
        found = annotator({"audio": structs, "id": np.arange(5)})
        assert found.pop("id").tolist() == list(range(5))
        assert found == expected
        assert annotator({"audio": np.array(files)}) == expected
    binary = {"bytes": np.array(content, dtype=object), "path": np.array(files, dtype=object)}
    assert (
        Transcriber(speech, audio_column="bytes")(binary)["predicted_text"]
        == Transcriber(speech)({"audio": files})["predicted_text"]
    )
    arrays = np.stack([wave(0.5, seed) for seed in range(2)])
    texts = [result.text for result in transcribe(list(arrays), speech)]
    assert Transcriber(speech)({"audio": arrays})["predicted_text"] == texts


def test_a_pickled_one_is_settings_alone_and_works(speech, files):
    transcriber = Transcriber(speech, batch_size=3, num_beams=2)
    expected = transcriber({"audio": files})
    pickled = pickle.dumps(transcriber)
    assert len(pickled) < 1000
    assert pickle.loads(pickled)({"audio": files}) == expected


def test_the_model_is_loaded_once_for_all_that_name_it_and_again_when_it_was_trained(
    speech, files, tmp_path, monkeypatch
):
    loaded, original = [], annotators.load_recognizer
    monkeypatch.setattr(annotators, "load_recognizer", lambda *args: loaded.append(args) or original(*args))
    save_folder(tmp_path, seed=1)
    for _ in range(2):
        first = Transcriber(tmp_path)
        first({"audio": files[:1]})
    assert loaded == [(str(tmp_path), "cpu")]
    save_folder(tmp_path, seed=2)
    second = Transcriber(tmp_path)
    assert second.fingerprint != first.fingerprint
    expected = [result.text for result in transcribe(files, tmp_path)]
    assert second({"audio": files})["predicted_text"] == expected
    assert len(loaded) == 2


def test_the_fingerprint_is_of_weights_and_settings_not_of_place_or_card(speech, tmp_path):
    one, two = save_folder(tmp_path / "one"), save_folder(tmp_path / "two")
    config = Transcriber(one)
    (two / "README.md").write_text("a card")
    assert Transcriber(two).fingerprint == config.fingerprint
    settings = json.loads((two / "generation_config.json").read_text())
    (two / "generation_config.json").write_text(json.dumps({**settings, "num_beams": 7}))
    assert Transcriber(two).fingerprint != config.fingerprint


def test_a_hub_model_goes_by_its_commit():
    class Config:
        _commit_hash = "abc123"

    assert model_fingerprint("someone/las", Config()) == "abc123"


def test_a_batch_beyond_the_memory_is_halved_and_one_clip_beyond_it_is_a_row_that_says_so(speech, files, monkeypatch):
    transcriber = Transcriber(speech)
    expected = transcriber({"audio": files})
    original = transcriber._generate

    def short_of_memory(waves):
        if sum(map(len, waves)) > 16_000:
            raise torch.OutOfMemoryError("no")
        return original(waves)

    monkeypatch.setattr(transcriber, "_generate", short_of_memory)
    found = transcriber({"audio": files})
    assert "memory" in found["error"][1]  # 1.1 s
    assert found["predicted_text"] == [*expected["predicted_text"][:1], "", *expected["predicted_text"][2:]]
    assert [bool(error) for error in found["error"]] == [False, True, False, False, False]


def test_wrong_arguments_are_named(speech, sounds, files):
    with pytest.raises(TypeError, match="batch: DataFrame"):
        Transcriber(speech)(pd.DataFrame({"audio": files}))
    with pytest.raises(ValueError, match="audio_column='sound' is not among the columns audio, text"):
        Transcriber(speech, audio_column="sound")({"audio": files, "text": files})
    with pytest.raises(ValueError, match="`aural transcribe` is the command for it"):
        Tagger(speech)
    with pytest.raises(ValueError, match="`aural tag` is the command for it"):
        Transcriber(sounds)
    for options, message in (({"batch_size": 0}, "batch_size=0"), ({"seconds_per_batch": 0.0}, "seconds_per_batch=0")):
        with pytest.raises(ValueError, match=message):
            Transcriber(speech, **options)
    with pytest.raises(ValueError, match="top_k=0"):
        Tagger(sounds, top_k=0)
    with pytest.raises(ValueError, match=r"hop: 0[.]5 seconds"):
        Tagger(sounds, window=0.2, hop=0.5).load()
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        Transcriber(str(speech.parent))


def test_no_rows_give_no_rows(speech):
    assert Transcriber(speech)({"audio": []}) == {"predicted_text": [], "duration": [], "error": []}


def test_what_decodes_beside_the_model_may_be_named_and_is_loaded_once(speech, files, tmp_path, monkeypatch):
    tokenizer = load_recognizer(speech)[1].tokenizer
    ngram_of_texts(["dddd"], tokenizer, 3).write(tmp_path / "d.arpa")
    loads = []
    monkeypatch.setattr(decoding, "load_ngram", lambda *args: loads.append(args) or load_ngram(*args))
    options = {"ngram": str(tmp_path / "d.arpa"), "ngram_weight": 50.0, "num_beams": 2}
    transcriber = pickle.loads(pickle.dumps(Transcriber(speech, **options)))
    found = [transcriber({"audio": [file]})["predicted_text"][0] for file in files[:2]]
    assert len(loads) == 1
    assert transcriber.options() == options  # ready for JSON
    assert found == [result.text for result in transcribe([*files[:2]], speech, **options)]
    assert all(set(text) <= {"d"} for text in found)  # so much weight lets nothing else through
    as_object = Transcriber(speech, **{**options, "ngram": load_ngram(options["ngram"], tokenizer)})
    assert as_object({"audio": files[:2]})["predicted_text"] == found
