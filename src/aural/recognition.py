"""Speech recognition of one batch, and the models that do it: what `transcribe` and long recordings are built on.

The listener hears a batch once. `generate` writes the texts from its states, and one pass of the speller over them
gives every token's probability and attention, from which follow times, confidence and trouble.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor, PreTrainedModel

from .loading import load_config, no_conversion
from .processing import AuralProcessor
from .processing.alignment import confidence, time_characters, time_tokens, time_words, word_tokens
from .processing.folders import check_features_fit, check_tokenizer_fits, said_of
from .processing.levels import sound_levels
from .processing.phonemes import BORDER
from .processing.tokenizers import unit_of
from .processing.trouble import find_troubles, speech_coverage
from .transcript import Transcript


def load_recognizer(folder: str | Path, device: str | torch.device = "cpu") -> tuple[PreTrainedModel, AuralProcessor]:
    """Load a speech recognition model and its processor from a folder or a Hub id.

    Args:
        folder: A folder that `save_pretrained` wrote, or an id on the Hub.
        device: Where the model goes.

    Raises:
        OSError: There is no such folder, or it holds no whole model.
        ValueError: The model is of another family, or the vocabulary or the features do not fit it.
    """
    config = load_config(folder, "transcribe")
    with said_of(folder):
        processor = AutoProcessor.from_pretrained(folder)
    _check_fit(config, processor, str(folder))  # before the weights, whose shapes would fail with a longer story
    with said_of(folder), no_conversion():
        model = AutoModelForSpeechSeq2Seq.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    return model.to(device).eval(), processor


def _check_fit(config: Any, processor: Any, folder: str) -> None:
    if not isinstance(processor, AuralProcessor):
        raise ValueError(f"{folder} holds a {type(processor).__name__}, not an AuralProcessor")
    check_tokenizer_fits(config, processor.tokenizer, folder, processor.phoneme_tokenizer)
    check_features_fit(config, processor.feature_extractor, folder)


def _until_end(ids: list[int], eos_token_id: int) -> list[int]:
    """Tokens up to and with the first `<eos>`; what follows only fills the row."""
    return ids[: ids.index(eos_token_id) + 1] if eos_token_id in ids else ids


@torch.inference_mode()
def recognize_batch(
    waves: Sequence[np.ndarray],
    model: PreTrainedModel,
    processor: AuralProcessor,
    generate_kwargs: Mapping[str, Any] | None = None,
    sources: Sequence[str] | None = None,
    nbest: int = 1,
) -> list[Transcript]:
    """Transcribe one batch of waves; the other ways into recognition are built on this.

    Args:
        waves: Each float32 `(samples,)` at the rate of the processor's feature extractor.
        model: In eval mode.
        processor: Of the model.
        generate_kwargs: For `model.generate`, such as `{"num_beams": 8}`.
        sources: A name per wave; default: `"audio 0"`, …
        nbest: Texts to tell of each wave, at most as many as there are beams.

    Returns:
        One `Transcript` per wave, in order; times count from the start of its wave.

    Raises:
        ValueError: `nbest` is less than 1 or more than the beams.
    """
    options = dict(generate_kwargs or {})
    beams = options.get("num_beams") or (options.get("generation_config") or model.generation_config).num_beams or 1
    if not 1 <= nbest <= beams:
        raise ValueError(f"nbest={nbest} must be in 1 to num_beams={beams}")
    rate = processor.feature_extractor.sampling_rate
    inputs = processor(audio=list(waves), sampling_rate=rate, return_tensors="pt").to(model.device)
    features, mask = inputs["input_features"], inputs["attention_mask"]
    heard = cast(Any, model).get_encoder()(features, mask)
    if nbest > 1:
        options |= {"num_return_sequences": nbest, "return_dict_in_generate": True, "output_scores": True}
    written = cast(Any, model).generate(features, attention_mask=mask, encoder_outputs=heard, **options)
    rows = (written if nbest == 1 else written.sequences)[:, 1:]  # without the start token
    scores = None if nbest == 1 else written.sequences_scores.tolist()
    best = rows[::nbest]
    maps, chances = _read_again(model, heard, mask, best, options.get("memory_slots"))
    results = []
    for i, wave in enumerate(waves):
        ids = _until_end(best[i].tolist(), model.config.eos_token_id)
        frames = -(-int(mask[i].sum()) // model.config.time_reduction)
        source = sources[i] if sources is not None else f"audio {i}"
        alignment = maps[i, : len(ids), :frames].cpu()
        told = _transcript(wave, source, ids, alignment, chances[i, : len(ids)].cpu().numpy(), model, processor)
        if scores is not None:
            places = range(i * nbest, (i + 1) * nbest)
            texts = [processor.decode(_until_end(rows[at].tolist(), model.config.eos_token_id)) for at in places]
            told = replace(
                told, alternatives=tuple((text, scores[at]) for text, at in zip(texts, places, strict=True))
            )
        results.append(told)
    return results


def _read_again(
    model: PreTrainedModel, heard: Any, mask: torch.Tensor, labels: torch.Tensor, memory_slots: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention `(batch, targets, listener frames)`, mean of heads, and probability `(batch, targets)` of texts."""
    speller = cast(Any, model)
    slots = {} if memory_slots is None else {"memory_slots": memory_slots}
    outputs = speller(
        attention_mask=mask,
        encoder_outputs=heard,
        decoder_input_ids=speller.prepare_decoder_input_ids_from_labels(labels),
        output_attentions=True,
        use_cache=False,
        **slots,
    )
    chances = outputs.logits.float().softmax(-1).gather(-1, labels[..., None])[..., 0]
    return outputs.cross_attentions[0].float().mean(1), chances


def _transcript(
    wave: np.ndarray,
    source: str,
    ids: list[int],
    alignment: torch.Tensor,
    chances: np.ndarray,
    model: PreTrainedModel,
    processor: AuralProcessor,
) -> Transcript:
    """What is told of one wave `(samples,)` from the attention and probability of its tokens."""
    rate, config = processor.feature_extractor.sampling_rate, model.config
    tokens = tuple(processor.tokenizer.convert_ids_to_tokens(ids))
    told = Transcript(
        text=processor.decode(ids),
        seconds=len(wave) / rate,
        source=source,
        alignment=alignment,
        tokens=tokens,
        seconds_per_frame=config.seconds_per_listener_frame,
        confidence=confidence(chances),
    )
    if config.attention_kind == "none" or config.ctc_weight == 1:  # no attention, or one that never learned
        return told
    weights, step = alignment.numpy(), told.seconds_per_frame
    levels = sound_levels(wave, rate)
    border = BORDER if unit_of(processor.tokenizer) == "phoneme" else None
    groups = word_tokens(ids, processor.decode, border)
    path = time_tokens(weights, step, told.seconds)
    words = time_words(path, groups, chances, levels, step, told.seconds)
    return replace(
        told,
        words=words,
        token_times=time_characters(path, groups, words, tokens, chances, told.seconds),
        coverage=speech_coverage(weights, levels, step),
        troubles=find_troubles(weights, ids, groups, levels, step),
    )
