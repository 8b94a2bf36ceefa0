"""Phonemes beside the text: of rows, of items, and of the head that hears them."""

import pickle

import numpy as np
import pytest
import torch
from datasets import Dataset

from aural.processing.features import LogMelFeatureExtractor
from aural.processing.processor import AuralProcessor
from aural.processing.tokenizers import train_tokenizer
from aural.training import phoneme_rows
from aural.training.collator import SpeechCollator
from aural.training.data import SpeechDataset, prepare_item
from aural.training.fine_tuning import adapt_phonemes
from aural.training.phoneme_rows import PhonemeRows
from tests.tiny import tiny_config, tiny_las
from tests.tiny_spectrogram import tiny_spectrogram

RATE = 16_000  # Hz
NOISE = np.random.default_rng(0).normal(scale=0.1, size=RATE // 2).astype(np.float32)


@pytest.fixture
def asked(monkeypatch):
    """Texts that eSpeak NG was asked for, which here spells them."""
    lists = []

    def spell(texts, language):
        lists.append((list(texts), language))
        return [" ".join(text) for text in texts]

    monkeypatch.setattr(phoneme_rows, "phonemize", spell)
    return lists


@pytest.fixture
def processor():
    tokens, phonemes = train_tokenizer(["abc"]), train_tokenizer(["a b c d"], "phoneme")
    return AuralProcessor(LogMelFeatureExtractor(num_mel_bins=6), tokens, phonemes)


def test_each_text_is_asked_for_once(asked):
    rows = Dataset.from_dict({"text": ["ab", "c", "ab"]})
    spoken = PhonemeRows("nl")
    spoken.learn(rows)
    spoken.learn(rows)
    spoken.learn(Dataset.from_dict({"text": ["c", "d"]}))
    assert asked == [(["ab", "c"], "nl"), (["d"], "nl")]
    assert spoken.spoken(rows) == ["a b", "c", "a b"]
    assert spoken({"text": "ab", "audio": 1}) == {"text": "ab", "audio": 1, "phonemes": "a b"}
    assert pickle.loads(pickle.dumps(spoken))({"text": "d"}) == {"text": "d", "phonemes": "d"}


def test_a_rows_own_phonemes_count_first_and_are_not_asked_for(asked):
    rows = Dataset.from_dict({"text": ["ab", "c", "d"], "phonemes": ["x", None, " "]})
    spoken = PhonemeRows("nl", "text")
    spoken.learn(rows)
    assert asked == [(["c", "d"], "nl")]
    assert spoken.spoken(rows) == ["x", "c", "d"]
    assert [spoken(row)["text"] for row in rows] == ["x", "c", "d"]


def test_without_a_language_texts_are_phonemes_already_or_have_none_beside_them(asked):
    rows = Dataset.from_dict({"text": ["a b", "c"], "phonemes": ["x", None]})
    for place, expected in (("text", ["x", "c"]), ("phonemes", ["x", None])):
        spoken = PhonemeRows(None, place)
        spoken.learn(rows)
        assert spoken.spoken(rows) == expected
    assert PhonemeRows(None)({"text": "c"}) == {"text": "c"}
    assert asked == []


def test_items_take_a_rows_phonemes_if_the_processor_has_a_tokenizer_for_them(processor):
    row = {"audio": NOISE, "text": "ab", "phonemes": "d c"}
    item = prepare_item(row, processor)
    assert item["phoneme_targets"] == processor.phoneme_tokenizer("d c").input_ids
    assert item["labels"] == processor.tokenizer("ab").input_ids
    bare = AuralProcessor(processor.feature_extractor, processor.tokenizer)
    for other in (prepare_item(row, bare), prepare_item({"audio": NOISE, "text": "ab"}, processor)):
        assert set(other) == {"input_features", "labels"}
    assert "phoneme_targets" not in prepare_item({**row, "phonemes": None}, processor)
    with pytest.raises(ValueError, match="phonemes is 7, not a string"):
        prepare_item({**row, "phonemes": 7}, processor)


def test_a_dataset_respells_its_rows_before_all_else(processor):
    rows = [{"audio": NOISE, "text": "ab"}, {"audio": NOISE, "text": "c"}]
    dataset = SpeechDataset(rows, processor, respell=PhonemeRows("nl", known={"ab": "a b", "c": "c"}))
    batch = SpeechCollator()([dataset[0], dataset[1]])
    one, two = processor.phoneme_tokenizer(["a b", "c"]).input_ids
    assert batch["phoneme_targets"].tolist() == [one, [*two, -100]]
    spelled = SpeechDataset(rows, processor, respell=PhonemeRows("nl", "text", {"ab": "b", "c": "a"}))
    assert [item["labels"] for item in spelled] == processor.tokenizer(["b", "a"]).input_ids


def test_the_head_keeps_what_both_know_and_learns_the_rest():
    old, new = train_tokenizer(["a tʃ d"], "phoneme"), train_tokenizer(["b tʃ a aɪ"], "phoneme")
    model = tiny_las(phoneme_vocab_size=len(old), phoneme_ctc_weight=0.5)
    weight, bias = model.phoneme_head.weight.clone(), model.phoneme_head.bias.clone()
    adaptation = adapt_phonemes(model, old, new)
    assert set(adaptation.kept) == {"<pad>", "<bos>", "<eos>", "<unk>", "a", "tʃ"}
    assert (adaptation.new, adaptation.dropped) == (("aɪ", "b"), ("d",))
    assert model.config.phoneme_vocab_size == model.phoneme_head.out_features == len(new)
    for symbol in adaptation.kept:
        row, before = new.get_vocab()[symbol], old.get_vocab()[symbol]
        assert torch.equal(model.phoneme_head.weight[row], weight[before])
        assert torch.equal(model.phoneme_head.bias[row], bias[before])


def test_a_model_that_heard_none_gets_a_head_which_learns_and_is_saved(tmp_path):
    new = train_tokenizer(["b tʃ"], "phoneme")
    model = tiny_las()
    assert adapt_phonemes(model, None, new).new == tuple(new.convert_ids_to_tokens(range(len(new))))
    assert model.phoneme_head.weight.shape == (len(new), tiny_config().memory_size)
    assert model.phoneme_head.weight.std().item() == pytest.approx(tiny_config().initializer_range, rel=0.3)
    model.config.phoneme_ctc_weight = 1.0
    features = torch.randn(1, 24, 6)
    arguments = {"labels": torch.tensor([[4, 2]]), "phoneme_targets": torch.tensor([[4, 5, 2]])}
    model(features, **arguments).loss.backward()
    assert model.phoneme_head.weight.grad.abs().sum() > 0
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).eval()
    expected = model.eval()(features, **arguments).loss.item()
    assert again(features, **arguments).loss.item() == pytest.approx(expected)


def test_what_does_not_fit_a_head_is_refused():
    known, other = train_tokenizer(["a"], "phoneme"), train_tokenizer(["a b"], "phoneme")
    model = tiny_las(phoneme_vocab_size=len(known))
    with pytest.raises(ValueError, match=r"old_tokenizer has 6 symbols but the model's phoneme_vocab_size is 5"):
        adapt_phonemes(model, other, known)
    with pytest.raises(ValueError, match=r"old_tokenizer has 0 symbols"):
        adapt_phonemes(model, None, known)
    with pytest.raises(TypeError, match="hears no phonemes"):
        adapt_phonemes(tiny_spectrogram(), None, known)
