"""Results in a notebook: their text, words and scores, and nothing of them as markup."""

from dataclasses import replace

import numpy as np
import torch

from aural import Caption, Tagging, Transcript
from aural.captioning import CaptionWord
from aural.processing.alignment import TimedWord
from aural.processing.grid import PatchGrid
from aural.processing.trouble import Trouble
from aural.result_html import ROWS

EVIL = "<img src=x onerror=alert(1)>"


def test_a_transcript_shows_words_with_times_and_doubts():
    words = (TimedWord("seven", 0.5, 1.25, 0.875), TimedWord("no & yes", 1.5, 2.0, 0.5))
    told = Transcript("seven no & yes", 2.5, "a.wav", torch.zeros(0, 0), (), 0.08, words, confidence=0.7)
    shown = replace(told, troubles=(Trouble("dropped", 1.0, 1.5),))._repr_html_()
    assert '<td style="text-align:left">seven</td><td style="text-align:left">0.50–1.25</td>' in shown
    assert "no &amp; yes" in shown and "a.wav, 2.50 s, confidence 0.70" in shown
    assert "dropped" in shown and "1.00–1.50" in shown
    assert "dropped" not in told._repr_html_()
    many = replace(told, words=words[:1] * (ROWS + 3))._repr_html_()
    assert many.count("<td") == 3 * ROWS and "and 3 more" in many


def test_a_caption_shows_where_each_word_looked_most():
    grid = PatchGrid(np.array([[0.0, 0.5], [0.5, 1.0]]), np.array([[20.0, 900.0], [900.0, 8000.0]]))
    words = (CaptionWord("dog", 0.9, np.array([[0.1, 0.2], [0.6, 0.1]])),)
    shown = Caption("a dog", "b.wav", 0.0, 1.0, words, grid, 0.8)._repr_html_()
    assert "0.00–0.50 s, 900–8000 Hz" in shown and "<b>a dog</b>" in shown


def test_tags_show_scores_and_events():
    scores = np.array([[0.9, 0.1], [0.8, 0.2]], dtype=np.float32)
    told = Tagging(
        "c.wav", 1.0, ("bell", EVIL), scores, np.array([0.25, 0.75]), np.array([0, 0.5, 1.0]), scores.mean(0)
    )
    shown = told._repr_html_()
    assert shown.index("bell") < shown.index("0.85") < shown.index("0.15") and "0.00–1.00" in shown
    assert EVIL not in shown and "&lt;img" in shown


def test_nothing_of_a_file_is_markup():
    words = (TimedWord(EVIL, 0.0, 1.0, 1.0),)
    shown = Transcript(EVIL, 1.0, EVIL, torch.zeros(0, 0), (EVIL,), 0.1, words)._repr_html_()
    assert "<img" not in shown and shown.count("&lt;img") == 3
