"""receipts() on a LAS whose every weight is set by hand, and against direct passes of tiny models of every kind."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from aural import (
    AuralProcessor,
    LasConfig,
    LasForConditionalGeneration,
    LogMelFeatureExtractor,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerForCTC,
    look,
    train_tokenizer,
)
from aural.cli import app
from aural.modeling.maps import as_grid, attention_rollout
from aural.receipt_curves import deletion_curve
from aural.receipt_readers import reader_of, silence
from aural.receipting import MOST, receipts
from tests.tiny import tiny_las
from tests.tiny_seq2seq import tiny_seq2seq
from tests.tiny_spectrogram import MELS, tiny_spectrogram
from tests.whole import save_folder, save_tagger, wave

RATE = 16_000
LOW, HIGH = 500, 5_000  # Hz, one in each of two mel bands


def tones(*parts: tuple[float, float]) -> np.ndarray:
    """Tones of (Hz, seconds) one after the other, 0 Hz being silence."""
    return np.concatenate(
        [0.1 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE) for hertz, seconds in parts]
    ).astype(np.float32)


def gates(linear_weight: torch.Tensor, linear_bias: torch.Tensor, candidate: torch.Tensor) -> None:
    """An LSTM without memory: its cell is tanh of `candidate` times the inputs, always let in, never kept."""
    hidden = len(candidate)
    linear_bias[:hidden], linear_bias[hidden : 2 * hidden], linear_bias[3 * hidden :] = 30, -30, 30
    linear_weight[2 * hidden : 3 * hidden, : candidate.shape[1]] = candidate


@pytest.fixture(scope="module")
def processor():
    extractor = LogMelFeatureExtractor(num_mel_bins=2, normalize="global", mean=16.0, std=3.0)
    return AuralProcessor(extractor, train_tokenizer(["low high"], "word"))


@pytest.fixture(scope="module")
def listener_of_two(processor):
    """After the start it listens to where the low band sounds and says "low"; after "low" to the high band, "high"."""
    low, high = processor.tokenizer.convert_tokens_to_ids(["low", "high"])
    vocabulary = len(processor.tokenizer)
    config = LasConfig(
        vocab_size=vocabulary,
        num_mel_bins=2,
        listener_hidden_size=2,
        listener_time_reductions=[2],
        attention_kind="dot",
        attention_size=2,
        speller_layers=1,
        speller_hidden_size=2,
        speller_embedding_size=vocabulary,
        speller_output_size=2,
    )
    model = LasForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        ahead = model.model.listener.layers[0].forward_lstm
        both_frames = torch.eye(2).repeat(1, 2)  # frame after frame: low, high, low, high
        gates(ahead.weight_ih_l0, ahead.bias_ih_l0, 1000 * both_frames)  # states tanh(±1): does a band sound?
        speller, attention = model.model.speller, model.model.speller.attention
        speller.embed_tokens.weight.copy_(torch.eye(vocabulary))
        asks = torch.full((2, vocabulary), -10.0)
        asks[0, config.decoder_start_token_id] = asks[1, low] = 10
        gates(speller.cells[0].weight_ih, speller.cells[0].bias_ih, asks)
        attention.query_proj[0].weight.copy_(20 * torch.eye(2))
        attention.query_proj[2].weight.copy_(40 * torch.eye(2))
        attention.key_proj[0].weight[:, :2] = 20 * torch.eye(2)
        attention.key_proj[2].weight.copy_(torch.eye(2))
        model.output_mlp[0].weight[:, 2:4] = 2 * torch.eye(2)
        model.lm_head.weight[low, 0] = model.lm_head.weight[high, 1] = 3
        model.lm_head.bias[:] = -30
        model.lm_head.bias[[low, high]] = 0
    return model


SOUND = ((0, 0.3), (LOW, 0.4), (0, 0.3), (HIGH, 0.4), (0, 0.5))
HEARD, NOT_HEARD = np.tanh(2 * np.tanh(1.0)) * 3, -np.tanh(2 * np.tanh(1.0)) * 3  # logits


def test_a_word_of_one_stretch_loses_all_when_it_is_muted_and_nothing_elsewhere(listener_of_two, processor):
    found = receipts(tones(*SOUND), listener_of_two, processor, text="low high", share=1.0, draws=20, fill="silence")
    spoken = np.log(1 / (1 + np.exp(NOT_HEARD - HEARD)))
    assert [item.text for item in found.items] == ["low", "high"]
    for item, (start, end) in zip(found.items, ((0.3, 0.7), (1.0, 1.4)), strict=True):
        assert item.score == pytest.approx(spoken, abs=1e-5)
        assert item.drop == pytest.approx(spoken - np.log(0.5), abs=1e-5)  # then neither is heard
        assert len(item.random_drops) == 20
        np.testing.assert_allclose(item.random_drops, 0, atol=1e-6)
        assert item.faithfulness == pytest.approx(item.drop, abs=1e-6) and item.share_below == 1.0
        ((first, last),) = found.evidence_seconds(item)
        assert (first, last) == pytest.approx((start, end), abs=0.03)  # a frame of 25 ms, a state of 20 ms


def test_a_word_whose_sound_is_not_there_has_no_evidence(listener_of_two, processor):
    asked = {"text": "low high", "share": 1.0, "fill": "silence", "threshold": 0.2}
    whole = receipts(tones(*SOUND), listener_of_two, processor, **asked)
    assert whole.without_evidence == ()
    cut = receipts(tones(*(part for part in SOUND if part[0] != HIGH)), listener_of_two, processor, **asked)
    assert cut.without_evidence == ("high",)
    assert cut.items[1].drop == pytest.approx(0, abs=1e-6)
    assert cut.items[1].score == pytest.approx(np.log(0.5), abs=1e-5)  # the text alone leaves it likely
    assert cut.items[0].drop > 0.3
    assert int(cut.items[1].evidence.sum()) == int(MOST * cut.items[1].evidence.size)  # it looked everywhere


def test_share_below_counts_equal_drops_half_and_without_draws_nothing_is_compared(listener_of_two, processor):
    item = receipts(tones(*SOUND), listener_of_two, processor, text="low", draws=0).items[0]
    assert item.random_drops == () and item.random_mean is item.random_spread is None
    assert item.faithfulness is None and item.share_below is None
    drawn = replace(item, drop=1.0, random_drops=(0.0, 1.0, 2.0, 0.5))
    assert drawn.share_below == pytest.approx(2.5 / 4)
    assert drawn.random_mean == pytest.approx(0.875) and drawn.faithfulness == pytest.approx(0.125)
    assert drawn.random_spread == pytest.approx(np.std([0, 1, 2, 0.5]))


def test_worth_is_the_confidence_left_elsewhere_less_that_without_the_evidence(listener_of_two, processor):
    item = receipts(tones(*SOUND), listener_of_two, processor, text="low", draws=0).items[0]
    asked = replace(item, score=-2.0, tokens=4, drop=6.0, random_drops=(0.0, 2.0))
    assert asked.confidence == pytest.approx(np.exp(-0.5))
    assert asked.worth == pytest.approx((np.exp(-0.5) + np.exp(-1.0)) / 2 - np.exp(-2.0))
    assert replace(asked, random_drops=()).worth == pytest.approx(np.exp(-0.5) - np.exp(-2.0))
    assert not replace(asked, threshold=asked.worth).without_evidence
    assert replace(asked, threshold=asked.worth + 1e-9).without_evidence
    unlikely = replace(asked, score=-80.0, drop=8.0)  # nats that are worth nothing
    assert unlikely.worth < 1e-6 and unlikely.without_evidence


@pytest.fixture(scope="module")
def letters():
    return AuralProcessor(LogMelFeatureExtractor(num_mel_bins=6), train_tokenizer(["abcd "]))


def muted(features, fill, rectangles):
    """Features `(frames, mels)` with `fill` in rectangles of (frames, mels), by plain loops."""
    copy = features.clone()
    for (first, last), (low, high) in rectangles:
        copy[first:last, low:high] = fill[low:high]
    return copy


def word_scores(model, features, labels, words):
    logits = model(features[None], torch.ones(1, len(features)), labels=torch.tensor([labels])).logits[0]
    chances = logits.log_softmax(-1)[torch.arange(len(labels)), labels]
    return [float(chances[first:last].sum()) for first, last in words]


@pytest.mark.parametrize("fill", ["mean", "silence"])
@torch.no_grad()
def test_the_drop_of_a_las_is_the_difference_of_two_passes(letters, fill):
    model, sound = tiny_las(seed=1, scale=0.5), wave(0.9, 3)
    found = receipts(sound, model, letters, text="ab d", share=0.6, fill=fill)
    features = letters.feature_extractor(sound, sampling_rate=RATE, return_tensors="pt")["input_features"][0]
    filled = features.mean(0) if fill == "mean" else silence(sound, letters.feature_extractor)
    labels, words = letters.tokenizer("ab d").input_ids, [(0, 2), (3, 4)]
    before = word_scores(model, features, labels, words)
    alignment = model.attention_maps(features[None], labels=torch.tensor([labels]))["speller"][0].mean(0)
    assert [item.text for item in found.items] == ["ab", "d"]
    for place, (item, (first, last)) in enumerate(zip(found.items, words, strict=True)):
        attention = alignment[first:last].mean(0)
        np.testing.assert_allclose(item.attention[0], attention, atol=1e-6)
        states = np.flatnonzero(item.evidence[0])
        order = attention.argsort(descending=True)[: len(states)].sort().values
        assert states.tolist() == order.tolist()
        copy = muted(features, filled, [((4 * state, 4 * state + 4), (0, 6)) for state in states])
        after = word_scores(model, copy, labels, words)[place]
        assert item.score == pytest.approx(before[place], abs=1e-4)
        assert item.drop == pytest.approx(before[place] - after, abs=1e-4)


def test_silence_is_what_the_features_of_a_silent_stretch_hold(letters):
    extractor = letters.feature_extractor
    sound = np.concatenate([wave(0.4, 1), np.zeros(6400, np.float32), wave(0.4, 2)])
    for normalize, options in (("utterance", {}), ("global", {"mean": 3.0, "std": 2.0}), (None, {})):
        extractor = LogMelFeatureExtractor(num_mel_bins=6, normalize=normalize, **options)
        features = extractor(sound, sampling_rate=RATE, return_tensors="pt")["input_features"][0]
        torch.testing.assert_close(silence(sound, extractor), features[60], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_drop_of_a_decoder_over_patches_is_the_difference_of_two_passes(letters):
    model, sound = tiny_seq2seq(seed=2), wave(0.4, 4)
    found = receipts(sound, model, letters, text="b ca", share=0.3)
    features = letters.feature_extractor(sound, sampling_rate=RATE, return_tensors="pt")["input_features"][0]
    labels, words = letters.tokenizer("b ca").input_ids, [(0, 1), (2, 4)]
    before = word_scores(model, features, labels, words)
    crossed = model.attention_maps(features[None], labels=torch.tensor([labels]))["decoder.1.cross"][0].mean(0)
    for place, (item, (first, last)) in enumerate(zip(found.items, words, strict=True)):
        grid = as_grid(crossed, model.config.encoder)[first:last].mean(0)
        np.testing.assert_allclose(item.attention, grid / grid.sum(), atol=1e-6)
        high, wide = model.config.encoder.patch_size
        down, along = model.config.encoder.patch_stride
        cells = [((c * along, c * along + wide), (r * down, r * down + high)) for r, c in np.argwhere(item.evidence)]
        after = word_scores(model, muted(features, features.mean(0), cells), labels, words)[place]
        assert item.score == pytest.approx(before[place], abs=1e-4)
        assert item.drop == pytest.approx(before[place] - after, abs=1e-4)
        assert np.isfinite(item.random_drops).all() and len(item.random_drops) == 8


def tagging(model_class, problem_type, **overrides):
    model = tiny_spectrogram(model_class, seed=5, position_frames=100, **overrides)
    model.config.problem_type = problem_type
    model.config.id2label = {0: "bell", 1: "drum", 2: "horn"}
    return model


@pytest.mark.parametrize("problem_type", ["single_label_classification", "multi_label_classification"])
@torch.no_grad()
def test_tags_are_asked_again_by_the_rollout_of_the_clip(problem_type):
    from aural import SpectrogramTransformerForAudioClassification as Classifier

    model, sound = tagging(Classifier, problem_type), wave(0.25, 6)
    extractor = LogMelFeatureExtractor(num_mel_bins=MELS)
    found = receipts(sound, model, extractor, text="horn, bell", share=0.4)
    assert [item.text for item in found.items] == ["horn", "bell"] and found.text == "horn, bell"
    features = extractor(sound, sampling_rate=RATE, return_tensors="pt")["input_features"]
    rollout = as_grid(attention_rollout(model.attention_maps(features).values())[0, :2].mean(0), model.config)
    several = problem_type == "multi_label_classification"

    def scores(batch):
        logits = model(batch).logits[0]
        return torch.nn.functional.logsigmoid(logits) if several else logits.log_softmax(-1)

    for item, label in zip(found.items, (2, 0), strict=True):
        np.testing.assert_allclose(item.attention, rollout / rollout.sum(), atol=1e-6)
        cells = [((c * 3, c * 3 + 6), (r * 2, r * 2 + 4)) for r, c in np.argwhere(item.evidence)]
        after = scores(muted(features[0], features[0].mean(0), cells)[None])
        assert item.drop == pytest.approx(float(scores(features)[label] - after[label]), abs=1e-4)
    heard = receipts(sound, model, extractor).items
    chances = scores(features).exp()
    expected = [int(i) for i in chances.argsort(descending=True) if chances[i] >= 0.5] or [int(chances.argmax())]
    names = list(model.config.id2label.values())
    assert [item.text for item in heard] == [names[i] for i in (expected if several else [int(chances.argmax())])]


@torch.no_grad()
def test_events_are_asked_again_at_their_moments():
    model = tagging(SpectrogramTransformerForAudioFrameClassification, None, pooling="mean")
    extractor, sound = LogMelFeatureExtractor(num_mel_bins=MELS), wave(0.25, 7)
    seen = look(sound, model, extractor)
    found = receipts(sound, model, extractor)
    assert found.items and [item.text for item in found.items] == [event.label for event in seen.events]
    features = torch.from_numpy(seen.features)[None]
    columns = model.config.time_patches(features.shape[1])
    for item, event in zip(found.items, seen.events, strict=True):
        edges = seen.tagging.edges
        at = [c for c in range(columns) if event.onset <= (edges[c] + edges[c + 1]) / 2 < event.offset]
        np.testing.assert_array_equal(item.evidence, np.isin(np.arange(columns), at)[None].repeat(3, axis=0))
        label = ["bell", "drum", "horn"].index(event.label)
        cells = [((c * 3, c * 3 + 6), (r * 2, r * 2 + 4)) for r, c in np.argwhere(item.evidence)]
        copy = muted(features[0], features[0].mean(0), cells)[None]
        before, after = (
            torch.nn.functional.logsigmoid(model(x).logits[0, at, label]).mean() for x in (features, copy)
        )
        assert item.score == pytest.approx(float(before), abs=1e-4)
        assert item.drop == pytest.approx(float(before - after), abs=1e-4)
    asked = receipts(sound, model, extractor, text="horn")
    assert {item.text for item in asked.items} == {"horn"}


def test_batches_and_seeds_decide_nothing_that_they_should_not(letters):
    model, sound = tiny_las(seed=1, scale=0.5), wave(0.9, 3)
    one, other, third, fourth = (
        receipts(sound, model, letters, text="ab d", share=0.3, seed=seed, batch_size=size)
        for seed, size in ((0, 32), (0, 1), (0, 5), (1, 32))
    )
    for item, *others in zip(one.items, other.items, third.items, strict=True):
        for same in others:
            np.testing.assert_allclose([item.drop, *item.random_drops], [same.drop, *same.random_drops], atol=1e-5)
    assert [item.drop for item in one.items] == pytest.approx([item.drop for item in fourth.items], abs=1e-5)
    assert any(a.random_drops != b.random_drops for a, b in zip(one.items, fourth.items, strict=True))


def test_without_a_text_the_models_own_is_asked(letters):
    model, sound = tiny_las(seed=4, scale=0.5), wave(0.6, 8)
    found = receipts(sound, model, letters)
    assert found.text == look(sound, model, letters).text
    assert [item.text for item in found.items] == found.text.split()


def test_what_cannot_be_asked_is_refused_in_words(letters):
    model, sound = tiny_las(scale=0.5), wave(0.6)
    with pytest.raises(ValueError, match="cannot write 'x'"):
        receipts(sound, model, letters, text="ab x")
    with pytest.raises(ValueError, match="text=' ' holds no word"):
        receipts(sound, model, letters, text=" ")
    with pytest.raises(ValueError, match="fill='loud' must be one of silence, mean"):
        receipts(sound, model, letters, fill="loud")
    with pytest.raises(ValueError, match="share=0 must be above 0"):
        receipts(sound, model, letters, share=0)
    with pytest.raises(ValueError, match="draws=-1 must be a whole number of at least 0"):
        receipts(sound, model, letters, draws=-1)
    with pytest.raises(ValueError, match="batch_size=0"):
        receipts(sound, model, letters, batch_size=0)
    with pytest.raises(ValueError, match="threshold=nan"):
        receipts(sound, model, letters, threshold=float("nan"))
    with pytest.raises(ValueError, match="processor=None"):
        receipts(sound, model)
    with pytest.raises(ValueError, match="no attention"):
        receipts(sound, tiny_las(attention_kind="none"), letters, text="ab")
    with pytest.raises(ValueError, match="ctc_weight=1"):
        receipts(sound, tiny_las(ctc_weight=1.0), letters, text="ab")
    tagger, extractor = tagging(SpectrogramTransformerForAudioFrameClassification, None), LogMelFeatureExtractor(MELS)
    with pytest.raises(ValueError, match="no label 'hron' among 3; near it are horn"):
        receipts(wave(0.2), tagger, extractor, text="bell, hron")


def test_ctc_is_refused_since_it_attends_to_nothing(letters):
    from aural import CtcTokenizer

    writer = tiny_spectrogram(SpectrogramTransformerForCTC, num_mel_bins=6, vocab_size=9)
    processor = AuralProcessor(letters.feature_extractor, CtcTokenizer.of(letters.tokenizer))
    with pytest.raises(ValueError, match="CTC head says its words at their moments and attends to nothing"):
        receipts(wave(0.3), writer, processor, text="ab")


def test_curves_start_at_nothing_and_their_area_is_that_of_direct_passes(letters):
    model, clips = tiny_las(seed=1, scale=0.5), [(wave(0.9, 3), "ab d"), (wave(0.7, 4), "c")]
    amounts = (0.0, 0.25, 0.5)
    curve = deletion_curve(clips, model, letters, amounts=amounts, draws=3, seed=2)
    assert curve.attended.shape == curve.at_random.shape == curve.attended_last.shape == (2, 3)
    for rows in (curve.attended, curve.at_random, curve.attended_last):
        np.testing.assert_allclose(rows[:, 0], 0, atol=1e-5)
    sound, text = clips[0]
    reader = reader_of(sound, model, letters, text)
    mean = np.mean([claim.attention for claim in reader.claims], axis=0)
    for order, row in ((np.argsort(-mean[0], kind="stable"), curve.attended), (None, curve.attended_last)):
        order = np.argsort(-mean[0], kind="stable")[::-1] if order is None else order
        sets = np.zeros((2, *mean.shape), dtype=bool)
        sets[1, 0, order[: round(0.5 * len(order))]] = True
        before, after = reader.scores_muted(sets).mean(axis=1)
        assert row[0, 2] == pytest.approx(before - after, abs=1e-5)
    gap = curve.attended - curve.at_random
    assert curve.area_between == pytest.approx(np.mean(0.25 * (gap[:, 0] / 2 + gap[:, 1] + gap[:, 2] / 2) / 0.5))
    low, high = curve.area_interval
    assert low <= curve.area_between <= high
    told = curve.told()
    assert json.loads(json.dumps(told)) == told and told["claims"] == 3 and told["clips"] == 2
    again = deletion_curve(clips, model, letters, amounts=amounts, draws=3, seed=2, batch_size=2)
    np.testing.assert_allclose(again.at_random, curve.at_random, atol=1e-5)
    with pytest.raises(ValueError, match="amounts="):
        deletion_curve(clips, model, letters, amounts=(0.5, 0.1))
    with pytest.raises(ValueError, match="draws=0"):
        deletion_curve(clips, model, letters, draws=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_folder(tmp_path_factory.mktemp("las"), seed=4, scale=0.5)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    import soundfile

    path = tmp_path_factory.mktemp("sound") / "said.wav"
    soundfile.write(path, wave(0.6, 8), RATE)
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["receipts", *map(str, arguments)])


def test_the_command_tells_what_the_function_tells(folder, file, tmp_path):
    result = run(file, "--model", folder, "--text", "ab c", "--seed", "3", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told == json.loads(json.dumps(receipts(file, folder, text="ab c", seed=3).told()))
    out, picture = tmp_path / "told.txt", tmp_path / "told.svg"
    result = run(file, "--model", folder, "--text", "ab c", "--out", out, "-o", picture)
    assert result.exit_code == 0 and result.stdout == ""
    lines = out.read_text().splitlines()
    assert lines[0] == "ab c" and lines[2].startswith("ab ") and lines[3].startswith("c ")
    item = receipts(file, folder, text="ab c").items[0]
    assert f" {item.drop:.2f} " in lines[2] and f"{item.random_mean:.2f} ± {item.random_spread:.2f}" in lines[2]
    assert lines[2].endswith("no evidence in the sound") is item.without_evidence
    assert picture.read_text().lstrip().startswith("<?xml")


def test_the_command_takes_taggers(file, tmp_path):
    folder = save_tagger(tmp_path / "tagger", seed=5, position_frames=100)
    result = run(file, "--model", folder, "--text", "drum", "--draws", "2", "-o", tmp_path / "tags.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "drum" and (tmp_path / "tags.png").stat().st_size > 10_000


def test_trouble_of_the_command_is_told_before_or_in_a_line(folder, file, tmp_path):
    unknown = run(file, "--model", folder, "-o", tmp_path / "a.gif").exception
    assert isinstance(unknown, ValueError) and "a picture's name ends in .png, .svg or .pdf" in str(unknown)
    missing = run(tmp_path / "none.wav", "--model", folder)
    assert missing.exit_code != 0 and isinstance(missing.exception, OSError)
    refused = run(file, "--model", folder, "--text", "xyz")
    assert isinstance(refused.exception, ValueError) and "cannot write 'x'" in str(refused.exception)
    assert isinstance(run(file, "--model", folder, "--fill", "loud").exception, ValueError)
    assert isinstance(run(file, "--model", folder, "--out", file).exception, ValueError)
