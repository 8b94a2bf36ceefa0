"""CTC prefix scores: against every path, against torch's CTC loss, over padding, at lengths that do not fit."""

import itertools

import pytest
import torch

from aural.modeling.ctc_prefix import LOG_ZERO, CtcPrefix, log_recursion

SYMBOLS = 4  # the blank, 0, and three more


def heard(lengths: list[int], vocabulary: int = SYMBOLS, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """CTC logits of clips, with garbage beyond their ends, and the mask."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(len(lengths), max(lengths), vocabulary, generator=generator)
    return logits, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != 0)


def texts_of_paths(log_probs: torch.Tensor) -> list[tuple[tuple[int, ...], float]]:
    """The text and the probability of every path through `log_probs` `(frames, symbols)`."""
    paths = list(itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)))
    chances = log_probs.double()[torch.arange(len(log_probs)), torch.tensor(paths)].sum(-1).exp()
    return [(collapsed(path), chance) for path, chance in zip(paths, chances.tolist(), strict=True)]


def ctc(logits: torch.Tensor, text: list[int]) -> float:
    """ln P of `text` by torch, for logits `(frames, vocabulary)`."""
    log_probs, lengths = logits.double().log_softmax(-1)[:, None], torch.tensor([len(text)])
    target = torch.tensor([text], dtype=torch.long)
    loss = torch.nn.functional.ctc_loss(log_probs, target, torch.tensor([len(logits)]), lengths, reduction="sum")
    return -loss.item()


def test_prefix_scores_equal_the_sum_over_all_paths():
    logits, mask = heard([5])
    written = texts_of_paths(logits[0].log_softmax(-1))
    for text in (text for length in range(4) for text in itertools.product([1, 2, 3], repeat=length)):
        prefix = CtcPrefix(logits, mask, rows=1, blank=0)
        for token in text:
            prefix.advance(torch.tensor([token]))
        chances = [sum(p for said, p in written if said[: len(text) + 1] == (*text, token)) for token in (1, 2, 3)]
        chance = sum(p for said, p in written if said[: len(text)] == text)
        assert prefix.score.exp().item() == pytest.approx(chance, abs=1e-6)
        assert prefix.scores()[0, 1:].exp().tolist() == pytest.approx(chances, abs=1e-6)


def test_whole_texts_score_as_in_torch_whatever_they_are_batched_with():
    lengths = [30, 9, 17]
    logits, mask = heard(lengths, vocabulary=7)
    texts = [[3, 3, 4, 6, 4, 4], [5], [], [4, 5, 4, 5], [6, 6, 6], [3, 4, 5, 6]]  # two per clip
    prefix = CtcPrefix(logits, mask, rows=6, blank=0)
    whole = [prefix.whole()]
    for i in range(6):
        prefix.advance(torch.tensor([text[i] if i < len(text) else 1 for text in texts]))
        whole.append(prefix.whole())
    for row, text in enumerate(texts):
        clip = row // 2
        assert whole[len(text)][row].item() == pytest.approx(ctc(logits[clip, : lengths[clip]], text), abs=1e-4)


def test_the_end_scores_the_whole_text_and_the_blank_nothing():
    logits, mask = heard([12], vocabulary=7)
    prefix = CtcPrefix(logits, mask, rows=1, blank=0, ends=torch.tensor([2, 5]))
    prefix.advance(torch.tensor([4]))
    scores = prefix.scores()[0]
    assert scores[0] == LOG_ZERO
    assert scores[2].item() == scores[5].item() == pytest.approx(ctc(logits[0], [4]), abs=1e-4)


def test_candidates_score_as_among_all_and_the_others_not_at_all():
    logits, mask = heard([14, 8], vocabulary=9)
    prefix = CtcPrefix(logits, mask, rows=4, blank=0, ends=torch.tensor([2]))
    prefix.advance(torch.tensor([4, 5, 6, 7]))
    every = prefix.scores()
    candidates = torch.tensor([[4, 8], [3, 1], [6, 5], [4, 5]])  # the last token again, and not
    some = prefix.scores(candidates)
    looked_at = torch.zeros(4, 9, dtype=torch.bool).scatter(1, candidates, True)
    looked_at[:, 2] = True  # an end is always a candidate
    torch.testing.assert_close(some[looked_at], every[looked_at], atol=1e-9, rtol=1e-9)
    assert (some[~looked_at] == LOG_ZERO).all()


def test_what_the_scores_promise_is_what_advancing_gives():
    logits, mask = heard([20, 11], vocabulary=6)
    prefix = CtcPrefix(logits, mask, rows=6, blank=0)
    for tokens in ([1, 2, 3, 4, 5, 1], [1, 3, 3, 2, 5, 5], [2, 3, 1, 2, 4, 5]):
        promised = prefix.scores().gather(1, torch.tensor(tokens)[:, None])[:, 0]
        prefix.advance(torch.tensor(tokens))
        torch.testing.assert_close(prefix.score, promised, atol=1e-9, rtol=1e-9)


def test_reordered_hypotheses_go_on_from_those_that_they_continue():
    logits, mask = heard([15], vocabulary=6)
    first, second = (CtcPrefix(logits, mask, rows=3, blank=0) for _ in range(2))
    first.advance(torch.tensor([1, 2, 3]))
    first.reorder(torch.tensor([2, 2, 0]))
    second.advance(torch.tensor([3, 3, 1]))
    assert torch.equal(first.scores(), second.scores())
    first.advance(torch.tensor([3, 4, 1]))
    second.advance(torch.tensor([3, 4, 1]))
    assert torch.equal(first.score, second.score)


def test_texts_that_do_not_fit_are_impossible_but_numbers():
    logits, mask = heard([3, 6], vocabulary=5)
    prefix = CtcPrefix(logits, mask, rows=2, blank=0, ends=torch.tensor([2]))
    for _ in range(3):
        prefix.advance(torch.tensor([4, 4]))  # three equal tokens need five frames
    assert prefix.score.tolist() == [LOG_ZERO, pytest.approx(prefix.score[1].item())]
    assert prefix.score[1] > -100
    for _ in range(4):
        assert (prefix.scores()[0] == LOG_ZERO).all()
        assert prefix.scores().isfinite().all()
        prefix.advance(torch.tensor([4, 2]))


def test_forbidden_symbols_of_a_head_stay_numbers():
    logits, mask = heard([8], vocabulary=5)
    logits[..., 3] = -torch.inf
    prefix = CtcPrefix(logits, mask, rows=1, blank=0)
    assert prefix.scores()[0, 3] == LOG_ZERO
    prefix.advance(torch.tensor([3]))
    assert prefix.score.item() == LOG_ZERO
    prefix.advance(torch.tensor([4]))
    assert prefix.scores().isfinite().all()


def test_a_clip_of_minutes_scores_as_in_torch():
    logits, mask = heard([4000], vocabulary=12)
    text = [3 + (i * i) % 9 for i in range(300)]
    prefix = CtcPrefix(logits, mask, rows=1, blank=0)
    for token in text:
        prefix.advance(torch.tensor([token]))
    assert prefix.whole().item() == pytest.approx(ctc(logits[0], text), rel=1e-7)


def test_a_log_recursion_is_the_loop_that_it_replaces():
    generator = torch.Generator().manual_seed(1)
    inputs, log_probs = torch.randn(2, 3, 20, generator=generator, dtype=torch.double)
    inputs[0, :4] = -torch.inf
    value, expected = torch.full((3,), -torch.inf, dtype=torch.double), []
    for t in range(20):
        value = log_probs[:, t] + torch.logaddexp(value, inputs[:, t])
        expected.append(value)
    torch.testing.assert_close(log_recursion(inputs, log_probs), torch.stack(expected, 1))
