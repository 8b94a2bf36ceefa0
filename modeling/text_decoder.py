"""A transformer decoder: text so far and a memory in, states of the next tokens out.

Notable here:
- pre-norm layers of causal self-attention, cross-attention and an MLP (arXiv:1706.03762, section 3), under any
  attention implementation of transformers;
- hypotheses about one clip share its memory: several rows per clip are folded into the *queries* of cross-attention,
  so that keys and values are made and held once per clip, however many beams read them;
- `output_attentions` gives the weights under every implementation: they are computed eagerly then.
"""

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from transformers import EncoderDecoderCache, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ..configuration.text_decoder import TextDecoderConfig
from .companion_cache import CACHE
from .positions import WAVELENGTH
from .self_attention import Mlp, eager_attention_forward


class DecoderAttention(nn.Module):
    """Multi-head attention (arXiv:1706.03762, section 3.2.2) of a decoder, to its own text or to a memory.

    Args:
        config: Width, heads, dropout.
        index: The layer's, by which the cache keeps its keys and values.
        crosses: It attends to a memory.
    """

    def __init__(self, config: TextDecoderConfig, index: int, crosses: bool) -> None:
        super().__init__()
        self.config, self.index, self.crosses = config, index, crosses
        self.is_causal = not crosses  # read by transformers' sdpa and flash attention
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def _heads(self, states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (batch, heads, length, head_dim)

    def _keys_and_values(
        self, memory: torch.Tensor, cache: EncoderDecoderCache | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the memory, made once, or of the text so far; each `(batch, heads, keys, head_dim)`."""
        if self.crosses and cache is not None and cache.is_updated.get(self.index):
            layer = cast(DynamicLayer, cache.cross_attention_cache.layers[self.index])
            return cast(torch.Tensor, layer.keys), cast(torch.Tensor, layer.values)
        keys, values = self._heads(self.k_proj(memory)), self._heads(self.v_proj(memory))
        if cache is None:
            return keys, values
        kept = cache.cross_attention_cache if self.crosses else cache.self_attention_cache
        keys, values = kept.update(keys, values, self.index)
        if self.crosses:
            cache.is_updated[self.index] = True
        return keys, values

    def forward(
        self,
        hidden_states: torch.Tensor,
        memory: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        cache: EncoderDecoderCache | None = None,
        eager: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """States `(rows, targets, hidden)` → the same, and the weights where the implementation gives them.

        Args:
            hidden_states: What asks.
            memory: What it attends to: itself, or `(clips, keys, hidden)`, of which rows are a multiple.
            attention_mask: What `masking_utils` made for the implementation.
            cache: Keys and values of earlier targets and of the memory.
            eager: Compute the weights.
            kwargs: For the implementation.
        """
        rows, targets, _ = hidden_states.shape
        keys, values = self._keys_and_values(memory, cache)
        query = self.q_proj(hidden_states).reshape(len(keys), -1, hidden_states.shape[-1])  # hypotheses side by side
        chosen: Callable = eager_attention_forward
        if not eager:
            chosen = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        dropout = self.config.attention_dropout if self.training else 0.0
        context, weights = chosen(
            self, self._heads(query), keys, values, attention_mask, dropout=dropout, scaling=self.scaling, **kwargs
        )
        if weights is not None and len(keys) != rows:
            weights = weights.unflatten(2, (-1, targets)).transpose(1, 2).flatten(0, 1)  # (rows, heads, targets, keys)
        return self.o_proj(context.reshape(rows, targets, -1)), weights


class TextDecoderLayer(GradientCheckpointingLayer):
    """A pre-norm layer: self-attention, cross-attention and an MLP, each added to what comes in."""

    def __init__(self, config: TextDecoderConfig, index: int) -> None:
        super().__init__()
        self.layernorm_self = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attention = DecoderAttention(config, index, crosses=False)
        self.layernorm_cross = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.cross_attention = DecoderAttention(config, index, crosses=True)
        self.layernorm_mlp = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = Mlp(cast(Any, config))  # reads widths and the activation
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(
        self,
        hidden_states: torch.Tensor,
        memory: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        memory_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """States `(rows, targets, hidden)` → the same, with the weights of both attentions where they are given."""
        normed = self.layernorm_self(hidden_states)
        attended, own = self.self_attention(normed, normed, attention_mask, **kwargs)
        hidden_states = hidden_states + self.dropout(attended)
        attended, crossed = self.cross_attention(self.layernorm_cross(hidden_states), memory, memory_mask, **kwargs)
        hidden_states = hidden_states + self.dropout(attended)
        return hidden_states + self.dropout(self.mlp(self.layernorm_mlp(hidden_states))), own, crossed


class TextDecoder(PreTrainedModel):
    """The decoder of [Attention Is All You Need](https://arxiv.org/abs/1706.03762), pre-norm; states, no logits."""

    config: TextDecoderConfig
    config_class = TextDecoderConfig
    supports_gradient_checkpointing = True
    _no_split_modules = ["TextDecoderLayer"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: TextDecoderConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        learned = config.position_kind == "learned"
        self.embed_positions = nn.Embedding(config.max_positions, config.hidden_size) if learned else None
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(TextDecoderLayer(config, i) for i in range(config.num_hidden_layers))
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self.embed_tokens:
            init.normal_(self.embed_tokens.weight, std=self.config.hidden_size**-0.5)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embed_tokens = cast(nn.Embedding, value)

    def _embed(self, input_ids: torch.Tensor, seen: Any) -> torch.Tensor:
        """Tokens `(rows, targets)`, the first at position `seen`: `(rows, targets, hidden)`."""
        targets, limit = input_ids.shape[1], self.config.text_limit
        if limit is not None and isinstance(seen, int) and seen + targets > limit:
            raise ValueError(
                f"decoder_input_ids reach {seen + targets} tokens; max_positions={limit} learned positions are allowed"
            )
        states = self.embed_tokens(input_ids) * self.config.hidden_size**0.5
        at = torch.arange(targets, device=input_ids.device) + seen
        if self.embed_positions is not None:
            return self.dropout(states + self.embed_positions(at))
        return self.dropout(states + sinusoids(at, self.config.hidden_size).to(states.dtype))

    def _masks(
        self,
        states: torch.Tensor,
        attention_mask: torch.Tensor | None,
        memory: torch.Tensor,
        memory_mask: torch.Tensor | None,
        cache: EncoderDecoderCache | None,
        eager: bool,
    ) -> tuple[Any, Any]:
        """What `masking_utils` makes for the implementation: of the text, and of the memory."""
        config = self.config
        if eager:  # a copy: the model's own choice stays as it is, also for other threads
            config = copy.copy(config)
            config._attn_implementation = "eager"
        kept: dict[str, Any] = {CACHE: None if cache is None else cache.self_attention_cache}
        own = create_causal_mask(config=config, inputs_embeds=states, attention_mask=attention_mask, **kept)
        asking = states.reshape(len(memory), -1, states.shape[-1])
        crossed = create_bidirectional_mask(
            config=config, inputs_embeds=asking, attention_mask=memory_mask, encoder_hidden_states=memory
        )
        return own, crossed

    def forward(
        self,
        input_ids: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        encoder_attention_mask: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        cache: EncoderDecoderCache | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        **kwargs: Any,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Read text and memory.

        Args:
            input_ids: `(rows, targets)`; all of them without a cache, the new ones with it.
            encoder_hidden_states: `(clips, keys, hidden)`; rows are a multiple of clips, those of the first clip
                first. Where the cache holds its keys and values only the shape counts.
            encoder_attention_mask: Boolean `(clips, keys)`, True on real keys, or None where all are.
            attention_mask: `(rows, targets so far)`, 0 on tokens that none may attend to, or None.
            cache: Of earlier calls; written to.
            output_attentions: Return the weights, `(rows, heads, targets, keys)` per layer.
            output_hidden_states: Return the states of every layer.
            kwargs: For the attention implementation.

        Raises:
            ValueError: More tokens than learned positions.
        """
        memory = encoder_hidden_states
        states = self._embed(input_ids, 0 if cache is None else cache.get_seq_length())
        masks = self._masks(states, attention_mask, memory, encoder_attention_mask, cache, output_attentions)
        every, own, crossed = [states], [], []
        for layer in self.layers:
            states, *weights = layer(states, memory, *masks, cache=cache, eager=output_attentions, **kwargs)
            every.append(states)
            own.append(weights[0])
            crossed.append(weights[1])
        states = every[-1] = self.layernorm(states)
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=states,
            hidden_states=tuple(every) if output_hidden_states else None,
            attentions=tuple(own) if output_attentions else None,
            cross_attentions=tuple(crossed) if output_attentions else None,
            **{CACHE: cast(Any, cache)},
        )


def sinusoids(at: torch.Tensor, hidden: int) -> torch.Tensor:
    """Waves of the places `at` `(places,)`, from one radian per step on downwards: `(places, hidden)`, float32."""
    exponents = torch.arange(hidden // 2, device=at.device, dtype=torch.float32) / (hidden // 2)
    angles = at[:, None].float() * WAVELENGTH**-exponents
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


__all__ = ["TextDecoder", "sinusoids"]
