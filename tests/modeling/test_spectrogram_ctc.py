"""The CTC head of the spectrogram transformer: moments, padding, loss; against formulas and torch's own loss."""

import copy

import pytest
import torch
from transformers import AutoModelForCTC

from aural import SpectrogramTransformerForAudioClassification, SpectrogramTransformerForCTC
from tests.tiny_spectrogram import MELS, spectrograms, tiny_spectrogram, tiny_spectrogram_config

VOCABULARY = 9
LENGTHS = [24, 15, 6]
LABELS = torch.tensor([[5, 5, 6, 2], [7, 4, 2, -100], [2, -100, -100, -100]])


def tiny_ctc(**overrides):
    return tiny_spectrogram(SpectrogramTransformerForCTC, **{"vocab_size": VOCABULARY, **overrides})


@pytest.fixture(scope="module")
def model():
    return tiny_ctc()


@pytest.mark.parametrize("positions", ["joint", "factorized", "sinusoidal", "rotary"])
@pytest.mark.parametrize("padding", [0.0, 7.0])
def test_a_clip_in_a_batch_says_what_it_says_alone_whatever_the_padding_holds(positions, padding):
    model = tiny_ctc(position_kind=positions)
    features, mask = spectrograms(LENGTHS)
    together = model(features.masked_fill(mask[..., None] == 0, padding), mask)
    for row, length in enumerate(LENGTHS):
        alone = model(features[row : row + 1, :length])
        columns = model.config.time_patches(length)
        assert alone.logits.shape == (1, columns, VOCABULARY)
        torch.testing.assert_close(together.logits[row, :columns], alone.logits[0], atol=1e-5, rtol=0)
        assert together.frame_mask[row].tolist() == [True] * columns + [False] * (together.logits.shape[1] - columns)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("blank", [0, 8])
def test_padding_says_blank_and_nothing_else_in_every_floating_point_type(dtype, blank):
    model = copy.deepcopy(tiny_ctc(pad_token_id=blank)).to(dtype)
    features, mask = spectrograms([24, 9, 24])
    mask[2] = 0  # a clip without a frame
    outputs = model(features.to(dtype), mask)
    beyond = outputs.logits[~outputs.frame_mask]
    assert beyond.dtype == dtype
    assert len(beyond) == 5 + 7
    assert beyond.isfinite().all()
    assert (beyond.argmax(-1) == blank).all()
    for log_probs in (beyond.log_softmax(-1), beyond.float().log_softmax(-1)):
        assert (log_probs[:, blank] == 0).all()
        assert (log_probs.exp().sum(-1) == 1).all()


def test_a_moment_is_the_mean_over_frequency_through_the_head(model):
    features, mask = spectrograms([24])
    encoded = model.spectrogram_transformer(features, mask).last_hidden_state
    tokens = model.config.num_class_tokens
    grid = encoded[:, tokens:].unflatten(1, (model.config.frequency_patches, -1))
    expected = grid.mean(1) @ model.ctc_head.weight.T + model.ctc_head.bias
    torch.testing.assert_close(model(features, mask).logits, expected, atol=1e-5, rtol=0)


def test_a_patch_of_full_height_gives_its_own_state():
    model = tiny_ctc(patch_size=[MELS, 4], patch_stride=[MELS, 4], num_class_tokens=0, pooling="mean")
    features, _ = spectrograms([20])
    states = model.spectrogram_transformer(features).last_hidden_state
    assert states.shape[1] == 5
    torch.testing.assert_close(model(features).logits, model.ctc_head(states), atol=1e-6, rtol=0)


def own_loss(model, logits, mask, labels):
    """-ln P of every text by torch, clip by clip."""
    total = torch.zeros(())
    for row, real, targets in zip(logits, mask, labels, strict=True):
        text = targets[(targets != -100) & (targets != 2)]
        log_probs = row[real].log_softmax(-1)[:, None]
        total = total + torch.nn.functional.ctc_loss(
            log_probs, text[None], [int(real.sum())], [len(text)], blank=0, reduction="sum"
        )
    return total


def test_the_loss_is_that_of_the_texts_without_their_end_over_the_labels(model):
    features, mask = spectrograms(LENGTHS)
    outputs = model(features, mask, labels=LABELS)
    expected = own_loss(model, outputs.logits, outputs.frame_mask, LABELS)
    torch.testing.assert_close(outputs.loss, expected / 8, atol=1e-5, rtol=1e-5)
    divided = model(features, mask, labels=LABELS, num_items_in_batch=torch.tensor(20)).loss
    torch.testing.assert_close(divided, expected / 20, atol=1e-5, rtol=1e-5)


def test_accumulated_batches_have_the_gradient_of_one(model):
    features, mask = spectrograms(LENGTHS)
    whole = copy.deepcopy(model)
    whole(features, mask, labels=LABELS, num_items_in_batch=8).loss.backward()
    parts = copy.deepcopy(model)
    for row, length in enumerate(LENGTHS):
        clip = features[row : row + 1, :length]
        parts(clip, mask[row : row + 1, :length], labels=LABELS[row : row + 1], num_items_in_batch=8).loss.backward()
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-4)


def test_every_weight_learns(model):
    learning = copy.deepcopy(model)
    features, mask = spectrograms(LENGTHS)
    learning(features, mask, labels=LABELS).loss.backward()
    assert [name for name, parameter in learning.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            [[5, 5, 5, 5, 2]],
            r"labels row 0 cannot be aligned by CTC: its 4 tokens need 7 frames .*, the clip has 4 ",
        ),
        ([[5, 6, 7, 5, 6, 2]], "its 5 tokens need 5 frames"),
        ([[5, 0, 2]], "labels hold 0, the CTC blank"),
        ([[5, 9, 2]], r"labels\[0, 1\]=9 is outside the vocabulary: allowed are 0 to 8"),
        ([5, 2], r"labels \(2,\) must be \(batch=1, targets\)"),
    ],
)
def test_texts_that_cannot_be_said_are_refused_by_name(model, labels, message):
    features, mask = spectrograms([15])
    assert model.config.time_patches(15) == 4
    with pytest.raises(ValueError, match=message):
        model(features, mask, labels=torch.tensor(labels))


def test_a_text_for_a_clip_without_a_frame_is_refused(model):
    features, mask = spectrograms([15, 15])
    mask[1] = 0
    with pytest.raises(ValueError, match=r"labels row 1 cannot be aligned by CTC.* the clip has 0"):
        model(features, mask, labels=torch.tensor([[5, 2], [5, 2]]))


@pytest.mark.parametrize("share", ["patchout_time", "patchout_unstructured"])
def test_patchout_that_leaves_out_moments_is_refused(share):
    with pytest.raises(ValueError, match=f"{share}=0.2 must be 0: a CTC head needs every moment"):
        SpectrogramTransformerForCTC(tiny_spectrogram_config(vocab_size=VOCABULARY, **{share: 0.2}))


def test_patchout_of_rows_leaves_every_moment_and_learns_from_the_rest():
    model = tiny_ctc(patchout_frequency=0.4).train()
    features, mask = spectrograms(LENGTHS)
    torch.manual_seed(0)
    outputs = model(features, mask, labels=LABELS)
    columns = [model.config.time_patches(length) for length in LENGTHS]
    assert outputs.frame_mask.sum(-1).tolist() == columns
    expected = own_loss(model, outputs.logits, outputs.frame_mask, LABELS) / 8
    torch.testing.assert_close(outputs.loss, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(outputs.logits, model.eval()(features, mask).logits)


def test_gradient_checkpointing_changes_no_gradient():
    plain = tiny_ctc(head_dropout=0.0).train()
    saving = copy.deepcopy(plain)
    saving.gradient_checkpointing_enable()
    features, mask = spectrograms(LENGTHS)
    for model in (plain, saving):
        model(features, mask, labels=LABELS).loss.backward()
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=1e-5)


def test_dropout_stands_before_the_head_in_training_alone():
    model = tiny_ctc(head_dropout=0.5)
    features, _ = spectrograms([24])
    assert torch.equal(model(features).logits, model(features).logits)
    model.train()
    assert not torch.equal(model(features).logits, model(features).logits)


def test_attention_is_that_of_the_encoder_and_may_be_asked_for(model):
    features, mask = spectrograms(LENGTHS)
    maps = model.attention_maps(features, mask, ["layers.1"])
    assert list(maps) == ["layers.1"]
    assert torch.equal(maps["layers.1"], model.spectrogram_transformer.attention_maps(features, mask)["layers.1"])
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    outputs = eager(features, mask, output_attentions=True, output_hidden_states=True)
    torch.testing.assert_close(outputs.attentions[1], maps["layers.1"], atol=1e-6, rtol=0)
    assert len(outputs.hidden_states) == 3


def test_a_saved_model_loads_by_auto_class_with_the_same_logits(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCTC.from_pretrained(tmp_path)
    assert type(loaded) is SpectrogramTransformerForCTC
    features, mask = spectrograms(LENGTHS)
    assert torch.equal(loaded(features, mask).logits, model(features, mask).logits)
    again = model(features, mask, return_dict=False)
    assert torch.equal(again[0], loaded(features, mask).logits)


def test_the_encoder_of_a_tagger_is_taken_over_and_that_of_a_ctc_model_by_a_tagger(tmp_path):
    tagger = tiny_spectrogram(pooling="mean", num_class_tokens=0)
    tagger.save_pretrained(tmp_path)
    model, info = SpectrogramTransformerForCTC.from_pretrained(
        tmp_path, vocab_size=VOCABULARY, output_loading_info=True
    )
    assert sorted(info["missing_keys"]) == ["ctc_head.bias", "ctc_head.weight"]
    features, mask = spectrograms(LENGTHS)
    expected = tagger.spectrogram_transformer(features, mask).last_hidden_state
    assert torch.equal(model.eval().spectrogram_transformer(features, mask).last_hidden_state, expected)
    model.save_pretrained(tmp_path / "ctc")
    back = SpectrogramTransformerForAudioClassification.from_pretrained(tmp_path / "ctc").eval()
    assert torch.equal(back.spectrogram_transformer(features, mask).last_hidden_state, expected)


def test_a_folder_without_a_vocabulary_is_no_recogniser(tmp_path):
    tiny_spectrogram().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="vocab_size=None: a CTC head needs the number of symbols"):
        AutoModelForCTC.from_pretrained(tmp_path)
