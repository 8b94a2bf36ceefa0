"""The atlas: heads set by hand get their names, numbers hold in batches, worth is what `tag` loses without a head."""

import copy
import json

import numpy as np
import pytest
import torch

from aural import Atlas, SpectrogramTransformerForAudioClassification, atlas, atlas_listening, tag
from aural.atlas_clips import KnownClip, known_clips
from aural.atlas_files import read_table, report_of, write_json, write_table
from aural.atlas_listening import cut_pieces, measure_heads
from aural.modeling.head_knockout import encoder_of
from aural.training.event_scores import Event, score_events
from aural.training.tag_scores import MULTI, SINGLE, score_tags
from tests.hand_set_heads import NAMES, extractor, hand_made_clip, hand_set_model
from tests.test_tagging import MOMENTS, changing
from tests.test_tagging import extractor as log_mels
from tests.tiny import tiny_las
from tests.tiny_spectrogram import tiny_spectrogram, tiny_writer

LABELS = {0: "bell", 1: "drum", 2: "horn"}


@pytest.fixture(scope="module")
def by_hand() -> Atlas:
    return atlas(hand_set_model(), [hand_made_clip(seed) for seed in range(8)], extractor())


def test_heads_set_by_hand_get_their_names(by_hand):
    assert by_hand.names == NAMES
    assert by_hand["layers.1", 3].name == "position"
    assert (by_hand.clips, by_hand.pieces, by_hand.source_clips, by_hand.sources) == (8, 8, 8, ("A", "B"))


def test_what_follows_content_has_1_what_follows_position_0_and_what_follows_neither_none(by_hand):
    content = {head.name: head.measures["content"] for head in by_hand}
    for name in ("content", "same source", "silence"):
        assert content[name] > 0.95, name
    for name in ("previous", "next", "same time", "same frequency", "position", "nearby"):
        assert content[name] < 0.02, name
    for name in ("everywhere", "itself", "class token"):
        assert np.isnan(content[name]), name


def test_measures_of_heads_set_by_hand(by_hand):
    measures = {head.name: head.measures for head in by_hand}
    assert measures["previous"]["previous"] == pytest.approx(1, abs=1e-5)
    assert measures["next"]["next"] == pytest.approx(1, abs=1e-5)
    assert measures["class token"]["class_token"] == pytest.approx(1, abs=1e-5)
    assert measures["everywhere"]["class_token"] == pytest.approx(1 / 25, abs=1e-5)
    assert measures["everywhere"]["entropy"] == pytest.approx(np.log(25), abs=1e-4)
    assert measures["everywhere"]["relative_entropy"] == pytest.approx(1, abs=1e-4)
    assert measures["same frequency"]["mels"] == pytest.approx(0, abs=1e-4)
    assert measures["same time"]["mels"] == pytest.approx(6, abs=1e-4)
    assert measures["same time"]["seconds"] == pytest.approx(0, abs=1e-4)
    assert measures["silence"]["silence"] == pytest.approx(1, abs=1e-5)
    assert measures["silence"]["silence_chance"] == pytest.approx(2 / 12, abs=1e-5)
    # Five columns each of A and B: of the nine others that are known, four are a column's own source's.
    assert measures["same source"]["own"] == pytest.approx(1, abs=1e-5)
    assert measures["same source"]["own:A"] == measures["same source"]["own:B"] == pytest.approx(1, abs=1e-5)
    assert measures["same source"]["chance"] == pytest.approx(4 / 9, abs=1e-5)
    assert measures["everywhere"]["own"] == pytest.approx(4 / 9, abs=1e-5)
    assert measures["same source"]["own_low"] > 0.1
    assert abs(measures["content"]["own"] - 4 / 9) < 0.05


def test_clips_that_nothing_is_known_of_leave_their_measures_open():
    unknown = KnownClip("clip", hand_made_clip(0).audio)
    found = atlas(hand_set_model(), unknown, extractor())
    assert {name for name, value in found["layers.0", 4].measures.items() if np.isnan(value)} >= {
        "own",
        "tags",
        "silence",
    }
    assert found["layers.0", 4].name == "content"  # that it follows its source nobody told
    assert found.notes[0].startswith("own source: no clip")
    assert "no clips with the model's own labels" in found.notes[1]
    with pytest.raises(ValueError, match="measure='length' must be one of seconds, "):
        found.grid("length")


@pytest.mark.parametrize("options", [{}, {"pooling": "mean", "position_kind": "rotary"}])
def test_measures_of_clips_in_a_padded_batch_are_those_alone(monkeypatch, options):
    model, features = tiny_spectrogram(MOMENTS, position_frames=60, **options), log_mels()
    events = (Event("a", 0.0, 0.1), Event("b", 0.15, 0.3))
    pieces = [
        piece
        for seconds in (0.5, 0.3, 0.35)
        for piece in cut_pieces("clip", changing(seconds), events, model, features)
    ]
    batches = []
    monkeypatch.setattr(atlas_listening, "read_maps", lambda *a: batches.append(len(a[1])) or read(*a))
    together = measure_heads(model, features, pieces, "ab", 0)
    monkeypatch.setattr(atlas_listening, "WEIGHTS_AT_ONCE", 1)
    alone = measure_heads(model, features, pieces, "ab", 0)
    assert batches == [6, 2, 2, 2]  # every clip beside its twin
    assert together.keys() == alone.keys()
    assert np.isfinite(together["own"]).any()
    for name, values in together.items():
        np.testing.assert_allclose(values, alone[name], atol=1e-5, err_msg=name)


read = atlas_listening.read_maps


def test_a_clip_that_is_longer_than_the_model_hears_is_cut_and_its_events_with_it():
    model, features = tiny_spectrogram(MOMENTS), log_mels()  # of 20 frames, 0.2 s
    events = (Event("a", 0.1, 0.3), Event("b", 0.45, 0.5))
    pieces = cut_pieces("clip", changing(0.5), events, model, features)
    assert [each.events for each in pieces[:2]] == [
        (Event("a", 0.1, 0.2),),
        (Event("a", 0.0, pytest.approx(0.1)),),
    ]
    assert pieces[2].events == (Event("b", pytest.approx(0.05), pytest.approx(0.1)),)
    assert len(pieces) == 3
    with pytest.raises(ValueError, match=r"clip: .* has no offset"):
        cut_pieces("clip", changing(0.5), (Event("a", 0.1, None),), model, features)


def labelled(labels: list[tuple[str, ...]]) -> list[KnownClip]:
    return [
        KnownClip(f"test {i}", changing(0.2 + 0.02 * i, i), tuple(Event(label, 0.05, 0.1) for label in each))
        for i, each in enumerate(labels)
    ]


def silenced(model, layer, head):
    changed = copy.deepcopy(model)
    with torch.no_grad():
        encoder_of(changed).layers[layer].attention.o_proj.weight[:, 8 * head : 8 * head + 8] = 0
    return changed


def test_a_heads_worth_is_what_tags_and_onsets_lose_without_it():
    model, features = tiny_spectrogram(MOMENTS, id2label=LABELS), log_mels()
    tests = labelled([("bell",), ("bell", "drum"), ("horn",), ("drum", "horn"), ("bell", "drum", "horn"), ("drum",)])
    found = atlas(model, changing(0.3), features, tests, threshold=0.6, seed=3)
    present = [[float(label in {e.label for e in clip.events}) for label in LABELS.values()] for clip in tests]

    def scores(of):
        heard = tag([clip.audio for clip in tests], of, features)
        tags = score_tags(present, [each.clip_scores for each in heard], list(LABELS.values()), MULTI, seed=3)
        events = score_events(
            [clip.events for clip in tests], [each.events(0.6) for each in heard], list(LABELS.values()), seed=3
        )
        return tags, events

    tags, events = scores(model)
    assert found.scores["map"] == pytest.approx(tags["map"])
    assert found.scores["map_interval"] == pytest.approx(tags["map_interval"])
    assert found.scores["event_f1_micro"] == pytest.approx(events["event_f1_micro"])
    assert found.scores["event_f1_micro_interval"] == pytest.approx(events["event_f1_micro_interval"])
    assert found.tests == 6
    drops = []
    for layer in range(2):
        for head in range(2):
            tags_without, events_without = scores(silenced(model, layer, head))
            measures = found[f"layers.{layer}", head].measures
            drops += [measures["tags"], measures["onsets"]]
            assert measures["tags"] == pytest.approx(tags["map"] - tags_without["map"], abs=1e-5)
            expected = events["event_f1_micro"] - events_without["event_f1_micro"]
            assert measures["onsets"] == pytest.approx(expected, abs=1e-5)
            assert measures["tags_low"] <= measures["tags"] + 0.2 and measures["tags_high"] >= measures["tags"] - 0.2
    assert np.abs(drops).max() > 0.01


def test_of_a_model_of_one_label_the_accuracy_is_lost_and_onsets_are_not_told():
    model = tiny_spectrogram(SpectrogramTransformerForAudioClassification, id2label=LABELS)
    tests = labelled([(label,) for label in [*LABELS.values()] * 4])
    found = atlas(model, changing(0.3), log_mels(), tests)
    labels = [list(LABELS.values()).index(clip.events[0].label) for clip in tests]
    heard = np.stack([each.clip_scores for each in tag([clip.audio for clip in tests], model, log_mels())])
    assert found.scores["accuracy"] == score_tags(labels, heard, list(LABELS.values()), SINGLE)["accuracy"]
    assert np.isfinite(found.grid("tags")).all()
    assert np.isnan(found.grid("onsets")).all()
    assert any(note.startswith("onsets: the model scores whole clips") for note in found.notes)
    with pytest.raises(ValueError, match="test 0 has bell, drum; needed is one label of bell, drum, horn"):
        atlas(model, changing(0.3), log_mels(), labelled([("bell", "drum")]))


def test_models_that_write_are_mapped_and_say_what_they_cannot_tell():
    model = tiny_writer(encoder={"pooling": "cls"})
    model.train()
    found = atlas(model, [changing(0.3), changing(0.4, 1)], log_mels(), labelled([("bell",)]))
    assert model.training  # as it was
    assert found.shape == (2, 2)
    assert found.tests == 0
    assert any("ForConditionalGeneration scores no sounds" in note for note in found.notes)
    assert np.isfinite(found.grid("seconds")).all()


def test_a_table_and_a_report_hold_every_number(by_hand, tmp_path):
    write_table(by_hand, tmp_path / "heads.csv")
    back = read_table(tmp_path / "heads.csv")
    assert [(head.layer, head.head, head.name) for head in back] == [(h.layer, h.head, h.name) for h in by_hand]
    for head, kept in zip(back, by_hand, strict=True):
        assert head.measures.keys() == kept.measures.keys()
        np.testing.assert_array_equal(list(head.measures.values()), list(kept.measures.values()))  # NaN where NaN
    write_json(by_hand, tmp_path / "heads.json", "clips by hand")
    report = json.loads((tmp_path / "heads.json").read_text())
    assert report == json.loads(json.dumps(report_of(by_hand, "clips by hand")))
    assert (report["clips"], report["about"], report["names"]["previous"]) == (8, "clips by hand", 1)
    assert report["heads"][9]["name"] == "position"
    assert report["heads"][2]["content"] is None  # not measured
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="a table of heads with layer, head, name"):
        read_table(tmp_path / "other.csv")


def test_the_same_seed_gives_the_same_atlas_and_progress_is_told():
    model, said = tiny_spectrogram(MOMENTS, id2label=LABELS), []
    tests = labelled([("bell",), ("drum",)])
    found = [atlas(model, changing(0.15), log_mels(), tests, progress=lambda *step: said.append(step)) for _ in "ab"]
    for name in found[0].heads[0].measures:
        np.testing.assert_array_equal(found[0].grid(name), found[1].grid(name))
    assert said[: len(said) // 2] == [("clips", 1, 1), *(("heads", done, 4) for done in range(5))]


def test_what_cannot_be_mapped_is_named():
    model = tiny_spectrogram(MOMENTS)
    with pytest.raises(ValueError, match="clips is empty"):
        atlas(model, [], log_mels())
    with pytest.raises(ValueError, match="feature_extractor=None"):
        atlas(model, changing(0.3))
    with pytest.raises(TypeError, match="has no encoder of patches"):
        atlas(tiny_las(), changing(0.3), log_mels())
    with pytest.raises(ValueError, match="test 0 has bell; needed is at least one label of"):
        atlas(model, changing(0.3), log_mels(), labelled([("bell",)]))
    assert [clip.name for clip in known_clips(["a.wav", np.zeros(3)])] == ["a.wav", "audio 1"]
