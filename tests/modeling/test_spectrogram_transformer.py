"""The spectrogram transformer: any length, padding, attention implementations, maps, heads, errors."""

import pytest
import torch

from aural import (
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerModel,
)
from aural.modeling import as_grid, attention_rollout
from aural.modeling.self_attention import DropPath
from tests.tiny_spectrogram import MELS, spectrograms, tiny_spectrogram, tiny_spectrogram_config

POSITIONS = ["joint", "factorized", "sinusoidal", "rotary"]
POOLINGS = ["cls", "cls_distillation", "mean", "attention"]
HEADS = [SpectrogramTransformerForAudioClassification, SpectrogramTransformerForAudioFrameClassification]
LENGTHS = [40, 20, 17, 4]  # longer than the positions, as long, shorter, and shorter than a patch
PATCHOUT = {"patchout_time": 0.4, "patchout_frequency": 0.3, "patchout_unstructured": 0.2}


@pytest.mark.parametrize("fit", ["cut", "interpolate"])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", POSITIONS)
def test_mixed_lengths_in_one_batch_give_each_clips_own_result(kind, pooling, fit):
    model = tiny_spectrogram(position_kind=kind, pooling=pooling, position_fit=fit)
    features, mask = spectrograms(LENGTHS)
    together = model(features, attention_mask=mask).logits
    for row, length in enumerate(LENGTHS):
        alone = model(features[row : row + 1, :length]).logits
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("head", HEADS)
def test_whatever_the_padding_holds_changes_nothing(head, implementation):
    model = tiny_spectrogram(head, position_kind="factorized")
    model.set_attn_implementation(implementation)
    features, mask = spectrograms(LENGTHS)
    expected = model(features, attention_mask=mask)
    for garbage in (1e4, float("nan"), float("inf")):
        noisy = features.masked_fill(mask[..., None] == 0, garbage)
        got = model(noisy, attention_mask=mask)
        torch.testing.assert_close(got.logits, expected.logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_row_of_padding_gives_no_nan_and_leaves_the_others_alone(pooling, implementation):
    for head in HEADS:
        model = tiny_spectrogram(head, pooling=pooling)
        model.set_attn_implementation(implementation)
        features, mask = spectrograms([25, 0])
        output = model(features, attention_mask=mask)
        assert torch.isfinite(output.logits).all()
        alone = model(features[:1]).logits
        torch.testing.assert_close(output.logits[:1], alone, atol=1e-5, rtol=0)


def test_a_mask_of_ones_is_no_mask():
    model = tiny_spectrogram()
    features, mask = spectrograms([25, 25])
    assert torch.equal(model(features, attention_mask=mask).logits, model(features).logits)


@pytest.mark.parametrize("kind", POSITIONS)
def test_order_in_time_and_height_in_frequency_matter(kind):
    model = tiny_spectrogram(position_kind=kind, patch_stride=[4, 6])  # patches side by side: only positions tell
    features, _ = spectrograms([24])
    late = features.unflatten(1, (4, 6)).flip(1).flatten(1, 2)
    high = features.unflatten(2, (2, 4)).flip(2).flatten(2)
    for moved in (late, high):
        assert (model(moved).logits - model(features).logits).abs().max() > 1e-3


def test_attention_implementations_agree():
    features, mask = spectrograms(LENGTHS)
    model = tiny_spectrogram(position_kind="rotary")
    model.set_attn_implementation("eager")
    expected = model(features, attention_mask=mask).logits
    model.set_attn_implementation("sdpa")
    torch.testing.assert_close(model(features, attention_mask=mask).logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", POSITIONS)
def test_attention_maps_under_sdpa_are_those_of_eager(kind):
    model = tiny_spectrogram(SpectrogramTransformerModel, position_kind=kind)
    features, mask = spectrograms(LENGTHS)
    model.set_attn_implementation("eager")
    expected = model(features, attention_mask=mask, output_attentions=True).attentions
    model.set_attn_implementation("sdpa")
    maps = model.attention_maps(features, mask)
    assert list(maps) == ["layers.0", "layers.1"]
    assert model.config._attn_implementation == "sdpa"
    for got, wanted in zip(maps.values(), expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)
    only = model.attention_maps(features, mask, layers=["layers.1"])
    assert list(only) == ["layers.1"]
    assert torch.equal(only["layers.1"], maps["layers.1"])


def test_attention_sums_to_one_over_real_patches_and_is_zero_on_padding():
    model = tiny_spectrogram(pooling="mean", num_class_tokens=1)
    features, mask = spectrograms(LENGTHS)
    weights = model.attention_maps(features, mask)["layers.1"]
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    grid = as_grid(weights, model.config)  # (batch, heads, queries, rows, columns)
    assert grid.shape[-2:] == (3, 12)
    for row, length in enumerate(LENGTHS):
        own = model.config.time_patches(length)
        assert (grid[row, ..., own:] == 0).all()
        assert (grid[row, ..., :own] > 0).all()


def test_a_grid_places_every_key_by_row_and_column():
    config = tiny_spectrogram_config(num_class_tokens=2)
    weights = torch.arange(2 + 12.0)[None]
    assert as_grid(weights, config)[0].tolist() == [[2, 3, 4, 5], [6, 7, 8, 9], [10, 11, 12, 13]]
    with pytest.raises(ValueError, match="must have 2 class tokens and rows of 3 patches"):
        as_grid(torch.zeros(1, 13), config)


def test_rollout_multiplies_the_layers_with_their_residual_branch():
    model = tiny_spectrogram(num_hidden_layers=3)
    features, mask = spectrograms([20, 11])
    maps = list(model.attention_maps(features, mask).values())
    rollout = attention_rollout(maps)
    torch.testing.assert_close(rollout.sum(-1), torch.ones(rollout.shape[:-1]))
    layers = [0.5 * weights.mean(1) + 0.5 * torch.eye(weights.shape[-1]) for weights in maps]
    torch.testing.assert_close(rollout, layers[2] @ layers[1] @ layers[0])
    with pytest.raises(ValueError, match="maps is empty"):
        attention_rollout([])


@pytest.mark.parametrize("kind", POSITIONS)
def test_it_compiles_without_a_graph_break(kind):
    features, mask = spectrograms(LENGTHS)
    for head in HEADS:
        model = tiny_spectrogram(head, position_kind=kind)
        torch._dynamo.reset()
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        for options in ({}, {"attention_mask": mask}):
            expected = model(features, **options).logits
            torch.testing.assert_close(compiled(features, **options).logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["joint", "rotary"])
def test_an_exported_graph_takes_batches_and_lengths_that_it_has_not_seen(kind):
    model = tiny_spectrogram(position_kind=kind, position_fit="interpolate")
    features, mask = spectrograms([17, 9, 3, 14, 7])
    any_size = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    options = {"input_features": features, "attention_mask": mask}
    exported = torch.export.export(model, (), options, dynamic_shapes=dict.fromkeys(options, any_size)).module()
    for lengths in ([12, 11], [44, 13, 30]):
        features, mask = spectrograms(lengths)
        expected = model(features, attention_mask=mask).logits
        got = exported(input_features=features, attention_mask=mask).logits
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_gradient_checkpointing_changes_no_gradient():
    features, mask = spectrograms(LENGTHS)
    gradients = []
    for checkpointing in (False, True):
        model = tiny_spectrogram().train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(features, attention_mask=mask, labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", POSITIONS)
def test_every_parameter_learns(head, pooling, kind):
    model = tiny_spectrogram(head, position_kind=kind, pooling=pooling, **PATCHOUT).train()
    features, mask = spectrograms([20, 20, 17])
    model(features, attention_mask=mask, labels=torch.rand(3, 3)).loss.backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert idle == []


def test_patchout_off_and_eval_are_bit_identical_to_none():
    features, mask = spectrograms([40, 17])
    for head in HEADS:
        plain, thinning = tiny_spectrogram(head), tiny_spectrogram(head, **PATCHOUT)
        expected = plain(features, attention_mask=mask).logits
        assert torch.equal(thinning(features, attention_mask=mask).logits, expected)
        assert torch.equal(plain.train()(features, attention_mask=mask).logits, expected)
        assert not torch.equal(thinning.train()(features, attention_mask=mask).logits, expected)


def test_with_patchout_padding_changes_nothing_either():
    model = tiny_spectrogram(SpectrogramTransformerForAudioFrameClassification, **PATCHOUT).train()
    features, mask = spectrograms([40, 17])
    torch.manual_seed(5)
    expected = model(features, attention_mask=mask)
    torch.manual_seed(5)
    noisy = features.masked_fill(mask[..., None] == 0, float("nan"))
    got = model(noisy, attention_mask=mask)
    torch.testing.assert_close(got.logits, expected.logits, atol=1e-5, rtol=0)
    assert not expected.frame_mask[1, 4:].any()
    assert expected.frame_mask[0].sum() == round(12 * 0.6)


def test_moments_are_scored_from_their_own_columns():
    model = tiny_spectrogram(SpectrogramTransformerForAudioFrameClassification)
    features, mask = spectrograms(LENGTHS)
    output = model(features, attention_mask=mask)
    assert output.logits.shape == (4, 12, 3)
    assert output.frame_mask.sum(-1).tolist() == [12, 5, 4, 1]
    states = model.spectrogram_transformer(features, attention_mask=mask).last_hidden_state[:, 2:]
    expected = model.classifier(states.unflatten(1, (3, 12)).mean(1))
    torch.testing.assert_close(output.logits, expected)


@pytest.mark.parametrize("pooling", ["mean", "max", "linear_softmax"])
def test_clip_scores_are_the_pooled_moments_and_learn_from_clip_labels(pooling):
    model = tiny_spectrogram(SpectrogramTransformerForAudioFrameClassification, frame_pooling=pooling)
    features, mask = spectrograms([40, 17])
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    output = model(features, attention_mask=mask, labels=labels)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(output.clip_logits, labels)
    torch.testing.assert_close(output.loss, expected)
    alone = model(features[1:, :17]).clip_logits
    torch.testing.assert_close(output.clip_logits[1:], alone, atol=1e-5, rtol=0)


def test_the_problem_type_follows_from_the_labels_and_is_kept_for_pipelines():
    features, _ = spectrograms([20, 20])
    for labels, kind in (
        (torch.tensor([1, 2]), "single_label_classification"),
        (torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]), "multi_label_classification"),
    ):
        model = tiny_spectrogram()
        model(features, labels=labels)
        assert model.config.problem_type == kind


def test_spec_augment_hides_features_in_training_alone():
    options = {"apply_spec_augment": True, "mask_time_prob": 0.5, "mask_time_length": 4, "mask_feature_prob": 0.3}
    model, plain = tiny_spectrogram(**options, mask_feature_length=2), tiny_spectrogram()
    features, mask = spectrograms([40, 20])
    expected = plain(features, attention_mask=mask).logits
    assert torch.equal(model(features, attention_mask=mask).logits, expected)
    assert not torch.equal(model.train()(features, attention_mask=mask).logits, expected)


def test_drop_path_skips_some_clips_and_keeps_the_mean():
    branch = torch.ones(4000, 1, 1)
    module = DropPath(0.25)
    assert torch.equal(module.eval()(branch), branch)
    torch.manual_seed(0)
    dropped = module.train()(branch).flatten()
    assert sorted(set(dropped.tolist())) == [0, pytest.approx(4 / 3)]
    assert dropped.mean().item() == pytest.approx(1, abs=0.03)
    rates = [
        layer.drop_path.probability
        for layer in tiny_spectrogram(num_hidden_layers=3, drop_path=0.2).spectrogram_transformer.layers
    ]
    assert rates == [0, pytest.approx(0.1), pytest.approx(0.2)]


@pytest.mark.parametrize("kind", POSITIONS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_save_and_load_keep_every_weight(tmp_path, kind, pooling):
    features, mask = spectrograms(LENGTHS)
    for head in HEADS:
        model = tiny_spectrogram(head, position_kind=kind, pooling=pooling, final_norm=False)
        model.save_pretrained(tmp_path)
        loaded = head.from_pretrained(tmp_path).eval()
        assert torch.equal(loaded(features, attention_mask=mask).logits, model(features, attention_mask=mask).logits)


def test_positions_and_class_tokens_start_random_and_small():
    torch.manual_seed(0)
    config = tiny_spectrogram_config(hidden_size=64, intermediate_size=None, position_frames=600)
    model = SpectrogramTransformerModel(config)
    for parameter in (model.embeddings.positions.table, model.embeddings.class_tokens):
        assert parameter.std().item() == pytest.approx(0.02, rel=0.25)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_near(dtype):
    features, mask = spectrograms(LENGTHS)
    for kind in POSITIONS:
        model = tiny_spectrogram(position_kind=kind, scale=0.2)
        expected = model(features, attention_mask=mask).logits
        got = model.to(dtype)(features, attention_mask=mask).logits
        assert got.dtype == dtype
        torch.testing.assert_close(got.float(), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    ("features", "mask", "message"),
    [
        (None, None, "pass input_features"),
        (torch.zeros(2, 20, MELS + 1), None, r"input_features \(2, 20, 9\) must be \(batch, frames, 8\)"),
        (torch.zeros(20, MELS), None, r"input_features \(20, 8\) must be \(batch, frames, 8\)"),
        (torch.zeros(1, 0, MELS), None, "have no frames"),
        (
            torch.zeros(2, 20, MELS),
            torch.ones(2, 19),
            r"attention_mask \(2, 19\) must be \(batch, frames\) = \(2, 20\)",
        ),
        (torch.zeros(1, 4, MELS), torch.tensor([[0, 1, 1, 1]]), "must be padded on the right"),
        (torch.zeros(1, 4, MELS).index_fill(1, torch.tensor(2), float("nan")), None, "NaN .*row 0, frame 2"),
    ],
)
def test_bad_input_is_one_clear_error(features, mask, message):
    with pytest.raises(ValueError, match=message):
        tiny_spectrogram()(features, attention_mask=mask)


def test_unknown_layers_are_refused_by_name():
    features, _ = spectrograms([20])
    with pytest.raises(ValueError, match=r"layers=\['layers.2'\]: this model attends in layers.0 to layers.1"):
        tiny_spectrogram().attention_maps(features, layers=["layers.0", "layers.2"])
