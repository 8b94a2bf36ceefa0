"""Listen, Attend and Spell over one clip, layer by layer: `LasSteps` from one run of a live model."""

import torch

from .explain_attention import token_names
from .explain_calls import watched
from .explain_source import Source
from .processing import AuralProcessor
from .processing.explained import LasSteps, ListenerLayer


def las_steps(source: Source, query: int | None = None) -> LasSteps:
    """What a LAS hears, where it looks and what it writes.

    Args:
        source: A LAS and its sound.
        query: The place of the token that is followed; default: the one that looks most sharply.

    Raises:
        ValueError: A model of another family, one that learned by CTC alone, or no such token.
    """
    model = source.model
    if not source.spells or not isinstance(source.processor, AuralProcessor):
        raise ValueError(
            f"model is a {type(model).__name__}; `aural explain las` draws Listen-Attend-Spell, and `aural explain "
            "patches` a transformer of patches"
        )
    config = model.config
    if config.ctc_weight == 1:
        raise ValueError("ctc_weight=1: the model learned by CTC alone, and its speller writes nothing")
    ids, tokens = source.written()
    if query is not None and not 0 <= query < len(tokens):
        raise ValueError(f"query={query}: {len(tokens)} tokens are written; allowed are 0 to {len(tokens) - 1}")
    with torch.no_grad(), watched({"speller": model.model.speller}) as calls:
        outputs = model(
            source.features,
            decoder_input_ids=model.prepare_decoder_input_ids_from_labels(ids),
            use_cache=False,
            output_attentions=True,
            output_hidden_states=True,
        )
    written = calls["speller"][0].output[0][0]  # (tokens, hidden + memory): the last layer's states, and contexts
    layers = tuple(
        ListenerLayer(states[0].cpu().numpy(), reduction, config.reduction_at(i) * config.frame_shift_ms / 1000)
        for i, (states, reduction) in enumerate(
            zip(outputs.encoder_hidden_states, config.listener_time_reductions, strict=True)
        )
    )
    alignment = outputs.cross_attentions[0][0].mean(0).cpu().numpy()
    if query is None:
        query = int(alignment[: max(1, len(tokens) - 1)].max(1).argmax())  # not the end, which says nothing
    symbols = source.processor.tokenizer.convert_ids_to_tokens(range(config.vocab_size))
    return LasSteps(
        sound=source.sound,
        layers=layers,
        kind=config.attention_kind,
        alignment=alignment,
        contexts=written[:, config.speller_hidden_size :].cpu().numpy(),
        speller=written[:, : config.speller_hidden_size].cpu().numpy(),
        probabilities=outputs.logits[0].float().softmax(-1).cpu().numpy(),
        tokens=token_names(tokens),
        symbols=token_names(symbols),
        text=source.processor.decode(ids[0].tolist()),
        query=query,
    )
