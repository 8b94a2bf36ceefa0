"""The speller of Listen, Attend and Spell: an LSTM that writes one token per step and looks at the sound at each.

Notable here:
- the context of a step is an input of the next (input feeding), beside being read by the output;
- the embeddings' share of the first layer's gates is one matrix product for all steps before the loop, and the
  logits are one after it: inside the loop there is only what depends on the step before;
- the state is a value that goes in and comes out: the module keeps nothing, so decoding is re-entrant.
"""

from collections.abc import Callable

import torch
from torch import nn

from .configuration_las import LasConfig
from .modeling_attention import ATTENTIONS, Memory
from .modeling_las_cache import SpellerState


def lstm_cell(gates: torch.Tensor, cell: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The LSTM's nonlinear half: gates `(batch, 4 hidden)` as PyTorch's i, f, g, o; cell `(batch, hidden)`."""
    i, f, g, o = gates.chunk(4, dim=-1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


class SpellerCell(nn.LSTMCell):
    """One layer's weights; a call hands them out, so that hooks which load weights (offloading) see the use."""

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        return torch.cat([self.weight_ih, self.weight_hh], dim=1), self.bias_ih + self.bias_hh


class Speller(nn.Module):
    """The decoder of Chan et al. 2015 (arXiv:1508.01211), section 3.2: AttendAndSpell without the output layer."""

    def __init__(self, config: LasConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.speller_embedding_size, config.pad_token_id)
        sizes = [config.speller_embedding_size + config.memory_size]
        sizes += [config.speller_hidden_size] * (config.speller_layers - 1)
        self.cells = nn.ModuleList(SpellerCell(size, config.speller_hidden_size) for size in sizes)
        self.attention = ATTENTIONS[config.attention_kind](config)
        self.dropout = nn.Dropout(config.speller_dropout)

    def initial_state(self, memory: Memory) -> SpellerState:
        """Zeros, and attention spread evenly over the real states."""
        batch = memory.values.shape[0]
        zeros = memory.values.new_zeros(batch, self.config.speller_hidden_size)
        layers = (zeros,) * self.config.speller_layers
        context = memory.values.new_zeros(batch, self.config.memory_size)
        return SpellerState(layers, layers, context, self.attention.initial_weights(memory))

    def _gate_weights(self) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """The embedding's columns of the first layer; per layer the matrix over [input, own hidden], and the bias."""
        size = self.config.speller_embedding_size
        stacked, biases = (list(each) for each in zip(*(cell() for cell in self.cells), strict=True))
        return stacked[0][:, :size], [stacked[0][:, size:], *stacked[1:]], biases

    def forward(
        self,
        input_ids: torch.Tensor,
        memory: Memory,
        state: SpellerState,
        head: Callable[[torch.Tensor], torch.Tensor] | None = None,
        sampling: float = 0.0,
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor], SpellerState]:
        """Run over `input_ids` `(batch, targets)` from `state`.

        Args:
            input_ids: Decoder inputs.
            memory: What to attend to.
            state: Where to start from.
            head: Output layer, needed for `sampling`.
            sampling: Probability that an input token is replaced by a draw from the output of the step before
                (scheduled sampling, Bengio et al. 2015, arXiv:1506.03099).

        Returns:
            Outputs `(batch, targets, speller_hidden_size + memory_size)`, last layer and context side by side;
            attention `(batch, heads, targets, keys)`; the outputs of embedding and of every layer
            `(batch, targets, size)`; the state after the last token.
        """
        embedding_weight, weights, biases = self._gate_weights()

        def gates_of(embedded: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(embedded, embedding_weight, biases[0])

        embedded = self.dropout(self.embed_tokens(input_ids))  # (batch, targets, embedding)
        hidden, cells, context, attended = list(state.hidden), list(state.cell), state.context, state.weights
        layer_steps: list[list[torch.Tensor]] = [[] for _ in self.cells]
        contexts: list[torch.Tensor] = []
        attentions: list[torch.Tensor] = []
        for gates in gates_of(embedded).unbind(1):
            if sampling and head is not None and contexts:
                own = self._draw(head(torch.cat([layer_steps[-1][-1], context], dim=-1)))
                chosen = torch.rand(len(gates), 1, device=gates.device) < sampling
                gates = torch.where(chosen, gates_of(self.dropout(self.embed_tokens(own))), gates)
            below = context
            for i, weight in enumerate(weights):
                joined = nn.functional.linear(torch.cat([below, hidden[i]], dim=-1), weight, biases[i] if i else None)
                hidden[i], cells[i] = lstm_cell(joined if i else joined + gates, cells[i])
                below = self.dropout(hidden[i])
                layer_steps[i].append(below)
            step_context, attended = self.attention(below[:, None], memory, attended)
            context = step_context[:, 0]
            contexts.append(context)
            attentions.append(attended)
        layers = [torch.stack(steps, dim=1) for steps in layer_steps]
        outputs = torch.cat([layers[-1], torch.stack(contexts, dim=1)], dim=-1)
        end = SpellerState(tuple(hidden), tuple(cells), context, attended)
        return outputs, torch.cat(attentions, dim=2), [embedded, *layers], end

    @staticmethod
    @torch.no_grad()
    def _draw(logits: torch.Tensor) -> torch.Tensor:
        """Tokens `(batch,)` drawn from logits `(batch, vocabulary)`, on the device and without gradient."""
        return logits.float().softmax(dim=-1).multinomial(1)[:, 0]
