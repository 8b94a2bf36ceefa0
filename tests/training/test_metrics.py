"""Error rates: jiwer's numbers, empty references defined, intervals that a seed repeats, nothing left at home."""

import json
import random
import subprocess
import sys
from types import SimpleNamespace

import jiwer
import numpy as np
import pytest

from aural.processing.tokenizers import train_tokenizer
from aural.training.metrics import (
    UNKNOWN,
    CharacterErrorRate,
    WordErrorRate,
    compute_metrics,
    count_edits,
    error_interval,
    score_texts,
)

REFERENCES = ["the cat sat", "on the mat", "yes"]
PREDICTIONS = ["the bat sat", "on mat today", "yes"]


def test_metrics_give_the_worked_rates():
    # cat/bat; "the" deleted and "today" inserted: 3 edits over 7 words. c/b; "the " deleted, " today" inserted.
    assert WordErrorRate().compute(predictions=PREDICTIONS, references=REFERENCES) == {"wer": pytest.approx(3 / 7)}
    expected = (1 + jiwer.cer("on the mat", "on mat today") * 10) / (11 + 10 + 3)
    cer = CharacterErrorRate().compute(predictions=PREDICTIONS, references=REFERENCES)
    assert cer == {"cer": pytest.approx(expected)}


def test_rates_agree_with_jiwer_on_random_texts():
    generator = random.Random(0)
    pairs = [
        [" ".join(generator.choices(["ab", "c", "d"], k=generator.randint(1, 9))) for _ in "12"] for _ in range(60)
    ]
    references, predictions = map(list, zip(*pairs, strict=True))
    scores = score_texts(references, predictions)
    output = jiwer.process_words(references, predictions)
    assert scores["wer"] == pytest.approx(jiwer.wer(references, predictions))
    assert scores["cer"] == pytest.approx(jiwer.cer(references, predictions))
    counts = [scores[f"word_{kind}"] for kind in ("substitutions", "deletions", "insertions")]
    assert counts == [output.substitutions, output.deletions, output.insertions]


def test_empty_reference_adds_its_insertions():
    edits, words = count_edits(["", "a b"], ["x y", "a"])
    assert edits.tolist() == [[0, 0, 2], [0, 1, 0]]
    assert words.tolist() == [0, 2]
    assert WordErrorRate().compute(predictions=["x y", "a"], references=["", "a b"]) == {"wer": 1.5}


@pytest.mark.parametrize("metric", [WordErrorRate, CharacterErrorRate])
def test_no_reference_words_at_all_is_an_error(metric):
    with pytest.raises(ValueError, match="not defined"):
        metric().compute(predictions=["a"], references=[" "])


def test_white_space_and_unicode_form_are_no_errors():
    assert score_texts(["e\N{COMBINING ACUTE ACCENT}te\N{COMBINING ACUTE ACCENT} a"], [" été\n a "])["wer"] == 0


def test_counts_must_match():
    with pytest.raises(ValueError, match="2 references and 1 predictions"):
        score_texts(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="'phoneme'"):
        count_edits(["a"], ["a"], unit="phoneme")


def test_interval_repeats_with_the_seed_and_holds_the_rate():
    generator = np.random.default_rng(0)
    words = generator.integers(1, 12, size=200)
    edits = generator.binomial(words, 0.2)
    low, high = error_interval(edits, words, seed=3)
    assert (low, high) == error_interval(edits, words, seed=3)
    assert (low, high) != error_interval(edits, words, seed=4)
    assert low < edits.sum() / words.sum() < high
    # Delta method for a ratio of sums: an independent 95% interval of nearly the same width.
    residual = edits - words * edits.sum() / words.sum()
    width = 2 * 1.96 * residual.std() / words.mean() / np.sqrt(len(words))
    assert high - low == pytest.approx(width, rel=0.15)


def test_interval_of_equal_utterances_is_a_point():
    assert error_interval([1] * 9, [4] * 9, seed=0) == (0.25, 0.25)


def test_resamples_without_words_are_left_out():
    low, high = error_interval([1, 2], [0, 2], seed=0)
    assert low >= 1 and high <= 3  # (1+2)/2, 4/4 = 1 and, of the resample without words, nothing


def test_interval_needs_words_and_equal_shapes():
    with pytest.raises(ValueError, match="not defined"):
        error_interval([1], [0], seed=0)
    with pytest.raises(ValueError, match="expected"):
        error_interval([1, 2], [3], seed=0)


def test_scores_are_json_and_complete():
    scores = json.loads(json.dumps(score_texts(REFERENCES, PREDICTIONS, seed=1)))
    assert scores["utterances"] == 3 and scores["words"] == 7 and scores["characters"] == 24
    assert scores["wer_interval"][0] <= scores["wer"] <= scores["wer_interval"][1]
    assert scores == score_texts(REFERENCES, PREDICTIONS, seed=1)


def test_compute_metrics_decodes_ids_and_ignores_padding():
    tokenizer = train_tokenizer(["ab cd"])
    ids = tokenizer(["ab cd", "ab"]).input_ids
    labels = np.array([ids[0], ids[1] + [-100] * 3])
    predictions = np.array([[1, *ids[0]], [1, *ids[0][:2], 2, 0, 0, 0]])
    compute = compute_metrics(SimpleNamespace(tokenizer=tokenizer))
    prediction = SimpleNamespace(predictions=predictions, label_ids=labels)
    assert compute(prediction) == {"wer": 0.0, "cer": 0.0}
    assert compute(prediction) == {"wer": 0.0, "cer": 0.0}  # an evaluation per epoch uses the same metric
    prediction.predictions = predictions[::-1]
    assert compute(prediction)["wer"] == pytest.approx(2 / 3)


def test_symbols_that_the_vocabulary_lacks_count_as_errors():
    tokenizer = train_tokenizer(["ab"])
    labels = np.array([tokenizer("aQb").input_ids])
    predictions = np.array([[1, *tokenizer("ab").input_ids, 0], [1, *tokenizer("aQb").input_ids]])
    compute = compute_metrics(tokenizer)
    for row in predictions:
        rates = compute(SimpleNamespace(predictions=row[None], label_ids=labels))
        assert rates == {"wer": 1.0, "cer": pytest.approx(jiwer.cer(f"a{UNKNOWN}b", "ab"))}


def test_logits_are_refused():
    compute = compute_metrics(train_tokenizer(["ab"]))
    with pytest.raises(ValueError, match="predict_with_generate"):
        compute(SimpleNamespace(predictions=np.zeros((1, 2, 6)), label_ids=np.array([[4, 2]])))


def test_metric_works_offline_and_leaves_the_home_directory_alone(tmp_path):
    script = (
        "import socket\n"
        "def refuse(*args): raise OSError('network')\n"
        "socket.socket.connect = refuse\n"
        "from aural.training.metrics import WordErrorRate\n"
        "one, two = WordErrorRate(), WordErrorRate()\n"
        "two.add(predictions='b', references='a')\n"
        "print(one.compute(predictions=['a'], references=['a']), two.compute())\n"
    )
    command = [sys.executable, "-c", script]
    environment = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "PATH": "", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "{'wer': 0.0} {'wer': 1.0}"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() or "metrics" in path.parts]


@pytest.mark.parametrize("space", ["\t", "\n", "  ", "\N{NO-BREAK SPACE}"])
def test_any_white_space_separates_words(space):
    assert score_texts(["a b"], [f"a{space}b"])["wer"] == 0
    assert score_texts([f"a{space}b"], ["a c"])["words"] == 2
