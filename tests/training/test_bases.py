"""Reading what a fine-tuning starts from: folders, checkpoints, repositories, and what is none of them."""

import json
import shutil

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from aural import (
    AuralProcessor,
    LasForConditionalGeneration,
    LasModel,
    LogMelFeatureExtractor,
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerModel,
    train_tokenizer,
)
from aural.training import bases
from aural.training.bases import load_base
from tests.tiny import clips
from tests.tiny_spectrogram import MELS, spectrograms, tiny_spectrogram
from tests.whole import save_folder, save_tagger

SPEECH, SOUND = "LasForConditionalGeneration", "SpectrogramTransformerForAudioClassification"
MOMENTS = "SpectrogramTransformerForAudioFrameClassification"


def edit(folder, name="config.json", **changes):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def save_encoder(folder, kind=SpectrogramTransformerModel, **options):
    tiny_spectrogram(kind, **options).save_pretrained(folder)
    LogMelFeatureExtractor(num_mel_bins=MELS).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("architecture", [None, SPEECH])
def test_a_folder_of_a_las_gives_model_and_processor(architecture, tmp_path):
    folder = save_folder(tmp_path)
    model, processor = load_base(folder, architecture=architecture)
    expected = LasForConditionalGeneration.from_pretrained(folder)
    features, mask = clips([20, 12])
    labels = torch.tensor([[4, 2], [5, 2]])
    with torch.no_grad():
        assert torch.equal(model(features, mask, labels=labels).logits, expected(features, mask, labels=labels).logits)
    assert type(model) is LasForConditionalGeneration and type(processor) is AuralProcessor
    assert processor.tokenizer("ab dax").input_ids == train_tokenizer(["abcd "])("ab dax").input_ids
    assert model.name_or_path == model.config._name_or_path == str(folder)
    assert model.generation_config.to_dict() == expected.generation_config.to_dict()


def test_a_folder_of_a_tagger_gives_model_and_extractor(tmp_path):
    model, extractor = load_base(save_tagger(tmp_path))
    assert type(model) is SpectrogramTransformerForAudioClassification
    assert type(extractor) is LogMelFeatureExtractor and extractor.num_mel_bins == MELS
    assert model.config.id2label == {0: "bell", 1: "drum", 2: "horn"}


def test_half_precision_becomes_float32(tmp_path):
    folder = save_tagger(tmp_path)
    save_file({name: value.half() for name, value in load_file(folder / "model.safetensors").items()}, folder / "w")
    shutil.move(folder / "w", folder / "model.safetensors")
    edit(folder, dtype="float16")
    assert {parameter.dtype for parameter in load_base(folder)[0].parameters()} == {torch.float32}


def test_fields_of_the_config_can_be_changed(tmp_path):
    model, _ = load_base(save_folder(tmp_path), listener_dropout=0.5, apply_spec_augment=True)
    assert model.config.listener_dropout == model.model.listener.dropout.p == 0.5
    assert model.config.apply_spec_augment
    model, _ = load_base(tmp_path, ctc_weight=0.3)
    assert model.ctc_head.weight.shape == (9, 16)
    assert model.ctc_head.weight.std().item() == pytest.approx(0.06, rel=0.3)  # as a new model's
    with pytest.raises(ValueError, match=r"cannot load a model from .*size"):
        load_base(tmp_path, speller_hidden_size=13)
    with pytest.raises(ValueError, match=r"cannot load a model from .*listener_dropout=1.5 must be in \[0, 1\)"):
        load_base(tmp_path, listener_dropout=1.5)
    with pytest.raises(ValueError, match="the config has no key 'speller_drop'; did you mean 'speller_dropout'"):
        load_base(tmp_path, speller_drop=0.1)


@pytest.mark.parametrize("found", [SpectrogramTransformerModel, SpectrogramTransformerForAudioFrameClassification])
@pytest.mark.parametrize("architecture", [SOUND, MOMENTS])
@pytest.mark.parametrize("pooling", ["cls", "attention"])
def test_an_encoder_is_a_base_for_any_head_of_its_family(found, architecture, pooling, tmp_path):
    folder = save_encoder(tmp_path, found, pooling=pooling)
    model, _ = load_base(folder, architecture=architecture)
    assert type(model).__name__ == architecture
    encoder = SpectrogramTransformerModel.from_pretrained(folder)
    features, mask = spectrograms([30, 20])
    with torch.no_grad():
        ours = model.spectrogram_transformer(features, mask).last_hidden_state
        assert torch.equal(ours, encoder(features, mask).last_hidden_state)
    if found is SpectrogramTransformerModel:
        assert model.classifier.dense.bias.abs().max() == 0 and model.classifier.layernorm.weight.min() == 1
    else:
        assert torch.equal(model.classifier.dense.bias, found.from_pretrained(folder).classifier.dense.bias)


def test_a_las_without_an_output_layer_is_a_base(tmp_path):
    folder = save_folder(tmp_path)
    body = LasModel.from_pretrained(folder)
    shutil.rmtree(folder)
    body.save_pretrained(folder)
    other = save_folder(tmp_path / "other")
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
        shutil.copy(other / name, folder)
    model, _ = load_base(folder, architecture=SPEECH)
    assert torch.equal(model.model.speller.embed_tokens.weight, body.speller.embed_tokens.weight)
    assert model.lm_head.bias.abs().max() == 0
    with pytest.raises(ValueError, match="holds a LasModel: name the architecture, one of LasFor"):
        load_base(folder)


def test_a_base_of_another_family_is_refused_by_name(tmp_path):
    las, sounds = save_folder(tmp_path / "las"), save_tagger(tmp_path / "sounds")
    with pytest.raises(ValueError, match=f"las holds a {SPEECH}, which is no base for {SOUND}"):
        load_base(las, architecture=SOUND)
    with pytest.raises(ValueError, match=f"sounds holds a {SOUND}, which is no base for {SPEECH}"):
        load_base(sounds, architecture=SPEECH)
    with pytest.raises(ValueError, match=r"architecture='LasForSpeech';.* allowed: LasForConditionalGeneration, Spec"):
        load_base(las, architecture="LasForSpeech")
    edit(sounds, model_type="wav2vec2", architectures=["Wav2Vec2ForCTC"])
    with pytest.raises(ValueError, match="holds a Wav2Vec2ForCTC, which is none of LasForConditionalGeneration"):
        load_base(sounds)
    edit(sounds, model_type="audio-spectrogram-transformer", architectures=["ASTForAudioClassification"])
    with pytest.raises(ValueError, match=r"holds a ASTForAudioClassification.*`aural convert` makes a base of it"):
        load_base(sounds, architecture=SOUND)
    edit(las, architectures=["LasForTelepathy"])
    with pytest.raises(ValueError, match="holds a LasForTelepathy, which this aural does not know"):
        load_base(las, architecture=SPEECH)


def test_weights_that_are_not_whole_are_refused(tmp_path):
    folder = save_folder(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.bias"], tensors["model.listener.layers.0.forward_lstm.weight_ih_l0"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"the weights lack lm_head.bias, model.listener.*, 2 tensors in all"):
        load_base(folder)
    edit(folder, architectures=["LasModel"])  # whose head would be new, but not its listener
    with pytest.raises(ValueError, match=r"the weights lack model.listener.*, 1 tensors in all"):
        load_base(folder, architecture=SPEECH)
    edit(folder, architectures=[SPEECH])
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(ValueError, match="cannot load a model from"):
        load_base(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match="cannot load a model from"):
        load_base(folder)


def test_processing_that_does_not_fit_is_refused(tmp_path):
    folder = save_folder(tmp_path / "las")
    other = save_folder(tmp_path / "more", vocab_size=12)
    shutil.copy(other / "model.safetensors", folder)
    edit(folder, vocab_size=12)
    with pytest.raises(ValueError, match="the tokenizer has 9 symbols but the model's vocab_size is 12"):
        load_base(folder)
    sounds = save_tagger(tmp_path / "sounds")
    LogMelFeatureExtractor(num_mel_bins=9).save_pretrained(sounds)
    with pytest.raises(ValueError, match="the feature extractor gives 9 mels but the model takes 8"):
        load_base(sounds)
    LogMelFeatureExtractor(num_mel_bins=MELS, frame_shift_ms=5.0).save_pretrained(sounds)
    with pytest.raises(ValueError, match="gives a frame every 5 ms but the model's frame_shift_ms is 10"):
        load_base(sounds)
    (sounds / "preprocessor_config.json").unlink()
    with pytest.raises(OSError, match="cannot load a model from"):
        load_base(sounds)


def test_what_is_no_base_is_said_in_a_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file is a file; a model is a folder"):
        load_base(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match=r"is not a model folder: it has no config.json"):
        load_base(tmp_path)
    with pytest.raises(FileNotFoundError, match="user/nowhere is no folder, and not to be had from the Hub: "):
        load_base("user/nowhere")
    with pytest.raises(FileNotFoundError, match="no such/folder at/all is no folder, and not"):
        load_base("no such/folder at/all")
    folder = save_tagger(tmp_path / "sounds")
    with pytest.raises(ValueError, match="revision='v2' is for an id on the Hub"):
        load_base(folder, revision="v2")
    for text, said in (("{", "config.json is not readable JSON"), ("[]", "config.json holds a list")):
        (folder / "config.json").write_text(text)
        with pytest.raises(ValueError, match=said):
            load_base(folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="sounds holds an adapter, not a model: `merge_adapter`"):
        load_base(folder)


def test_an_id_on_the_hub_is_fetched_and_remembered(tmp_path, monkeypatch):
    folder, asked = save_tagger(tmp_path), []

    def fetched(repo_id, revision=None, **options):
        asked.append((repo_id, revision, options))
        if repo_id == "user/offline":
            raise LocalEntryNotFoundError("not in the\ncache")
        return str(folder)

    monkeypatch.setattr(bases, "snapshot_download", fetched)
    model, _ = load_base("user/tagger", revision="v2")
    options = {"allow_patterns": ["*.json", "*.safetensors"], "ignore_patterns": ["*/*"]}
    assert asked == [("user/tagger", "v2", options)]
    assert model.name_or_path == model.config._name_or_path == "user/tagger"
    assert model.config._commit_hash == folder.name
    with pytest.raises(FileNotFoundError, match=r"user/offline is no folder, and not .* Hub: not in the cache"):
        load_base("user/offline")
