"""Measures of heads against formulas worked by hand and loops, and the names that follow from them."""

import numpy as np
import pytest
import torch

from aural.processing.grid import PatchGrid
from aural.processing.head_measures import (
    SEVERAL,
    SILENT,
    PatchPlaces,
    column_sources,
    content_share,
    measure_maps,
    measure_shuffle,
    measure_sources,
)
from aural.processing.head_names import NAMES, name_head
from aural.training.event_scores import Event

GRID = PatchGrid(  # three columns that overlap by half, two rows
    np.array([[0.0, 0.2], [0.1, 0.3], [0.2, 0.4]]), np.array([[0.0, 1000.0], [1000.0, 4000.0]])
)
PLACES = PatchPlaces.of(GRID, mels_per_row=5, classes=1)
PATCHES = 6


def grid_of(rows: int, columns: int, step: float = 0.1) -> PatchPlaces:
    starts = np.arange(columns) * step
    hertz = 1000.0 * np.arange(rows + 1)
    return PatchPlaces.of(PatchGrid(np.stack([starts, starts + step], 1), np.stack([hertz[:-1], hertz[1:]], 1)), 1, 0)


def random_maps(heads: int, tokens: int, seed: int = 0, sharpness: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(heads, tokens, tokens, generator=generator)).softmax(-1)


def one_map(rows: dict[int, dict[int, float]]) -> torch.Tensor:
    """A head over a class token and six patches: `{query: {key: weight}}` of tokens, what is not told is on itself."""
    weights = torch.eye(PATCHES + 1)
    for query, keys in rows.items():
        weights[query] = 0
        for key, weight in keys.items():
            weights[query, key] = weight
    return weights[None]


def test_distance_entropy_and_shares_worked_by_hand():
    # Token 1 + row * 3 + column. Patch (0, 0) looks half at (1, 2) and half at the class token.
    found = measure_maps(one_map({1: {6: 0.5, 0: 0.5}}), PLACES)
    assert found["seconds"].item() == pytest.approx(0.5 * 0.2 / 5.5)  # of 5.5 attention to patches
    assert found["mels"].item() == pytest.approx(0.5 * 5 / 5.5)
    assert found["kilohertz"].item() == pytest.approx(0.5 * 2.0 / 5.5)  # middles at 0.5 and 2.5
    assert found["entropy"].item() == pytest.approx(np.log(2) / 6)
    assert found["relative_entropy"].item() == pytest.approx(np.log(2) / 6 / np.log(7))
    assert found["spread"].item() == pytest.approx((2 + 5) / 6 / 7)
    assert found["class_token"].item() == pytest.approx(0.5 / 6)
    assert found["itself"].item() == pytest.approx(5 / 6)


def test_neighbours_count_over_the_patches_that_have_them():
    # Every patch that has one looks at the column before in its row; the first column looks at the other row.
    looks = {query: {query - 1: 1.0} for query in (2, 3, 5, 6)} | {1: {4: 1.0}, 4: {1: 1.0}}
    found = {name: value.item() for name, value in measure_maps(one_map(looks), PLACES).items()}
    assert found["previous"] == 1  # of four that have a column before
    assert found["next"] == 0
    assert found["same_time"] == pytest.approx(2 / 6)
    assert found["same_frequency"] == pytest.approx(4 / 6)
    assert np.isnan(found["nearby"])  # all patches lie within 0.25 s
    assert found["seconds"] == pytest.approx(0.1 * 4 / 6)
    assert found["previous_chance"] == pytest.approx(2 / 7)  # both rows of a column, of all tokens
    assert found["same_frequency_chance"] == pytest.approx(2 / 7)


def test_where_there_is_no_choice_nothing_is_told():
    alone = measure_maps(torch.eye(1)[None], grid_of(1, 1))
    row = measure_maps(torch.full((1, 5, 5), 0.2), grid_of(1, 5))
    for found, names in ((alone, ("itself", "previous", "nearby")), (row, ("same_time", "same_frequency"))):
        assert all(np.isnan(found[name].item()) for name in names)
        assert all(np.isnan(found[f"{name}_chance"].item()) for name in names)
    assert row["previous"].item() == pytest.approx(0.2)
    assert row["itself_chance"].item() == pytest.approx(0.2)
    # Columns 0.1 s apart: 3, 4, 4 and 3 of five keys; the middle one has all of them nearby.
    assert (row["nearby"].item(), row["nearby_chance"].item()) == pytest.approx((0.7, 0.7))


def test_uniform_attention():
    found = measure_maps(torch.full((2, 7, 7), 1 / 7), PLACES)
    assert found["relative_entropy"].tolist() == pytest.approx([1, 1])
    assert found["spread"].tolist() == pytest.approx([1, 1])
    assert found["class_token"].tolist() == pytest.approx([1 / 7, 1 / 7])


def test_what_is_kept_of_a_shuffled_clip_is_a_squared_correlation_over_different_patches():
    before, after = random_maps(3, 7), random_maps(3, 7, seed=1)
    after[1] = before[1]  # stays with its positions
    goes = torch.tensor([3, 0, 5, 1, 2, 4])
    token = [0, *(goes + 1).tolist()]
    for query in range(7):
        for key in range(7):
            after[2, token[query], token[key]] = before[2, query, key]  # goes with the contents
    found = measure_shuffle(before, after, goes, PLACES)
    pairs = [(i, j) for i in range(1, 7) for j in range(1, 7) if i != j]
    for head in range(3):
        was = [before[head, i, j].item() for i, j in pairs]
        stayed = np.corrcoef(was, [after[head, i, j].item() for i, j in pairs])[0, 1]
        went = np.corrcoef(was, [after[head, token[i], token[j]].item() for i, j in pairs])[0, 1]
        assert found["position_kept"][head].item() == pytest.approx(max(stayed, 0) ** 2, abs=1e-6)
        assert found["content_kept"][head].item() == pytest.approx(max(went, 0) ** 2, abs=1e-6)
    assert found["position_kept"][1].item() == pytest.approx(1)
    assert found["content_kept"][2].item() == pytest.approx(1)
    flat = measure_shuffle(torch.full((1, 7, 7), 1 / 7), before[:1], goes, PLACES)
    assert (flat["position_kept"].item(), flat["content_kept"].item()) == (0, 0)


def test_content_is_the_share_that_went_with_it():
    assert content_share(0.0, 0.5) == 1
    assert content_share(0.5, 0.0) == 0
    assert content_share(0.1, 0.3) == pytest.approx(0.75)
    assert np.isnan(content_share(0.005, 0.01))  # too little is kept


def test_a_column_has_a_source_where_one_alone_sounds_for_half_of_it():
    seconds = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5.0]])
    sounds = [
        Event("b", 0.2, 0.9),
        Event("a", 1.0, 1.4),
        Event("a", 2.0, 2.3),
        Event("a", 2.6, 3.05),
        Event("b", 3, 4),
    ]
    # b alone; a for less than half; a for 0.3 + 0.4; both; nothing
    assert column_sources(seconds, sounds, "ab").tolist() == [1, SEVERAL, 0, SEVERAL, SILENT]
    assert column_sources(seconds, [], []).tolist() == [SILENT] * 5
    with pytest.raises(ValueError, match=r"'c'.* among a, b"):
        column_sources(seconds, [Event("c", 0, 1)], "ab")
    with pytest.raises(ValueError, match="needs an offset"):
        column_sources(seconds, [Event("a", 0, None)], "ab")


def test_attention_to_the_own_source_against_loops():
    places, labels = grid_of(2, 7), np.array([0, 0, 1, SILENT, 1, SEVERAL, 0])
    weights = random_maps(2, 14)
    found = measure_sources(weights, labels, places, "ab")
    label, column = labels[np.arange(14) % 7], np.arange(14) % 7
    row = np.arange(14) // 7
    alike: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for i in range(14):
        for j in range(14):
            alike.setdefault((row[j] - row[i], column[j] - column[i]), []).append((i, j))
    for head in range(2):
        w = weights[head].double().numpy()
        mean = {offset: np.mean([w[pair] for pair in pairs]) for offset, pairs in alike.items()}
        own, chance, distance, by_source = [], [], [], {0: [], 1: []}
        for i in range(14):
            keys = [j for j in range(14) if label[i] >= 0 and label[j] >= 0 and column[j] != column[i]]
            same = [j for j in keys if label[j] == label[i]]
            if not same or len(same) == len(keys):
                continue
            own.append(sum(w[i, j] for j in same) / sum(w[i, j] for j in keys))
            chance.append(len(same) / len(keys))
            far = {j: mean[row[j] - row[i], column[j] - column[i]] for j in keys}
            distance.append(sum(far[j] for j in same) / sum(far.values()))
            by_source[label[i]].append(own[-1])
        assert found["own"][head].item() == pytest.approx(np.mean(own), abs=1e-6)
        assert found["chance"][head].item() == pytest.approx(np.mean(chance), abs=1e-6)
        assert found["by_distance"][head].item() == pytest.approx(np.mean(distance), abs=1e-6)
        assert found["own:a"][head].item() == pytest.approx(np.mean(by_source[0]), abs=1e-6)
        assert found["own:b"][head].item() == pytest.approx(np.mean(by_source[1]), abs=1e-6)
        assert found["silence"][head].item() == pytest.approx(w[:, [3, 10]].sum() / 14, abs=1e-6)
        assert found["silence_chance"][head].item() == pytest.approx(1 / 7)


def test_a_head_that_knows_only_distance_has_no_more_for_its_own_source_than_distance_gives():
    places = grid_of(1, 60)
    labels = np.array(([0] * 5 + [1] * 5) * 6)
    apart = (places.column[:, None] - places.column).abs()
    nearby = (-apart.double()).exp()
    found = measure_sources((nearby / nearby.sum(-1, keepdim=True))[None], labels, places, "ab")
    assert found["own"].item() > found["chance"].item() + 0.2  # what is near is mostly of the same sound
    assert found["own"].item() == pytest.approx(found["by_distance"].item(), abs=0.01)
    same = torch.from_numpy(labels)[:, None] == torch.from_numpy(labels)
    knows = nearby * torch.where(same, 5.0, 1.0)
    found = measure_sources((knows / knows.sum(-1, keepdim=True))[None], labels, places, "ab")
    assert found["own"].item() > found["by_distance"].item() + 0.05


def test_clips_of_one_source_or_none_tell_nothing_of_sources():
    for labels in ([0, 0, SILENT], [SILENT] * 3, [0, SEVERAL, SILENT]):
        found = measure_sources(random_maps(2, 7), np.array(labels), PLACES, "ab")
        assert all(np.isnan(found[name]).all() for name in ("own", "chance", "by_distance", "own:a"))


PLACES_OF_KEYS = ("itself", "previous", "next", "same_time", "same_frequency", "nearby")
NOTHING = {
    **dict.fromkeys(("class_token", *PLACES_OF_KEYS), 0.0),
    **{f"{name}_chance": 0.2 for name in (*PLACES_OF_KEYS, "silence")},
    "spread": 0.2,
    "content": 0.5,
    "own": 0.5,
    "chance": 0.5,
    "by_distance": 0.5,
    "own_low": 0.0,
    "silence": 0.1,
}


@pytest.mark.parametrize(
    ("name", "measures", "short"),
    [
        ("class token", {"class_token": 0.5}, {"class_token": 0.49}),
        ("everywhere", {"spread": 0.6}, {"spread": 0.59}),
        ("itself", {"itself": 0.5}, {"itself": 0.49}),
        ("previous", {"previous": 0.5}, {"previous": 0.49}),
        ("next", {"next": 0.5}, {"next": 0.49}),
        ("same time", {"same_time": 0.5}, {"same_time": 0.49}),
        ("same frequency", {"same_frequency": 0.5}, {"same_frequency": 0.49}),
        ("same source", {"own": 0.61, "own_low": 0.01}, {"own": 0.59, "own_low": 0.01}),
        ("same source", {"own": 0.61, "own_low": 0.01}, {"own": 0.61, "own_low": -0.01}),
        ("same source", {"own": 0.8, "by_distance": 0.69, "own_low": 0.01}, {"own": 0.8, "by_distance": 0.71}),
        (
            "same frequency",
            {"same_frequency": 0.61, "same_frequency_chance": 0.4},
            {"same_frequency": 0.59, "same_frequency_chance": 0.4},
        ),
        ("silence", {"silence": 0.5}, {"silence": 0.5, "silence_chance": 0.4}),
        ("nearby", {"nearby": 0.5}, {"nearby": 0.49}),
        ("content", {"content": 0.75}, {"content": 0.74}),
        ("position", {"content": 0.25}, {"content": 0.26}),
    ],
)
def test_names_begin_at_their_thresholds(name, measures, short):
    assert name_head(NOTHING | measures) == name
    assert name_head(NOTHING | short) == "mixed"
    assert name in NAMES


def test_what_was_not_measured_gives_no_name():
    unknown = dict.fromkeys(
        ("content", "own", "chance", "by_distance", "own_low", "silence", "previous", "previous_chance"), np.nan
    )
    assert name_head(NOTHING | unknown) == "mixed"
    assert name_head(NOTHING | unknown | {"next": 0.9}) == "next"
