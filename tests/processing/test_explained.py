"""What is derived from a model's arrays for the figures: rows and columns worth reading, sums, the path of a state."""

import numpy as np
import pytest

from aural.processing.explained import AttentionSteps, LasSteps, ListenerLayer, Sound, enlarged

SOUND = Sound(np.zeros((10, 6)), 0.01, np.linspace(100, 4000, 6))


def attention(weights, mask=None, placed=True):
    """Steps whose weights are given; the other arrays do not matter here."""
    heads, queries, keys = weights.shape
    boxes = [np.zeros((count, 4)) if placed else np.full((count, 4), np.nan) for count in (queries, keys)]
    q, k, v = (np.ones((heads, count, 2)) for count in (queries, keys, keys))
    return AttentionSteps(
        name="layers.0",
        kind="",
        sound=SOUND,
        queries=tuple(map(str, range(queries))),
        keys=tuple(map(str, range(keys))),
        query_boxes=boxes[0],
        key_boxes=boxes[1],
        q=q,
        k=k,
        v=v,
        mask=np.ones((queries, keys), bool) if mask is None else mask,
        weights=weights,
        context=weights @ v,
        output=np.zeros((queries, 2 * heads)),
    )


def test_scores_scaling_and_mask_follow_from_queries_and_keys():
    rng = np.random.default_rng(0)
    mask = np.array([[True, False, True]] * 2)
    steps = attention(np.full((1, 2, 3), 1 / 3), mask)
    object.__setattr__(steps, "q", rng.normal(size=(1, 2, 4)))
    object.__setattr__(steps, "k", rng.normal(size=(1, 3, 4)))
    for query in range(2):
        for key in range(3):
            score = float(steps.q[0, query] @ steps.k[0, key])
            assert steps.scores[0, query, key] == pytest.approx(score)
            assert steps.scaled[0, query, key] == pytest.approx(score / 2)
            assert np.isneginf(steps.masked_scores[0, query, key]) == (key == 1)


def test_contexts_of_all_heads_are_joined_side_by_side():
    steps = attention(np.random.default_rng(1).dirichlet(np.ones(3), size=(2, 4)))
    object.__setattr__(steps, "context", np.arange(16.0).reshape(2, 4, 2))
    np.testing.assert_array_equal(steps.joined[1], [2, 3, 10, 11])  # head 0's, then head 1's


def test_patches_that_differ_are_shown_with_the_keys_that_each_looks_at_most():
    weights = np.eye(6)[None][:, [0, 0, 3, 5, 3]]  # queries 0 and 1 look alike, and so do 2 and 4
    shown = enlarged(attention(weights), 0, 1, queries=3, keys=3)
    assert shown.queries == (1, 2, 3)
    assert shown.keys == (0, 3, 5)


def test_some_padding_is_shown_and_no_more():
    weights = np.zeros((1, 2, 6))
    weights[0, :, :3] = 1 / 3
    mask = np.arange(6) < 3
    shown = enlarged(attention(weights, np.broadcast_to(mask, (2, 6))), 0, 0, keys=8, masked_keys=2)
    assert shown.keys == (0, 1, 2, 3, 4)  # three real ones, two of padding


def test_tokens_are_shown_as_they_read_and_a_causal_mask_up_to_the_last_of_them():
    weights = np.tri(9)[None] / np.arange(1, 10)[:, None]
    shown = enlarged(attention(weights, np.tri(9, dtype=bool), placed=False), 0, 3, queries=4, keys=5)
    assert shown.queries == (3, 4, 5, 6)
    assert shown.keys == (2, 3, 4, 5, 6)
    last = enlarged(attention(weights, np.tri(9, dtype=bool), placed=False), 0, 8, queries=4)
    assert last.queries == (5, 6, 7, 8)


def test_the_path_of_a_state_ends_where_the_clip_does():
    layers = tuple(ListenerLayer(np.zeros((count, 2)), 2, 0.0) for count in (5, 3))  # of ten frames; an odd tail
    alignment = np.array([[0.1, 0.2, 0.7]])
    steps = LasSteps(SOUND, layers, "dot", alignment, *[np.zeros((1, 2))] * 3, ("a",), ("a",), "a", 0)
    assert steps.heard == 2
    assert steps.path == ((8, 10), (4, 5), (2, 3))
