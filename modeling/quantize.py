"""Int8 on a CPU: models whose heavy layers multiply whole numbers.

Notable here:
- torch's own dynamic quantisation: weights become int8, and activations are rounded batch by batch while the model
  runs, so nothing has to be calibrated. A linear layer has one scale per output feature, an LSTM one per matrix;
- only what costs time is quantised. Of a spectrogram transformer: the linear layers of its layers, while patches,
  norms, attention, pooling and the head stay float32. Of a LAS: the listener's LSTMs, the projections of attention and
  the layer before the logits, while the speller's LSTM, the energies and the heads stay float32;
- the gain depends on the processor: about twofold where there are instructions for int8 products (AVX-512 VNNI), less
  than that where there is only AVX2.
"""

import warnings
from typing import Any, NoReturn, TypeVar

import torch
from torch import nn

from .las import LasModel, LasPreTrainedModel
from .spectrogram_transformer import SpectrogramTransformerModel, SpectrogramTransformerPreTrainedModel

Quantizable = TypeVar("Quantizable", SpectrogramTransformerPreTrainedModel, LasPreTrainedModel)
PROJECTIONS = ("query_proj", "key_proj", "value_proj", "output_proj")  # of a LAS's attention
# What torch says of `torch.ao.quantization` and of the int8 tensors it makes; nothing else is silenced.
DEPRECATIONS = (
    (r"torch\.ao\.quantization is deprecated", DeprecationWarning),
    (r"torch\.quantize_per_tensor, torch\.quantize_per_channel .* are deprecated", UserWarning),
)


def quantize_dynamic(model: Quantizable) -> Quantizable:
    """An int8 copy of a model, for inference on a CPU.

    `forward`, `generate`, `attention_maps` and pipelines work as before; logits move a little. The copy cannot be
    trained, and not be saved: save the model that it comes from, and quantise after loading.

    torch calls the `torch.ao.quantization` used here deprecated, in favour of torchao. It is used because it comes
    with torch, while torchao is one more dependency, tied to torch's versions. The warning is silenced here and
    nowhere else. What comes next, should torch drop the module, is torchao's `quantize_` with
    `Int8DynamicActivationInt8WeightConfig`, in this function alone.

    Args:
        model: On the CPU, in float32. It stays as it is.

    Returns:
        A new model of the same class, in eval mode.

    Raises:
        TypeError: It is neither a spectrogram transformer nor a LAS.
        ValueError: It is elsewhere, in another precision, or quantised already.
        RuntimeError: This build of torch has no int8 kernels; later, when the copy is trained or saved.

    Example:
        >>> from aural import SpectrogramTransformerConfig, SpectrogramTransformerForAudioClassification
        >>> model = SpectrogramTransformerForAudioClassification(SpectrogramTransformerConfig.from_preset("tiny"))
        >>> small = quantize_dynamic(model)
    """
    names = _check_quantizable(model)
    lstms = [name for name in names if isinstance(model.get_submodule(name), nn.LSTM)]
    from torch.ao import quantization  # here, since a torch without it must not break what imports this file

    with warnings.catch_warnings():
        for message, category in DEPRECATIONS:
            warnings.filterwarnings("ignore", message=message, category=category)
        kind = dict.fromkeys(names, quantization.per_channel_dynamic_qconfig)
        kind.update(dict.fromkeys(lstms, quantization.default_dynamic_qconfig))  # torch's LSTM knows no other
        quantized: Quantizable = quantization.quantize_dynamic(model, kind)  # a copy
    for name in lstms:
        # The listener reads the precision of its features from here, and an int8 LSTM takes float32.
        quantized.get_submodule(name).weight_ih_l0 = torch.empty(0)
    quantized.requires_grad_(False)  # what is still float must not learn beside what cannot
    quantized.register_forward_pre_hook(_refuse_training)
    # On the instance, so that the class, and with it whatever asks for the class, stays the same.
    quantized.__dict__["save_pretrained"] = _refuse_saving
    return quantized


def _check_quantizable(model: Any) -> list[str]:
    """Names of the layers to quantise."""
    if not isinstance(model, SpectrogramTransformerPreTrainedModel | LasPreTrainedModel):
        raise TypeError(f"model is {type(model).__name__}; it must be one of the spectrogram transformers, or a LAS")
    if model.device.type != "cpu":
        raise ValueError(f"model is on {model.device}; dynamic quantisation is for the CPU: model.cpu() first")
    if model.dtype != torch.float32:
        raise ValueError(f"model is in {model.dtype}; it must be in torch.float32: model.float() first")
    if torch.backends.quantized.engine == "none":
        raise RuntimeError("this build of torch has no int8 kernels for this processor")
    names = _heavy_layers(model)
    if not names:
        raise ValueError("model has no float layers to quantise; it is quantised already")
    return names


def _heavy_layers(model: nn.Module) -> list[str]:
    """Names of the layers that cost time, of a spectrogram transformer or of a LAS."""
    parts = {name: part for name, part in model.named_modules() if type(part) in (nn.Linear, nn.LSTM)}
    inner = (SpectrogramTransformerModel, LasModel)
    ((prefix, core),) = ((name, part) for name, part in model.named_modules() if isinstance(part, inner))
    start = f"{prefix}." if prefix else ""
    if isinstance(core, SpectrogramTransformerModel):
        return [name for name in parts if name.startswith(f"{start}layers.")]
    heavy = (f"{start}listener.layers.", *(f"{start}speller.attention.{name}" for name in PROJECTIONS), "output_mlp.")
    return [name for name in parts if name.startswith(heavy)]


def _refuse_training(model: nn.Module, inputs: Any) -> None:
    if model.training:
        raise RuntimeError("an int8 copy cannot be trained: train the model it comes from, or call eval()")


def _refuse_saving(*args: Any, **kwargs: Any) -> NoReturn:
    raise RuntimeError("an int8 copy cannot be saved: save the model it comes from, and quantise it after loading")


__all__ = ["quantize_dynamic"]
