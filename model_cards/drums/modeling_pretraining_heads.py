"""What masked pre-training puts on the encoder: the masked autoencoder's decoder, and SSAST's two heads.

Notable here:
- the decoder (AudioMAE, arXiv:2207.06405) is made of the encoder's own layers, narrower; it sees every place, with a
  learned vector where a patch was masked, and fixed sines and cosines as positions, so that any length is as good;
- SSAST's heads (arXiv:2110.09784) are two small MLPs on the encoder's states: one says what a patch holds, the other
  which of the clip's masked patches it is;
- both end in contents of patches, `(…, places, mels * frames of a patch)`.
"""

import copy

import torch
from torch import nn
from transformers.masking_utils import create_bidirectional_mask

from .configuration_spectrogram_transformer import SpectrogramTransformerConfig
from .modeling_positions import SinusoidalPositions, TimeCoordinates
from .modeling_self_attention import SpectrogramLayer


def decoder_config(config: SpectrogramTransformerConfig) -> SpectrogramTransformerConfig:
    """The config of the decoder's layers: the encoder's with another size.

    Args:
        config: Of the model.

    Raises:
        ValueError: Width, heads and positions do not fit each other.
    """
    width = config.pretraining_decoder_hidden_size or config.hidden_size // 2
    heads = config.pretraining_decoder_heads or config.num_attention_heads
    if width % heads or width % 4:
        raise ValueError(
            f"pretraining_decoder_hidden_size={width} must be divisible by 4 and by pretraining_decoder_heads={heads}"
        )
    narrow = copy.copy(config)
    narrow.hidden_size, narrow.num_attention_heads, narrow.intermediate_size = width, heads, 4 * width
    narrow.num_hidden_layers, narrow.drop_path = config.pretraining_decoder_layers, 0.0
    return narrow


def content_size(config: SpectrogramTransformerConfig) -> int:
    """Numbers in a patch."""
    return config.patch_size[0] * config.patch_size[1]


class PatchDecoder(nn.Module):
    """From the states of kept patches to the contents of all (He et al. 2021, arXiv:2111.06377).

    Args:
        config: Of the model.
    """

    def __init__(self, config: SpectrogramTransformerConfig) -> None:
        super().__init__()
        self.config = decoder_config(config)
        width = self.config.hidden_size
        self.projection = nn.Linear(config.hidden_size, width)
        self.mask_token = nn.Parameter(torch.empty(width))
        self.positions = SinusoidalPositions(self.config)
        self.layers = nn.ModuleList(SpectrogramLayer(self.config, i) for i in range(self.config.num_hidden_layers))
        self.layernorm = nn.LayerNorm(width, eps=config.final_norm_eps)
        self.prediction = nn.Linear(width, content_size(config))

    def forward(
        self,
        states: torch.Tensor,
        index: torch.Tensor,
        used: torch.Tensor,
        real: torch.Tensor | None,
        time: TimeCoordinates,
    ) -> torch.Tensor:
        """Contents of every place: `(rows, places, content)`.

        Args:
            states: `(rows, tokens, hidden)` of the encoder, class tokens first, then kept patches.
            index: `(rows, kept)`, the place of each kept patch.
            used: Boolean `(rows, kept)`, False where a row keeps fewer.
            real: Boolean `(rows, places)`, True on a clip's own patches, or None where all are.
            time: Coordinates of the columns.
        """
        tokens = self.projection(states)
        seen = tokens[:, tokens.shape[1] - index.shape[1] :]
        places = time.at.shape[1] * self.config.frequency_patches
        at = index.masked_fill(~used, places)  # what is not used goes to a place that is cut off
        grid = self.mask_token.to(tokens.dtype).expand(tokens.shape[0], places + 1, -1)
        grid = grid.scatter(1, at[..., None].expand_as(seen), seen)[:, :places]
        grid = grid + self.positions(time).flatten(1, 2).to(grid.dtype)
        count = tokens.shape[1] - index.shape[1]  # class tokens
        tokens = torch.cat([tokens[:, :count], grid], dim=1)
        mask = None if real is None else nn.functional.pad(real, (count, 0), value=True)
        mask = create_bidirectional_mask(config=self.config, inputs_embeds=tokens, attention_mask=mask)
        for layer in self.layers:
            tokens = layer(tokens, mask)
        return self.prediction(self.layernorm(tokens[:, count:]))


class MaskedPatchHeads(nn.Module):
    """The mask's embedding, and what is told of masked patches from their states.

    Args:
        config: Of the model.
    """

    def __init__(self, config: SpectrogramTransformerConfig) -> None:
        super().__init__()
        self.mask_embedding = nn.Parameter(torch.empty(config.hidden_size))
        self.discriminator, self.generator = (
            nn.Sequential(
                nn.Linear(config.hidden_size, config.hidden_size),
                nn.ReLU(),
                nn.Linear(config.hidden_size, content_size(config)),
            )
            for _ in range(2)
        )

    def hide(self, states: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        """Patches `(…, places, hidden)` with the embedding where `masked` `(…, places)` is True."""
        return torch.where(masked[..., None], self.mask_embedding.to(states.dtype), states)
