"""Recipes: what is read, merged, overridden, refused, and written down again."""

from pathlib import Path

import pytest
import yaml

from aural.training.recipe import Recipe, differences, dump_recipe, parse_recipe
from aural.training.recipe_files import LAUNCHES, launch_file, load_recipe, recipe_names

SMALL = """
about: A test.
model:
  config: {ctc_weight: 0.3}
data:
  train: {source: clips, split: train}
  eval: clips
  test:
    kept out: {source: clips, split: test}
training:
  learning_rate: 1e-3
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_a_recipe_is_read_with_sources_as_lists_and_exponents_as_numbers(small):
    recipe = load_recipe(small)
    assert recipe.training == {"learning_rate": 0.001}
    assert [(one.source, one.split) for one in recipe.data.train] == [("clips", "train")]
    assert [(one.source, one.split) for one in recipe.data.eval] == [("clips", None)]
    assert list(recipe.data.test) == ["kept out"]
    assert recipe.model.architecture == "LasForConditionalGeneration"


def test_overrides_win_and_reach_any_depth(small):
    told = [
        "training.max_steps=20",
        "model.config.ctc_weight=0.5",
        "data.train.split=dev",
        "data.eval.split=dev",  # of a source that is only named
        "augmentation.mixup={kind: spectrogram}",
        "tokenizer.alphabet=' ab'",
        "training.save_strategy=no",  # a word, as in YAML 1.2
        "training.bf16=true",
    ]
    recipe = load_recipe(small, told)
    told = {"max_steps": 20, "save_strategy": "no", "bf16": True}
    assert recipe.training == {"learning_rate": 0.001, **told}
    assert recipe.model.config == {"ctc_weight": 0.5}
    assert (recipe.data.train[0].split, recipe.data.eval[0].source, recipe.data.eval[0].split) == (
        "dev",
        "clips",
        "dev",
    )
    assert recipe.augmentation.mixup.kind == "spectrogram"
    assert recipe.tokenizer.alphabet == " ab"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.max_stps=3", "training has no key 'max_stps'; did you mean 'max_steps'?"),
        ("training.max_steps=few", "training.max_steps is 'few'; expected a whole number"),
        ("training.lr_scheduler_type=linaer", "training.lr_scheduler_type is 'linaer'; expected 'linear'"),
        ("training.output_dir=x", "output_dir is not for a recipe: say --out"),
        ("modle.base=x", "has no key 'modle'; did you mean 'model'?"),
        ("data.train.splt=x", "data.train[0] has no key 'splt'; did you mean 'split'?"),
        ("data.train=null", "data.train is missing: name what to train on"),
        ("model.architecture=LasModel", "model.architecture is 'LasModel'; expected 'LasForConditionalGeneration'"),
        ("model.lora.rank=4", "model.lora has no key 'rank'"),
        ("augmentation.mixup.share=2", "augmentation.mixup: share is 2; allowed is 0 to 1"),
        ("training", "expected section.key=value"),
        ("about.x=1", "about is 'A test.', which has no keys"),
        ("training.seed={", "--set training.seed is not YAML"),
    ],
)
def test_a_wrong_override_is_named_with_what_is_allowed(small, override, message):
    with pytest.raises(ValueError) as error:
        load_recipe(small, [override])
    assert message in str(error.value)


def test_what_extends_another_recipe_says_only_the_difference(small, tmp_path):
    child = tmp_path / "child.yaml"
    child.write_text(
        f"extends: {small}\nabout: Another.\nmodel: {{config: {{vocab_size: 9}}}}\ndata: {{test: {{kept out: null}}}}"
    )
    recipe, base = load_recipe(child), load_recipe(small)
    assert recipe.model.config == {"ctc_weight": 0.3, "vocab_size": 9}
    assert recipe.data.test == {}
    assert differences(recipe, base) == ["about", "data.test.kept out", "model.config.vocab_size"]


def test_null_takes_all_test_sets_or_the_evaluation_set_back(small):
    recipe = load_recipe(small, ["data.test=null", "data.eval=null"])
    assert (recipe.data.test, recipe.data.eval) == ({}, [])


def test_of_several_recipes_that_are_extended_later_ones_win(small, tmp_path):
    steps, child = tmp_path / "steps.yaml", tmp_path / "child.yaml"
    steps.write_text("training: {learning_rate: 0.5, max_steps: 3}")
    child.write_text(f"extends: [{small}, {steps}]\ntraining: {{max_steps: 4}}")
    assert load_recipe(child).training == {"learning_rate": 0.5, "max_steps": 4}
    child.write_text(f"extends: [{steps}, {small}]")
    assert load_recipe(child).training == {"learning_rate": 0.001, "max_steps": 3}


def test_recipes_in_a_circle_are_refused(tmp_path):
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text(f"extends: {other}")
    other.write_text(f"extends: {one}")
    with pytest.raises(ValueError, match="circle"):
        load_recipe(one)


def test_a_dumped_recipe_reads_back_equal(small):
    recipe = load_recipe(small, ["model.lora.r=4", "augmentation.speed=[0.9, 1.1]"])
    assert parse_recipe(yaml.safe_load(dump_recipe(recipe))) == recipe


def test_unknown_names_and_wrong_files_are_told(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="prompts-em is no file and no recipe of aural; did you mean 'prompts-en'"
    ):
        load_recipe("prompts-em")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        load_recipe(tmp_path)
    wrong = tmp_path / "wrong.yaml"
    for text, message in (
        ("a: [", "is not YAML"),
        ("- a", "holds list; expected the sections"),
        ("training: {seed: 1, seed: 2}", "the key 'seed' stands twice"),
        ("a: !!python/object/apply:os.getcwd []", "is not YAML"),
    ):
        wrong.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_recipe(wrong)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_aural_is_whole(name):
    recipe = load_recipe(name)
    assert recipe.about and recipe.make
    assert isinstance(recipe, Recipe)
    if recipe.status == "not run here":
        for expected in recipe.expected:
            assert expected.low < expected.high
            assert expected.source
        assert recipe.expected
    elif not name.endswith("-tiny"):
        assert f"{name}-tiny" in recipe_names()


def test_the_recipes_that_the_readme_promises_are_there():
    here = {"las", "ctc", "seq2seq", "pretraining", "tagging"}
    here |= {"synthetic-en", "prompts-en", "fillets-nl", "stamps", "drums"}
    transfers = {"synthetic-en-to-prompts-en", "stamps-to-fillets-nl"}
    waiting = {"librispeech-100h", "librispeech-960h", "common-voice", "speech-commands-v2", "esc-50"}
    tiny = {f"{name}-tiny" for name in here | transfers}
    assert set(recipe_names()) == here | transfers | waiting | tiny | {"audioset-balanced", "clotho"}


def test_settings_for_launchers_are_handed_out_by_name():
    folder = Path(__file__).parents[2] / "training/accelerate"
    assert sorted(LAUNCHES) == sorted(path.stem for path in folder.glob("*.yaml"))
    assert yaml.safe_load(launch_file("one-node"))["num_processes"] == 8
    with pytest.raises(ValueError, match="'one-nod' is no settings file; did you mean 'one-node'"):
        launch_file("one-nod")


def test_units_and_their_options_are_told_in_the_tokenizer_section(small):
    told = ["tokenizer.unit=subword", "tokenizer.kind=unigram", "tokenizer.vocab_size=300", "tokenizer.phonemes=nl"]
    section = load_recipe(small, told).tokenizer
    assert (section.unit, section.phonemes) == ("subword", "nl")
    assert section.options == {"kind": "unigram", "vocab_size": 300}
    assert load_recipe(small).tokenizer.unit is None  # the base's, or characters


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["unit=syllable"], "tokenizer.unit is 'syllable'; expected 'character', 'word', 'subword', 'phoneme'"),
        (["unit=word", "kind=bpe"], "tokenizer: kind is for the unit subword, and unit is 'word'"),
        (["unit=phoneme", "vocab_size=9"], "tokenizer: vocab_size is for the unit word and subword"),
        (["unit=subword", "alphabet=ab"], "tokenizer: alphabet is for the unit character, and unit is 'subword'"),
        (["kind=wordpiece"], "tokenizer.kind is 'wordpiece'; expected 'bpe', 'unigram'"),
    ],
)
def test_an_option_of_another_unit_is_refused(small, told, message):
    with pytest.raises(ValueError) as error:
        load_recipe(small, [f"tokenizer.{one}" for one in told])
    assert message in str(error.value)
