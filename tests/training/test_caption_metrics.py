"""Scores of captions against values worked out by hand."""

import math

import numpy as np
import pytest
from transformers import EvalPrediction

from aural import AuralProcessor, LogMelFeatureExtractor, train_tokenizer
from aural.training.caption_metrics import caption_metrics, corpus_bleu, score_captions
from aural.training.mix_grammar import Description, Part, captions
from aural.training.slot_scores import judge, score_slots

SNARE, KICKS, OWL = Part("snare", 1), Part("kick", 2), Part("owl", 3)


def test_bleu_is_the_corpus_precision_of_n_grams_clipped_by_the_best_reference():
    references = [["a dog barks", "the dog is barking loud"], ["rain on a roof"]]
    bleu = corpus_bleu(references, ["a a dog barks", "rain roof"])
    # 1-grams: a (1 of 2), dog, barks; rain, roof: 5 of 6. 2-grams: "a dog", "dog barks"; "rain roof": 2 of 4.
    # Lengths 4 + 2 = 6; the nearest references have 3 (of 3 and 5, the shorter), and 4: 7. Brevity exp(1 - 7 / 6).
    brevity = math.exp(1 - 7 / 6)
    assert bleu[0] == pytest.approx(brevity * 5 / 6)
    assert bleu[1] == pytest.approx(brevity * math.sqrt(5 / 6 * 2 / 4))
    assert bleu[3] == 0  # no four words in a row


def test_captions_that_equal_a_reference_are_perfect():
    references = [["a dog barks at a cat", "x"], ["y", "two owls call in the night"]]
    scores = score_captions(references, ["a dog barks at a cat", "two owls call in the night"])
    assert [scores[f"bleu_{n}"] for n in (1, 2, 3, 4)] == pytest.approx([1, 1, 1, 1])
    assert (scores["clips"], scores["exact"], scores["exact_interval"]) == (2, 1.0, [1.0, 1.0])


def test_exact_counts_clips_whose_caption_is_one_of_its_own_references():
    scores = score_captions([["one", "two"], ["three"], ["four"], ["five"]], ["two", "one", "four ", "five"])
    assert scores["exact"] == 0.5
    low, high = scores["exact_interval"]
    assert 0 <= low < 0.5 < high <= 1


def test_clips_may_have_any_number_of_references():
    one = corpus_bleu([["a b c d"], ["e f g h", "e f g i", "e f"]], ["a b c d", "e f g i"])
    assert one == pytest.approx([1, 1, 1, 1])


@pytest.mark.parametrize(
    ("references", "predictions", "message"),
    [
        ([["a"]], ["a", "b"], "references are of 1 clips and predictions of 2"),
        ([], [], "at least one"),
        ([["a"], []], ["a", "b"], r"references\[1\] is \[\]"),
        (["a"], ["a"], r"references\[0\] is 'a'; expected a list"),
    ],
)
def test_what_cannot_be_scored_is_refused(references, predictions, message):
    with pytest.raises(ValueError, match=message):
        score_captions(references, predictions)


def test_the_trainers_metrics_take_all_references():
    processor = AuralProcessor(LogMelFeatureExtractor(), train_tokenizer(["a dog barks now", "rain"], "word"))
    ids = processor.tokenizer(["a dog barks now", "rain"], padding=True, return_tensors="np").input_ids
    compute = caption_metrics(processor, [["a dog", "a dog barks now"], ["now rain"]])
    scores = compute(EvalPrediction(predictions=ids, label_ids=ids))
    assert scores.keys() == {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "exact"}
    assert scores["exact"] == 0.5
    with pytest.raises(ValueError, match="predict_with_generate"):
        compute(EvalPrediction(predictions=np.zeros((2, 3, 4)), label_ids=ids))


def test_slots_are_judged_one_by_one():
    right = Description((SNARE, KICKS, OWL), True)
    verdicts = judge(right, "a snare then two kicks then three owls overlapping")
    assert verdicts == {"sources": [True], "order": [True], "counts": [True] * 3, "overlap": [True]}
    swapped = judge(right, "two kicks followed by a snare followed by three owls")
    assert swapped == {"sources": [True], "order": [False], "counts": [True] * 3, "overlap": [False]}
    other = judge(right, "three snares then two bees overlapping")
    assert other == {"sources": [False], "counts": [False], "overlap": [True]}  # no order of what is not there
    assert judge(right, "a snare a snare") == {"sources": [False]}


def test_shares_of_slots_count_each_verdict_once():
    told = [Description((SNARE, KICKS)), Description((KICKS, OWL), True), Description((OWL,))]
    texts = ["a snare then two kicks", "two kicks followed by two owls", "three bees"]
    scores = score_slots(told, texts)
    assert scores["sources"] == pytest.approx(2 / 3)
    assert scores["order"] == 1.0
    assert scores["counts"] == pytest.approx(3 / 4)  # snare, kicks, kicks right; owls wrong
    assert scores["overlap"] == 0.5
    assert score_slots([Description((OWL,))], ["three owls"]).keys() == {
        *("sources", "sources_interval", "counts", "counts_interval")
    }


def test_a_caption_is_exact_when_all_slots_are_in_whichever_wording():
    told = Description((SNARE, KICKS), True)
    for text in captions(told):
        assert score_captions([captions(told)], [text])["exact"] == 1
        assert all(all(each) for each in judge(told, text).values())


def test_other_numbers_of_descriptions_are_refused():
    with pytest.raises(ValueError, match="1 descriptions and 2 predictions"):
        score_slots([Description((OWL,))], ["a", "b"])
