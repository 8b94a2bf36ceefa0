"""look(): what each kind of model writes and where it looks, against the model's own maps; and what is refused."""

import numpy as np
import pytest
import soundfile
import torch

from aural import caption, look, tag, transcribe
from aural.look_maps import KEPT, LazyMaps
from aural.looking import load_looker
from aural.modeling.maps import as_grid, attention_rollout
from aural.modeling.spectrogram_transformer import SpectrogramTransformerForAudioFrameClassification as Frames
from aural.processing.grid import patch_grid
from tests.looks import RATE, captioner, hand_made, hand_made_patches, las, tagger
from tests.tiny import tiny_las
from tests.tones import TEXTS, save_tones, sung, tone_model, tone_processor
from tests.whole import save_folder, save_tagger, wave


def features_of(extractor, sound):
    made = extractor(sound, sampling_rate=RATE, return_tensors="pt")
    return made["input_features"], made["attention_mask"]


def test_a_las_is_seen_as_it_transcribes_head_by_head():
    model, processor = las()
    sound = wave(0.9)
    seen = look(sound, model, processor)
    told = transcribe([sound], model, processor)[0]
    assert (seen.text, seen.tokens, seen.token_times, seen.kind) == (told.text, told.tokens, told.token_times, "las")
    assert [(word.text, word.start, word.end) for word in seen.words] == [(w.text, w.start, w.end) for w in told.words]
    found = seen.maps["alignment"]
    features, mask = features_of(processor.feature_extractor, sound)
    labels = torch.tensor([processor.tokenizer.convert_tokens_to_ids(list(told.tokens))])
    expected = model.attention_maps(features, mask, labels=labels)["speller"][0].numpy()
    assert found.weights.shape == (2, len(told.tokens), 1, told.alignment.shape[1])
    np.testing.assert_allclose(found.weights[:, :, 0], expected, atol=1e-6)
    np.testing.assert_allclose(found.of_head()[:, 0], told.alignment.numpy(), atol=1e-6)
    np.testing.assert_array_equal(found.of_head(1), found.weights[1])
    frames = told.alignment.shape[1]
    np.testing.assert_allclose(found.seconds[:, 0], np.arange(frames) * told.seconds_per_frame)
    np.testing.assert_allclose(found.seconds[:, 1], np.arange(1, frames + 1) * told.seconds_per_frame)
    assert [query.label for query in found.queries] == list(told.tokens)
    assert found.queries[0].seconds == (told.token_times[0].start, told.token_times[0].end)


def test_words_know_their_tokens():
    model, processor = las()
    seen = look(wave(0.9), model, processor, text="ab cd")
    assert [(word.text, word.first, word.last) for word in seen.words] == [("ab", 0, 2), ("cd", 3, 5)]
    assert seen.word("cd") is seen.words[1] and seen.word(1) is seen.words[1]
    with pytest.raises(ValueError, match=r"word='x': the words are 0 'ab', 1 'cd'"):
        seen.word("x")


def test_a_forced_text_is_read_not_searched():
    model, processor = las()
    sound = wave(0.9)
    seen = look(sound, model, processor, text="dab")
    assert (seen.text, seen.tokens) == ("dab", ("d", "a", "b", "<eos>"))
    features, mask = features_of(processor.feature_extractor, sound)
    labels = torch.tensor([processor.tokenizer("dab").input_ids])
    np.testing.assert_allclose(
        seen.maps["alignment"].weights[:, :, 0],
        model.attention_maps(features, mask, labels=labels)["speller"][0].numpy(),
        atol=1e-6,
    )
    logits = model(features, mask, labels=labels).logits[0].log_softmax(-1)
    expected = logits.gather(-1, labels[0, :, None])[:, 0].exp().detach().numpy()
    np.testing.assert_allclose([token.confidence for token in seen.token_times], expected, rtol=1e-4)
    with pytest.raises(ValueError, match="text='axb': the model cannot write 'x'"):
        look(sound, model, processor, text="axb")


@pytest.mark.parametrize("pooling", ["mean", "cls_distillation"])
def test_a_tagger_looks_from_its_class_tokens_or_all_patches_and_from_each_patch(pooling):
    model, extractor = tagger(pooling=pooling)
    sound = wave(0.4)
    seen = look(sound, model, extractor)
    features, mask = features_of(extractor, sound)
    maps = model.attention_maps(features, mask)
    grid = patch_grid(model.config, extractor, features.shape[1])
    rows, columns, classes = 3, len(grid.seconds), model.config.num_class_tokens
    for layer in range(2):
        expected = maps[f"layers.{layer}"][0]
        found = seen.map(layer)
        assert found.weights.shape == (2, 1 + rows * columns, rows, columns)
        clip = expected[:, : classes or None].mean(1)
        np.testing.assert_allclose(found.weights[:, 0], as_grid(clip, model.config).numpy(), atol=1e-6)
        patches = as_grid(expected[:, classes:], model.config).numpy()
        np.testing.assert_allclose(found.weights[:, 1:], patches, atol=1e-6)
        np.testing.assert_allclose(found.weights.sum((2, 3)) + found.elsewhere, 1, atol=1e-5)
        assert (found.elsewhere > 0).all() == (classes > 0)
    joined = attention_rollout(maps.values())[0]
    expected = as_grid(joined[: classes or None].mean(0), model.config).numpy()
    np.testing.assert_allclose(seen.maps["rollout"].weights[0, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(seen.maps["rollout"].seconds, grid.seconds)
    np.testing.assert_array_equal(seen.maps["rollout"].hertz, grid.hertz)
    tagging = tag(sound, model, extractor)[0]
    assert seen.labels == tagging.labels and seen.events == tuple(tagging.events())
    np.testing.assert_array_equal(seen.scores, tagging.clip_scores)


def test_a_patch_is_found_by_seconds_and_hz_and_a_moment_by_seconds():
    model, extractor = tagger(pooling="mean")
    found = look(wave(0.4), model, extractor).map(1)
    rows, columns = found.weights.shape[2:]
    for row in range(rows):
        for column in range(columns):
            place = (float(found.seconds[column].mean()), float(found.hertz[row].mean()))
            (number,) = found.query_at(place)
            assert found.queries[number].seconds == tuple(found.seconds[column])
            assert found.queries[number].hertz == tuple(found.hertz[row])
    moment = float(found.seconds[2].mean())
    assert list(found.query_at(moment)) == [1 + 2, 1 + columns + 2, 1 + 2 * columns + 2]
    assert list(found.query_at()) == list(found.query_at("clip")) == [0]
    for wrong in (9.0, (0.1, 20_000.0)):
        with pytest.raises(ValueError, match="lies outside of the patches"):
            found.query_at(wrong)
    with pytest.raises(ValueError, match=r"query='there': allowed are 'clip', seconds, or \(seconds, Hz\)"):
        found.query_at("there")


def test_a_rollout_in_several_passes_is_that_of_one(monkeypatch):
    model, extractor = tagger()
    whole = look(wave(0.4), model, extractor).maps["rollout"].weights
    monkeypatch.setattr("aural.look_maps.AT_ONCE", 1)
    np.testing.assert_array_equal(look(wave(0.4), model, extractor).maps["rollout"].weights, whole)


def test_a_model_of_moments_is_seen_as_one_of_clips():
    model, extractor = tagger(model_class=Frames)
    seen = look(wave(0.4), model, extractor)
    assert list(seen.maps) == ["layers.0", "layers.1", "rollout"] and seen.kind == "tagger"
    np.testing.assert_array_equal(seen.scores, tag(wave(0.4), model, extractor)[0].clip_scores)


def test_ctc_has_word_times_and_self_attention_but_no_alignment():
    model, processor = tone_model(), tone_processor()
    sound = sung(TEXTS[0])
    seen = look(sound, model, processor)
    told = transcribe([sound], model, processor)[0]
    assert (seen.text, seen.kind, list(seen.maps)) == (TEXTS[0], "ctc", ["layers.0", "rollout"])
    assert [(word.text, word.start, word.end) for word in seen.words] == [(w.text, w.start, w.end) for w in told.words]
    assert ["".join(seen.tokens[word.first : word.last]) for word in seen.words] == TEXTS[0].split()
    features, mask = features_of(processor.feature_extractor, sound)
    expected = model.attention_maps(features, mask)["layers.0"][0]
    np.testing.assert_allclose(seen.map(0).weights[:, 1:, 0], expected.numpy(), atol=1e-6)
    forced = look(sound, model, processor, text="noon")
    assert forced.text == "noon" and forced.transcript.confidence < told.confidence
    with pytest.raises(ValueError, match="does not fit"):
        look(sound[:2000], model, processor, text="seen on a bean")


def test_a_text_decoder_looks_from_each_token_in_every_layer_and_head():
    model, processor = captioner()
    sound = wave(0.9)
    seen = look(sound, model, processor)
    told = caption([sound], model, processor)[0]
    assert (seen.text, seen.caption.text, seen.transcript, seen.kind) == (told.text, told.text, None, "writer")
    assert [word.text for word in seen.words] == told.text.split() and seen.words[0].start is None
    names = ["alignment", "decoder.0.cross", "decoder.1.cross", "layers.0", "layers.1", "rollout"]
    assert list(seen.maps) == names
    features, mask = features_of(processor.feature_extractor, sound)
    labels = torch.tensor([processor.tokenizer.convert_tokens_to_ids(list(seen.tokens))])
    maps = model.attention_maps(features, mask, layers=names[1:5], labels=labels)
    encoder = model.config.encoder
    for name in names[1:3]:
        np.testing.assert_allclose(seen.map(name).weights, as_grid(maps[name][0], encoder).numpy(), atol=1e-6)
    found = seen.map("decoder.1.cross")
    for word, expected in zip(seen.words, told.words, strict=True):
        own = found.of_head("mean")[word.first : word.last].mean(0)
        np.testing.assert_allclose(own / own.sum(), expected.attention, atol=1e-5)
    np.testing.assert_allclose(seen.map(0).weights[:, 1:], as_grid(maps["layers.0"][0], encoder).numpy(), atol=1e-6)


def test_a_text_decoder_that_transcribes_has_word_times_and_an_alignment():
    model, processor = captioner()
    sound = wave(0.9)
    seen = look(sound, model, processor, task="transcribe", text="a dog")
    assert [word.text for word in seen.words] == ["a", "dog"] and seen.caption is None
    assert seen.words[0].end <= seen.words[1].start and seen.words[1].end <= seen.seconds
    weights = seen.map("decoder.1.cross").of_head()
    over_time = weights.sum(1) / weights.sum((1, 2))[:, None]
    np.testing.assert_allclose(seen.map("alignment").weights[0, :, 0], over_time, atol=1e-5)
    forced = look(sound, model, processor, text="two dog")
    assert (forced.text, [word.text for word in forced.caption.words]) == ("two dog", ["two", "dog"])
    with pytest.raises(ValueError, match="task='sing'"):
        look(sound, model, processor, task="sing")


def test_folders_are_loaded_by_what_they_hold(tmp_path):
    for name, save, kind in (("las", save_folder, "las"), ("tags", save_tagger, "tagger"), ("ctc", save_tones, "ctc")):
        (tmp_path / name).mkdir()
        save(tmp_path / name)
        soundfile.write(tmp_path / "a.wav", wave(0.6 if kind != "tagger" else 0.18), RATE)
        seen = look(tmp_path / "a.wav", tmp_path / name)
        assert (seen.kind, seen.model, seen.source) == (kind, name, str(tmp_path / "a.wav"))
        assert not load_looker(tmp_path / name)[0].training


def test_a_part_of_a_recording_is_seen_as_if_it_were_all():
    model, processor = las()
    sound = wave(2.0)
    part = look(sound, model, processor, start=0.5, end=1.25)
    alone = look(sound[8000:20000], model, processor)
    assert part.seconds == 0.75 and part.text == alone.text
    np.testing.assert_array_equal(part.maps["alignment"].weights, alone.maps["alignment"].weights)


def test_what_cannot_be_is_refused_in_words():
    model, processor = las()
    with pytest.raises(ValueError, match=r"start=3, end=None: a part of 0 to 1\.00 s"):
        look(wave(1.0), model, processor, start=3.0)
    with pytest.raises(ValueError, match=r"audio: 40\.0 s, and the model takes 15 s at once; choose a part"):
        look(wave(40.0), model, processor)
    with pytest.raises(ValueError, match="processor=None"):
        look(wave(1.0), model)
    with pytest.raises(ValueError, match="of a LasForConditionalGeneration none"):
        look(wave(1.0), model, processor, task="caption")
    seen = look(wave(1.0), model, processor)
    with pytest.raises(ValueError, match="layer=0: LasForConditionalGeneration has alignment"):
        seen.map(0)
    with pytest.raises(ValueError, match="head=2: alignment has the heads 0 to 1, or 'mean'"):
        seen.map("alignment").of_head(2)
    with pytest.raises(ValueError, match="what attends in alignment are tokens"):
        seen.map("alignment").query_at(0.5)
    sounds, extractor = tagger()
    with pytest.raises(ValueError, match="text is for models that write"):
        look(wave(0.4), sounds, extractor, text="a")
    with pytest.raises(ValueError, match=r"layer=9: .* has layers\.0, layers\.1, rollout"):
        look(wave(0.4), sounds, extractor).map(9)


@pytest.mark.parametrize("overrides", [{"attention_kind": "none"}, {"ctc_weight": 1.0}])
def test_a_model_without_attention_says_so(overrides):
    _, processor = las()
    seen = look(wave(1.0), tiny_las(seed=1, **overrides), processor)
    assert not seen.maps and [word.start for word in seen.words] == [None] * len(seen.words)
    name, value = next(iter(overrides.items()))
    with pytest.raises(ValueError, match=rf"it has no attention to show \({name}=.?{value if name[0] == 'a' else 1}"):
        seen.map("alignment")


def test_maps_are_computed_when_asked_for_and_the_last_ones_kept(monkeypatch):
    made = []

    def maker(name):
        return lambda: made.append(name) or hand_made().maps["alignment"]

    maps = LazyMaps({name: maker(name) for name in "abc"})
    assert list(maps) == ["a", "b", "c"] and not made
    size = maps["a"].weights.nbytes
    assert size < KEPT and maps["a"] is maps["a"] and made == ["a"]
    monkeypatch.setattr("aural.look_maps.KEPT", 2 * size)
    for name in "bacb":  # a is used after b, so c takes the place of b
        maps[name]
    assert made == ["a", "b", "c", "b"]
    assert "d" not in maps and hand_made_patches().map_names == "layers.0, rollout"
