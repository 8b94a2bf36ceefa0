"""One attention of a live model, step by step: `AttentionSteps` of patches, of a text decoder, or of a speller.

Notable here:
- one run gives everything: queries, keys, values, the mask, the weights, the contexts and the output are what the
  model's own modules took and gave (`explain_calls.py`);
- a clip alone has nothing to mask. It runs beside a longer one, its own beginning once more after its end, so that the
  mask is the model's real one; its own numbers stay what they are, since padding reaches nothing.
"""

from collections.abc import Sequence
from math import ceil
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from .explain_calls import Call, watched
from .explain_source import Source
from .modeling.packed_linear import call
from .modeling.positions import rotate
from .modeling.speller_attention import DotAttention, MultiHeadSpellerAttention
from .modeling.text_decoder import TextDecoder
from .processing.explained import AttentionSteps
from .processing.plots import SHOWN

PADDED = 2  # columns of patches, or states of a listener, by which the other clip of the batch is longer
ALIGNMENT = "alignment"  # what the attention of a speller is called
BESIDE = "padding: the clip runs in a batch with a longer one"


def attention_names(source: Source) -> list[str]:
    """What can be explained of a model, its first choice first.

    Raises:
        ValueError: Nothing can: the model's attention is no scaled dot product.
    """
    if source.spells:
        config = source.model.config
        kinds = {"dot": DotAttention, "multihead": MultiHeadSpellerAttention}
        if not isinstance(source.model.model.speller.attention, tuple(kinds.values())):
            raise ValueError(
                f"the model's attention_kind is {config.attention_kind!r}; a scaled dot product, Q K / √d, have "
                f"{' and '.join(kinds)}. `aural explain las` shows what this one attends to"
            )
        if config.ctc_weight == 1:
            raise ValueError("ctc_weight=1: the model learned by CTC alone, and its speller attends to nothing")
        return [ALIGNMENT]
    if source.encoder is None:
        raise ValueError(f"model is a {type(source.model).__name__}, which aural explain does not know")
    heard = [f"layers.{i}" for i in range(len(source.encoder.layers))]
    heard = [*heard[len(heard) // 2 :], *heard[: len(heard) // 2]]
    decoder = getattr(source.model, "decoder", None)
    if not isinstance(decoder, TextDecoder):  # one of transformers has modules of its own
        return heard
    count = len(decoder.layers)
    return [*(f"decoder.{i}.{kind}" for kind in ("cross", "self") for i in reversed(range(count))), *heard]


def attention_steps(source: Source, name: str) -> AttentionSteps:
    """The attention called `name`, which is one of `attention_names`, over the source's sound."""
    if name == ALIGNMENT:
        return _speller_steps(source)
    if name.startswith("layers."):
        return _encoder_steps(source, name)
    return _decoder_steps(source, name)


def beside_a_longer(features: torch.Tensor, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features `(1, length, mels)` in a batch with their own beginning repeated, and the mask of frames.

    Args:
        features: Of one clip.
        frames: By how many the other is longer.
    """
    length = features.shape[1]
    longer = features.repeat(1, 1 + ceil(frames / length), 1)[:, : length + frames]
    batch = torch.cat([nn.functional.pad(features, (0, 0, 0, frames)), longer])
    mask = torch.ones(batch.shape[:2], dtype=torch.long, device=features.device)
    mask[0, length:] = 0
    return batch, mask


def patch_boxes(source: Source, columns: int) -> np.ndarray:
    """Where patches lie, `(rows * columns, 4)`: seconds from and to, mel bands from and to."""
    config = cast(Any, source.encoder).config
    (high, wide), (down, along) = config.patch_size, config.patch_stride
    shift = source.sound.seconds_per_feature
    row, column = np.divmod(np.arange(config.frequency_patches * columns), columns)
    start, low = column * along * shift, row * down
    return np.stack([start, start + wide * shift, low, low + high], axis=1)


def patch_names(source: Source, boxes: np.ndarray) -> list[str]:
    """A name of each patch: when, and at which frequencies."""
    hertz, names = source.sound.hertz, []
    for start, _, low, high in boxes:
        names.append(f"{start:.2f} s, {hertz[int(low)] / 1000:.1f}–{hertz[int(high) - 1] / 1000:.1f} kHz")
    return names


def token_names(tokens: Sequence[str]) -> tuple[str, ...]:
    """Tokens as they are shown."""
    return tuple(SHOWN.get(token, token) for token in tokens)


def _encoder_steps(source: Source, name: str) -> AttentionSteps:
    encoder = cast(Any, source.encoder)
    config, attention = encoder.config, encoder.layers[int(name.split(".")[1])].attention
    along, columns = config.patch_stride[1], config.time_patches(source.features.shape[1])
    features, mask = beside_a_longer(source.features, PADDED * along)
    with watched({"attention": attention, **_projections(attention)}) as calls:
        maps = encoder.attention_maps(features, mask, layers=[name])
    wide = config.time_patches(features.shape[1])
    boxes = np.concatenate([np.full((config.num_class_tokens, 4), np.nan), patch_boxes(source, wide)])
    real = np.concatenate(
        [np.ones(config.num_class_tokens, bool), np.arange(len(boxes) - config.num_class_tokens) % wide < columns]
    )
    names = [*_class_tokens(config.num_class_tokens), *patch_names(source, boxes[config.num_class_tokens :])]
    rotary = calls["attention"][0].kwargs.get("rotary")
    q, k, v = _heads(calls, config.num_attention_heads)
    if rotary is not None:
        q, k = rotate(q, rotary), rotate(k, rotary)
    return _steps(
        source,
        calls,
        attention.o_proj,
        (q, k, v, maps[name]),
        real,
        name=name,
        kind="self-attention: patches look at patches",
        queries=tuple(n for n, own in zip(names, real, strict=True) if own),
        keys=tuple(names),
        query_boxes=boxes[real],
        key_boxes=boxes,
        masked=BESIDE,
        rotary=rotary is not None,
    )


def _decoder_steps(source: Source, name: str) -> AttentionSteps:
    model, config = source.model, source.model.config
    _, index, kind = name.split(".")
    layer = model.decoder.layers[int(index)]
    attention = layer.cross_attention if kind == "cross" else layer.self_attention
    ids, tokens = source.written()
    along, encoder = config.encoder.patch_stride[1], config.encoder
    features, mask = beside_a_longer(source.features, PADDED * along)
    with watched({"attention": attention, **_projections(attention)}) as calls:
        maps = model.attention_maps(features, mask, layers=[name], labels=ids.expand(2, -1))
    nowhere = np.full((len(tokens), 4), np.nan)
    names: tuple[str, ...] = token_names(["<bos>", *tokens[:-1]])
    shown: dict[str, Any] = {"keys": names, "key_boxes": nowhere, "masked": "the future: a text is read word by word"}
    if kind == "cross":
        boxes = patch_boxes(source, encoder.time_patches(features.shape[1]))
        places = np.concatenate([np.full((encoder.num_class_tokens, 4), np.nan), boxes])
        keys = (*_class_tokens(encoder.num_class_tokens), *patch_names(source, boxes))
        shown = {"keys": keys, "key_boxes": places, "masked": BESIDE}
    return _steps(
        source,
        calls,
        attention.o_proj,
        (*_heads(calls, config.decoder.num_attention_heads), maps[name]),
        np.ones(len(tokens), bool),
        name=name,
        kind="cross-attention: the next token looks at patches" if kind == "cross" else "self-attention of the text",
        queries=token_names(tokens) if kind == "cross" else names,
        query_boxes=nowhere,
        **shown,
    )


def _speller_steps(source: Source) -> AttentionSteps:
    """Dot or multihead attention of a speller: queries are its states, keys the listener's."""
    model, config = source.model, source.model.config
    attention, reduction = model.model.speller.attention, config.time_reduction
    ids, tokens = source.written()
    features, mask = beside_a_longer(source.features, PADDED * reduction)
    inputs = model.prepare_decoder_input_ids_from_labels(ids).expand(2, -1)
    parts = {"attention": attention, "keys": attention.key_proj}
    heads = isinstance(attention, MultiHeadSpellerAttention)
    with torch.no_grad():
        with watched({**parts, **({"joined": attention.output_proj} if heads else {})}) as calls:
            model(features, mask, decoder_input_ids=inputs, use_cache=False)
        memory = calls["attention"][0].args[1]
        asked = torch.cat([each.args[0] for each in calls["attention"]], dim=1)  # (clips, targets, hidden)
        q = call(attention.query_proj, asked)
        k, v, values = calls["keys"][0].output, memory.values, memory.values
        weights = torch.cat([each.output[1] for each in calls["attention"]], dim=2)
        output = torch.cat([each.output[0] for each in calls["attention"]], dim=1)
    q, k, v = (part.unflatten(-1, (config.attention_heads, -1)).transpose(1, 2) for part in (q, k, values))
    slots = memory.places is not None
    states, step = memory.keys.shape[1], config.seconds_per_listener_frame
    boxes = np.full((states, 4), np.nan)
    if not slots:
        start = np.arange(states) * step
        boxes = np.stack([start, start + step, np.zeros(states), np.full(states, config.num_mel_bins)], axis=1)
    names = [f"slot {i + 1}" if slots else f"{i * step:.2f}–{(i + 1) * step:.2f} s" for i in range(states)]
    joined = (
        torch.cat([each.args[0] for each in calls["joined"]], dim=1)
        if heads
        else (weights @ v).transpose(1, 2).flatten(2)
    )
    return AttentionSteps(
        name=ALIGNMENT,
        kind=f"attention of a speller, {config.attention_kind!r}: the next token looks at listener states",
        sound=source.sound,
        queries=token_names(tokens),
        keys=tuple(names),
        query_boxes=np.full((len(tokens), 4), np.nan),
        key_boxes=boxes,
        mask=np.broadcast_to(memory.mask[0].cpu().numpy(), (len(tokens), states)),
        masked="" if slots else BESIDE,
        **_arrays(q=q, k=k, v=v, weights=weights, output=output),
        context=_numbers(joined[0].unflatten(-1, (config.attention_heads, -1)).transpose(0, 1)),
        projection=_numbers(attention.output_proj.weight) if heads else None,
        bias=_numbers(attention.output_proj.bias) if heads else None,
    )


def _projections(attention: Any) -> dict[str, nn.Module]:
    return {"q": attention.q_proj, "k": attention.k_proj, "v": attention.v_proj, "o": attention.o_proj}


def _heads(calls: dict[str, list[Call]], heads: int) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values as projected: `(batch, heads, length, size)` each."""
    return tuple(calls[name][0].output.unflatten(-1, (heads, -1)).transpose(1, 2) for name in ("q", "k", "v"))


def _steps(
    source: Source,
    calls: dict[str, list[Call]],
    projection: nn.Linear,
    parts: tuple[torch.Tensor, ...],
    real: np.ndarray,
    **named: Any,
) -> AttentionSteps:
    """Of q, k, v and weights of a batch the first clip's, and of its queries the real ones."""
    q, k, v, weights = parts
    joined, output = calls["o"][0].args[0], calls["o"][0].output
    own = torch.from_numpy(real).to(q.device)
    arrays = _arrays(q=q[:, :, own], k=k, v=v, weights=weights[:, :, own], output=output[:, own])
    context = joined[0, own].unflatten(-1, (q.shape[1], -1)).transpose(0, 1)
    return AttentionSteps(
        sound=source.sound,
        mask=_mask(calls["attention"][0], weights)[real],
        context=_numbers(context),
        projection=_numbers(projection.weight),
        bias=_numbers(projection.bias) if projection.bias is not None else None,
        **arrays,
        **named,
    )


def _mask(taken: Call, weights: torch.Tensor) -> np.ndarray:
    """Where the first clip's queries may look, `(queries, keys)`, as the attention was told."""
    given = taken.kwargs.get("attention_mask")
    if given is None:  # by place: after the states, and after the memory of a decoder's
        given = next((each for each in taken.args[1:] if torch.is_tensor(each) and each.ndim == 4), None)
    if given is None:
        return np.ones(weights.shape[2:], bool)
    allowed = given[0, 0] if given.dtype == torch.bool else given[0, 0] == 0
    return allowed.expand(weights.shape[2:]).cpu().numpy()


def _class_tokens(count: int) -> list[str]:
    return [f"class token {i + 1}" if count > 1 else "class token" for i in range(count)]


def _arrays(**tensors: torch.Tensor) -> dict[str, Any]:
    """The first clip's numbers of each."""
    return {name: _numbers(tensor[0]) for name, tensor in tensors.items()}


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
