"""What attention tells of loops, dropped speech and jumps back."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from aural import load_recognizer
from aural.processing.alignment import WordTokens, word_tokens
from aural.processing.levels import sound_levels
from aural.processing.trouble import Trouble, find_troubles, speech_coverage
from aural.training.clips import load_clips
from aural.training.compose import STRINGS, ComposedStrings

FRAME = 0.1  # seconds
DEMO = Path(__file__).parents[2] / "model_cards" / "las-demo"
STRINGS_TOLD = 60


def attending(*frames: int, total: int) -> np.ndarray:
    """Attention `(tokens, total)`, token `i` to frame `frames[i]` alone."""
    return np.eye(total)[list(frames)]


def speech(*stretches: tuple[float, float], seconds: float) -> np.ndarray:
    """Levels of a clip that sounds between the given seconds."""
    at = np.arange(round(seconds * 100)) / 100 + 0.005
    return np.where([any(start < t < end for start, end in stretches) for t in at], -20.0, -90.0)


def words_of(text: str) -> list[WordTokens]:
    return word_tokens(range(len(text)), lambda ids: text[: len(ids)])


def troubles(text: str, frames: Sequence[int], total: int, sounds: Sequence[tuple[float, float]]) -> tuple:
    """Of `text`, a token per character, and `<eos>` on the last frame."""
    alignment = attending(*frames, total - 1, total=total)
    levels = speech(*sounds, seconds=total * FRAME)
    return find_troubles(alignment, [*map(ord, text), 2], words_of(text), levels, FRAME)


def test_a_clean_diagonal_has_no_trouble():
    text = "ab cd ab cd"
    assert troubles(text, range(1, 12), 14, [(0.1, 0.3), (0.4, 0.6), (0.7, 0.9), (1.0, 1.2)]) == ()


def test_a_word_written_again_over_the_same_sound_is_looped():
    frames = [1, 2, 3, 4, 5, 6, 4, 5]  # ab cd cd, the second cd on the sound of the first
    found = troubles("ab cd cd", frames, 8, [(0.1, 0.3), (0.4, 0.6)])
    assert found == (Trouble("looped", pytest.approx(0.4), pytest.approx(0.6), ("cd",)),)


def test_words_written_again_are_one_stretch():
    frames = [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5]
    found = troubles("ab cd ab cd", frames, 8, [(0.1, 0.3), (0.4, 0.6)])
    assert found == (Trouble("looped", pytest.approx(0.1), pytest.approx(0.6), ("ab", "cd")),)


def test_a_repeated_word_that_takes_the_sound_of_the_next_is_looped_with_it():
    frames = [1, 2, 3, 5, 6, 7, 5, 6]  # ab ab cd: the second ab was read from cd's sound, then cd from the same
    found = troubles("ab ab cd", frames, 9, [(0.1, 0.3), (0.5, 0.7)])
    assert found == (Trouble("looped", pytest.approx(0.5), pytest.approx(0.7), ("ab", "cd")),)


def test_a_loop_inside_a_word_is_looped():
    text = "banananana"
    frames = [1, 2, 3, 4, 3, 4, 3, 4, 3, 4]
    found = troubles(text, frames, 6, [(0.1, 0.5)])
    assert [(one.kind, one.words) for one in found] == [("looped", (text,))]
    assert troubles(text, range(1, 11), 12, [(0.1, 1.1)]) == ()  # read on as it goes on: that is the word


def test_words_that_were_said_twice_are_no_loop():
    assert troubles("cd cd", [1, 2, 3, 4, 5], 7, [(0.1, 0.3), (0.4, 0.6)]) == ()


def test_speech_that_no_token_attended_to_is_dropped():
    found = troubles("ab cd", [1, 2, 3, 9, 10], 12, [(0.1, 0.3), (0.4, 0.85), (0.9, 1.1)])
    assert found == (Trouble("dropped", 0.4, 0.85),)
    assert troubles("ab cd", [1, 2, 3, 9, 10], 12, [(0.1, 0.3), (0.4, 0.7), (0.9, 1.1)]) == ()  # 0.3 s are too little
    assert troubles("ab cd", [1, 2, 3, 9, 10], 12, [(0.1, 0.3), (0.9, 1.1)]) == ()  # nobody speaks there


def test_two_words_that_were_dropped_are_one_stretch():
    found = troubles("ab", [1, 2], 14, [(0.1, 0.3), (0.4, 0.7), (0.8, 1.2)])
    assert found == (Trouble("dropped", 0.4, 1.2),)


def test_a_jump_back_to_other_words_is_told_with_where_it_landed():
    frames = [1, 2, 3, 8, 9, 10, 1, 2]  # ab cd, then ef on the sound of ab
    found = troubles("ab cd ef", frames, 11, [(0.1, 0.3), (0.8, 1.0)])
    assert found == (Trouble("went back", pytest.approx(0.15), pytest.approx(0.95), ("ef",)),)


def test_a_single_character_that_strays_is_no_jump():
    assert troubles("abcd", [3, 4, 0, 6], 8, [(0.3, 0.7)]) == ()


def test_coverage_is_the_share_of_speech_with_attention():
    alignment = attending(1, 2, 3, total=10)
    assert speech_coverage(alignment, speech((0.1, 0.4), seconds=1.0), FRAME) == 1.0
    assert speech_coverage(alignment, speech((0.1, 0.7), seconds=1.0), FRAME) == pytest.approx(0.5)
    assert speech_coverage(alignment, speech(seconds=1.0), FRAME) == 1.0  # no speech: nothing is missing
    assert speech_coverage(alignment, np.zeros(0), FRAME) == 1.0


@pytest.fixture(scope="module")
def forced():
    """`{kind of text: [troubles of each string]}`: the kept model made to read right, shortened and doubled texts."""
    model, processor = load_recognizer(DEMO)
    clips = load_clips(("digit", "letter", "phonetic"))
    data = ComposedStrings(clips, processor, STRINGS_TOLD, 88_000, STRINGS, held_out=True)
    sounds = [data.compose_timed(i) for i in range(STRINGS_TOLD)]
    texts: dict[str, list[str]] = {"right": [], "left out": [], "twice": []}
    for i, (_, _, spoken) in enumerate(sounds):
        said = [one.text for one in spoken]
        k = int(np.random.default_rng(i).integers(len(said)))
        texts["right"].append(" ".join(said))
        texts["left out"].append(" ".join(said[:k] + said[k + 1 :]))
        texts["twice"].append(" ".join(said[: k + 1] + said[k:]))
    waves = [audio for audio, _, _ in sounds]
    inputs = processor(audio=waves, sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        heard = model.get_encoder()(inputs["input_features"], inputs["attention_mask"])
        return {kind: _read(model, processor, inputs["attention_mask"], heard, waves, texts[kind]) for kind in texts}


def _read(model, processor, mask, heard, waves, texts):
    labels = processor(text=texts, return_tensors="pt")["labels"]
    inputs = model.prepare_decoder_input_ids_from_labels(labels)
    outputs = model(decoder_input_ids=inputs, encoder_outputs=heard, output_attentions=True, use_cache=False)
    maps, found = outputs.cross_attentions[0].mean(1).numpy(), []
    for i, wave in enumerate(waves):
        ids = [token for token in labels[i].tolist() if token >= 0]
        alignment = maps[i, : len(ids), : -(-int(mask[i].sum()) // model.config.time_reduction)]
        groups, step = word_tokens(ids, processor.decode), model.config.seconds_per_listener_frame
        found.append(find_troubles(alignment, ids, groups, sound_levels(wave, 16000), step))
    return found


def test_right_texts_are_seldom_doubted(forced):
    assert np.mean([bool(found) for found in forced["right"]]) <= 0.05


def test_a_word_that_was_left_out_is_marked_as_dropped(forced):
    assert np.mean(["dropped" in {one.kind for one in found} for found in forced["left out"]]) >= 0.7


def test_a_word_that_is_written_twice_is_marked(forced):
    assert np.mean([bool({one.kind for one in found} & {"looped", "went back"}) for found in forced["twice"]]) >= 0.7
