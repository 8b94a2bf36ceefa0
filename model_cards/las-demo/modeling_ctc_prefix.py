"""CTC's say about unfinished texts: how probable it is that what was said *begins* with a hypothesis.

Prefix scores after Watanabe et al. 2017 ("Hybrid CTC/Attention Architecture for End-to-End Speech Recognition"),
algorithm 2. Notable here:
- no loop over time: both forward variables are recursions y_t = p_t (y_{t-1} + x_{t-1}), and so cumulated sums;
- every next token is scored by one product per utterance, (hypotheses, frames) by (frames, vocabulary), so that the
  whole vocabulary costs little more than a few candidates;
- the sound's probabilities are held once per utterance, however many hypotheses are about it; a hypothesis has two
  numbers per frame;
- padded frames say blank with probability 1, which leaves every probability as it was on the last real frame.
"""

import torch
from torch.nn import functional

LOG_ZERO = -1e6  # ln of "impossible": finite, so that no difference of two is NaN, and above what fills a beam (-1e9)
NEVER = 2 * LOG_ZERO  # the same of one frame: no sum over frames lifts it above the least score


def log_recursion(inputs: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
    """ln y_t for t = 1…T, where y_t = p_t (y_{t-1} + x_{t-1}) and y_0 = 0.

    Args:
        inputs: ln x_t for t = 0…T-1, `(rows, frames)`.
        log_probs: ln p_t for t = 1…T, `(rows, frames)`, finite.
    """
    through = log_probs.cumsum(-1)
    return through + torch.logcumsumexp(inputs - functional.pad(through[:, :-1], (1, 0)), dim=-1)


class CtcPrefix:
    """The CTC state of hypotheses, `rows` of them: those of the first utterance, of the second, …

    Args:
        logits: Of the CTC head, `(utterances, frames, vocabulary)`.
        mask: `(utterances, frames)`, True on real frames.
        rows: Hypotheses in all, equally many per utterance.
        blank: Id of the blank.
        ends: Ids that end a text, `(ends,)`; they are no CTC targets: an end's score is that of the whole text.

    Attributes:
        score: ln P(what was said begins with the hypothesis), `(rows,)`.
        state: ln of the forward variables for t = 0…T, `(rows, frames + 1, 2)`: paths that end on the last token,
            paths that end on a blank.
        last: The last token of each, `(rows,)`; the blank where there is none.
    """

    def __init__(
        self, logits: torch.Tensor, mask: torch.Tensor, rows: int, blank: int, ends: torch.Tensor | None = None
    ) -> None:
        log_probs = logits.float().log_softmax(dim=-1).clamp(min=NEVER)
        silence = torch.full_like(log_probs[:1, :1], NEVER)
        silence[..., blank] = 0.0
        self.log_probs = torch.where(mask[..., None], log_probs, silence)  # (utterances, frames, vocabulary)
        self.blank, self.ends = blank, ends
        # Cumulated logarithms over a long clip need more digits than float32 has.
        self.dtype = torch.float32 if logits.device.type == "mps" else torch.float64
        self._probs: torch.Tensor | None = None
        beams = rows // len(logits)
        silent = functional.pad(self.log_probs[..., blank].to(self.dtype).cumsum(-1), (1, 0))
        self.state = torch.stack([torch.full_like(silent, -torch.inf), silent], dim=-1).repeat_interleave(beams, 0)
        self.last = torch.full((rows,), blank, device=logits.device)
        self.score = self.state.new_zeros(rows)

    def reorder(self, index: torch.Tensor) -> None:
        """Let row `i` continue the hypothesis that stood in row `index[i]`."""
        self.state, self.last, self.score = (x.index_select(0, index) for x in (self.state, self.last, self.score))

    def advance(self, tokens: torch.Tensor) -> None:
        """Append a token to each hypothesis, `(rows,)`. After a blank, which no text holds, it is impossible."""
        spoken, silent = self._of(tokens), self._of(torch.full_like(tokens, self.blank))
        spoken = spoken.masked_fill((tokens == self.blank)[:, None], NEVER)
        before = self._before()
        # A path ending on this very token cannot end on it anew without a blank between.
        before = torch.where((tokens == self.last)[:, None], self.state[:, :-1, 1], before)
        written = functional.pad(log_recursion(before, spoken), (1, 0), value=-torch.inf)
        after = functional.pad(log_recursion(written[:, :-1], silent), (1, 0), value=-torch.inf)
        self.score = (before + spoken).logsumexp(-1).clamp(min=LOG_ZERO)
        self.state, self.last = torch.stack([written, after], dim=-1), tokens

    def scores(self, candidates: torch.Tensor | None = None) -> torch.Tensor:
        """ln P of each hypothesis with each next token, and of the whole text where the token ends it.

        Args:
            candidates: Tokens to look at, `(rows, candidates)`; default: all, and exactly.

        Returns:
            `(rows, vocabulary)`, `LOG_ZERO` for the blank and for tokens that are neither candidates nor ends.
        """
        before = self._before()
        scores = self._all(before) if candidates is None else self._some(before, candidates)
        again = (self.state[:, :-1, 1] + self._of(self.last)).logsumexp(-1, keepdim=True)
        last = self.last[:, None]
        scores = scores.scatter(1, last, torch.minimum(scores.gather(1, last), again))
        scores[:, self.blank] = LOG_ZERO
        if self.ends is not None:
            scores = scores.index_copy(1, self.ends, self.whole()[:, None].expand(-1, len(self.ends)))
        return scores.clamp(min=LOG_ZERO)

    def whole(self) -> torch.Tensor:
        """ln P(what was said is the hypothesis, no more), `(rows,)`."""
        return self.state[:, -1].logsumexp(-1).clamp(min=LOG_ZERO)

    def _before(self) -> torch.Tensor:
        """ln P of having said the hypothesis by t = 0…T-1, `(rows, frames)`."""
        return torch.logaddexp(self.state[:, :-1, 0], self.state[:, :-1, 1])

    def _of(self, tokens: torch.Tensor) -> torch.Tensor:
        """ln P of tokens `(rows,)` or `(rows, candidates)` per frame: `(rows, …, frames)`."""
        utterances, frames, _ = self.log_probs.shape
        index = tokens.reshape(utterances, 1, -1).expand(-1, frames, -1)
        return self.log_probs.gather(2, index).transpose(1, 2).reshape(*tokens.shape, frames).to(self.dtype)

    def _all(self, before: torch.Tensor) -> torch.Tensor:
        if self._probs is None:
            self._probs = self.log_probs.to(self.dtype).exp()
        most = before.amax(-1, keepdim=True).clamp(min=LOG_ZERO)
        shares = (before - most).exp().unflatten(0, (len(self._probs), -1))  # (utterances, beams, frames)
        return (shares @ self._probs).flatten(0, 1).log() + most

    def _some(self, before: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        found = (before[:, None] + self._of(candidates)).logsumexp(-1)
        nothing = before.new_full((len(before), self.log_probs.shape[-1]), LOG_ZERO)
        return nothing.scatter(1, candidates, found)
