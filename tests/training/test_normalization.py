"""Text normalisation by name: what each does, and that the name lies beside a model."""

import pytest

from aural.training.normalization import NORMALIZATIONS, load_normalization, normalization_json, normalize_text


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (None, " A  b ", " A  b "),
        ("none", " A  b ", " A  b "),
        ("spaces", " A\tb\n", "A b"),
        ("spaces", "e\u0301", "é"),
        ("lower", " ÉÉN  Twee.", "één twee."),
        ("upper", "één", "ÉÉN"),
        ("letters", "“Ça va?” — Oui!", "ça va oui"),
        ("letters", "It's 'quoted', isn’t it", "it's quoted isn't it"),
        ("letters", "ﬁn\u00adal-e\u0301", "final é"),
        ("letters", "Привет, мир", "привет мир"),
        ("letters", "हिन्दी में", "हिन्दी में"),  # vowel signs are marks, not letters
        ("letters", "… — !", ""),
        ("letters", "Room 101", None),
        ("letters", "50%", None),
        ("letters", "R&B", None),
        ("letters", "3 €", None),
        ("letters", "½", None),
    ],
)
def test_names_do_what_they_say(name, text, expected):
    assert normalize_text(text, name) == expected


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_a_normalised_text_stays_as_it_is(name):
    for text in ("“Ça va?” — Oui!", " It’s\t'so' ", "ﬁn", "İstanbul", "straße"):
        once = normalize_text(text, name)
        assert normalize_text(once, name) == once


def test_the_name_lies_beside_a_model(tmp_path):
    assert load_normalization(tmp_path) == "none"
    (tmp_path / "normalization.json").write_text(normalization_json("letters"))
    assert load_normalization(tmp_path) == "letters"
    with pytest.raises(ValueError, match="normalization is 'letter'; allowed: none, spaces, lower, upper, letters"):
        normalization_json("letter")
    (tmp_path / "normalization.json").write_text('["letters"]')
    with pytest.raises(ValueError, match=r"normalization\.json: "):
        load_normalization(tmp_path)
