"""The contents of patches as targets of pre-training, the losses on them, and the way back to a spectrogram.

Notable here:
- everything is float32, whatever the model's weights and autocast are;
- losses are sums over masked patches, so that accumulated batches can be divided by the number of them all;
- the contrastive loss asks, among the masked patches of one clip, which content belongs to which place: what else is
  in the batch changes nothing.

Place `row * columns + column`; a patch's content lies mel by mel, each along time.
"""

import torch
from torch import nn

from .configuration_spectrogram_transformer import SpectrogramTransformerConfig
from .modeling_patches import filled_up

LEAST_VARIANCE = 1e-6  # added to a patch's own, as in MAE


def patch_contents(config: SpectrogramTransformerConfig, features: torch.Tensor) -> torch.Tensor:
    """What each patch covers: features `(batch, frames, mels)` → `(batch, places, content)` float32."""
    picture = filled_up(config, features.float()).transpose(1, 2)[:, None]  # (batch, 1, mels, frames)
    size, stride = tuple(config.patch_size), tuple(config.patch_stride)
    return nn.functional.unfold(picture, kernel_size=size, stride=stride).transpose(1, 2)


def mean_and_deviation(contents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each patch by itself: `(…, content)` → two tensors `(…, 1)`."""
    variance = contents.var(dim=-1, keepdim=True) if contents.shape[-1] > 1 else torch.zeros_like(contents)
    return contents.mean(dim=-1, keepdim=True), (variance + LEAST_VARIANCE).sqrt()


def normalized(contents: torch.Tensor) -> torch.Tensor:
    """Contents `(…, content)` with mean 0 and variance 1 in each patch."""
    mean, deviation = mean_and_deviation(contents)
    return (contents - mean) / deviation


def squared_error(predictions: torch.Tensor, contents: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
    """Sum over masked patches of the mean squared error in each.

    Args:
        predictions, contents: `(…, places, content)`.
        masked: Boolean `(…, places)`.
    """
    errors = (predictions.float() - contents).pow(2).mean(dim=-1)
    return errors.masked_fill(~masked, 0.0).sum()


def contrastive_error(predictions: torch.Tensor, contents: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
    """Sum over masked patches of InfoNCE (van den Oord et al. 2018, arXiv:1807.03748; SSAST's equation 1).

    Of masked patch i, `-log(exp(c_i · x_i) / Σ_j exp(c_i · x_j))` with prediction c and content x, j over the masked
    patches of the same row.

    Args:
        predictions, contents: `(…, places, content)`.
        masked: Boolean `(…, places)`.
    """
    with torch.autocast(predictions.device.type, enabled=False):
        scores = predictions.float() @ contents.transpose(-1, -2)  # (…, places of c, places of x)
    scores = scores.masked_fill(~masked[..., None, :], torch.finfo(scores.dtype).min)
    errors = -scores.log_softmax(dim=-1).diagonal(dim1=-2, dim2=-1)
    return errors.masked_fill(~masked, 0.0).sum()


def lay_out(config: SpectrogramTransformerConfig, contents: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """A spectrogram from the contents of its patches, the mean where patches overlap.

    Args:
        config: Gives the grid.
        contents: `(batch, places, content)`.
        features: `(batch, frames, mels)`, taken where no patch lies: what is left over at the end and at the top.

    Returns:
        `(batch, frames, mels)` float32.
    """
    rest = features.float()
    frames, mels = max(rest.shape[1], config.patch_size[1]), config.num_mel_bins
    size, stride = tuple(config.patch_size), tuple(config.patch_stride)

    def folded(columns: torch.Tensor) -> torch.Tensor:
        picture = nn.functional.fold(columns.transpose(1, 2), (mels, frames), kernel_size=size, stride=stride)
        return picture[:, 0].transpose(1, 2)[:, : rest.shape[1]]

    covered = folded(torch.ones_like(contents))
    return torch.where(covered > 0, folded(contents) / covered.clamp(min=1), rest)
