"""A CTC folder in transformers' recognition pipeline: texts, times, chunks, batches; against direct decoding."""

import numpy as np
import pytest
import torch
from transformers import pipeline

from aural import AuralProcessor, CtcTokenizer, SpectrogramTransformerForCTC
from tests.tones import LETTER, PAUSE, RATE, TEXTS, save_tones, spoken, sung

LONG = " ".join(TEXTS * 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tones(tmp_path_factory.mktemp("tones"))


@pytest.fixture(scope="module")
def recognizer(folder):
    return pipeline("automatic-speech-recognition", model=str(folder))


def test_it_is_taken_for_ctc_with_our_model_and_tokenizer(recognizer):
    assert recognizer.type == "ctc"
    assert type(recognizer.model) is SpectrogramTransformerForCTC
    assert type(recognizer.tokenizer) is CtcTokenizer


@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_those_of_direct_decoding_and_doubled_letters_survive(recognizer, folder, text):
    processor = AuralProcessor.from_pretrained(folder)
    inputs = processor(audio=sung(text), sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        logits = recognizer.model(**inputs).logits
    assert recognizer(sung(text))["text"] == processor.batch_decode(logits.argmax(-1))[0] == text


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batches_of_clips_of_different_lengths_give_what_clips_give_alone(folder, dtype):
    recognizer = pipeline("automatic-speech-recognition", model=str(folder), dtype=dtype)
    sounds = [sung(text) for text in TEXTS]
    assert [found["text"] for found in recognizer(sounds, batch_size=5)] == list(TEXTS)


def test_words_have_the_times_at_which_they_are_sung(recognizer):
    for text in TEXTS:
        chunks = recognizer(sung(text), return_timestamps="word")["chunks"]
        assert [chunk["text"] for chunk in chunks] == text.split()
        for chunk, (_, start, end) in zip(chunks, spoken(text), strict=True):
            assert chunk["timestamp"] == pytest.approx((start, end), abs=0.06)  # a column and a half


def test_letters_have_times_in_order(recognizer):
    chunks = recognizer(sung("seen on"), return_timestamps="char")["chunks"]
    assert "".join(chunk["text"] for chunk in chunks) == "seen on"
    for place, chunk in enumerate(chunks):
        if chunk["text"] != " ":
            middle = place * (LETTER + PAUSE) + PAUSE + LETTER / 2
            assert np.mean(chunk["timestamp"]) == pytest.approx(middle, abs=0.06)


@pytest.mark.parametrize(("length", "stride"), [(3.0, None), (2.0, 0.6), (2.5, (0.4, 0.8))])
def test_chunks_with_strides_give_what_the_whole_gives(recognizer, length, stride):
    whole = recognizer(sung(LONG), return_timestamps="word")
    parts = recognizer(sung(LONG), return_timestamps="word", chunk_length_s=length, stride_length_s=stride)
    assert parts["text"] == whole["text"] == LONG
    for one, other in zip(parts["chunks"], whole["chunks"], strict=True):
        assert one["text"] == other["text"]
        assert one["timestamp"] == pytest.approx(other["timestamp"], abs=0.05)  # one column, where a context ends
    assert whole["chunks"][-1]["timestamp"][1] == pytest.approx(spoken(LONG)[-1][2], abs=0.06)
