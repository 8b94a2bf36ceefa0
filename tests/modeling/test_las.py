"""LasForConditionalGeneration: padding, labels, losses, gradients, saving, errors."""

import math

import pytest
import torch

from aural import LasForConditionalGeneration, LasModel
from aural.modeling.las_loss import Heard, las_loss
from tests.tiny import MELS, VARIANTS, VOCABULARY, clips, tiny_config, tiny_las

KINDS = list(VARIANTS)
LABELS = torch.tensor([[4, 5, 5, 6, 2], [7, 8, 2, -100, -100], [6, 2, -100, -100, -100]])


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_change_logits_whatever_it_holds(kind):
    model = tiny_las(scale=0.5, **VARIANTS[kind])
    lengths = [41, 22, 3]
    features, mask = clips(lengths)
    expected = model(features, mask, labels=LABELS, output_attentions=True)
    for garbage in (1e4, float("nan"), float("inf")):
        noisy = features.masked_fill(mask[..., None] == 0, garbage)
        torch.testing.assert_close(model(noisy, mask, labels=LABELS).logits, expected.logits, atol=1e-5, rtol=0)
    for row, length in enumerate(lengths):
        alone = model(features[row : row + 1, :length], labels=LABELS[row : row + 1])
        torch.testing.assert_close(alone.logits[0], expected.logits[row], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["dot", "location"])
def test_alignment_sums_to_one_over_real_frames_and_is_zero_on_padding(kind):
    model = tiny_las(**VARIANTS[kind])
    features, mask = clips([41, 22, 3])
    alignment = model(features, mask, labels=LABELS, output_attentions=True).cross_attentions[0]
    assert alignment.shape == (3, 1, 5, 11)  # ceil(41 / 4) listener frames
    torch.testing.assert_close(alignment.sum(-1), torch.ones(3, 1, 5))
    assert (alignment[1, ..., 6:] == 0).all()
    assert (alignment[2, ..., 1:] == 0).all()


def test_loss_is_the_mean_of_the_unshifted_labels_log_probabilities():
    model = tiny_las()
    features, mask = clips([20, 16, 8])
    output = model(features, mask, labels=LABELS)
    log_probs = output.logits.log_softmax(-1)
    picked = [log_probs[b, t, LABELS[b, t]] for b in range(3) for t in range(5) if LABELS[b, t] != -100]
    torch.testing.assert_close(output.loss, -torch.stack(picked).mean())


def test_decoder_inputs_are_the_start_token_then_labels_without_the_last():
    model = tiny_las()
    features, mask = clips([20, 16, 8])
    inputs = torch.tensor([[1, 4, 5, 5, 6], [1, 7, 8, 2, 0], [1, 6, 2, 0, 0]])
    expected = model(features, mask, decoder_input_ids=inputs).logits
    assert torch.equal(model(features, mask, labels=LABELS).logits, expected)


def test_a_batch_without_labels_to_count_costs_nothing():
    features, mask = clips([20])
    assert tiny_las()(features, mask, labels=torch.full((1, 3), -100)).loss.item() == 0


def test_label_smoothing_is_pytorchs():
    model = tiny_las(label_smoothing=0.2)
    features, mask = clips([20, 16, 8])
    output = model(features, mask, labels=LABELS)
    expected = torch.nn.functional.cross_entropy(output.logits.flatten(0, 1), LABELS.flatten(), label_smoothing=0.2)
    torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize("ctc_weight", [0.0, 0.4])
def test_accumulating_four_batches_equals_one_of_four_times_the_size(ctc_weight):
    model = tiny_las(ctc_weight=ctc_weight, scale=0.3)
    features, mask = clips([40, 31, 17, 28])
    labels = torch.tensor([[4, 5, 2, -100], [4, 2, -100, -100], [7, 8, 5, 2], [2, -100, -100, -100]])
    items = (labels != -100).sum()
    model(features, mask, labels=labels).loss.backward()
    whole = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    for row in range(4):
        one = slice(row, row + 1)
        model(features[one], mask[one], labels=labels[one], num_items_in_batch=items).loss.backward()
    parts = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert len(parts) == len(whole)
    for mine, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-6, rtol=1e-4)


def test_joint_loss_is_the_weighted_sum_of_speller_and_ctc():
    model = tiny_las(ctc_weight=0.4)
    features, mask = clips([40, 32, 20])
    output = model(features, mask, labels=LABELS)
    listened = model.model.listen(features, mask)
    log_probs = model.ctc_head(listened.ctc_states).log_softmax(-1)
    targets = [[4, 5, 5, 6], [7, 8], [6]]  # without <eos>
    frames = listened.ctc_mask.sum(-1)
    ctc = torch.stack(
        [
            torch.nn.functional.ctc_loss(log_probs[b, :f], torch.tensor(text), (f,), (len(text),), reduction="sum")
            for b, (text, f) in enumerate(zip(targets, frames.tolist(), strict=True))
        ]
    ).sum()
    speller = torch.nn.functional.cross_entropy(output.logits.flatten(0, 1), LABELS.flatten(), reduction="sum")
    torch.testing.assert_close(output.loss, (0.6 * speller + 0.4 * ctc) / 10, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_initialised_and_gets_a_gradient(kind):
    torch.manual_seed(0)
    weights = {"ctc_weight": 0.3, "phoneme_vocab_size": 7, "phoneme_ctc_weight": 0.5}
    model = LasForConditionalGeneration(tiny_config(**VARIANTS[kind], **weights))
    features, mask = clips([40, 32, 20])
    phonemes = torch.tensor([[4, 5, 6], [4, -100, -100], [6, 5, -100]])
    slots = model.config.memory_slots  # all of them, so that each one learns
    model(features, mask, labels=LABELS, phoneme_targets=phonemes, memory_slots=slots).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.isfinite().all(), name
        assert parameter.abs().max() < 2, name  # nothing left as memory held it
        assert ("bias" in name) == bool((parameter == 0).all()), name
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_two_models_of_one_seed_are_equal_and_of_two_seeds_are_not():
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(LasForConditionalGeneration(tiny_config()).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    changed = [name for name in states[0] if not torch.equal(states[0][name], states[2][name])]
    assert changed == [name for name in states[0] if "bias" not in name]


@pytest.mark.parametrize("kind", KINDS)
def test_loss_of_a_tiny_batch_falls_to_near_zero(kind):
    torch.manual_seed(0)
    model = LasForConditionalGeneration(tiny_config(**VARIANTS[kind], ctc_weight=0.2, speller_hidden_size=32))
    features, mask = clips([40, 32, 20])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(400):
        loss = model(features, mask, labels=LABELS).loss
        if loss.item() < 0.02:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    model.eval()
    written = model.generate(features, attention_mask=mask, num_beams=1)
    assert written.tolist() == [[1, 4, 5, 5, 6, 2], [1, 7, 8, 2, 0, 0], [1, 6, 2, 0, 0, 0]]


def test_saved_and_loaded_model_is_bit_equal(tmp_path):
    model = tiny_las(ctc_weight=0.3)
    features, mask = clips([20, 16, 8])
    model.save_pretrained(tmp_path)
    loaded = LasForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(features, mask, labels=LABELS).logits, model(features, mask, labels=LABELS).logits)
    assert loaded.generation_config.num_beams == 4
    assert loaded.generation_config.max_tokens_per_second == 30


def test_a_head_on_a_base_models_folder_gets_beams_and_length_limit(tmp_path):
    tiny_las().model.save_pretrained(tmp_path / "base")
    head = LasForConditionalGeneration.from_pretrained(tmp_path / "base")
    assert (head.generation_config.num_beams, head.generation_config.max_length) == (4, 4096)
    head.save_pretrained(tmp_path / "head")
    loaded = LasForConditionalGeneration.from_pretrained(tmp_path / "head")
    assert (loaded.generation_config.num_beams, loaded.generation_config.max_tokens_per_second) == (4, 30)


def test_base_model_loads_from_the_heads_folder(tmp_path):
    model = tiny_las()
    model.save_pretrained(tmp_path)
    base = LasModel.from_pretrained(tmp_path).eval()
    features, mask = clips([20, 8])
    inputs = torch.tensor([[1, 4], [1, 5]])
    expected = model.model(features, mask, inputs).last_hidden_state
    assert torch.equal(base(features, mask, inputs).last_hidden_state, expected)


def test_resizing_the_vocabulary_keeps_what_was_known():
    model = tiny_las(ctc_weight=0.3)
    features, mask = clips([40, 32, 20])
    before = model(features, mask, labels=LABELS).logits
    model.resize_token_embeddings(VOCABULARY + 3)
    after = model(features, mask, labels=LABELS)
    torch.testing.assert_close(after.logits[..., :VOCABULARY], before)
    assert model.ctc_head.out_features == model.config.vocab_size == VOCABULARY + 3
    assert after.loss.isfinite()


def test_scheduled_sampling_feeds_the_models_own_draws_in_training_only():
    model = tiny_las(scheduled_sampling=1.0)
    features, mask = clips([20, 16, 8])
    taught = model(features, mask, labels=LABELS).logits
    assert torch.equal(model(features, mask, labels=LABELS).logits, taught)  # eval: the text is fed
    model.train()
    torch.manual_seed(0)
    sampled = model(features, mask, labels=LABELS).logits
    torch.testing.assert_close(sampled[:, 0], taught[:, 0])  # the first input is the start token either way
    assert not torch.allclose(sampled[:, 1:], taught[:, 1:], atol=1e-3)


def test_an_own_draw_that_equals_the_text_gives_the_taught_logits():
    model = tiny_las(scheduled_sampling=1.0).train()
    torch.nn.init.zeros_(model.lm_head.weight)
    model.lm_head.bias.data = torch.full((VOCABULARY,), -1e4)
    model.lm_head.bias.data[5] = 0  # whatever was heard, it draws 5
    features, mask = clips([20])
    labels = torch.tensor([[5, 5, 5, 5]])
    states = []
    for sampling in (0.0, 1.0):
        model.config.scheduled_sampling = sampling
        states.append(model(features, mask, labels=labels, output_hidden_states=True).decoder_hidden_states[-1])
    torch.testing.assert_close(states[0], states[1])


def test_dropout_and_spec_augment_act_in_training_only():
    model = tiny_las(apply_spec_augment=True, mask_time_prob=0.5, mask_time_length=3, listener_dropout=0.3)
    features, mask = clips([40, 32, 20])
    first, second = (model(features, mask, labels=LABELS).logits for _ in range(2))
    assert torch.equal(first, second)
    model.train()
    assert not torch.equal(model(features, mask, labels=LABELS).logits, first)


def test_hidden_states_can_be_asked_for_in_the_config():
    model = tiny_las(output_hidden_states=True)
    features, mask = clips([20, 16, 8])
    output = model(features, mask, labels=LABELS)
    assert len(output.encoder_hidden_states) == 2
    assert [states.shape[-1] for states in output.decoder_hidden_states] == [7, 12, 12]
    torch.testing.assert_close(output.encoder_hidden_states[-1], output.encoder_last_hidden_state)


def test_listener_states_may_come_as_a_tuple():
    model = tiny_las()
    features, mask = clips([20, 16, 8])
    expected = model(features, mask, labels=LABELS)
    states = (expected.encoder_last_hidden_state,)
    written = model.generate(encoder_outputs=states, attention_mask=mask)
    assert written.tolist() == model.generate(features, attention_mask=mask).tolist()
    with pytest.raises(ValueError, match="encoder_outputs hold no ctc_states"):
        tiny_las(ctc_weight=0.3)(encoder_outputs=states, attention_mask=mask, labels=LABELS)
    again = model(encoder_outputs=states, attention_mask=mask, decoder_input_ids=torch.tensor([[1, 4]] * 3))
    torch.testing.assert_close(again.logits[0], expected.logits[0, :2])


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_loaded_when_they_are_used_give_the_same_logits(kind):
    from accelerate import cpu_offload

    model = tiny_las(**VARIANTS[kind])
    features, mask = clips([20, 16, 8])
    expected = model(features, mask, labels=LABELS).logits
    offloaded = cpu_offload(model, execution_device=torch.device("cpu"))
    torch.testing.assert_close(offloaded(features, mask, labels=LABELS).logits, expected)


def test_the_phonemes_ctc_loss_is_added_with_its_weight():
    model = tiny_las(phoneme_vocab_size=7, phoneme_ctc_weight=0.5)
    features, mask = clips([40, 32, 20])
    phonemes = torch.tensor([[4, 6, 6, 5, 2], [5, 4, 2, -100, -100], [6, 2, -100, -100, -100]])
    listened = model.model.listen(features, mask)
    log_probs = model.phoneme_head(listened.ctc_states).log_softmax(-1)
    texts = [[4, 6, 6, 5], [5, 4], [6]]  # without <eos>
    expected = model(features, mask, labels=LABELS).loss
    for row, (text, frames) in enumerate(zip(texts, listened.ctc_mask.sum(-1).tolist(), strict=True)):
        path = (log_probs[row, :frames], torch.tensor(text), (frames,), (len(text),))
        expected = expected + 0.5 * torch.nn.functional.ctc_loss(*path, reduction="sum") / 10
    loss = model(features, mask, labels=LABELS, phoneme_targets=phonemes).loss
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=r"phoneme_targets\[0, 1\]=7 .* 0 to 6"):
        model(features, mask, labels=LABELS, phoneme_targets=phonemes.where(phonemes != 6, 7))
    with pytest.raises(ValueError, match="phoneme_targets row 2 cannot be aligned"):
        model(*clips([40, 32, 4]), labels=LABELS[:, :2], phoneme_targets=phonemes[[0, 1, 1]])


def test_ctc_alone_trains_the_listener_and_leaves_the_speller_alone():
    torch.manual_seed(0)
    model = LasForConditionalGeneration(tiny_config(ctc_weight=1.0))
    features, mask = clips([40, 32, 20])
    taught = model.train()(features, mask, labels=LABELS)
    assert taught.logits is None
    torch.testing.assert_close(taught.loss, model.eval()(features, mask, labels=LABELS).loss)
    taught.loss.backward()
    for name, weight in model.named_parameters():
        asleep = name.startswith(("model.speller.", "output_mlp.", "lm_head."))
        assert (weight.requires_grad, weight.grad is not None) == (not asleep, not asleep), name


def test_guided_attention_is_tachibanas_penalty():
    model = tiny_las(guided_attention_sigma=0.3)
    features, mask = clips([40, 32, 20])
    output = model(features, mask, labels=LABELS, output_attentions=True)
    lengths, frames, penalty = [5, 3, 2], [10, 8, 5], 0.0
    for row, (targets, states) in enumerate(zip(lengths, frames, strict=True)):
        for n in range(targets):
            for t in range(states):
                away = (n + 0.5) / targets - (t + 0.5) / states
                weight = output.cross_attentions[0][row, 0, n, t].item()
                penalty += weight * (1 - math.exp(-(away**2) / (2 * 0.3**2)))
    guided = model(features, mask, labels=LABELS, guided_attention_weight=2.0)
    torch.testing.assert_close(guided.loss, output.loss + 2 * penalty / 10, rtol=1e-5, atol=1e-5)
    assert guided.cross_attentions is None  # nobody asked for them
    model.config.guided_attention_weight = 2.0
    assert torch.equal(model(features, mask, labels=LABELS).loss, output.loss)  # it leads in training alone
    torch.testing.assert_close(model.train()(features, mask, labels=LABELS).loss, guided.loss)


def test_several_ends_are_all_left_out_of_ctc_targets():
    one, two = tiny_las(ctc_weight=1.0), tiny_las(ctc_weight=1.0)
    two.config.eos_token_id = [2, 8]
    features, mask = clips([40])
    loss = one(features, mask, labels=torch.tensor([[4, 5, 2]])).loss
    torch.testing.assert_close(two(features, mask, labels=torch.tensor([[4, 5, 8]])).loss, loss)


@pytest.mark.parametrize(
    ("features", "mask", "labels", "message"),
    [
        (torch.randn(2, 20, MELS + 1), None, None, r"\(batch, frames, 6\)"),
        (torch.randn(20, MELS), None, None, r"\(batch, frames, 6\)"),
        (torch.randn(2, 0, MELS), None, None, "no frames"),
        (torch.randn(2, 20, MELS), torch.ones(2, 19), None, r"attention_mask \(2, 19\)"),
        (torch.randn(2, 20, MELS), torch.tensor([[1] * 20, [0] * 20]), None, "row 1 is all padding"),
        (torch.randn(1, 4, MELS), torch.tensor([[0, 0, 1, 1]]), None, "padded on the right"),
        (torch.randn(1, 20, MELS), None, torch.tensor([[4, VOCABULARY, 2]]), r"labels\[0, 1\]=9 .* 0 to 8"),
        (torch.randn(1, 20, MELS), None, torch.tensor([[-5, 2]]), r"labels\[0, 0\]=-5"),
        (torch.randn(1, 20, MELS), None, torch.tensor([4, 2]), r"labels \(2,\) must be \(batch=1, targets\)"),
        (torch.randn(1, 20, MELS), None, torch.tensor([[4], [2]]), r"labels \(2, 1\) must be \(batch=1, targets\)"),
        (torch.randn(1, 20, MELS), None, torch.zeros(1, 0), "at least one target"),
        (None, None, None, "input_features"),
    ],
)
def test_bad_input_is_refused_by_name(features, mask, labels, message):
    with pytest.raises(ValueError, match=message):
        tiny_las()(features, mask, labels=labels)


def test_targets_that_ctc_cannot_align_are_refused_by_row():
    model = tiny_las(ctc_weight=0.3)
    features, mask = clips([40, 16])  # 4 CTC states in the second row
    fits = torch.tensor([[4, 5, 6, 2, -100], [4, 5, 6, 7, 2]])
    assert model(features, mask, labels=fits).loss.isfinite()
    repeats = torch.tensor([[4, 5, 6, 2, -100], [4, 4, 6, 7, 2]])  # a blank between 4 and 4: five states
    with pytest.raises(ValueError, match=r"labels row 1 cannot be aligned.*4 tokens need 5 frames.*has 4"):
        model(features, mask, labels=repeats)
    with pytest.raises(ValueError, match="CTC blank"):
        model(features, mask, labels=torch.tensor([[4, 0, 6, 2], [4, 2, -100, -100]]))


def test_attention_maps_of_a_text_are_its_teacher_forced_alignment():
    model = tiny_las()
    features, mask = clips([20, 16, 8])
    expected = model(features, mask, labels=LABELS, output_attentions=True).cross_attentions[0]
    torch.testing.assert_close(model.attention_maps(features, mask, ["speller"], LABELS)["speller"], expected)
    with pytest.raises(ValueError, match="'speller'"):
        model.attention_maps(features, mask, [3])
    written = model.generate(features, attention_mask=mask)
    assert model.attention_maps(features, mask)["speller"].shape == (3, 1, written.shape[1] - 1, 5)


def test_dropout_reaches_every_layer_in_training_and_none_in_eval():
    model = tiny_las(listener_dropout=0.5, speller_dropout=0.5)
    features, mask = clips([40] * 20)
    labels = torch.tensor([[4, 5, 6, 7, 2]] * 20)
    for training, share in ((True, 0.5), (False, 0.0)):
        output = model.train(training)(features, mask, labels=labels, output_hidden_states=True)
        layers = [*output.encoder_hidden_states, *output.decoder_hidden_states, model.output_mlp(torch.randn(99, 28))]
        for states in layers:
            assert (states == 0).float().mean().item() == pytest.approx(share, abs=0.1)


def test_spec_augment_falls_on_the_real_frames_of_each_clip():
    model = tiny_las(apply_spec_augment=True, mask_time_prob=1e-9, mask_time_length=4, mask_time_min_masks=1).train()
    features, mask = clips([200, 4])  # a span is as long as the second clip
    heard = model.model.listen(features, mask).last_hidden_state
    silent = model.model.listener(torch.zeros(1, 4, 6)).last_hidden_state
    torch.testing.assert_close(heard[1, :1], silent[0])


def test_scheduled_sampling_draws_from_the_output_as_often_as_it_says():
    model = tiny_las(scheduled_sampling=0.4).train()
    torch.nn.init.zeros_(model.lm_head.weight)
    model.lm_head.bias.data = torch.full((VOCABULARY,), -1e4)
    model.lm_head.bias.data[[5, 6]] = 0  # it draws 5 or 6, each half of the time
    features = clips([8])[0].expand(2000, -1, -1)

    def states_after(token, sampling):  # of the speller's last layer, after the start token and one more
        model.config.scheduled_sampling = sampling
        labels = torch.full((2000, 2), token)
        return model(features, labels=labels, output_hidden_states=True).decoder_hidden_states[-1][:, 1]

    sampled = states_after(4, sampling=0.4)
    for token, share in ((4, 0.6), (5, 0.2), (6, 0.2)):
        equal = (sampled - states_after(token, sampling=0.0)).abs().amax(-1) < 1e-5
        assert equal.float().mean().item() == pytest.approx(share, abs=0.05)


def test_the_alignment_can_be_asked_for_in_the_config():
    features, mask = clips([20, 16, 8])
    expected = tiny_las()(features, mask, labels=LABELS, output_attentions=True).cross_attentions[0]
    assert torch.equal(tiny_las(output_attentions=True)(features, mask, labels=LABELS).cross_attentions[0], expected)
    assert tiny_las()(features, mask, labels=LABELS).cross_attentions is None


def test_without_decoder_inputs_the_speller_reads_the_start_token():
    model = tiny_las()
    features, mask = clips([20, 8])
    expected = model(features, mask, decoder_input_ids=torch.tensor([[1], [1]])).logits
    assert torch.equal(model(features, mask).logits, expected)


def test_listener_states_as_a_tuple_keep_the_padding_out():
    model = tiny_las()
    features, mask = clips([20, 16, 8])
    inputs = torch.tensor([[1, 4, 5]] * 3)
    states = (model.model.listen(features, mask).last_hidden_state,)
    again = model(encoder_outputs=states, attention_mask=mask, decoder_input_ids=inputs)
    torch.testing.assert_close(again.logits, model(features, mask, decoder_input_ids=inputs).logits)


def test_loss_is_computed_in_full_precision():
    torch.manual_seed(0)
    logits, ctc = torch.randn(3, 5, VOCABULARY).bfloat16(), torch.randn(3, 9, VOCABULARY).bfloat16()
    config, mask = tiny_config(ctc_weight=0.4), torch.ones(3, 9, dtype=torch.bool)
    loss = las_loss(Heard(logits, ctc, ctc_mask=mask), LABELS, config)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, las_loss(Heard(logits.float(), ctc.float(), ctc_mask=mask), LABELS, config))


def test_the_ctc_blank_is_the_padding_id_of_the_config():
    torch.manual_seed(0)
    logits, ctc, mask = torch.randn(3, 5, 9), torch.randn(3, 9, 9), torch.ones(3, 9, dtype=torch.bool)
    labels = LABELS.masked_fill(LABELS == 8, 3)
    expected = las_loss(Heard(logits, ctc, ctc_mask=mask), labels, tiny_config(ctc_weight=1.0))
    swapped = ctc[..., [8, *range(1, 8), 0]]  # 0 and 8 change places
    torch.testing.assert_close(
        las_loss(Heard(logits, swapped, ctc_mask=mask), labels, tiny_config(ctc_weight=1.0, pad_token_id=8)), expected
    )


def test_a_vocabulary_without_padding_trains_alike():
    features, mask = clips([20, 16, 8])
    bare, usual = tiny_las(pad_token_id=None, ctc_weight=0.3), tiny_las(ctc_weight=0.3)
    labels = LABELS[:, :2]
    torch.testing.assert_close(bare(features, mask, labels=labels).loss, usual(features, mask, labels=labels).loss)
