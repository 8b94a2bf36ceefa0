"""Hot words in a search: a text gains what `sequence_bias` gives it, and what was promised is all taken back."""

import itertools
import math

import numpy as np
import pytest
import torch

from aural import CtcTokenizer, train_tokenizer
from aural.processing.ctc import ctc_log_probs
from aural.processing.ctc_search import ctc_prefix_search
from aural.processing.hot_word_model import HotWordModel
from aural.processing.hot_words import hot_phrases, hot_symbols, hot_words
from aural.processing.lexicon import Lexicon
from aural.processing.ngram import sentence_score
from aural.processing.ngram_training import train_ngram

TOKENIZER = CtcTokenizer.of(train_tokenizer(["abo n"]))
SYMBOLS = TOKENIZER.convert_ids_to_tokens(range(len(TOKENIZER)))
WORDS = {"on": 3.0, "a no": 2.0, "no": -1.5, "noon": 4.0}
TEXTS = ["on", "noon", "a no", "a noon on", "no no on", "on on", "anon", "bonon no", "", "no a no"]


def by_sequences(ids, biases):
    """What `generate` would add to a text, token by token: every sequence whose last token completes it."""
    history = (TOKENIZER.bos_token_id,)
    total = 0.0
    for token in [*ids, TOKENIZER.eos_token_id]:
        history = (*history, token)
        total += sum(gain for sequence, gain in biases if history[-len(sequence) :] == tuple(sequence))
    return total


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_gains_what_sequence_bias_gives_it(text):
    model = HotWordModel(hot_symbols(TOKENIZER, WORDS))
    ids = TOKENIZER(text, add_special_tokens=False).input_ids
    expected = by_sequences(ids, hot_words(TOKENIZER, WORDS))
    assert sentence_score(model, list(text)) == pytest.approx(expected, abs=1e-9)


def test_an_ended_text_has_gained_the_bias_of_every_hot_word_in_it():
    model = HotWordModel(hot_symbols(TOKENIZER, {"on": 3.0, "noon": 4.0}))
    for text in TEXTS:
        gained = sum({"on": 3.0, "noon": 4.0}.get(word, 0.0) for word in text.split(" "))
        assert sentence_score(model, list(text)) == pytest.approx(gained, abs=1e-9)


def test_an_ngram_has_its_weight_beside():
    ngram = train_ngram([list("on no"), list("a noon")], order=3, vocabulary="abo n")
    tree = hot_symbols(TOKENIZER, {"on": 3.0})
    for text in ("on no", "noon"):
        alone = sentence_score(HotWordModel(tree), list(text))
        expected = alone + 0.4 * sentence_score(ngram, list(text))
        assert sentence_score(HotWordModel(tree, ngram, 0.4), list(text)) == pytest.approx(expected, abs=1e-9)


def test_phrases_of_a_lexicon_gain_when_whole_and_unknown_words_are_refused():
    lexicon = Lexicon.spelled(["a", "no", "on"])
    model = HotWordModel(hot_phrases({"no on": 2.0, "a": 1.0}, lexicon))
    for text, gained in (("a no on", 3.0), ("no a on", 1.0), ("no no on no", 2.0), ("on", 0.0)):
        assert sentence_score(model, text.split()) == pytest.approx(gained, abs=1e-9)
    with pytest.raises(ValueError, match="words hold 'no ab', and 'ab' is not in the lexicon"):
        hot_phrases({"no ab": 1.0}, lexicon)


@pytest.mark.parametrize("seed", range(3))
def test_a_search_without_pruning_finds_the_best_of_all_texts(seed):
    """Small, so that all texts can be tried: what a hot word gains must not be pruned before it comes."""
    frames, usual = 4, [index for index, symbol in enumerate(SYMBOLS) if not symbol.startswith("<")]
    logits = torch.randn(frames, len(SYMBOLS), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    logits[:, 1:4] = -math.inf
    log_probs = logits.log_softmax(-1).numpy()
    model = HotWordModel(hot_symbols(TOKENIZER, {"on": 6.0, "no": 5.0}))
    texts = [ids for length in range(frames + 1) for ids in itertools.product(usual, repeat=length)]
    ctc = ctc_log_probs(log_probs, texts)
    scores = ctc + [sentence_score(model, [SYMBOLS[token] for token in ids]) for ids in texts]
    best = np.argsort(-scores, kind="stable")[:3]
    options = {"symbols": SYMBOLS, "ngram": model, "ngram_weight": 1.0, "excluded": (1, 2, 3)}
    found = ctc_prefix_search(log_probs, beams=1500, top_tokens=None, nbest=3, **options)
    assert [one.ids for one in found] == [texts[place] for place in best]
    assert [one.score for one in found] == pytest.approx(scores[best].tolist(), abs=1e-9)
    narrow = ctc_prefix_search(log_probs, beams=16, top_tokens=None, **options)
    assert narrow[0].ids == texts[best[0]]
