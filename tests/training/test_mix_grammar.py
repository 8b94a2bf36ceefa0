"""Descriptions of mixes: every wording, written and read back."""

from itertools import pairwise, product

import pytest

from aural.processing import train_tokenizer
from aural.training.mix_grammar import SOURCES, Description, Part, captions, parse, vocabulary

SNARE, KICKS, OWL = Part("snare", 1), Part("kick", 2), Part("owl", 3)


def test_a_description_is_written_in_three_wordings():
    assert captions(Description((SNARE, KICKS, OWL))) == [
        "a snare then two kicks then three owls",
        "a snare followed by two kicks followed by three owls",
        "a snare and then two kicks and then three owls",
    ]
    assert captions(Description((KICKS, SNARE), overlapping=True)) == [
        "two kicks then a snare overlapping",
        "two kicks followed by a snare all at once",
        "two kicks and then a snare over each other",
    ]


def test_a_single_part_has_one_wording_and_its_article():
    assert captions(Description((Part("owl", 1),))) == ["an owl"]
    assert captions(Description((Part("elephant", 3),))) == ["three elephants"]


def test_every_wording_of_every_kind_of_description_is_read_back():
    read = set()
    counts = range(1, 4)
    singles = [Description((Part(one, n),)) for one, n in product(SOURCES, counts)]
    pairs = [
        Description((Part(one, n), Part(other, m)), overlap)
        for (one, other), n, m, overlap in product(pairwise(SOURCES), counts, counts, (False, True))
    ]
    triples = [Description((SNARE, Part("bee", n), KICKS), overlap) for n, overlap in product(counts, (False, True))]
    for told in [*singles, *pairs, *triples]:
        for text in captions(told):
            assert parse(text) == told
            assert text not in read  # no two descriptions share a wording
            read.add(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "snare",
        "an snare",
        "a snare then",
        "a snare overlapping",
        "a snare then a snare",
        "a snare then two kicks followed by an owl",
        "a snare then two kicks all at once",  # the ending of another wording
        "a snare then two kicks then an owl then a bee",
        "four kicks",
    ],
)
def test_what_the_grammar_does_not_write_is_not_read(text):
    assert parse(text) is None


def test_white_space_is_read_as_single_spaces():
    assert parse(" two  kicks then\ta snare ") == Description((KICKS, SNARE))


@pytest.mark.parametrize(("source", "count"), [("trumpet", 1), ("kick", 0), ("kick", 4)])
def test_parts_of_other_sources_or_numbers_are_refused(source, count):
    with pytest.raises(ValueError, match=r"source is 'trumpet'|count is [04]; it must be from 1 to 3"):
        Part(source, count)


@pytest.mark.parametrize(
    ("parts", "overlapping"),
    [((), False), ((SNARE,), True), ((SNARE, SNARE), False), ((SNARE, OWL) * 2, False)],
)
def test_parts_that_make_no_description_are_refused(parts, overlapping):
    with pytest.raises(ValueError, match="different sources, and a single part does not overlap"):
        Description(parts, overlapping)


def test_the_vocabulary_holds_every_word_of_every_caption():
    tokenizer = train_tokenizer(vocabulary(), "word")
    for told in (Description((SNARE, KICKS, OWL), True), Description((KICKS, OWL)), Description((Part("owl", 1),))):
        for text in captions(told):
            ids = tokenizer(text).input_ids
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids, skip_special_tokens=True) == text
