"""Hot words: what transformers makes of them adds each word's bias once per occurrence, and nothing else."""

import random

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.generation import SequenceBiasLogitsProcessor

from aural.processing.hot_words import hot_words
from aural.processing.tokenizers import SPECIAL_TOKENS, train_tokenizer, wrap

TEXT = "one phone onerous none no new york newer on"


def characters():
    return train_tokenizer([TEXT])


def pieces():
    """Subwords whose first piece holds the space before it."""
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=40, special_tokens=list(SPECIAL_TOKENS), show_progress=False)
    backend.train_from_iterator([TEXT] * 3, trainer)
    return wrap(backend)


def words():
    """A token per word."""
    vocabulary = {word: i for i, word in enumerate([*SPECIAL_TOKENS, *dict.fromkeys(TEXT.split())])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.normalizer, backend.pre_tokenizer = normalizers.NFC(), pre_tokenizers.WhitespaceSplit()
    return wrap(backend)


def gained(tokenizer, biases, text: str) -> float:
    """What transformers adds up over the tokens of `text` and its end."""
    process, scores = SequenceBiasLogitsProcessor(biases), torch.zeros(1, len(tokenizer))
    ids = [tokenizer.bos_token_id, *tokenizer(text).input_ids]
    assert ids[-1] == tokenizer.eos_token_id
    return sum(process(torch.tensor([ids[:i]]), scores)[0, ids[i]].item() for i in range(1, len(ids)))


def expected(biases: dict[str, float], text: str) -> float:
    said = f" {text} ".replace(" ", "  ")  # so that neighbours share no space
    return sum(gain * said.count(f" {word.replace(' ', '  ')} ") for word, gain in biases.items())


@pytest.mark.parametrize("make", [characters, pieces, words])
def test_a_text_gains_the_bias_of_each_hot_word_once_per_occurrence(make):
    tokenizer, choose = make(), random.Random(0)
    wanted = {"one": 4.0, "new york": 3.0, "new": 1.5, "york": 2.0, "none": -1.0, "on": 0.5}
    biases, found = hot_words(tokenizer, wanted), 0
    for _ in range(60):
        text = " ".join(choose.choices(TEXT.split(), k=choose.randint(1, 5)))
        assert gained(tokenizer, biases, text) == pytest.approx(expected(wanted, text), abs=1e-4)
        found += expected(wanted, text) != 0
    assert found > 30


def test_a_beam_is_led_into_a_word_and_shares_are_taken_back():
    tokenizer = characters()
    process = SequenceBiasLogitsProcessor(hot_words(tokenizer, ["one"], bias=4.0))

    def added(text: str, following: str) -> float:
        ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False).input_ids]
        scores = process(torch.tensor([ids]), torch.zeros(1, len(tokenizer)))[0]
        return scores[tokenizer.convert_tokens_to_ids(following)].item()

    assert [added("", "o"), added("o", "n"), added("no o", "n"), added("no one", " ")] == [1.0] * 4
    assert added("no one", "<eos>") == 1.0
    assert added("no one", "r") == -3.0  # onerous
    assert added("no o", "r") == -1.0
    assert added("no ", "n") == added("n", "o") == added("ph", "o") == 0.0


def test_what_are_no_hot_words_is_refused_by_name():
    tokenizer = characters()
    with pytest.raises(TypeError, match="words is one string, 'one'"):
        hot_words(tokenizer, "one", 2.0)
    with pytest.raises(ValueError, match="words is empty"):
        hot_words(tokenizer, [], 2.0)
    with pytest.raises(ValueError, match="the bias of 'one' is None"):
        hot_words(tokenizer, ["one"])
    with pytest.raises(ValueError, match="the bias of 'one' is nan"):
        hot_words(tokenizer, {"one": float("nan")})
    with pytest.raises(ValueError, match="words hold ' ', which is no word"):
        hot_words(tokenizer, [" "], 1.0)
    with pytest.raises(ValueError, match="words hold 'six', which has symbols that the tokenizer does not know"):
        hot_words(tokenizer, ["six"], 1.0)
    many = ["".join(random.Random(i).choices("oneyrk", k=60)) for i in range(400)]
    with pytest.raises(ValueError, match="allowed: 500000"):
        hot_words(tokenizer, many, 1.0)
