"""transformers' AST, there and back: the same weights give the same hidden states and logits."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification, ASTModel

from aural import LogMelFeatureExtractor, SpectrogramTransformerForAudioClassification, SpectrogramTransformerModel
from aural.modeling.convert_dialect import convert_state_dict
from aural.modeling.convert_shared import Told
from aural.modeling.convert_transformers_ast import to_transformers_ast, to_transformers_features
from tests.tiny_spectrogram import spectrograms, tiny_spectrogram

FRAMES, MELS = 26, 16  # a grid of 5 by 11


def their_config(**overrides) -> ASTConfig:
    options = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "patch_size": 4,
        "frequency_stride": 3,
        "time_stride": 2,
        "max_length": FRAMES,
        "num_mel_bins": MELS,
        "layer_norm_eps": 1e-3,
        "id2label": {0: "Dog", 1: "Rain", 2: "Bell"},
        "label2id": {"Dog": 0, "Rain": 1, "Bell": 2},
        "problem_type": "multi_label_classification",
    }
    return ASTConfig(**{**options, **overrides})


def theirs(model_class: type = ASTForAudioClassification, **overrides) -> ASTModel | ASTForAudioClassification:
    torch.manual_seed(0)
    model = model_class(their_config(**overrides)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    return model


def clips(frames: int = FRAMES, mels: int = MELS) -> torch.Tensor:
    return spectrograms([frames, frames], mels)[0]


def assert_alike(ours, their_model, features) -> None:
    with torch.no_grad():
        got = ours(features, output_hidden_states=True)
        expected = their_model(features, output_hidden_states=True)
    assert len(got.hidden_states) == len(expected.hidden_states) >= 3
    for mine, its in zip(got.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(mine, its, atol=1e-5, rtol=1e-6)
    for name in ("logits", "pooler_output", "last_hidden_state"):
        if hasattr(expected, name):
            torch.testing.assert_close(getattr(got, name), getattr(expected, name), atol=1e-5, rtol=0)


@pytest.mark.parametrize("model_class", [ASTForAudioClassification, ASTModel])
def test_in_memory_every_layer_and_the_logits_are_theirs(model_class):
    model = theirs(model_class)
    conversion = convert_state_dict(model.state_dict(), config=model.config.to_dict())
    assert conversion.dialect == "transformers' AST (in memory)"
    assert_alike(conversion.build(), model, clips())


@pytest.mark.parametrize("model_class", [ASTForAudioClassification, ASTModel])
def test_on_disk_every_layer_and_the_logits_are_theirs(model_class, tmp_path):
    model = theirs(model_class)
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    assert any(".encoder.layer." in name or name.startswith("encoder.layer.") for name in state)
    conversion = convert_state_dict(state, config=model.config.to_dict())
    assert conversion.dialect == "transformers' AST (on disk)"
    assert_alike(conversion.build(), model, clips())


def test_no_bias_in_attention():
    model = theirs(qkv_bias=False)
    conversion = convert_state_dict(model.state_dict(), config=model.config.to_dict())
    assert_alike(conversion.build(), model, clips())


def test_labels_problem_and_eps_come_along():
    model = theirs(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.2)
    config = convert_state_dict(model.state_dict(), config=model.config.to_dict()).config
    assert config.id2label == {0: "Dog", 1: "Rain", 2: "Bell"}
    assert config.label2id["Bell"] == 2
    assert config.problem_type == "multi_label_classification"
    assert (config.layer_norm_eps, config.final_norm_eps, config.head_norm_eps) == (1e-3, 1e-3, 1e-3)
    assert (config.hidden_dropout, config.attention_dropout) == (0.1, 0.2)
    told = convert_state_dict(model.state_dict(), Told(multi_label=False), model.config.to_dict()).config
    assert (told.problem_type, told.id2label[1]) == ("single_label_classification", "Rain")


def test_without_config_shapes_are_read_and_the_rest_is_their_default():
    sizes = {"num_mel_bins": 128, "max_length": 128, "patch_size": 16, "frequency_stride": 10, "time_stride": 10}
    model = theirs(**sizes, layer_norm_eps=ASTConfig().layer_norm_eps)
    conversion = convert_state_dict(model.state_dict(), Told(heads=2))
    assert_alike(conversion.build(), model, clips(128, 128))
    with pytest.raises(ValueError, match="a width of 16 does not tell the number of heads"):
        convert_state_dict(model.state_dict())


def test_what_the_config_tells_or_they_do_not_have_cannot_be_told():
    model = theirs()
    with pytest.raises(ValueError, match="heads=4 cannot be told: the checkpoint's config tells it"):
        convert_state_dict(model.state_dict(), Told(heads=4), model.config.to_dict())
    with pytest.raises(ValueError, match="pooling='mean' cannot be told"):
        convert_state_dict(model.state_dict(), Told(pooling="mean"))


def test_a_config_of_other_shapes_is_refused_by_the_tensor():
    model = theirs()
    wrong = {**model.config.to_dict(), "intermediate_size": 32}
    with pytest.raises(ValueError, match=r"layers.0.mlp.fc1.weight \(24, 16\): must give .* \(32, 16\)"):
        convert_state_dict(model.state_dict(), config=wrong)


def ours(model_class: type = SpectrogramTransformerForAudioClassification, **overrides):
    square = {"patch_size": [4, 4], "patch_stride": [2, 3], "final_norm_eps": 1e-3, "head_norm_eps": 1e-3}
    return tiny_spectrogram(model_class, scale=0.3, layer_norm_eps=1e-3, **{**square, **overrides})


@pytest.mark.parametrize(
    ("model_class", "their_class"),
    [
        (SpectrogramTransformerForAudioClassification, ASTForAudioClassification),
        (SpectrogramTransformerModel, ASTModel),
    ],
)
def test_ours_become_theirs_with_the_same_states_and_logits(model_class, their_class):
    model = ours(model_class)
    config, tensors = to_transformers_ast(model.config, model.state_dict())
    their_model = their_class(config).eval()
    their_model.load_state_dict(tensors, strict=True)
    assert_alike(model, their_model, clips(20, 8))


def test_there_and_back_every_tensor_is_the_same():
    model = ours()
    config, tensors = to_transformers_ast(model.config, model.state_dict())
    back = convert_state_dict(tensors, config=config.to_dict())
    assert set(back.state_dict) == set(model.state_dict())
    assert all(torch.equal(back.state_dict[name], tensor) for name, tensor in model.state_dict().items())
    assert back.config.id2label == model.config.id2label


UNFIT = {
    "position_kind": "factorized",
    "pooling": "mean",
    "patch_size": [4, 6],
    "final_norm": False,
    "final_norm_eps": 1e-5,
    "head_norm_eps": 1e-5,
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_has_no_counterpart_is_refused_by_the_field(name):
    model = ours(**{name: UNFIT[name]})
    with pytest.raises(ValueError, match=f"^{name}=.* does not fit transformers' AST, which has"):
        to_transformers_ast(model.config, model.state_dict())


def test_an_encoder_is_not_asked_for_the_heads_eps():
    model = ours(SpectrogramTransformerModel, head_norm_eps=1e-5)
    assert to_transformers_ast(model.config, model.state_dict())[0].layer_norm_eps == 1e-3


@pytest.mark.parametrize("seconds", [10.0, 3.0, 12.0])
def test_features_are_theirs_for_whole_shorter_and_longer_clips(seconds):
    conversion = convert_state_dict(theirs(ASTModel).state_dict(), config=their_config().to_dict(), preprocessor={})
    extractor = LogMelFeatureExtractor(**{**conversion.features, "num_mel_bins": 128, "max_length": 1024})
    wave = (0.1 * np.random.default_rng(0).standard_normal(int(16_000 * seconds))).astype(np.float32)
    got = extractor(wave, sampling_rate=16_000, return_tensors="np")
    expected = ASTFeatureExtractor()(wave, sampling_rate=16_000, return_tensors="np").input_values
    assert set(got) == {"input_features"}  # AST hears its padding
    assert got.input_features.shape == expected.shape == (1, 1024, 128)
    assert np.abs(got.input_features - expected).max() < 1e-3


@pytest.mark.parametrize(
    "settings", [{"mean": -3.0, "std": 2.5, "max_length": 200}, {"do_normalize": False, "max_length": 200}]
)
def test_settings_of_their_extractor_come_along_and_go_back(settings):
    their_extractor = ASTFeatureExtractor(**settings)
    model = theirs(ASTModel)
    conversion = convert_state_dict(model.state_dict(), None, model.config.to_dict(), their_extractor.to_dict())
    extractor = LogMelFeatureExtractor(**conversion.features)
    wave = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
    got = extractor(wave, sampling_rate=16_000, return_tensors="np").input_features
    expected = their_extractor(wave, sampling_rate=16_000, return_tensors="np").input_values
    assert np.abs(got - expected).max() < 1e-3
    back = to_transformers_features(vars(extractor))
    assert back == {name: getattr(their_extractor, name) for name in back}


def test_features_without_counterpart_are_refused_by_the_setting():
    with pytest.raises(ValueError, match="window_type='povey' does not fit transformers' AST, which has 'hanning'"):
        to_transformers_features(vars(LogMelFeatureExtractor()))
    ast = {"window_type": "hanning", "waveform_scale": 1.0}
    with pytest.raises(ValueError, match="normalize='utterance' does not fit"):
        to_transformers_features(vars(LogMelFeatureExtractor(**ast)))
    per_mel = {"normalize": "global", "mean": [0.0] * 80, "std": 1.0}
    with pytest.raises(ValueError, match="one mean per mel"):
        to_transformers_features(vars(LogMelFeatureExtractor(**ast, **per_mel)))
