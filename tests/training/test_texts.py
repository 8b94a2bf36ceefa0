"""What a model wrote as ids, of a head that generates and of one that says a symbol or a blank each moment."""

from itertools import groupby

import pytest
import torch

from aural import SpectrogramTransformerForCTC
from aural.training.texts import generates_text, said_ids, writes_text, written_ids
from tests.tiny import clips, tiny_las
from tests.tiny_spectrogram import spectrograms, tiny_spectrogram, tiny_writer

FINE = {"vocab_size": 9, "patch_stride": [2, 3], "pooling": "mean"}


def test_what_is_said_of_a_path_is_its_symbols_without_blanks_and_repeats():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 12, 4, generator=generator)
    for row, path in zip(said_ids(logits, blank=0), logits.argmax(-1), strict=True):
        expected = [symbol for symbol, _ in groupby(path.tolist()) if symbol != 0]
        assert row[row != -100].tolist() == expected and row.shape == path.shape


def test_doubled_letters_survive_where_a_blank_lies_between():
    path = torch.tensor([[5, 5, 0, 5, 6, 6, 0, 0]])
    logits = torch.nn.functional.one_hot(path, 9).float()
    assert said_ids(logits, 0).tolist() == [[5, -100, -100, 5, 6, -100, -100, -100]]


@pytest.mark.parametrize("blank", [0, 3])
def test_the_blank_is_the_models_own(blank):
    path = torch.tensor([[blank, 1, blank]])
    assert said_ids(torch.nn.functional.one_hot(path, 4).float(), blank).tolist() == [[-100, 1, -100]]


def test_models_write_by_generate_by_ctc_or_not_at_all():
    ctc, writer = tiny_spectrogram(SpectrogramTransformerForCTC, **FINE), tiny_writer()
    found = [(generates_text(model), writes_text(model)) for model in (tiny_las(), writer, ctc, tiny_spectrogram())]
    assert found == [(True, True), (True, True), (False, True), (False, False)]


def test_padding_says_nothing():
    model = tiny_spectrogram(SpectrogramTransformerForCTC, **FINE)
    features, mask = spectrograms([40, 19])
    with torch.no_grad():
        batch = written_ids(model, input_features=features, attention_mask=mask)
        alone = written_ids(model, input_features=features[1:, :19], attention_mask=mask[1:, :19])
    assert batch[1][batch[1] != -100].tolist() == alone[alone != -100].tolist()
    assert (batch[1, alone.shape[1] :] == -100).all()


def test_a_model_that_generates_is_asked_to():
    features, mask = clips([24, 13])
    model = tiny_las()
    assert torch.equal(
        written_ids(model, input_features=features, attention_mask=mask), model.generate(features, attention_mask=mask)
    )
