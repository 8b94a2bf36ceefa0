"""Language models, n-grams and hot words by name: loaded, fitting, and heard in what is written."""

import math

import pytest
import soundfile
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from aural import load_recognizer, train_tokenizer, transcribe
from aural.decoding import decoding_options, load_language_model, load_ngram, ngram_of_texts
from aural.modeling.ngram_table import NGramTable
from aural.processing.ngram import NGram
from tests.test_cli import error_line, run
from tests.whole import save_folder, wave

TEXTS = ["ab cd", "abab", "cd ab", "ab"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_folder(tmp_path_factory.mktemp("recogniser"))


@pytest.fixture(scope="module")
def tokenizer(folder):
    return load_recognizer(folder)[1].tokenizer


def save_lm(path, tokenizer):
    torch.manual_seed(0)
    size = len(tokenizer)
    GPT2LMHeadModel(GPT2Config(vocab_size=size, n_positions=64, n_embd=8, n_layer=1, n_head=1)).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def test_an_ngram_of_texts_knows_what_follows_what(tokenizer):
    ngram = ngram_of_texts(TEXTS, tokenizer, order=3)
    assert math.exp(ngram.score(("a",), "b")) > 0.5 > math.exp(ngram.score(("a",), "c"))
    tokens = [*"abcd", " ", "</s>", "<unk>"]
    assert sum(math.exp(ngram.score(("a", "b"), token)) for token in tokens) == pytest.approx(1)


def test_the_command_writes_the_ngram_that_transcribe_reads(folder, tokenizer, tmp_path, capsys, monkeypatch):
    (tmp_path / "texts.txt").write_text("\n".join([*TEXTS, "", "xyz"]), encoding="utf-8")
    out = tmp_path / "texts.arpa"
    arguments = ["ngram", tmp_path / "texts.txt", "--model", folder, "--order", 3, "--out", out]
    code, printed, _ = run(capsys, monkeypatch, *arguments)
    assert code == 0
    assert printed.startswith(f"{out}: order 3, ") and "of 5 texts; 1 hold symbols" in printed
    expected = ngram_of_texts([*TEXTS, "xyz"], tokenizer, order=3)
    assert NGram.read(out).sentence(list("ab cd")) == pytest.approx(expected.sentence(list("ab cd")), abs=1e-5)
    table = load_ngram(out, tokenizer)
    states, total = table.start_states(1), 0.0
    for token in tokenizer("ab cd").input_ids:
        total += table.scores(states)[0, token].item()
        states = table.advance(states, torch.tensor([token]))
    assert total == pytest.approx(expected.sentence(list("ab cd")), abs=1e-4)


def test_what_is_said_by_name_is_loaded_and_the_rest_passes(tokenizer, tmp_path):
    lm = save_lm(tmp_path / "lm", tokenizer)
    ngram_of_texts(TEXTS, tokenizer, 2).write(tmp_path / "t.arpa")
    options = {"num_beams": 3, "lm": lm, "lm_weight": 0.2, "ngram": str(tmp_path / "t.arpa"), "hot_words": ["ab"]}
    found = decoding_options(options, tokenizer)
    assert (found["num_beams"], found["lm_weight"]) == (3, 0.2)
    assert isinstance(found["lm"], GPT2LMHeadModel) and not found["lm"].training
    assert isinstance(found["ngram"], NGramTable)
    assert found["sequence_bias"] and "hot_words" not in found
    assert decoding_options(found, tokenizer) == found  # what is loaded stays as it is


def test_a_language_model_of_other_ids_is_refused_by_the_first_token(tokenizer, tmp_path):
    other = train_tokenizer(["abce "])
    with pytest.raises(ValueError, match=r"lm .*: 'd' has id None, in the recogniser 8 \(2 tokens differ\)"):
        load_language_model(save_lm(tmp_path / "lm", other), tokenizer)
    with pytest.raises(OSError, match="nowhere"):
        load_language_model(tmp_path / "nowhere", tokenizer)


def test_an_ngram_of_words_is_refused_for_a_recogniser_of_characters(tokenizer, tmp_path):
    from aural.processing.ngram_training import train_ngram

    train_ngram([["hello", "world"]], 2).write(tmp_path / "words.arpa")
    with pytest.raises(ValueError, match=r"words\.arpa is over .*'hello'.* none of which"):
        load_ngram(tmp_path / "words.arpa", tokenizer)


@pytest.mark.parametrize(
    ("texts", "message"),
    [(None, "texts.txt"), (b"\xff\xfe\xfa", "not text in UTF-8"), (b" \n\n", "holds no text")],
)
def test_a_careless_command_is_told_what_is_wrong(texts, message, folder, tmp_path, capsys, monkeypatch):
    path = tmp_path / "texts.txt"
    if texts is not None:
        path.write_bytes(texts)
    code, _, err = run(capsys, monkeypatch, "ngram", path, "--model", folder, "--out", tmp_path / "t.arpa")
    assert code == 2
    assert message in error_line(err)
    assert not (tmp_path / "t.arpa").exists()


def test_what_is_typed_decodes_as_what_is_called(folder, tokenizer, tmp_path, capsys, monkeypatch):
    soundfile.write(tmp_path / "a.wav", wave(0.6), 16_000)
    ngram_of_texts(["dcdc"], tokenizer, 3).write(tmp_path / "dc.arpa")
    lm = save_lm(tmp_path / "lm", tokenizer)
    options = {"ngram": str(tmp_path / "dc.arpa"), "ngram_weight": 20.0, "lm": str(lm), "lm_weight": 2.0}
    typed = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    words = ["--hot-word", "ab", "--hot-word", "cd=9.5", "--beams", 3]
    _, printed, _ = run(capsys, monkeypatch, "transcribe", tmp_path / "a.wav", "--model", folder, *typed, *words)
    options |= {"hot_words": {"ab": 5.0, "cd": 9.5}, "num_beams": 3}
    assert printed.rstrip("\n") == transcribe(tmp_path / "a.wav", folder, **options)[0].text
    assert printed.rstrip("\n") != transcribe(tmp_path / "a.wav", folder)[0].text


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--lm-weight", "1"], "--lm-weight 1: only with --lm"),
        (["--ngram-weight", "0.5"], "--ngram-weight 0.5: only with --ngram"),
        (["--hot-word", "ab=loud"], "'loud' is no number"),
    ],
)
def test_options_that_mean_nothing_are_refused(typed, message, folder, tmp_path, capsys, monkeypatch):
    soundfile.write(tmp_path / "a.wav", wave(0.6), 16_000)
    code, _, err = run(capsys, monkeypatch, "transcribe", tmp_path / "a.wav", "--model", folder, *typed)
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())
