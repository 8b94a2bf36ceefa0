"""Layer-wise learning-rate decay: every weight once, at the rate of its depth."""

import pytest
import torch
from torch import nn

from aural import SpectrogramTransformerConfig
from aural import SpectrogramTransformerForAudioClassification as Classifier
from aural.training.layer_decay import layer_decay_groups
from tests.tiny_spectrogram import tiny_writer

LAYERS = 3


def make_model(**options):
    config = SpectrogramTransformerConfig(
        num_mel_bins=16, hidden_size=8, num_hidden_layers=LAYERS, num_attention_heads=2, position_frames=32, **options
    )
    return Classifier(config)


def rates(model, decay=0.5, weight_decay=0.1):
    """Rate and weight decay of every parameter, by name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = layer_decay_groups(model, 1.0, decay, weight_decay)
    found = [(names[id(one)], (group["lr"], group["weight_decay"])) for group in groups for one in group["params"]]
    assert len(found) == len(dict(found))  # none twice
    return dict(found)


@pytest.mark.parametrize("pooling", ["cls_distillation", "attention"])
@pytest.mark.parametrize("position_kind", ["joint", "factorized"])
def test_rates_fall_towards_the_input(pooling, position_kind):
    model = make_model(pooling=pooling, position_kind=position_kind)
    found = rates(model)
    assert set(found) == {name for name, _ in model.named_parameters()}
    for name, (rate, _) in found.items():
        if ".embeddings." in name:
            assert rate == 0.5 ** (LAYERS + 1)
        elif ".layers." in name:
            assert rate == 0.5 ** (LAYERS - int(name.split(".layers.")[1][0]))
        else:
            assert name.split(".")[-2] in ("layernorm", "pooler", "key_proj", "dense")
            assert rate == 1.0


def test_norms_biases_tokens_and_tables_have_no_weight_decay():
    for options in ({"position_kind": "joint"}, {"position_kind": "factorized", "pooling": "attention"}):
        for name, (_, weight_decay) in rates(make_model(**options)).items():
            kept = name.endswith(".weight") and "layernorm" not in name
            assert weight_decay == (0.1 if kept else 0.0), name


def test_the_encoder_alone_has_the_same_rates():
    model = make_model()
    whole = rates(model)
    for name, found in rates(model.spectrogram_transformer).items():
        assert whole[f"spectrogram_transformer.{name}"] == found


def test_frozen_weights_are_left_out():
    model = make_model()
    model.spectrogram_transformer.embeddings.requires_grad_(False)
    assert not any("embeddings" in name for name in rates(model))


def test_the_first_group_is_the_heads():
    groups = layer_decay_groups(make_model(), 1e-3, 0.75)
    assert [group["lr"] for group in groups] == sorted((group["lr"] for group in groups), reverse=True)
    assert groups[0]["lr"] == 1e-3
    assert torch.optim.AdamW(groups).param_groups[-1]["lr"] == pytest.approx(1e-3 * 0.75**4)


def test_what_cannot_be_decayed_is_an_error():
    with pytest.raises(ValueError, match=r"no parameters named layers\.<number>"):
        layer_decay_groups(nn.Linear(2, 2), 1e-3, 0.75)
    for decay in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"layer decay is {decay}"):
            layer_decay_groups(make_model(), 1e-3, decay)


def test_a_decoder_learns_at_the_rate_of_the_head_whatever_its_depth():
    model = tiny_writer(encoder={"num_hidden_layers": 1})  # the decoder has two layers
    for name, (rate, _) in rates(model).items():
        if not name.startswith("spectrogram_transformer."):
            assert rate == 1.0, name
        elif ".layers.0." in name:
            assert rate == 0.5
