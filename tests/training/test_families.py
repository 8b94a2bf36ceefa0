"""Every head of the patch transformer as the base of every other: the encoder stays, the head is new."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from aural import (
    AuralProcessor,
    CtcTokenizer,
    LogMelFeatureExtractor,
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForCTC,
    SpectrogramTransformerForPreTraining,
    SpectrogramTransformerModel,
    train_tokenizer,
)
from aural.training.bases import keeps_vocabulary, load_base
from aural.training.families import TRAINABLE
from tests.tiny_spectrogram import MELS, spectrograms, tiny_spectrogram, tiny_writer
from tests.whole import save_folder

CTC, WRITER = "SpectrogramTransformerForCTC", "SpectrogramTransformerForConditionalGeneration"
SOUND, BLIND = "SpectrogramTransformerForAudioClassification", "SpectrogramTransformerForPreTraining"
KINDS = {
    SOUND: SpectrogramTransformerForAudioClassification,
    CTC: SpectrogramTransformerForCTC,
    BLIND: SpectrogramTransformerForPreTraining,
    "SpectrogramTransformerModel": SpectrogramTransformerModel,
}
NEW = {  # what a head needs to be told on an encoder that lacks it
    CTC: {"vocab_size": 9},
    WRITER: {"decoder": {"vocab_size": 9, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}},
}


def save_head(folder, name):
    """A whole folder of a head: weights, features, and a tokenizer of nine symbols if it writes."""
    if name == WRITER:
        model = tiny_writer()
    else:
        more = {"vocab_size": 9} if name == CTC else {}
        model = tiny_spectrogram(KINDS[name], pooling="mean", **more)
    model.save_pretrained(folder)
    extractor, tokenizer = LogMelFeatureExtractor(num_mel_bins=MELS), train_tokenizer(["abcd "])
    writes = {CTC: CtcTokenizer.of(tokenizer), WRITER: tokenizer}.get(name)
    (extractor if writes is None else AuralProcessor(extractor, writes)).save_pretrained(folder)
    return model


@pytest.mark.parametrize("wanted", [SOUND, CTC, WRITER, BLIND])
@pytest.mark.parametrize("saved", [SOUND, CTC, WRITER, BLIND, "SpectrogramTransformerModel"])
def test_every_head_begins_from_the_encoder_of_every_other(saved, wanted, tmp_path):
    base = save_head(tmp_path, saved)
    model, processing = load_base(tmp_path, architecture=wanted, **({} if saved == wanted else NEW.get(wanted, {})))
    assert type(model) is TRAINABLE[wanted]
    features, mask = spectrograms([30, 20])
    with torch.no_grad():
        ours = model.spectrogram_transformer.eval()(features, mask).last_hidden_state
        theirs = base.base_model.eval()(features, mask).last_hidden_state
    assert torch.equal(ours, theirs)
    both = {saved, wanted} <= {CTC, WRITER}
    assert isinstance(processing, AuralProcessor if both else LogMelFeatureExtractor)
    if saved == wanted:
        assert all(torch.equal(value, base.state_dict()[key]) for key, value in model.state_dict().items())
    elif wanted == CTC:
        assert model.ctc_head.bias.abs().max() == 0 and model.ctc_head.weight.std() < 0.1  # as in a new model
    assert model.name_or_path == str(tmp_path)
    assert keeps_vocabulary(tmp_path, None, wanted) == (saved == wanted and wanted in (CTC, WRITER))


def test_changes_reach_encoder_and_decoder(tmp_path):
    save_head(tmp_path / "writer", WRITER)
    model, _ = load_base(tmp_path / "writer", encoder={"hidden_dropout": 0.3}, decoder={"hidden_dropout": 0.2})
    assert model.config.encoder.hidden_dropout == 0.3 and model.config.encoder.hidden_size == 16
    assert model.config.decoder.hidden_dropout == 0.2 and model.config.decoder.vocab_size == 9
    save_head(tmp_path / "tagger", SOUND)
    new = {**NEW[WRITER], "encoder": {"hidden_dropout": 0.3}, "ctc_weight": 0.5}
    model, _ = load_base(tmp_path / "tagger", architecture=WRITER, **new)
    assert model.config.encoder.hidden_dropout == 0.3 and model.ctc_head.weight.shape == (9, 16)


def test_a_writer_without_ctc_gets_it(tmp_path):
    save_head(tmp_path, WRITER)
    model, _ = load_base(tmp_path, ctc_weight=0.3)
    assert model.ctc_head.weight.shape == (9, 16)


@pytest.mark.parametrize(
    ("saved", "wanted", "lost"),
    [
        (CTC, CTC, "ctc_head.weight"),
        (CTC, SOUND, "spectrogram_transformer.layers.1.mlp.fc1.weight"),
        (WRITER, WRITER, "decoder.layers.0.mlp.fc1.weight"),
        (SOUND, WRITER, "spectrogram_transformer.layers.1.mlp.fc1.weight"),
    ],
)
def test_weights_that_a_base_must_have_are_missed(saved, wanted, lost, tmp_path):
    save_head(tmp_path, saved)
    weights = load_file(tmp_path / "model.safetensors")
    del weights[lost]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=f"the weights lack .*{lost.removeprefix('spectrogram_transformer.')}"):
        load_base(tmp_path, architecture=wanted, **({} if saved == wanted else NEW.get(wanted, {})))


def test_a_tokenizer_that_does_not_fit_is_refused(tmp_path):
    save_head(tmp_path, CTC)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": 3}))
    with pytest.raises(ValueError, match="the tokenizer's eos_token_id is 2 but the model's is 3"):
        load_base(tmp_path)


def test_a_las_and_a_patch_transformer_share_nothing(tmp_path):
    save_folder(tmp_path / "las")
    for wanted in (CTC, WRITER, BLIND):
        with pytest.raises(ValueError, match=f"no base for {wanted}: they share no weights"):
            load_base(tmp_path / "las", architecture=wanted)
    save_head(tmp_path / "writer", WRITER)
    with pytest.raises(ValueError, match="they share no weights"):
        load_base(tmp_path / "writer", architecture="LasForConditionalGeneration")


@pytest.mark.parametrize("name", [CTC, WRITER])
def test_adapters_of_heads_that_write_merge_to_what_they_compute(name, tmp_path):
    pytest.importorskip("peft")
    from aural.training.adapters import merge_adapter, with_lora

    save_head(tmp_path / "base", name)
    model, processing = load_base(tmp_path / "base")
    adapter = with_lora(model, r=2)
    places = {key.split(".lora_A")[0].rpartition(".")[2] for key, _ in adapter.named_parameters() if "lora_A" in key}
    assert places == {"q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"}
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in adapter.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.3)
    features, mask = spectrograms([40, 30])
    batch = {"input_features": features, "attention_mask": mask, "labels": torch.tensor([[4, 5, 2], [5, 2, -100]])}
    adapter.save_pretrained(tmp_path / "adapter")
    processing.save_pretrained(tmp_path / "adapter")
    merged, _ = load_base(merge_adapter(tmp_path / "adapter", tmp_path / "merged"))
    with torch.no_grad():
        torch.testing.assert_close(merged(**batch).logits, adapter.eval()(**batch).logits, rtol=1e-4, atol=1e-5)
