"""The n-gram on the device gives what the n-gram of the file gives."""

import random

import numpy as np
import pytest
import torch

from aural.modeling.ngram_table import NGramTable
from aural.processing.ngram import table_arrays
from aural.processing.ngram_training import train_ngram

SYMBOLS = ["<pad>", "<bos>", "<eos>", "<unk>", *" abc"]


@pytest.fixture(scope="module")
def ngram():
    return train_ngram([list(text) for text in ["a b c", "cab", "abba", "bc a"]], order=3, vocabulary=" abc")


@pytest.fixture(scope="module")
def table(ngram):
    return NGramTable.from_arrays(*table_arrays(ngram, SYMBOLS))


def test_tokens_of_a_path_sum_to_the_sentence(ngram, table):
    generator = random.Random(0)
    texts = [generator.choices(range(3, 8), k=6) for _ in range(20)]
    states, totals = table.start_states(len(texts)), torch.zeros(len(texts))
    for column in torch.tensor([[*text, 2] for text in texts]).T:
        totals += table.scores(states)[torch.arange(len(texts)), column]
        states = table.advance(states, column)
    expected = [ngram.sentence([SYMBOLS[token] for token in text]) for text in texts]
    torch.testing.assert_close(totals, torch.tensor(expected), rtol=1e-5, atol=1e-5)


def test_each_state_is_a_distribution_over_what_can_follow(table):
    states = torch.arange(len(table.log_probs))
    scores = table.scores(states)
    assert scores.shape == (len(states), len(SYMBOLS))
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(len(states)))
    assert (scores[:, :2] == -torch.inf).all()


def test_states_are_rows_that_beams_can_reorder(table):
    states = table.start_states(3)
    assert (states.dtype, states.tolist()) == (torch.int64, [table.start_state] * 3)
    after = table.advance(states, torch.tensor([5, 6, 7]))
    assert after.dtype == torch.int64
    order = torch.tensor([2, 0, 0])
    assert torch.equal(table.scores(after[order]), table.scores(after)[order])
    assert len(set(after.tolist())) == 3


def test_the_start_token_leads_to_the_start_and_padding_nowhere(table):
    states = table.advance(table.start_states(2), torch.tensor([5, 6]))
    assert torch.equal(table.advance(states, torch.tensor([0, 0])), states)
    assert torch.equal(table.advance(states, torch.tensor([1, 1])), table.start_states(2))


def test_scoring_reads_nothing_back_from_the_device(table):
    # Tensors on the meta device have no values: any look at one from the host would raise.
    moved = table.to("meta")
    states = moved.start_states(4)
    scores = moved.scores(states)
    states = moved.advance(states, scores.argmax(-1))
    assert (scores.device.type, scores.shape, states.shape) == ("meta", (4, len(SYMBOLS)), (4,))
    assert moved.device.type == "meta"
    assert table.device.type == "cpu"
    assert table.to("cpu") is table
    assert table.vocab_size == moved.vocab_size == len(SYMBOLS)


def test_the_arrays_are_copied(ngram):
    arrays = table_arrays(ngram, SYMBOLS)
    table = NGramTable.from_arrays(*arrays)
    before = table.log_probs.clone()
    arrays.log_probs.fill(0)
    assert torch.equal(table.log_probs, before)


@pytest.mark.parametrize(
    ("next_state", "log_probs", "start", "message"),
    [
        ([[0, 1]], [[0.0]], 0, r"shape \(1, 2\), log_probs \(1, 1\)"),
        ([0, 1], [0.0, 0.0], 0, "expected"),
        ([[0, 2], [0, 0]], [[0.0, 0.0]] * 2, 0, "next_state=0 to 2 must be states, 0 to 1"),
        ([[0, -1], [0, 0]], [[0.0, 0.0]] * 2, 0, "next_state=-1 to 0"),
        ([[0, 1], [0, 0]], [[0.0, 0.0]] * 2, 2, "start_state=2"),
        ([[0, 0]], [[0.0, float("nan")]], 0, "NaN"),
        ([[0, 0]], [[0.0, float("inf")]], 0, "infinity"),
    ],
)
def test_tables_that_do_not_fit_are_refused(next_state, log_probs, start, message):
    with pytest.raises(ValueError, match=message):
        NGramTable.from_arrays(np.array(next_state), np.array(log_probs), start)
