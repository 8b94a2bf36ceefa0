"""Which layers of a model FSDP2 shards one by one; the rest of the model is one shard more.

Accelerate takes `_no_split_modules` unless it is told names, and that list means something else: what stays on one
device. A speller's attention is asked before the speller itself runs, and an embedding within such a module cannot be
sharded apart, as Accelerate does with embeddings.
"""

from typing import Any

LAYERS = {
    "las": ["BidirectionalLSTM"],
    "spectrogram_transformer": ["SpectrogramLayer"],
}  # by model type: names of classes


def shard_by_layers(plugin: Any, model: Any) -> None:
    """Tell an FSDP plugin the layers of a model, unless it has names or there is none to tell.

    Args:
        plugin: Accelerate's `FullyShardedDataParallelPlugin`, or None.
        model: Not sharded yet; of a type that is not known here, it is left to Accelerate.
    """
    layers = LAYERS.get(getattr(getattr(model, "config", None), "model_type", ""))
    if plugin is not None and layers is not None and plugin.transformer_cls_names_to_wrap is None:
        plugin.transformer_cls_names_to_wrap = list(layers)
