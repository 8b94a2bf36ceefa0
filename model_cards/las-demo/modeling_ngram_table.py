"""A back-off n-gram as dense tables on the device, to score beams without the host.

Notable here:
- a state is one number per hypothesis, so it reorders with the beams like any other tensor;
- a step is two look-ups: no loop over back-offs, no dictionary, no synchronisation.

The arrays come from `processing.table_arrays`, which lays an ARPA n-gram out over a tokenizer's ids.
"""

import numpy as np
import torch


class NGramTable:
    """ln P of every next token, and the state after it, for every state of an n-gram.

        table = NGramTable.from_arrays(*table_arrays(ngram, symbols)).to(device)
        states = table.start_states(rows)
        scores = table.scores(states)  # (rows, vocabulary)
        states = table.advance(states, tokens)

    Args:
        next_state: Integers `(states, vocabulary)`.
        log_probs: Floats `(states, vocabulary)`, natural logarithms; -inf for what can never follow.
        start_state: The state before the first token.

    Raises:
        ValueError: Shapes that differ, a state that is not there, or log probabilities that are none.
    """

    def __init__(self, next_state: torch.Tensor, log_probs: torch.Tensor, start_state: int) -> None:
        if next_state.ndim != 2 or next_state.shape != log_probs.shape or not next_state.numel():
            raise ValueError(
                f"next_state has shape {tuple(next_state.shape)}, log_probs {tuple(log_probs.shape)}; "
                "expected (states, vocabulary) for both"
            )
        states = len(next_state)
        if not 0 <= start_state < states or next_state.min() < 0 or next_state.max() >= states:
            raise ValueError(
                f"start_state={start_state} and next_state={int(next_state.min())} to {int(next_state.max())} "
                f"must be states, 0 to {states - 1}"
            )
        if not bool((log_probs < torch.inf).all()):  # NaN neither
            raise ValueError("log_probs holds NaN or infinity; allowed are natural logarithms and -infinity")
        self.next_state = next_state
        self.log_probs = log_probs
        self.start_state = start_state

    @classmethod
    def from_arrays(cls, next_state: np.ndarray, log_probs: np.ndarray, start: int) -> "NGramTable":
        """From numpy, as `processing.table_arrays` returns it; the arrays are copied.

        Args:
            next_state: int32 `(states, vocabulary)`.
            log_probs: float32 `(states, vocabulary)`.
            start: The state before the first token.

        Raises:
            ValueError: As the class.
        """
        return cls(torch.tensor(next_state, dtype=torch.int32), torch.tensor(log_probs, dtype=torch.float32), start)

    @property
    def vocab_size(self) -> int:
        """Tokens, those without a probability included."""
        return self.log_probs.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the tables lie."""
        return self.log_probs.device

    def to(self, device: torch.device | str) -> "NGramTable":
        """The same tables on `device`."""
        if torch.device(device) == self.device:
            return self
        moved = object.__new__(NGramTable)  # checked already, and checking waits for the device
        moved.next_state, moved.log_probs = self.next_state.to(device), self.log_probs.to(device)
        moved.start_state = self.start_state
        return moved

    def start_states(self, rows: int) -> torch.Tensor:
        """The state before the first token, int64 `(rows,)`."""
        return torch.full((rows,), self.start_state, device=self.device)

    def scores(self, states: torch.Tensor) -> torch.Tensor:
        """ln P of every next token, float32 `(rows, vocabulary)`, after `states (rows,)`."""
        return self.log_probs[states]

    def advance(self, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """The states `(rows,)` after `tokens (rows,)` were written in `states (rows,)`."""
        return self.next_state[states, tokens].long()
