"""The speller of Listen, Attend and Spell: an LSTM that writes one token per step and looks at the sound at each.

Notable here:
- the context of a step is an input of the next (input feeding), beside being read by the output;
- the embeddings' share of the first layer's gates is one matrix product for all steps before the loop, and in decoding
  a table with a row per token; the logits are one product after the loop: inside it there is only what depends on the
  step before;
- an utterance's hypotheses share its memory: the state has a row for each of them, the memory one per utterance. Where
  they are many and the memory is short, what each of its values adds to the gates is multiplied once
  (`mixed_product.py`);
- with `query_layer="first"` the layers above the first do not feed the loop, so all their steps are one call;
- the state is a value that goes in and comes out: the module keeps nothing, so decoding is re-entrant.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch
from torch import nn

from ..configuration.las import LasConfig
from .checks import check_tokens, on_host
from .kernels import LANES, lstm_step, serves
from .las_cache import Feed, SpellerState
from .mixed_product import MixedProduct, mixes
from .packed_linear import Linear, PackedLinears, PackedProduct, call
from .speller_attention import ATTENTIONS, DotAttention, Memory
from .speller_loop import learns_at_once, run_loop


class Shares(NamedTuple):
    """What is added to the gates of rows: `rows`, `(any, 4 hidden)`, and `which` of them each takes, `(batch,)`;
    default: its own.
    """

    rows: torch.Tensor
    which: torch.Tensor | None = None

    def of_rows(self) -> torch.Tensor:
        """`(batch, 4 hidden)`."""
        return self.rows if self.which is None else nn.functional.embedding(self.which, self.rows)


def lstm_cell(
    sums: torch.Tensor, cell: torch.Tensor, place: torch.Tensor | None = None, shares: Shares | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The LSTM's nonlinear half: the next hidden state and cell, `(batch, hidden)`.

    Args:
        sums: What makes the gates, `(any, 4 hidden)` as PyTorch's i, f, g, o.
        cell: The cells before.
        place: `(batch,)`, the row of `sums` that each takes; default: its own.
        shares: What is added to the gates.
    """
    read = (sums, cell) if shares is None else (sums, cell, shares.rows)
    if cell.shape[1] % LANES == 0 and not torch.is_grad_enabled() and serves(*read):
        return lstm_step(sums, cell, place, *(shares or ()))
    gates = sums if place is None else sums.index_select(0, place)
    i, f, g, o = (gates if shares is None else gates + shares.of_rows()).chunk(4, dim=-1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


class SpellerCell(nn.LSTMCell):
    """One layer's weights; a call hands them out, so that hooks which load weights (offloading) see the use."""

    def forward(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # type: ignore[override]
        """The matrices over the input and over the hidden state, and the bias."""
        return self.weight_ih, self.weight_hh, self.bias_ih + self.bias_hh


@dataclass
class GateWeights:
    """The speller's weights as its steps use them.

    Shapes: `embedding` `(4 hidden, embedding)`, the embedding's columns of the first layer; `parts`, per layer the
    matrices over input and hidden state, `(4 hidden, …)`, the first without those columns; `biases`, per layer
    `(4 hidden,)`.

    `products`, per layer, multiply with both parts side by side. Decoding keeps `table` `(vocabulary, 4 hidden)`,
    every token's share of the first layer's gates, bias and all, and `linears`, which calls linear layers. Where many
    hypotheses ask few keys, `mixed` stands in for the first product and `output` for the output layer over contexts.
    """

    embedding: torch.Tensor
    parts: list[tuple[torch.Tensor, torch.Tensor]]
    biases: list[torch.Tensor]
    products: list[PackedProduct]
    table: torch.Tensor | None = None
    linears: Linear = call
    mixed: MixedProduct | None = None
    output: MixedProduct | None = None


class Speller(nn.Module):
    """The decoder of Chan et al. 2015 (arXiv:1508.01211), section 3.2: AttendAndSpell without the output layer."""

    def __init__(self, config: LasConfig) -> None:
        super().__init__()
        self.config = config
        self.asks_first = config.query_layer == "first"  # a config is slow to ask at every step
        self.embed_tokens = nn.Embedding(config.vocab_size, config.speller_embedding_size, config.pad_token_id)
        sizes = [config.speller_embedding_size + config.memory_size]
        sizes += [config.speller_hidden_size] * (config.speller_layers - 1)
        self.cells = nn.ModuleList(SpellerCell(size, config.speller_hidden_size) for size in sizes)
        self.attention = ATTENTIONS[config.attention_kind](config)
        self.dropout = nn.Dropout(config.speller_dropout)

    def initial_state(self, memory: Memory, beams: int = 1, weights: GateWeights | None = None) -> SpellerState:
        """Zeros, and attention spread evenly over the real states; `beams` hypotheses per utterance.

        `weights` are those of `decoding_weights`, where it goes on with these.
        """
        rows = memory.values.shape[0] * beams
        zeros = memory.values.new_zeros(rows, self.config.speller_hidden_size)
        layers = (zeros,) * self.config.speller_layers
        mixed = None if weights is None else weights.mixed
        context = memory.values.new_zeros(rows, self.config.memory_size if mixed is None else mixed.keys)
        spread = self.attention.initial_weights(memory)
        spread = spread.repeat_interleave(beams, 0) if beams > 1 else spread
        return SpellerState(layers, layers, spread, Feed(context, zeros))

    def gate_weights(self, rows: int) -> GateWeights:
        """The weights as steps of so many rows use them."""
        size = self.config.speller_embedding_size
        cells = [cell() for cell in self.cells]
        parts = [(ih if i else ih[:, size:], hh) for i, (ih, hh, _) in enumerate(cells)]
        # The first layer's bias comes with the embedding.
        products = [PackedProduct(each, rows, cells[i][2] if i else None) for i, each in enumerate(parts)]
        return GateWeights(cells[0][0][:, :size], parts, [bias for *_, bias in cells], products)

    def decoding_weights(self, memory: Memory, beams: int = 1) -> GateWeights:
        """The same, as decoding keeps them for so many hypotheses of each utterance."""
        rows = len(memory.values) * beams
        weights = self.gate_weights(rows)
        every = torch.arange(self.config.vocab_size, device=memory.values.device)
        weights.table = self._embedding_gates(self.embed_tokens(every), weights)
        weights.linears = PackedLinears(rows)
        over_context, over_hidden = weights.parts[0]
        if self.attention.mixes_values and mixes(memory.values, beams, over_context, over_hidden):
            weights.mixed = MixedProduct(over_context, over_hidden, memory.values)
        return weights

    def forward(
        self,
        input_ids: torch.Tensor,
        memory: Memory,
        state: SpellerState,
        head: Callable[[torch.Tensor], torch.Tensor] | None = None,
        sampling: float = 0.0,
        weights: GateWeights | None = None,
        output_embeddings: bool = True,
        output_contexts: bool = True,
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor], SpellerState]:
        """Run over `input_ids` `(rows, targets)` from `state`; rows are the utterances, or their hypotheses in turn.

        Args:
            input_ids: Decoder inputs.
            memory: What to attend to, of each utterance.
            state: Where to start from.
            head: Output layer, needed for `sampling`.
            sampling: Probability that an input token is replaced by a draw from the output of the step before
                (scheduled sampling, Bengio et al. 2015, arXiv:1506.03099).
            weights: Those of `gate_weights` or `decoding_weights`, where a caller keeps them from step to step.
            output_embeddings: Return them even where no step reads them.
            output_contexts: Give contexts even of a single step, which `weights.output` does without.

        Returns:
            Outputs `(rows, targets, speller_hidden_size + memory_size)`, last layer and context, if any, side by side;
            attention `(rows, heads, targets, keys)`; the outputs of embedding, where there are any, and of every layer
            `(rows, targets, size)`; the state after the last token.

        Raises:
            IndexError: A token outside the vocabulary.
        """
        weights = weights or self.gate_weights(len(input_ids))
        if not output_contexts and weights.output is not None and input_ids.shape[1] == 1:
            memory = replace(memory, values=memory.values[..., :0])  # of which nothing is mixed
        table, embedded, gates = weights.table, [], None
        if table is None or output_embeddings:
            embedded = [self.dropout(self.embed_tokens(input_ids))]  # (rows, targets, embedding)
        if table is None:
            gates = self._embedding_gates(embedded[0], weights)
        elif on_host(input_ids):
            check_tokens(input_ids, len(table))
        run = _Run(state, len(memory.values))
        # Layers above the query's wait until the loop is over, but for draws, which need an output at each step.
        looped = 1 if self.asks_first and not sampling else len(self.cells)
        if gates is not None and not sampling and learns_at_once(self.attention, memory, gates):
            layers, contexts, attention = self._learn_at_once(run, gates, memory, weights, looped)
        else:
            for t in range(input_ids.shape[1]):
                shares = Shares(cast(torch.Tensor, table), input_ids[:, t]) if gates is None else Shares(gates[:, t])
                if sampling and head is not None and run.contexts:
                    own = self._draw(head(torch.cat([run.outputs[-1][-1], run.contexts[-1]], dim=-1)))
                    chosen = torch.rand(len(own), 1, device=own.device) < sampling
                    drawn = self._embedding_gates(self.dropout(self.embed_tokens(own)), weights)
                    shares = Shares(torch.where(chosen, drawn, shares.of_rows()))
                self._step(run, shares, memory, weights, looped)
            layers = [_joined(steps, 1) for steps in run.outputs[:looped]]
            contexts, attention = _joined(run.contexts, 1), _joined(run.attentions, 2)
        for i in range(looped, len(self.cells)):
            layers.append(self._whole_layer(run, i, layers[-1], weights))
        outputs = torch.cat([layers[-1], contexts], dim=-1)
        return outputs, attention, [*embedded, *layers], run.state()

    @staticmethod
    def _embedding_gates(embedded: torch.Tensor, weights: GateWeights) -> torch.Tensor:
        return nn.functional.linear(embedded, weights.embedding, weights.biases[0])

    def _step(self, run: "_Run", shares: "Shares", memory: Memory, weights: GateWeights, looped: int) -> None:
        """One token: the looped layers, then attention; `shares` are the embedding's in the first layer's gates."""
        sums, place = self._from_before(run, weights)
        for i in range(looped):
            if i:
                sums, place = weights.products[i](torch.cat([run.outputs[i - 1][-1], run.hidden[i]], dim=-1)), None
            run.hidden[i], run.cell[i] = lstm_cell(sums, run.cell[i], place, None if i else shares)
            run.outputs[i].append(self.dropout(run.hidden[i]) if self.training else run.hidden[i])
        query = run.outputs[0 if self.asks_first else looped - 1][-1]
        context, run.weights = self.attention(run.by_utterance(query), memory, run.weights, weights.linears)
        run.contexts.append(context.flatten(0, 1))
        run.attentions.append(run.by_row(run.weights))
        fed = run.contexts[-1] if weights.mixed is None else run.attentions[-1][:, 0]  # which has one head there
        run.feed = Feed(fed, run.hidden[0])

    @staticmethod
    def _from_before(run: "_Run", weights: GateWeights) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What the step before adds to the first layer's gates, and where a hypothesis finds its own."""
        context, hidden, sizes = run.feed.context, run.feed.hidden, None
        beams = len(context) // run.utterances
        rows, place = run.feed.distinct()
        if rows is not None:
            context, hidden = context.index_select(0, rows), hidden.index_select(0, rows)
        if weights.mixed is None:
            return weights.products[0](torch.cat([context, hidden], dim=-1)), place
        if rows is not None:
            sizes = (rows // beams).bincount(minlength=run.utterances).tolist()
        return weights.mixed(context, hidden, sizes), place

    def _learn_at_once(
        self, run: "_Run", gates: torch.Tensor, memory: Memory, weights: GateWeights, looped: int
    ) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
        """All steps of the loop, with one gradient for all of them: outputs of its layers, contexts, attention."""
        state = (run.hidden[:looped], run.cell[:looped], run.feed.context)
        matrices = [torch.cat(parts, dim=1) for parts in weights.parts[:looped]]
        parts = (matrices, weights.biases[:looped], cast(DotAttention, self.attention), self.dropout)
        layers, contexts, attention, hidden, cell = run_loop(gates, memory, state, *parts)
        run.hidden[:looped], run.cell[:looped] = hidden.unbind(), cell.unbind()
        run.weights, run.feed = attention[:, :, -1:], Feed(contexts[:, -1], run.hidden[0])
        return list(layers.unbind()), contexts, attention

    def _whole_layer(self, run: "_Run", layer: int, below: torch.Tensor, weights: GateWeights) -> torch.Tensor:
        """Layer `layer` over all steps of the one below `(rows, targets, hidden)`, in one call."""
        bias = weights.biases[layer]
        output, hidden, cell = torch.lstm(
            below,
            (run.hidden[layer][None], run.cell[layer][None]),
            [*weights.parts[layer], bias, torch.zeros_like(bias)],
            True,  # biases
            1,  # layer
            0.0,  # dropout between layers, of which there are none
            self.training,
            False,  # one direction
            True,  # batch first
        )
        run.hidden[layer], run.cell[layer] = hidden[0], cell[0]
        return self.dropout(output)

    @staticmethod
    @torch.no_grad()
    def _draw(logits: torch.Tensor) -> torch.Tensor:
        """Tokens `(batch,)` drawn from logits `(batch, vocabulary)`, on the device and without gradient."""
        return logits.float().softmax(dim=-1).multinomial(1)[:, 0]


def _joined(steps: list[torch.Tensor], dim: int) -> torch.Tensor:
    """What the steps gave, one after the other along a new axis."""
    return steps[0].unsqueeze(dim) if len(steps) == 1 else torch.stack(steps, dim=dim)


class _Run:
    """What one run of the loop holds: the state as it goes, and what each step gave."""

    def __init__(self, state: SpellerState, utterances: int) -> None:
        self.utterances = utterances
        self.hidden, self.cell, self.feed = list(state.hidden), list(state.cell), state.feed
        self.weights = self.by_utterance(state.weights[:, :, 0]).transpose(1, 2)  # (utterances, heads, beams, keys)
        self.outputs: list[list[torch.Tensor]] = [[] for _ in state.hidden]
        self.contexts: list[torch.Tensor] = []
        self.attentions: list[torch.Tensor] = []

    def by_utterance(self, rows: torch.Tensor) -> torch.Tensor:
        """`(utterances * beams, …)` as `(utterances, beams, …)`."""
        return rows.unflatten(0, (self.utterances, -1))

    @staticmethod
    def by_row(weights: torch.Tensor) -> torch.Tensor:
        """Weights `(utterances, heads, beams, keys)` as `(utterances * beams, heads, keys)`."""
        return weights.transpose(1, 2).flatten(0, 1)

    def state(self) -> SpellerState:
        """The state after the last step."""
        return SpellerState(tuple(self.hidden), tuple(self.cell), self.by_row(self.weights)[:, :, None], self.feed)
