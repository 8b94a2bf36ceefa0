"""Recognition by models that spell: LAS, and a text decoder beside a spectrogram transformer.

The encoder hears a batch once. `generate` writes the texts from its states, and one pass of the decoder over them
gives every token's probability and attention, from which follow times, confidence and trouble.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from transformers import PreTrainedModel

from .decoding import decoding_options
from .modeling.maps import as_grid
from .processing import AuralProcessor
from .processing.alignment import confidence, time_characters, time_tokens, time_words, word_tokens
from .processing.levels import sound_levels
from .processing.phonemes import BORDER
from .processing.tokenizers import unit_of
from .processing.trouble import find_troubles, speech_coverage
from .transcript import Transcript

CTC_ONLY = ("lexicon", "token_insertion")  # what the search of a CTC model takes beside what all do


class _ListenerFrames:
    """Where a LAS attends: the frames of its listener."""

    def __init__(self, config: Any) -> None:
        self.seconds_per_frame = config.seconds_per_listener_frame
        self.attends = config.attention_kind != "none"
        self._reduction = config.time_reduction

    def count(self, frames: int) -> int:
        """Frames of attention for a clip of `frames` features."""
        return -(-frames // self._reduction)

    def weights(self, maps: Sequence[torch.Tensor]) -> torch.Tensor | None:
        """`(batch, targets, frames of attention)`: the mean over heads."""
        return maps[0].float().mean(1)


class _PatchColumns:
    """Where a text decoder attends: the columns of the grid, over all their rows."""

    def __init__(self, config: Any) -> None:
        self._encoder = config.encoder
        self.seconds_per_frame = self._encoder.seconds_per_patch
        self.attends = True

    def count(self, frames: int) -> int:
        """Columns of a clip of `frames` features."""
        return self._encoder.time_patches(frames)

    def weights(self, maps: Sequence[torch.Tensor | None] | None) -> torch.Tensor | None:
        """`(batch, targets, columns)`, from the last layer; what class tokens get is left out.

        None from a decoder of transformers under an attention implementation that gives no weights.
        """
        if not maps or maps[-1] is None:
            return None
        seen = as_grid(maps[-1].float().mean(1), self._encoder).sum(-2)
        return seen / seen.sum(-1, keepdim=True).clamp(min=1e-9)


class SpellingRecognizer:
    """From waves to transcripts by `generate`.

    Args:
        model: In eval mode.
        processor: Of the model.
    """

    def __init__(self, model: PreTrainedModel, processor: AuralProcessor) -> None:
        self.model, self.processor = cast(Any, model), processor
        self._times = (
            _PatchColumns(model.config) if hasattr(model.config, "encoder") else _ListenerFrames(model.config)
        )

    def options(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Options for `generate`, with what was said by name loaded (`decoding_options`).

        Raises:
            ValueError: One that is for CTC models alone.
        """
        if wrong := [name for name in CTC_ONLY if said.get(name) is not None]:
            raise ValueError(f"{wrong[0]} is for CTC models; {type(self.model).__name__} writes by a decoder")
        return decoding_options(said, self.processor.tokenizer, self.model.device)

    def beams(self, options: Mapping[str, Any]) -> int:
        """Width of the search."""
        config = options.get("generation_config") or self.model.generation_config
        return options.get("num_beams") or config.num_beams or 1

    def texts(self, waves: Sequence[np.ndarray], options: Mapping[str, Any]) -> list[str]:
        """What `recognize` writes, without what else it tells."""
        inputs = self._inputs(waves)
        ids = self.model.generate(inputs["input_features"], attention_mask=inputs["attention_mask"], **options)
        return [self.processor.decode(self._until_end(row)) for row in ids[:, 1:].tolist()]

    def recognize(
        self, waves: Sequence[np.ndarray], sources: Sequence[str], options: Mapping[str, Any], nbest: int
    ) -> list[Transcript]:
        """A transcript of each wave; arguments as of `recognize_batch`."""
        inputs, options = self._inputs(waves), dict(options)
        features, mask = inputs["input_features"], inputs["attention_mask"]
        heard = self.model.listen(features, mask)
        if nbest > 1:
            options |= {"num_return_sequences": nbest, "return_dict_in_generate": True, "output_scores": True}
        written = self.model.generate(features, attention_mask=mask, encoder_outputs=heard, **options)
        rows = (written if nbest == 1 else written.sequences)[:, 1:]  # without the start token
        scores = None if nbest == 1 else written.sequences_scores.tolist()
        best = rows[::nbest]
        maps, chances = self._read_again(heard, mask, best, options.get("memory_slots"))
        results = []
        for i, wave in enumerate(waves):
            ids = self._until_end(best[i].tolist())
            frames = self._times.count(int(mask[i].sum()))
            alignment = torch.zeros(0, 0) if maps is None else maps[i, : len(ids), :frames].cpu()
            told = self._transcript(wave, sources[i], ids, alignment, chances[i, : len(ids)].cpu().numpy())
            if scores is not None:
                places = range(i * nbest, (i + 1) * nbest)
                texts = [self.processor.decode(self._until_end(rows[at].tolist())) for at in places]
                told = replace(
                    told, alternatives=tuple((text, scores[at]) for text, at in zip(texts, places, strict=True))
                )
            results.append(told)
        return results

    def _inputs(self, waves: Sequence[np.ndarray]) -> Any:
        rate = self.processor.feature_extractor.sampling_rate
        return self.processor(audio=list(waves), sampling_rate=rate, return_tensors="pt").to(self.model.device)

    def _until_end(self, ids: list[int]) -> list[int]:
        """Tokens up to and with the first `<eos>`; what follows only fills the row."""
        end = self.model.config.eos_token_id
        return ids[: ids.index(end) + 1] if end in ids else ids

    def _read_again(
        self, heard: Any, mask: torch.Tensor, labels: torch.Tensor, memory_slots: int | None
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Attention `(batch, targets, frames of attention)` and probability `(batch, targets)` of texts."""
        slots = {} if memory_slots is None else {"memory_slots": memory_slots}
        outputs = self.model(
            attention_mask=mask,
            encoder_outputs=heard,
            decoder_input_ids=self.model.prepare_decoder_input_ids_from_labels(labels),
            output_attentions=True,
            use_cache=False,
            **slots,
        )
        chances = outputs.logits.float().softmax(-1).gather(-1, labels[..., None])[..., 0]
        return self._times.weights(outputs.cross_attentions), chances

    def _transcript(
        self, wave: np.ndarray, source: str, ids: list[int], alignment: torch.Tensor, chances: np.ndarray
    ) -> Transcript:
        """What is told of one wave `(samples,)` from the attention and probability of its tokens."""
        processor, config = self.processor, self.model.config
        rate = processor.feature_extractor.sampling_rate
        tokens = tuple(processor.tokenizer.convert_ids_to_tokens(ids))
        told = Transcript(
            text=processor.decode(ids),
            seconds=len(wave) / rate,
            source=source,
            alignment=alignment,
            tokens=tokens,
            seconds_per_frame=self._times.seconds_per_frame,
            confidence=confidence(chances),
        )
        if not self._times.attends or config.ctc_weight == 1 or not len(alignment):  # none, or one that never learned
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
