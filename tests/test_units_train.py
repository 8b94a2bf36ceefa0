"""Runs whose model writes words, subwords or phonemes, or hears phonemes beside the text."""

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from aural import AuralProcessor, LasConfig, transcribe
from aural.evaluation import evaluate
from aural.processing.phonemes import phonemize
from aural.processing.tokenizers import kind_of, language_of, train_tokenizer, unit_of
from aural.runs import make_task, open_sets, train, without_misfits
from aural.training.fine_tuning import adapt_vocabulary
from aural.training.recipe_files import load_recipe

from .small_corpora import WORDS, write_speech

pytest.importorskip("phonemizer")  # of the extra `phonemes`

SPOKEN = {"one": "w ʌ n", "two": "t uː", "three": "θ ɹ iː"}  # by eSpeak NG in en-us
SHORT = ["training.max_steps=2", "training.log_examples=0", "training.load_best_model_at_end=false"]
SHORT += ["training.early_stopping_patience=null", "training.save_strategy=no", "data.normalization=none"]
BESIDE = ["tokenizer.phonemes=en-us", "model.config.phoneme_ctc_weight=0.5"]
BASE = ["model.base=base", "model.base_config={}"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with data/speech in it, and a model of characters in base/."""
    folder = tmp_path_factory.mktemp("units")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_speech(folder / "data/speech", {"train": 12, "dev": 4, "test": 4})
        save("base", task())
    return folder


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.chdir(home)


def recipe(*told):
    return load_recipe("las-tiny", [*SHORT, *told])


def task(*told, console=None):
    made = recipe(*told)
    torch.manual_seed(0)
    return make_task(made, open_sets(made).train, console or Console(quiet=True))


def save(folder, made):
    made.model.save_pretrained(folder)
    made.processing.save_pretrained(folder)


def run(out, *told):
    return train(recipe(*told, "data.test={kept: {source: data/speech, split: test}}"), Path(out), Console(quiet=True))


def spoken(text):
    return " | ".join(SPOKEN[word] for word in text.split())


def test_a_run_of_subwords_ends_in_a_folder_that_writes_them():
    told = ["tokenizer.unit=subword", "tokenizer.vocab_size=22", "tokenizer.kind=unigram"]
    facts = run("subwords", *told, "training.eval_strategy=no")
    assert facts["state"] == "finished"
    assert facts["results"]["kept"]["words"] == sum(len(text.split()) for text in WORDS[:4])
    tokenizer = AuralProcessor.from_pretrained("subwords").tokenizer
    assert (unit_of(tokenizer), kind_of(tokenizer), len(tokenizer) <= 22) == ("subword", "unigram", True)
    assert tokenizer.get_vocab() == train_tokenizer(WORDS * 2, "subword", vocab_size=22, kind="unigram").get_vocab()
    assert LasConfig.from_pretrained("subwords").vocab_size == len(tokenizer)
    assert isinstance(transcribe(next(Path("data/speech/dev").glob("*.flac")), "subwords")[0].text, str)


def test_a_run_of_phonemes_is_measured_in_phonemes():
    facts = run("phonemes", "tokenizer.unit=phoneme", "tokenizer.phonemes=en-us", "training.eval_strategy=no")
    tokenizer = AuralProcessor.from_pretrained("phonemes").tokenizer
    assert (unit_of(tokenizer), language_of(tokenizer)) == ("phoneme", "en-us")
    assert set(tokenizer.get_vocab()) == {"<pad>", "<bos>", "<eos>", "<unk>", *spoken("one two three").split()}
    symbols = sum(len(spoken(text).split()) for text in WORDS[:4])
    assert facts["results"]["kept"]["words"] == symbols  # what the error rate is over
    again = evaluate("phonemes")["kept"]  # the language lies beside the model
    assert [one["spoken"] for one in again["transcripts"]] == [spoken(text) for text in WORDS[:4]]
    assert again["wer"] == facts["results"]["kept"]["wer"]


def test_phonemes_beside_the_text_are_learned_and_the_text_is_measured():
    facts = run("beside", *BESIDE)
    assert facts["state"] == "finished"
    processor, config = AuralProcessor.from_pretrained("beside"), LasConfig.from_pretrained("beside")
    assert config.phoneme_vocab_size == len(processor.phoneme_tokenizer) == 4 + 9  # and the border
    assert unit_of(processor.tokenizer) == "character"
    spoken_words = [one["spoken"] for one in evaluate("beside")["kept"]["transcripts"]]
    assert spoken_words == list(WORDS[:4])


def test_training_items_have_phonemes_and_those_of_an_evaluation_have_not():
    made = task(*BESIDE)
    rows = open_sets(made.recipe)
    batch = made.collator()([made.dataset(rows.train.dataset, True)[index] for index in (0, 1)])
    expected = made.processing.phoneme_tokenizer([spoken(text) for text in WORDS[:2]], padding=True)
    kept = torch.tensor(expected.input_ids).masked_fill(torch.tensor(expected.attention_mask) == 0, -100)
    assert torch.equal(batch["phoneme_targets"], kept)
    assert "phoneme_targets" not in made.dataset(rows.eval.dataset, False)[0]
    made.model.eval()
    with torch.no_grad():
        both = made.model(**batch).loss
        text = made.model(**{name: value for name, value in batch.items() if name != "phoneme_targets"}).loss
    assert both > text


def test_a_column_of_phonemes_counts_before_what_espeak_says(home):
    table = Path("data/own/train/metadata.csv")
    write_speech(home / "data/own", {"train": 4})
    lines = table.read_text().splitlines()
    own = ["phonemes", "w ɒ n t uː", "", "", ""]
    table.write_text("\n".join(f"{line},{value}" for line, value in zip(lines, own, strict=True)) + "\n")
    made = task(*BESIDE, "data.train=data/own", "data.train.split=train")
    rows = open_sets(made.recipe).train.dataset
    said = made.dataset(rows, True).respell
    assert [said(row)["phonemes"] for row in rows] == ["w ɒ n t uː", *map(spoken, WORDS[1:4])]
    assert "ɒ" in made.processing.phoneme_tokenizer.get_vocab()
    without = task("tokenizer.unit=phoneme", "data.train=data/own", "data.train.split=train")  # texts are phonemes
    assert [without.dataset(rows, True).respell(row)["text"] for row in rows] == ["w ɒ n t uː", *WORDS[1:4]]


def test_words_that_the_vocabulary_lacks_are_counted_and_told():
    console = Console(file=io.StringIO(), width=200)
    made = task("tokenizer.unit=word", "tokenizer.vocab_size=6", console=console)
    assert set(made.processing.tokenizer.get_vocab()) >= {"one", "two"} and len(made.processing.tokenizer) == 6
    words = [word for text in WORDS * 2 for word in text.split()]
    unknown = words.count("three")
    assert f"{unknown} of {len(words)} words of the training texts ({unknown / len(words):.1%}) are <unk>" in (
        console.file.getvalue()
    )


def test_clips_too_short_for_ctc_are_counted_in_tokens(home):
    write_speech(home / "data/long", {"train": 12}, ("one two three two one", "three two"))
    told = ["data.train=data/long", "data.train.split=train", "data.eval=null", "training.eval_strategy=no"]

    def dropped(speed, *more):
        made = task(*told, f"augmentation.speed=[{speed}]", *more)
        kept = without_misfits(open_sets(made.recipe), made).train
        return sum(kept.dropped.values())

    # Clips last 0.8, 0.85, … 1.35 s. Four frames of 10 ms a state: 19 and more, at twice the speed 9, thrice 6.
    assert dropped(1.0) == 1  # of 21 characters, two of them the same side by side; the next such clip has 22 states
    assert dropped(3.0) == 6 + 4  # nine characters, and one more state: 10 from 1.25 s on
    assert dropped(3.0, "tokenizer.unit=word") == 0  # five words
    # By phonemes alone: 17 symbols with their borders, and six.
    heard = ["model.config.ctc_weight=0", *BESIDE]
    assert (dropped(1.0, *heard), dropped(2.0, *heard)) == (0, 6)
    assert dropped(3.0, "model.config.ctc_weight=0") == 0


def test_a_base_keeps_its_tokenizer_where_that_spells_the_texts():
    known = AuralProcessor.from_pretrained("base").tokenizer
    assert task(*BASE).processing.tokenizer.get_vocab() == known.get_vocab()
    save("base-subwords", task("tokenizer.unit=subword", "tokenizer.vocab_size=24", "tokenizer.kind=unigram"))
    kept = task("model.base=base-subwords", "model.base_config={}")
    assert (
        kept.processing.tokenizer.get_vocab() == AuralProcessor.from_pretrained("base-subwords").tokenizer.get_vocab()
    )


@pytest.mark.parametrize("unit", ["word", "subword", "phoneme"])
def test_a_base_learns_another_unit_and_keeps_what_both_know(unit):
    made = task(*BASE, f"tokenizer.unit={unit}", *(["tokenizer.phonemes=en-us"] if unit == "phoneme" else []))
    tokenizer = made.processing.tokenizer
    assert unit_of(tokenizer) == unit
    assert made.model.config.vocab_size == len(tokenizer) == made.model.lm_head.out_features
    base = task(*BASE)
    old = base.processing.tokenizer.get_vocab()
    for symbol, index in tokenizer.get_vocab().items():
        if symbol in old:
            assert torch.equal(made.model.lm_head.weight[index], base.model.lm_head.weight[old[symbol]])


def test_a_base_of_subwords_learns_those_of_texts_that_it_cannot_spell(home):
    save("base-unigram", task("tokenizer.unit=subword", "tokenizer.vocab_size=24", "tokenizer.kind=unigram"))
    write_speech(home / "data/other", {"train": 6}, ("six seven", "one six"))
    made = task("model.base=base-unigram", "model.base_config={}", "data.train=data/other", "data.train.split=train")
    tokenizer = made.processing.tokenizer
    assert (unit_of(tokenizer), kind_of(tokenizer)) == ("subword", "unigram")
    assert tokenizer.unk_token_id not in tokenizer("six seven").input_ids
    assert len(tokenizer) <= 24


def test_a_base_that_heard_no_phonemes_gets_a_head_for_them():
    made = task(*BASE, "tokenizer.phonemes=en-us", "model.base_config.phoneme_ctc_weight=0.3")
    config = made.model.config
    assert (config.phoneme_ctc_weight, config.phoneme_vocab_size) == (0.3, len(made.processing.phoneme_tokenizer))
    assert made.model.phoneme_head.out_features == config.phoneme_vocab_size
    save("base-hearing", made)
    again = task("model.base=base-hearing", "model.base_config={}")  # what the base hears is heard on
    assert again.spoken.language == "en-us"
    assert torch.equal(again.model.phoneme_head.weight, made.model.phoneme_head.weight)
    batch = again.collator()([again.dataset(open_sets(again.recipe).train.dataset, True)[0]])
    again.model(**batch).loss.backward()
    assert again.model.phoneme_head.weight.grad.abs().sum() > 0


def test_a_base_hears_the_phonemes_of_another_language():
    save("base-us", task(*BESIDE))
    made = task("model.base=base-us", "model.base_config={}", "tokenizer.phonemes=nl")
    vocabulary = made.processing.phoneme_tokenizer.get_vocab()
    assert language_of(made.processing.phoneme_tokenizer) == "nl"
    dutch = {symbol for text in phonemize(sorted(set(WORDS)), "nl") for symbol in text.split()}
    assert set(vocabulary) == {"<pad>", "<bos>", "<eos>", "<unk>", *dutch}
    before = task("model.base=base-us", "model.base_config={}")
    old = before.processing.phoneme_tokenizer.get_vocab()
    shared = [symbol for symbol in vocabulary if symbol in old]
    assert len(shared) > 4
    for symbol in shared:
        new_row = made.model.phoneme_head.weight[vocabulary[symbol]]
        assert torch.equal(new_row, before.model.phoneme_head.weight[old[symbol]])


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["tokenizer.phonemes=en-us"], "so model.config.phoneme_ctc_weight must be above 0"),
        (["model.config.phoneme_ctc_weight=0.5"], "so tokenizer.phonemes must name a language"),
        ([*BESIDE, "model.config.phoneme_vocab_size=9"], "phoneme_vocab_size is 9, but it follows from the data"),
        ([*BASE, "tokenizer.phonemes=en-us"], "so model.base_config.phoneme_ctc_weight must be above 0"),
        ([*BASE, "model.base_config.phoneme_ctc_weight=0.5"], "so tokenizer.phonemes must name a language"),
        (["tokenizer.phonemes=xx", "tokenizer.unit=phoneme"], "language is 'xx', which eSpeak NG does not speak"),
        (["tokenizer.kind=bpe"], "kind is for the unit subword, and unit is 'character'"),
        (["data.streaming=true", "tokenizer.unit=subword"], "unit is 'subword': the texts of a stream are not known"),
        (["data.streaming=true", *BESIDE], "tokenizer.phonemes is 'en-us': the texts of a stream are not known"),
    ],
)
def test_what_does_not_fit_is_told(told, message):
    with pytest.raises(ValueError, match=message):
        task(*told)


def test_a_vocabulary_is_adapted_from_characters_to_subwords_and_back():
    made = task()
    characters = made.processing.tokenizer
    subwords = train_tokenizer(WORDS, "subword", vocab_size=24)
    adapt_vocabulary(made.model, characters, subwords)
    adaptation = adapt_vocabulary(made.model, subwords, characters)
    assert set(adaptation.kept) >= {"<pad>", "<eos>", "o", "n"} and adaptation.new == (" ",)
