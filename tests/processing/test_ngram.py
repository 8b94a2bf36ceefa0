"""N-grams: ARPA files are read whole or refused, back-off sums are those worked by hand, a trained model is proper."""

import gzip
import itertools
import math
import random
import sys

import numpy as np
import pytest

from aural.processing.arpa import arpa_word, read_arpa
from aural.processing.ngram import NGram, table_arrays
from aural.processing.ngram_kenlm import read_kenlm
from aural.processing.ngram_training import train_ngram

ARPA = """made by hand

\\data\\
ngram 1=6
ngram 2=4
ngram 3=2

\\1-grams:
-99\t<s>\t-0.3
-1.0\t</s>
-0.5\ta\t-0.2
-0.7\tb\t-0.1
-1.5\tc
-2.0\t<unk>

\\2-grams:
-0.25\t<s> a\t-0.4
-0.35\ta b\t-0.6
-0.45\tb </s>
-0.55\tb a

\\3-grams:
-0.15\t<s> a b
-0.05\ta b </s>

\\end\\
"""
LN10 = math.log(10)
TEXTS = ["a b a", "a c", "b a b c a", "c c a", "a b"]


@pytest.fixture
def arpa(tmp_path):
    path = tmp_path / "hand.arpa"
    path.write_text(ARPA, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained():
    return train_ngram([text.split() for text in TEXTS], order=3)


@pytest.mark.parametrize(
    ("history", "word", "log10"),
    [
        (("<s>", "a"), "b", -0.15),
        (("<s>",), "a", -0.25),
        (("<s>",), "b", -0.3 - 0.7),  # back-off of <s>
        (("a", "b"), "a", -0.6 - 0.55),  # of "a b", then listed
        (("a", "b"), "c", -0.6 - 0.1 - 1.5),  # of "a b", of "b"
        (("<s>", "a"), "a", -0.4 - 0.2 - 0.5),
        (("b", "c"), "a", -0.5),  # neither context is listed
        (("c", "a", "b"), "</s>", -0.05),  # only the last two words count
        (("a", "b"), "zebra", -0.6 - 0.1 - 2.0),  # <unk>
        (("zebra", "a"), "b", -0.35),
        ((), "a", -0.5),
    ],
)
def test_scores_are_the_back_off_sums(arpa, history, word, log10):
    ngram = NGram.read(arpa)
    assert ngram.score(history, word) == pytest.approx(log10 * LN10, abs=1e-12)
    assert ngram.score(ngram.state(history), word) == pytest.approx(log10 * LN10, abs=1e-12)


def test_a_sentence_is_the_sum_over_its_words_and_its_end(arpa):
    ngram = NGram.read(arpa)
    assert ngram.sentence(["a", "b"]) == pytest.approx((-0.25 - 0.15 - 0.05) * LN10)
    assert ngram.sentence(["a", "b"], end=False) == pytest.approx((-0.25 - 0.15) * LN10)
    assert ngram.sentence([]) == pytest.approx((-0.3 - 1.0) * LN10)


def test_states_keep_only_what_can_matter(arpa):
    ngram = NGram.read(arpa)
    assert ngram.start == ("<s>",)
    assert ngram.state(("<s>", "a")) == ("<s>", "a")
    assert ngram.state(("c", "a")) == ("a",)  # nothing continues "c a"
    assert ngram.state(("a", "c")) == ()
    assert ngram.advance(("a", "b"), "a") == ("a",)  # "b a" is listed, but neither continued nor backed off from


def test_unknown_words_and_the_start_have_no_probability_unless_told(arpa):
    arpa.write_text(ARPA.replace("-2.0\t<unk>\n", "").replace("ngram 1=6", "ngram 1=5"))
    assert NGram.read(arpa).score(("a",), "zebra") == -math.inf
    assert NGram.read(arpa, unknown=-7.5).score(("a",), "zebra") == -7.5
    assert NGram.read(arpa, unknown=-7.5).score(("a",), "<s>") == -math.inf
    with pytest.raises(ValueError, match="unknown=1"):
        NGram.read(arpa, unknown=1)


def test_gzipped_files_are_read_and_written(arpa, tmp_path):
    packed = tmp_path / "packed.arpa"  # the content counts, not the name
    packed.write_bytes(gzip.compress(ARPA.encode()))
    grams = NGram.read(arpa).grams
    assert NGram.read(packed).grams == grams
    written = NGram.read(arpa).write(tmp_path / "written.arpa.gz")
    assert gzip.decompress(written.read_bytes()).startswith(b"\\data\\")
    assert NGram.read(written).grams == grams
    packed.write_bytes(gzip.compress(ARPA.encode())[:-20])
    with pytest.raises(OSError, match=r"packed\.arpa: gzip data damaged"):
        NGram.read(packed)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ngram 2=4", "ngram 2=5", r":22: 5 2-grams are announced, 4 are there"),
        ("ngram 2=4", "ngram 2=3", r":22: 3 2-grams are announced, 4 are there"),
        ("ngram 2=4\n", "", r":5: expected 'ngram 2='"),
        ("ngram 2=4", "ngram 2=four", r":5: expected 'ngram 2='"),
        ("\\end\\\n", "", r":25: the file ends before"),
        ("\\end\\\n", "\\4-grams:\n", r":26: expected \\end"),
        ("\\data\\", "", r":26: no \\data"),
        ("\\2-grams:", "\\3-grams:", r":16: expected \\2-grams:"),
        ("-0.7\tb", "x0.7\tb", r":12: not a number: b'x0.7'"),
        ("-0.7\tb", "nan\tb", r":12: log probability nan"),
        ("-0.7\tb", "0.7\tb", r":12: log probability 0.7"),
        ("-0.7\tb\t-0.1", "-0.7\tb\tinf", r":12: .*back-off inf"),
        ("-0.7\tb", "-0.7\ta", r":12: 'a' is there twice"),
        ("-0.35\ta b\t-0.6", "-0.35\ta", r":18: 2 fields"),
        ("-0.15\t<s> a b", "-0.15\t<s> a b\t-0.1", r":23: 5 fields; allowed: a log probability, 3 words$"),
        ("-0.55\tb a", "-0.55\td a", r":20: 'd a': the words before"),
        ("-0.55\tb a", "-0.55\tb d", r":20: 'b d': the words before"),
        ("-0.05\ta b </s>", "-0.05\tb c </s>", r":24: 'b c </s>': the words before"),
        ("\t</s>", "\t<e>", r"the words before"),
    ],
)
def test_a_wrong_file_is_refused_with_file_and_line(arpa, old, new, message):
    assert ARPA.count(old) >= 1
    arpa.write_text(ARPA.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as raised:
        NGram.read(arpa)
    assert str(arpa) in str(raised.value)


def test_every_cut_of_a_file_is_refused(arpa):
    whole = ARPA.encode()
    for size in range(0, len(whole) - len("\\end\\\n"), 7):
        arpa.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"hand\.arpa:\d+: "):
            NGram.read(arpa)


def test_other_broken_files_are_refused(arpa):
    with pytest.raises(FileNotFoundError):
        NGram.read(arpa.with_name("nowhere.arpa"))
    arpa.write_bytes(ARPA.encode().replace(b"\tc\n", b"\t\xff\n"))
    with pytest.raises(ValueError, match=r"hand\.arpa:13: not UTF-8"):
        NGram.read(arpa)
    arpa.write_text("\\data\\\nngram 1=1\n\\1-grams:\n-1\ta\n\\end\\\n")
    with pytest.raises(ValueError, match=r"hand\.arpa: the n-gram has no <s>"):
        NGram.read(arpa)


def test_white_space_symbols_are_written_by_name(tmp_path):
    ngram = train_ngram([list("a b\ta"), list("b a\n")], order=2)
    path = ngram.write(tmp_path / "characters.arpa")
    assert "\ta <space>" in path.read_text(encoding="utf-8")
    assert NGram.read(path).grams == ngram.grams
    assert arpa_word("\N{NO-BREAK SPACE}") == "\N{NO-BREAK SPACE}"
    path.write_bytes(b"before")
    for tokens in (["a b"], [" ", "<space>"]):
        with pytest.raises(ValueError, match=r"white space|one when written"):
            train_ngram([tokens]).write(path)
        assert path.read_bytes() == b"before"


def test_words_with_other_spaces_stay_whole(tmp_path):
    ngram = train_ngram([["a\N{NO-BREAK SPACE}b", "\N{IDEOGRAPHIC SPACE}"]], order=2)
    assert NGram.read(ngram.write(tmp_path / "spaces.arpa")).grams == ngram.grams


def test_every_context_of_a_trained_model_sums_to_one(trained):
    words = [word for word in trained.words if word != "<s>"]
    assert sorted(words) == ["</s>", "<unk>", "a", "b", "c"]
    contexts = [(), *itertools.product(["<s>", "a", "b", "c", "<unk>"], repeat=1)]
    contexts += itertools.product(["<s>", "a", "b", "c", "</s>"], ["a", "b", "c"])
    for context in contexts:
        assert sum(math.exp(trained.score(context, word)) for word in words) == pytest.approx(1, abs=1e-12)


def test_a_bigram_is_the_kneser_ney_formula_worked_by_hand():
    # Pairs: <s> a, a b, b </s>, <s> b, b a, a </s> twice: "a b", "b a", "a".
    ngram = train_ngram([["a", "b"], ["b", "a"], ["a"]], order=2)
    # 2-grams: <s> a 2, <s> b 1, a b 1, b </s> 1, b a 1, a </s> 2: n1 = 4, n2 = 2.
    pairs = 4 / (4 + 2 * 2)
    # Different words before: a 2 (<s>, b), b 2 (<s>, a), </s> 2 (b, a): no 1, so the fallback; 6 in all, 3 kinds.
    singles = 0.5
    unseen = singles * 3 / 6 / 4  # four words: a, b, </s>, <unk>
    single = (2 - singles) / 6 + unseen
    assert ngram.score((), "<unk>") == pytest.approx(math.log(unseen))
    assert ngram.score((), "a") == pytest.approx(math.log(single))
    # After <s>: 3 pairs of 2 kinds.
    after = pairs * 2 / 3
    assert ngram.score(("<s>",), "a") == pytest.approx(math.log((2 - pairs) / 3 + after * single))
    assert ngram.score(("<s>",), "</s>") == pytest.approx(math.log(after * single))
    assert ngram.score(("<s>",), "zebra") == pytest.approx(math.log(after * unseen))


def test_n_grams_from_the_start_are_counted_and_not_their_continuations():
    # With order 3 "<s> a" has no word before it: its count is 3, not a number of different words.
    ngram = train_ngram([["a"], ["a"], ["a"], ["b"]], order=3)
    # 2-grams <s> a 3, <s> b 1; a </s> and b </s> have one word before each: n1 = 3, n2 = 0: the fallback.
    unigrams = {"a": 1, "b": 1, "</s>": 2}  # n1 = 2, n2 = 1
    discount = 2 / (2 + 2)
    single = (unigrams["a"] - discount) / 4 + discount * 3 / 4 / 4
    assert ngram.score(("<s>",), "a") == pytest.approx(math.log((3 - 0.5) / 4 + 0.5 * 2 / 4 * single))


def test_the_vocabulary_gets_a_probability_without_texts():
    ngram = train_ngram([["a", "b"]], order=2, vocabulary=["a", "z"])
    assert "z" in ngram
    assert ngram.score(("a",), "z") == pytest.approx(ngram.score(("a",), "<unk>"))
    assert ngram.score(("a",), "z") > -math.inf


def test_training_refuses_what_it_cannot_count():
    with pytest.raises(TypeError, match=r"sentences\[1\] is one string"):
        train_ngram([["a"], "b"])
    with pytest.raises(TypeError, match="holds a int"):
        train_ngram([[1]])
    for token in ("<s>", "</s>", ""):
        with pytest.raises(ValueError, match="cannot be a token"):
            train_ngram([[token]])
    with pytest.raises(ValueError, match="order=0"):
        train_ngram([["a"]], order=0)
    with pytest.raises(ValueError, match="sentences is empty"):
        train_ngram([])


def test_a_written_model_is_read_as_it_was(trained, tmp_path):
    assert read_arpa(trained.write(tmp_path / "trained.arpa")) == trained.grams


@pytest.mark.parametrize("order", [1, 2, 4])
def test_tables_over_ids_hold_every_score(order):
    ngram = train_ngram([list(text) for text in TEXTS], order, vocabulary="abc ")
    symbols = ["<pad>", "<bos>", "<eos>", "<unk>", *" abcz"]  # z is unknown to the n-gram
    tables = table_arrays(ngram, symbols)
    assert tables.next_state.shape == tables.log_probs.shape
    assert (tables.next_state.dtype, tables.log_probs.dtype) == (np.int32, np.float32)
    generator = random.Random(order)
    for _ in range(50):
        text = generator.choices(range(3, 9), k=generator.randint(0, 8))
        state, total = tables.start, 0.0
        for token in [*text, 2]:
            total += tables.log_probs[state, token]
            state = tables.next_state[state, token]
        assert total == pytest.approx(ngram.sentence([symbols[token] for token in text]), rel=1e-5)
    assert (tables.log_probs[:, :2] == -np.inf).all()  # neither padding nor a start can follow
    assert tables.next_state[5 % len(tables.next_state), 1] == tables.start
    assert (tables.next_state[:, 0] == np.arange(len(tables.next_state))).all()


def test_tables_price_unknown_symbols_as_told(arpa):
    arpa.write_text(ARPA.replace("-2.0\t<unk>\n", "").replace("ngram 1=6", "ngram 1=5"))
    symbols = ["<pad>", "<bos>", "<eos>", "<unk>", "a", "z", "b"]
    assert (table_arrays(NGram.read(arpa), symbols).log_probs[:, [3, 5]] == -np.inf).all()
    tables = table_arrays(NGram.read(arpa, unknown=-7.5), symbols)
    assert (tables.log_probs[:, [3, 5]] == -7.5).all()
    # After an unknown word only the 1-grams are left.
    assert tables.log_probs[tables.next_state[tables.start, 5], 4] == pytest.approx(-0.5 * LN10)


def test_tables_leave_out_states_that_no_id_leads_to(trained):
    symbols = ["<pad>", "<bos>", "<eos>", "a", "b"]
    few, all_of_them = (table_arrays(trained, s) for s in (symbols, [*symbols, "c"]))
    assert len(few.log_probs) < len(all_of_them.log_probs)
    np.testing.assert_allclose(few.log_probs[few.start], all_of_them.log_probs[all_of_them.start, :5])


def test_tables_that_would_be_too_large_are_refused_with_numbers(trained):
    symbols = ["<pad>", "<bos>", "<eos>", "<unk>", "a", "b", "c"]
    cells = table_arrays(trained, symbols).log_probs.size
    with pytest.raises(ValueError, match=rf"{cells // 7} states over 7 symbols, {cells} cells; allowed: {cells - 1}"):
        table_arrays(trained, symbols, max_cells=cells - 1)


def test_kenlm_gives_the_same_scores(tmp_path):
    pytest.importorskip("kenlm")
    generator = random.Random(0)
    texts = [generator.choices(["one", "two", " ", "é"], k=generator.randint(1, 9)) for _ in range(60)]
    ours = train_ngram(texts, order=4)
    theirs = read_kenlm(ours.write(tmp_path / "words.arpa"))
    assert theirs.order == ours.order
    for _ in range(50):
        words = generator.choices(["one", "two", " ", "é", "never"], k=generator.randint(0, 9))
        assert theirs.sentence(words) == pytest.approx(ours.sentence(words), rel=1e-5)
        history = ["<s>", *words]
        assert theirs.score(history, "two") == pytest.approx(ours.score(history, "two"), rel=1e-5)
        assert theirs.score(words, "two") == pytest.approx(ours.score(words, "two"), rel=1e-5)
    assert theirs.score((), "<s>") == -math.inf
    with pytest.raises(OSError, match="nowhere"):
        read_kenlm(tmp_path / "nowhere.arpa")


def test_without_kenlm_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "kenlm", None)
    with pytest.raises(ImportError, match="pip install kenlm"):
        read_kenlm(tmp_path / "words.arpa")
