"""A dial on the information bottleneck: the listener's states pooled into a few learned slots.

Notable here:
- a slot is a learned query that pools the states by attention over the whole utterance; one slot is the fixed-length
  vector that attention removed, and without slots the speller sees every state;
- trained nested: each batch fills k slots, k drawn anew, so that *one* checkpoint runs at every k (after nested
  dropout, Rippel et al. 2014, arXiv:1402.0915); every doubling of k is drawn about as often, since one slot has to
  learn as much as many;
- states are told where they stand in their clip, and slots where they stand among the k: at first each looks at its
  own share of the clip. Without that all slots begin alike, and stay alike.
"""

import math

import torch
from torch import nn

from .configuration_las import LasConfig
from .modeling_attention import scaled_dot_product_attention

PLACE_FREQUENCIES = 8  # of the sines and cosines that tell a place: 1, 2, … half turns over the clip
PLACE_SCALE = 4.0  # of them: large enough that a slot, before it has learnt, looks at where it stands itself


class MemorySlots(nn.Module):
    """Listener states `(batch, frames, memory_size)` as `(batch, slots, memory_size)`.

    Args:
        config: `memory_slots` of them at most, compared with the states in `attention_size` dimensions.
    """

    def __init__(self, config: LasConfig) -> None:
        super().__init__()
        slots = config.memory_slots or 0
        self.queries = nn.Embedding(slots, config.attention_size)  # of each slot
        self.counts = nn.Embedding(slots, config.attention_size)  # of all slots, where there are so many
        self.names = nn.Embedding(slots, config.memory_size)  # added, so that the speller knows which slot is which
        self.key_proj = nn.Linear(config.memory_size, config.attention_size)
        self.place_proj = nn.Linear(2 * PLACE_FREQUENCIES, config.attention_size, bias=False)
        self.name_proj = nn.Linear(2 * PLACE_FREQUENCIES, config.memory_size, bias=False)

    def forward(
        self, states: torch.Tensor, mask: torch.Tensor, slots: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pool the states of each clip.

        Args:
            states: `(batch, frames, memory_size)`.
            mask: `(batch, frames)`, True on real states.
            slots: How many slots to fill.

        Returns:
            Slots `(batch, slots, memory_size)`, their mask, True in rows that have a state, and what share of each
            state went where, `(batch, slots, frames)`.
        """
        ids = torch.arange(slots, device=states.device)
        among = PLACE_SCALE * places(mask.new_ones(1, slots))[0].to(states.dtype)  # (slots, 2 frequencies)
        keys = self.key_proj(states) + self.place_proj(PLACE_SCALE * places(mask).to(states.dtype))
        queries = self.queries(ids) + self.counts(ids[-1]) + self.place_proj(among)
        pooled, weights = scaled_dot_product_attention(
            queries.expand(len(states), -1, -1), keys, states, mask[:, None]
        )
        return pooled + self.names(ids) + self.name_proj(among), mask[:, :1].expand(-1, slots), weights


def draw_slots(most: int) -> int:
    """A number of slots for a training batch, 1 to `most`; k, 2k, 4k, … are about as likely in sum as one another.

    The logarithm of a number between 1 and `most + 1` is drawn evenly, by torch's generator, and rounded down.
    """
    return min(most, int(math.exp(float(torch.rand(())) * math.log(most + 1))))


def places(mask: torch.Tensor) -> torch.Tensor:
    """Where each state stands in its own clip: `(batch, frames, 2 * PLACE_FREQUENCIES)` sines and cosines."""
    turns = torch.arange(1, PLACE_FREQUENCIES + 1, device=mask.device) * torch.pi
    at = (torch.arange(mask.shape[1], device=mask.device) + 0.5) / mask.sum(-1, keepdim=True).clamp(min=1)
    angles = at[..., None] * turns  # (batch, frames, frequencies)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
