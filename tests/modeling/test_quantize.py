"""Int8 copies: how close they are, and what they refuse."""

import copy
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoConfig

import aural
from aural import (
    SpectrogramTransformerConfig,
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerModel,
)
from aural.modeling.quantize import quantize_dynamic
from tests.tiny import VARIANTS, clips, tiny_las
from tests.tiny_spectrogram import spectrograms, tiny_spectrogram

CLASSES = [
    SpectrogramTransformerModel,
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
]


def top1_agreement(folder: str | Path, features: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """Share of clips for which a saved model and its int8 copy name the same label first.

    Args:
        folder: Of a classifier of clips or of moments; of the latter, the clip's scores count.
        features: `(batch, frames, mels)`.
        mask: `(batch, frames)`.
    """
    (architecture,) = AutoConfig.from_pretrained(folder).architectures
    model = getattr(aural, architecture).from_pretrained(folder).eval()
    first = []
    for one in (model, quantize_dynamic(model)):
        with torch.no_grad():
            outputs = one(features, mask)
        first.append(outputs.get("clip_logits", outputs.logits).argmax(-1))
    return (first[0] == first[1]).float().mean().item()


@pytest.mark.parametrize("model_class", CLASSES[1:])
def test_the_first_label_is_the_same_for_nearly_all_clips(model_class, tmp_path):
    torch.manual_seed(0)
    config = SpectrogramTransformerConfig(
        num_mel_bins=32, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, position_frames=64, num_labels=8
    )
    model_class(config).save_pretrained(tmp_path)
    features, mask = spectrograms([64, 40] * 100, mels=32)
    assert top1_agreement(tmp_path, features, mask) >= 0.97


@pytest.mark.parametrize("position_kind", ["joint", "rotary"])
@pytest.mark.parametrize("model_class", CLASSES)
def test_outputs_move_by_what_eight_bits_round(model_class, position_kind):
    model = tiny_spectrogram(model_class, position_kind=position_kind, scale=0.2)
    features, mask = spectrograms([20, 9, 14])
    with torch.no_grad():
        expected, got = model(features, mask)[0], quantize_dynamic(model)(features, mask)[0]
    moved = (got - expected).abs().mean() / expected.abs().mean()
    assert 0 < moved < 0.05


def test_linear_layers_of_the_layers_are_int8_and_nothing_else():
    model = tiny_spectrogram(pooling="attention")
    quantized = quantize_dynamic(model)
    linear = {name for name, part in model.named_modules() if isinstance(part, nn.Linear) and ".layers." in name}
    assert len(linear) == 2 * 6  # q, k, v, o, fc1, fc2 of two layers
    for name in linear:
        assert quantized.get_submodule(name).weight().dtype == torch.qint8
    inside = tuple(f"{name}." for name in linear)
    after = {name: type(part) for name, part in quantized.named_modules() if not name.startswith(inside)}
    assert {name for name, part in model.named_modules() if after[name] is not type(part)} == linear


def test_the_model_it_comes_from_stays_as_it_is():
    model = tiny_spectrogram().train()
    before = copy.deepcopy(model.state_dict())
    quantized = quantize_dynamic(model)
    assert type(quantized) is type(model)
    assert model.training
    assert not quantized.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert "save_pretrained" not in vars(model)


def test_attention_maps_of_an_int8_copy_sum_to_one_and_are_close():
    model = tiny_spectrogram(scale=0.2)
    features, mask = spectrograms([20, 9])
    expected, got = (one.attention_maps(features, mask) for one in (model, quantize_dynamic(model)))
    assert expected.keys() == got.keys()
    for name, weights in got.items():
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))
        torch.testing.assert_close(weights, expected[name], atol=0.02, rtol=0)


def test_quantising_says_nothing_and_leaves_other_warnings_alone():
    model = tiny_spectrogram()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantize_dynamic(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quantize_dynamic(model)
        warnings.warn("torch.ao.quantization is deprecated", DeprecationWarning, stacklevel=1)
    assert [str(one.message) for one in caught] == ["torch.ao.quantization is deprecated"]


def test_an_int8_copy_is_neither_saved_nor_trained(tmp_path):
    quantized = quantize_dynamic(tiny_spectrogram())
    features, _ = spectrograms([20])
    with pytest.raises(RuntimeError, match="save the model it comes from"):
        quantized.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(RuntimeError, match="cannot be trained"):
        quantized.train()(features)
    assert quantized.eval()(features).logits.shape == (1, 3)
    assert not any(parameter.requires_grad for parameter in quantized.parameters())


def test_copies_and_pickles_of_an_int8_copy_are_int8_copies():
    quantized = quantize_dynamic(tiny_spectrogram())
    features, mask = spectrograms([20, 9])
    for again in (copy.deepcopy(quantized), pickle.loads(pickle.dumps(quantized))):
        assert torch.equal(again(features, mask).logits, quantized(features, mask).logits)
        with pytest.raises(RuntimeError, match="cannot be saved"):
            again.save_pretrained("nowhere")
        with pytest.raises(RuntimeError, match="cannot be trained"):
            again.train()(features)


def test_what_cannot_be_quantised_is_refused():
    with pytest.raises(TypeError, match=r"model is Linear; it must be one of the spectrogram transformers, or a LAS"):
        quantize_dynamic(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"torch\.bfloat16; it must be in torch\.float32"):
        quantize_dynamic(tiny_spectrogram().bfloat16())
    with pytest.raises(ValueError, match="on meta; dynamic quantisation is for the CPU"):
        quantize_dynamic(tiny_spectrogram().to("meta"))
    with pytest.raises(ValueError, match="quantised already"):
        quantize_dynamic(quantize_dynamic(tiny_spectrogram()))
    with pytest.raises(ValueError, match=r"torch\.bfloat16; it must be in torch\.float32"):
        quantize_dynamic(tiny_las().bfloat16())
    with pytest.raises(ValueError, match="quantised already"):
        quantize_dynamic(quantize_dynamic(tiny_las()))


def spelled(model):
    """Logits of three texts for three clips."""
    features, mask = clips([17, 9, 13])
    inputs = torch.tensor([[1, 4, 7, 5], [1, 6, 6, 8], [1, 5, 4, 4]])
    with torch.no_grad():
        return model(features, mask, inputs).logits


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_of_a_las_move_by_what_eight_bits_round(variant):
    model = tiny_las(scale=0.3, **VARIANTS[variant])
    expected, got = spelled(model), spelled(quantize_dynamic(model))
    assert 0 < (got - expected).abs().mean() / expected.abs().mean() < 0.05


@pytest.mark.parametrize("kind", ["dot", "location"])
def test_listener_projections_and_output_layer_of_a_las_are_int8_and_nothing_else(kind):
    quantized = quantize_dynamic(tiny_las(attention_kind=kind))
    of_lstms = [f"model.listener.layers.{i}.{way}_lstm" for i in range(2) for way in ("forward", "backward")]
    of_attention = ["query_proj.0", "query_proj.2", "key_proj.0", "key_proj.2"] if kind == "dot" else []
    of_attention = of_attention or ["query_proj", "key_proj"]
    expected = {*of_lstms, *(f"model.speller.attention.{name}" for name in of_attention), "output_mlp.0"}
    kinds = (torch.ao.nn.quantized.dynamic.Linear, torch.ao.nn.quantized.dynamic.LSTM)
    assert {name for name, part in quantized.named_modules() if isinstance(part, kinds)} == expected


def test_copies_of_an_int8_las_write_what_it_writes_and_do_not_learn():
    model = quantize_dynamic(tiny_las(attention_kind="dot"))
    features, mask = clips([17, 9, 13])
    texts = model.generate(features, attention_mask=mask, num_beams=3)
    assert texts.shape[0] == 3
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again.generate(features, attention_mask=mask, num_beams=3), texts)
        with pytest.raises(RuntimeError, match="cannot be trained"):
            again.train()(features, mask, labels=texts)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_las_in_bfloat16_decodes_finite_scores(variant):
    features, mask = clips([17, 9, 13])
    model = tiny_las(scale=0.3, **VARIANTS[variant])
    expected = spelled(model)
    small = model.bfloat16()
    assert (spelled(small).float() - expected).abs().mean() / expected.abs().mean() < 0.05
    options = {"num_beams": 3, "output_scores": True, "return_dict_in_generate": True}
    assert torch.isfinite(small.generate(features, attention_mask=mask, **options).sequences_scores).all()
