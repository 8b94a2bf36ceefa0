"""One layer of the spectrogram transformer: every patch looks at every patch, then an MLP.

Notable here:
- the attention is chosen by name through transformers' interface (eager, sdpa, flash, flex, or one's own);
- whoever passes `attention_maps`, a dict, gets the weights of the layers that are its keys, computed eagerly and
  handed back through that argument, so that nothing is kept on modules;
- queries and keys are turned by their place where the positions are rotary.

The arithmetic of attention itself is explained in `attention.py`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .configuration_spectrogram_transformer import SpectrogramTransformerConfig
from .modeling_positions import rotate


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention with its weights, by the signature of transformers' interface.

    Args:
        module: The layer's attention; only whether it trains matters.
        query, key, value: `(batch, heads, tokens, head_dim)`.
        attention_mask: Added to the scores, `(batch, 1, tokens or 1, tokens)`; None: all keys are real.
        scaling: Of the scores, 1 / √head_dim.
        dropout: Share of the weights that training drops.
        kwargs: Not used; other implementations take more.

    Returns:
        Context `(batch, tokens, heads, head_dim)` and weights `(batch, heads, tokens, tokens)`.
    """
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class SelfAttention(nn.Module):
    """Multi-head self-attention (arXiv:1706.03762, section 3.2.2) under any attention implementation.

    Args:
        config: Width, heads, dropout.
        index: The layer's, by which `attention_maps` asks for it.
    """

    is_causal = False  # read by transformers' sdpa

    def __init__(self, config: SpectrogramTransformerConfig, index: int) -> None:
        super().__init__()
        self.config = config
        self.index = index
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.qkv_bias)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def _implementation(self, eager: bool) -> Callable:
        if eager:
            return eager_attention_forward
        return ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        rotary: tuple[torch.Tensor, torch.Tensor] | None = None,
        attention_maps: dict[int, torch.Tensor | None] | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """States `(batch, tokens, hidden)` → the same, and the weights where the implementation gives them.

        Args:
            hidden_states: As above.
            attention_mask: What `masking_utils` made for the implementation.
            rotary: `rotary_factors` of the tokens.
            attention_maps: Filled with this layer's weights if its index is a key.
            kwargs: For the implementation.
        """
        batch, tokens, hidden = hidden_states.shape
        heads = (batch, tokens, -1, self.head_dim)
        query, key, value = (
            projection(hidden_states).view(heads).transpose(1, 2)  # (batch, heads, tokens, head_dim)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        if rotary is not None:
            query, key = rotate(query, rotary), rotate(key, rotary)
        context, weights = self._implementation(eager=attention_maps is not None)(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.config.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        if attention_maps is not None and self.index in attention_maps:
            attention_maps[self.index] = weights
        return self.o_proj(context.reshape(batch, tokens, hidden)), weights


class Mlp(nn.Module):
    """Two linear layers with an activation between them, applied to each token alone."""

    def __init__(self, config: SpectrogramTransformerConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size or 4 * config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.fc2 = nn.Linear(self.fc1.out_features, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """States `(batch, tokens, hidden)` → the same."""
        return self.fc2(self.activation(self.fc1(hidden_states)))


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016, arXiv:1603.09382): in training, some clips skip a branch.

    Args:
        probability: That a clip skips; the others' branch is scaled up, so that its mean stays.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: torch.Tensor) -> torch.Tensor:
        """A branch `(batch, tokens, hidden)`, of which some rows become 0."""
        if not self.training or self.probability == 0:
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.probability
        return branch * kept / (1 - self.probability)


class SpectrogramLayer(GradientCheckpointingLayer):
    """A pre-norm transformer layer: self-attention and an MLP, each added to what comes in."""

    def __init__(self, config: SpectrogramTransformerConfig, index: int) -> None:
        super().__init__()
        self.layernorm_before = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = SelfAttention(config, index)
        self.layernorm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = Mlp(config)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.drop_path = DropPath(config.drop_path * index / max(config.num_hidden_layers - 1, 1))

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        """States `(batch, tokens, hidden)` → the same; arguments as for `SelfAttention`."""
        attended, _ = self.attention(self.layernorm_before(hidden_states), attention_mask, **kwargs)
        hidden_states = hidden_states + self.drop_path(self.dropout(attended))
        changed = self.mlp(self.layernorm_after(hidden_states))
        return hidden_states + self.drop_path(self.dropout(changed))
