"""CTC search against the enumeration of all labelings, whose probabilities are torch's and those of all paths."""

import itertools
import math

import numpy as np
import pytest
import torch

from aural.processing import ctc_search
from aural.processing.ctc import CtcToken, ctc_align, ctc_greedy, ctc_log_probs
from aural.processing.ctc_search import ctc_prefix_search
from aural.processing.lexicon import Lexicon
from aural.processing.ngram import NGram
from aural.processing.ngram_training import train_ngram

SYMBOLS = ["<pad>", "a", "b", "c"]
FRAMES = 5
LABELINGS = [ids for length in range(FRAMES + 1) for ids in itertools.product((1, 2, 3), repeat=length)]
# "ab" and "ba" sound alike, "a" and "abc" begin as others do, "cb" has two pronunciations.
LEXICON = Lexicon(
    {"ab": [("a", "b")], "AB": [("a", "b")], "a": [("a",)], "abc": [("a", "b", "c")], "cb": [("c",), ("b", "b")]}
)
EVERYTHING = {"beams": 400, "top_tokens": None, "symbols": SYMBOLS}


def random_log_probs(seed, frames=FRAMES):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(frames, len(SYMBOLS), generator=generator, dtype=torch.float64).mul(1.5).log_softmax(-1)


@pytest.fixture(scope="module")
def symbol_ngram():
    return train_ngram([list("abca"), list("aab"), list("cb")], order=3, vocabulary="abc")


@pytest.fixture(scope="module")
def word_ngram():
    texts = ["a AB", "ab cb", "AB a", "abc", "cb a", "AB cb", "a ab a"]
    return train_ngram([text.split() for text in texts], order=3)


def by_torch(log_probs, labelings):
    """ln P of labelings, as torch's CTC loss has it."""
    lengths = torch.tensor([len(ids) for ids in labelings])
    targets = torch.tensor([[*ids, *[1] * (FRAMES - len(ids))] for ids in labelings])
    frames = torch.full((len(labelings),), len(log_probs))
    spread = log_probs[:, None].expand(-1, len(labelings), -1)
    return -torch.nn.functional.ctc_loss(spread, targets, frames, lengths, reduction="none").numpy()


def by_all_paths(log_probs):
    """ln P of every labeling: the sum over all paths that collapse to it."""
    totals = dict.fromkeys(LABELINGS, 0.0)
    for path in itertools.product(range(len(SYMBOLS)), repeat=FRAMES):
        ids = tuple(token for token, _ in itertools.groupby(path) if token)
        totals[ids] += math.exp(sum(float(log_probs[frame, token]) for frame, token in enumerate(path)))
    return totals


def all_texts(lexicon, separator=None):
    """The texts that each labeling may be: all sequences of words that fit the frames, spelled out."""
    spoken = [(word, sounds) for word, several in lexicon.pronunciations.items() for sounds in several]
    texts = {(): {()}}
    sentences = [((), ())]  # words and symbols
    for words, symbols in sentences:  # grows while it is read
        for word, sounds in spoken:
            longer = (*symbols, *([separator] if separator and words else []), *sounds)
            if len(longer) <= FRAMES:
                sentences.append(((*words, word), longer))
                ids = tuple(SYMBOLS.index(symbol) for symbol in longer)
                texts.setdefault(ids, set()).add((*words, word))
    return texts


def exhaustive(log_probs, texts_of, ngram=None, weight=0.0, insertion=0.0):
    """Texts with their best score, best first."""
    best = {}
    for ids, ctc in zip(LABELINGS, by_torch(log_probs, LABELINGS), strict=True):
        for tokens in texts_of(ids) if np.isfinite(ctc) else ():
            beside = weight * ngram.sentence(tokens) if ngram else 0.0
            best[tokens] = max(best.get(tokens, -math.inf), ctc + beside + insertion * len(tokens))
    return sorted(best.items(), key=lambda item: -item[1])


def as_symbols(ids):
    return [tuple(SYMBOLS[token] for token in ids)]


def assert_same_texts(found, expected):
    """Same scores in the same order; texts of equal scores may change places."""
    assert [hypothesis.score for hypothesis in found] == pytest.approx([score for _, score in expected], abs=1e-9)
    assert {hypothesis.tokens: pytest.approx(hypothesis.score, abs=1e-9) for hypothesis in found} == dict(expected)


def test_torch_and_all_paths_and_the_forward_algorithm_agree():
    log_probs = random_log_probs(0)
    totals = by_all_paths(log_probs)
    assert sum(totals.values()) == pytest.approx(1)
    exact = np.exp(ctc_log_probs(log_probs.numpy(), LABELINGS))
    np.testing.assert_allclose(exact, list(totals.values()), rtol=1e-10, atol=0)
    np.testing.assert_allclose(np.exp(by_torch(log_probs, LABELINGS)), list(totals.values()), rtol=1e-10, atol=0)


def test_the_forward_algorithm_at_its_borders():
    assert ctc_log_probs(np.zeros((0, 3)), [(), (1,)]).tolist() == [0, -math.inf]
    assert ctc_log_probs(np.zeros((4, 3)), []).shape == (0,)
    with np.errstate(all="raise"):
        assert ctc_log_probs(np.log([[0.5, 0.5]] * 2), [(1, 1)]).tolist() == [-math.inf]  # needs three frames


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_without_pruning_symbols_equal_exhaustive_search(symbol_ngram, seed, weight):
    log_probs = random_log_probs(seed)
    found = ctc_prefix_search(
        log_probs, ngram=symbol_ngram, ngram_weight=weight, token_insertion=0.3, nbest=400, **EVERYTHING
    )
    assert_same_texts(found, exhaustive(log_probs, as_symbols, symbol_ngram, weight, 0.3))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weight", [0.0, 0.7])
@pytest.mark.parametrize("separator", [None, "c"])
def test_without_pruning_words_equal_exhaustive_search(word_ngram, seed, weight, separator):
    lexicon = LEXICON
    if separator:  # the third symbol stands between words then
        lexicon = Lexicon({"ab": [("a", "b")], "AB": [("a", "b")], "a": [("a",)], "b": [("b",), ("b", "b")]})
    log_probs = random_log_probs(seed)
    found = ctc_prefix_search(
        log_probs,
        ngram=word_ngram,
        ngram_weight=weight,
        token_insertion=-0.4,
        lexicon=lexicon,
        word_separator=separator,
        nbest=400,
        **EVERYTHING,
    )
    assert len(found) > 10
    texts = all_texts(lexicon, separator)
    assert_same_texts(found, exhaustive(log_probs, lambda ids: texts.get(ids, ()), word_ngram, weight, -0.4))


@pytest.mark.parametrize("nbest", [1, 3])
def test_fewer_results_are_the_first_of_many(word_ngram, nbest):
    log_probs = random_log_probs(7)
    common = {"ngram": word_ngram, "ngram_weight": 0.5, "lexicon": LEXICON, **EVERYTHING}
    few, many = (ctc_prefix_search(log_probs, nbest=number, **common) for number in (nbest, 400))
    assert few == many[:nbest]


@pytest.mark.parametrize("with_lexicon", [False, True])
def test_a_total_is_the_sum_of_its_parts_however_much_is_pruned(symbol_ngram, word_ngram, with_lexicon):
    ngram, lexicon = (word_ngram, LEXICON) if with_lexicon else (symbol_ngram, None)
    texts = all_texts(LEXICON)
    for seed in range(5):
        log_probs = random_log_probs(seed)
        found = ctc_prefix_search(
            log_probs, 0, 4, ngram, 0.6, 0.2, lexicon=lexicon, symbols=SYMBOLS, top_tokens=2, nbest=4
        )
        assert found
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
        assert len({h.tokens for h in found}) == len(found)
        for hypothesis in found:
            assert hypothesis.ctc == pytest.approx(by_torch(log_probs, [hypothesis.ids])[0])
            assert hypothesis.ngram == pytest.approx(0.6 * ngram.sentence(hypothesis.tokens))
            assert hypothesis.insertion == pytest.approx(0.2 * len(hypothesis.tokens))
            assert hypothesis.score == hypothesis.ctc + hypothesis.ngram + hypothesis.insertion
            assert hypothesis.tokens in (texts[hypothesis.ids] if lexicon else as_symbols(hypothesis.ids))


def textbook(log_probs, beams, ngram, weight, insertion):
    """The prefixes that Hannun's algorithm ends with, written down plainly: all tokens, all prefixes, then the cut."""

    def beside(ids):
        return weight * ngram.sentence([SYMBOLS[token] for token in ids], end=False) + insertion * len(ids)

    beam = {(): (1.0, 0.0)}
    for frame in log_probs.exp().tolist():
        reached = {}
        for ids, (blank, label) in beam.items():
            for token, probability in enumerate(frame):
                if token == 0:
                    gains = [(ids, 0, (blank + label) * probability)]
                elif ids and token == ids[-1]:
                    gains = [(ids, 1, label * probability), ((*ids, token), 1, blank * probability)]
                else:
                    gains = [((*ids, token), 1, (blank + label) * probability)]
                for longer, place, gain in gains:
                    if gain:
                        reached.setdefault(longer, [0.0, 0.0])[place] += gain
        ranked = sorted(reached, key=lambda ids: -math.log(sum(reached[ids])) - beside(ids))
        beam = {ids: reached[ids] for ids in ranked[:beams]}
    return set(beam)


@pytest.mark.parametrize("beams", [1, 2, 5, 12])
@pytest.mark.parametrize("insertion", [-0.5, 0.8])
def test_a_narrow_beam_keeps_what_the_textbook_keeps(symbol_ngram, beams, insertion):
    for seed in range(4):
        log_probs = random_log_probs(seed, frames=14)
        found = ctc_prefix_search(
            log_probs,
            beams=beams,
            ngram=symbol_ngram,
            ngram_weight=0.8,
            token_insertion=insertion,
            symbols=SYMBOLS,
            nbest=beams,
        )
        assert {hypothesis.ids for hypothesis in found} == textbook(log_probs, beams, symbol_ngram, 0.8, insertion)


def test_words_under_way_are_ranked_by_what_they_can_become():
    lexicon = Lexicon.spelled(["ac", "bc"])
    ngram = train_ngram([["bc"]] * 20 + [["ac"]], order=1)
    log_probs = torch.tensor([[0.0, 0.55, 0.45, 0.0], [0.02, 0.0, 0.0, 0.98]]).log()
    common = {"ngram": ngram, "ngram_weight": 1.0, "lexicon": lexicon, "symbols": SYMBOLS}
    for beams in (1, 16):  # one prefix must know at the first frame which word it begins
        assert ctc_prefix_search(log_probs, beams=beams, **common)[0].tokens == ("bc",)
    assert ctc_prefix_search(log_probs, beams=1, lexicon=lexicon, symbols=SYMBOLS)[0].tokens == ("ac",)


def test_a_beam_beats_the_best_path():
    # The best path, two blanks, has 0.36; "a" has two of 0.24 and one of 0.16.
    log_probs = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert ctc_greedy(log_probs[None]) == [[]]
    (best,) = ctc_prefix_search(log_probs, beams=2)
    assert (best.ids, best.tokens) == ((1,), ())
    assert math.exp(best.score) == pytest.approx(0.64)


def test_homophones_are_told_apart_by_the_n_gram():
    lexicon = Lexicon({"two": [("t", "u")], "too": [("t", "u")], "me": [("m", "i")]})
    symbols = ["<pad>", "t", "u", "m", "i"]
    log_probs = torch.full((8, 5), 0.02).log()
    for frame, token in enumerate([3, 4, 0, 1, 1, 2, 0, 0]):
        log_probs[frame, token] = math.log(0.92)
    for texts, word in ((["me too", "two me"], "too"), (["me two", "too me"], "two")):
        ngram = train_ngram([text.split() for text in texts], order=2)
        best, second = ctc_prefix_search(
            log_probs, ngram=ngram, ngram_weight=1.0, lexicon=lexicon, symbols=symbols, nbest=2
        )
        assert best.tokens == ("me", word)
        assert best.ids == second.ids == (3, 4, 1, 2)
        assert second.tokens[0] == "me"
        assert best.ctc == second.ctc


def test_words_that_the_n_gram_rules_out_are_not_written():
    grams = {("<s>",): (-99.0, 0.0), ("</s>",): (-0.5, 0.0), ("ab",): (-0.3, 0.0)}
    found = ctc_prefix_search(
        random_log_probs(1), ngram=NGram(grams), ngram_weight=0.5, lexicon=LEXICON, nbest=99, **EVERYTHING
    )
    assert {word for hypothesis in found for word in hypothesis.tokens} == {"ab"}
    # Without weight the n-gram is not asked.
    found = ctc_prefix_search(random_log_probs(1), ngram=NGram(grams), lexicon=LEXICON, nbest=99, **EVERYTHING)
    assert {word for hypothesis in found for word in hypothesis.tokens} == set(LEXICON.pronunciations)


def test_a_word_under_way_is_left_out_when_nothing_else_is_in_the_beam():
    log_probs = torch.full((4, 4), 0.001).log()
    for frame, token in enumerate([3, 0, 2, 0]):  # "c", then the first half of "bb"
        log_probs[frame, token] = math.log(0.997)
    (best,) = ctc_prefix_search(log_probs, beams=1, lexicon=LEXICON, symbols=SYMBOLS)
    assert (best.tokens, best.ids) == (("cb",), (3,))
    assert best.ctc == pytest.approx(by_torch(log_probs, [(3,)])[0])


def test_excluded_ids_are_in_no_text():
    log_probs = random_log_probs(3)
    found = ctc_prefix_search(log_probs, nbest=400, excluded=[2], **EVERYTHING)
    expected = exhaustive(log_probs, lambda ids: as_symbols(ids) if 2 not in ids else ())
    assert_same_texts(found, expected)


def test_clearing_the_tree_changes_nothing(monkeypatch, word_ngram):
    log_probs = random_log_probs(4, frames=40)
    common = {"ngram": word_ngram, "ngram_weight": 0.5, "lexicon": LEXICON, "symbols": SYMBOLS, "nbest": 8}
    before = ctc_prefix_search(log_probs, **common)
    monkeypatch.setattr(ctc_search, "SWEEP", 1)
    assert ctc_prefix_search(log_probs, **common) == before


def test_the_tree_holds_only_what_leads_to_the_beam_after_a_clearing(monkeypatch):
    sizes = []
    sweep = ctc_search._sweep

    def nodes_below(prefix):
        children = [child for child in prefix.children.values() if child is not None]
        return 1 + sum(map(nodes_below, children))

    def swept(beam):
        root = beam[0]
        while root.parent is not None:
            root = root.parent
        before = nodes_below(root)
        sweep(beam)
        leading = {prefix.ids()[:size] for prefix in beam for size in range(len(prefix.ids()) + 1)}
        sizes.append((before, nodes_below(root), len(leading)))

    monkeypatch.setattr(ctc_search, "_sweep", swept)
    ctc_prefix_search(random_log_probs(5, frames=256), beams=4)
    assert len(sizes) == 2
    for before, after, leading in sizes:
        assert before > after == leading


def test_arrays_and_tensors_of_any_precision_are_taken():
    log_probs = random_log_probs(6)
    expected = ctc_prefix_search(log_probs, **EVERYTHING)
    assert ctc_prefix_search(log_probs.numpy(), **EVERYTHING) == expected
    before = log_probs.clone()
    (half,) = ctc_prefix_search(log_probs.bfloat16(), excluded=[1], **EVERYTHING)
    assert 1 not in half.ids
    assert ctc_prefix_search(log_probs.clone().requires_grad_(), **EVERYTHING) == expected
    assert torch.equal(log_probs, before)


def test_no_frames_are_the_empty_text_and_impossible_frames_none():
    (empty,) = ctc_prefix_search(torch.zeros(0, 4))
    assert (empty.ids, empty.score) == ((), 0.0)
    (silent,) = ctc_prefix_search(torch.tensor([[0.0, -torch.inf]] * 3))
    assert (silent.ids, silent.score) == ((), 0.0)
    only_b = torch.full((3, 4), -torch.inf)
    only_b[:, 2] = 0
    assert ctc_prefix_search(only_b)[0].ids == (2,)
    lexicon = Lexicon({"a": [("a",)]})
    assert ctc_prefix_search(only_b, lexicon=lexicon, symbols=SYMBOLS) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blank": 4}, "blank=4 must be an id, 0 to 3"),
        ({"beams": 0}, "beams=0"),
        ({"top_tokens": 0}, "top_tokens=0"),
        ({"nbest": 17}, "nbest=17 must be 1 to beams=16"),
        ({"symbols": ["a"]}, "symbols has 1 entries, log_probs a vocabulary of 4"),
        ({"ngram_weight": 0.5}, "ngram is None"),
        ({"ngram_weight": -0.5}, "ngram_weight=-0.5"),
        ({"token_insertion": float("nan")}, "token_insertion=nan"),
        ({"lexicon": LEXICON}, "symbols is None"),
        ({"word_separator": "|", "symbols": SYMBOLS}, "lexicon is None"),
        ({"word_separator": "|", "symbols": SYMBOLS, "lexicon": LEXICON}, "must be among symbols"),
        ({"word_separator": "a", "symbols": SYMBOLS, "lexicon": LEXICON}, "in no pronunciation"),
        ({"symbols": SYMBOLS, "lexicon": Lexicon({"d": [("d",)]})}, "not among symbols: 'd'"),
        ({"excluded": [0]}, "without the blank"),
        ({"excluded": [-1]}, "must be ids from 0 to 3"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ctc_prefix_search(random_log_probs(0), **options)


def test_what_is_no_log_probabilities_is_refused():
    with pytest.raises(ValueError, match=r"shape \(1, 5, 4\); expected \(frames, vocabulary\)"):
        ctc_prefix_search(random_log_probs(0)[None])
    with pytest.raises(ValueError, match="log_softmax"):
        ctc_prefix_search(random_log_probs(0) + 4)
    with pytest.raises(ValueError, match="nan"):
        ctc_prefix_search(torch.full((2, 3), torch.nan))


def test_greedy_collapses_the_best_path_and_says_where_tokens_stood():
    paths = torch.tensor([[0, 2, 2, 0, 2, 3, 3, 3], [1, 1, 0, 0, 1, 2, 2, 2]])
    probabilities = torch.full((2, 8, 4), 0.1).scatter(2, paths[..., None], 0.7)
    probabilities[0, 2, 2] = 0.8
    probabilities[0, 2, 0] = 0.0
    mask = torch.tensor([[1] * 8, [1] * 6 + [0] * 2])
    first, second = ctc_greedy(probabilities.log(), mask)
    seventy, eighty = pytest.approx(math.log(0.7)), pytest.approx(math.log(0.8))
    assert first == [CtcToken(2, 1, 3, eighty), CtcToken(2, 4, 5, seventy), CtcToken(3, 5, 8, seventy)]
    assert second == [CtcToken(1, 0, 2, seventy), CtcToken(1, 4, 5, seventy), CtcToken(2, 5, 6, seventy)]
    assert ctc_greedy(probabilities.log())[1][-1].end == 8
    assert [[token.id for token in clip] for clip in ctc_greedy(probabilities.log(), mask, blank=2)] == [
        [0, 0, 3],
        [1, 0, 1],
    ]
    assert ctc_greedy(torch.zeros(2, 0, 4)) == [[], []]
    assert ctc_greedy(probabilities.log().numpy(), mask.numpy()) == [first, second]


def test_greedy_refuses_what_does_not_fit():
    log_probs = random_log_probs(0)[None]
    with pytest.raises(ValueError, match=r"expected \(batch, frames, vocabulary\)"):
        ctc_greedy(log_probs[0])
    with pytest.raises(ValueError, match=r"mask has shape \(1, 4\)"):
        ctc_greedy(log_probs, torch.ones(1, 4))
    with pytest.raises(ValueError, match="log_softmax"):
        ctc_greedy(log_probs + 4)
    with pytest.raises(ValueError, match="blank=-1"):
        ctc_greedy(log_probs, blank=-1)


@pytest.mark.parametrize("seed", range(3))
def test_tokens_stand_where_the_best_of_all_paths_of_their_text_has_them(seed):
    log_probs = random_log_probs(seed).numpy()
    best: dict[tuple[int, ...], tuple[float, tuple[int, ...]]] = {}
    for path in itertools.product(range(len(SYMBOLS)), repeat=FRAMES):
        ids = tuple(token for token, _ in itertools.groupby(path) if token)
        score = sum(log_probs[frame, token] for frame, token in enumerate(path))
        best[ids] = max(best.get(ids, (-math.inf, ())), (score, path))
    for ids, (_, path) in best.items():
        expected, frame = [], 0
        for token, run in itertools.groupby(path):
            end = frame + len(list(run))
            if token:
                expected.append(CtcToken(token, frame, end, log_probs[frame:end, token].max()))
            frame = end
        assert ctc_align(log_probs, ids) == expected


def test_a_text_that_does_not_fit_its_frames_is_refused():
    log_probs = random_log_probs(0).numpy()
    assert ctc_align(log_probs[:0], []) == []
    for ids in ([1, 1, 1, 1], [1, 2, 3, 1, 2, 3]):
        with pytest.raises(ValueError, match="does not fit into 5 frames"):
            ctc_align(log_probs, ids)
