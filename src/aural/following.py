"""What a recogniser makes of a text that is given: its attention, times and confidence, as if it had written it.

    follow(wave, "zoo.wav", "seven nine", model, processor)

`recognize_batch` searches for a text and then reads it again; here the search is left out. A text with a word that was
never said is read too: what the model then attends to, and how little it believes it, is what one wants to see.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .ctc_recognition import CtcRecognizer
from .processing import AuralProcessor
from .processing.ctc import ctc_align
from .processing.tokenizers import unit_of
from .recognition import recognizer_of
from .spelling import SpellingRecognizer
from .transcript import Transcript


@torch.inference_mode()
def follow(
    wave: np.ndarray,
    source: str,
    text: str,
    model: Any,
    processor: AuralProcessor,
    options: Mapping[str, Any] | None = None,
) -> Transcript:
    """The transcript of a clip as if the model had written `text`.

    Args:
        wave: float32 `(samples,)` at the rate of the processor's feature extractor.
        source: Name of the clip.
        text: Of any length, the empty text included.
        model: In eval mode.
        processor: Of the model.
        options: `memory_slots` of a LAS that has them.

    Raises:
        ValueError: A character or word that the model cannot write, a text that does not fit the clip's moments (CTC),
            or a model that does not write.
    """
    recognizer = recognizer_of(model, processor)
    if isinstance(recognizer, CtcRecognizer):
        return _CtcFollower(model, processor).follow(wave, source, text)
    return _SpellingFollower(model, processor).follow(wave, source, text, dict(options or {}))


def text_ids(text: str, processor: AuralProcessor) -> list[int]:
    """The tokens of a text, `<eos>` last.

    Raises:
        ValueError: A character or word that the tokenizer lacks.
    """
    ids = list(processor.tokenizer(text).input_ids)
    if (unknown := processor.tokenizer.unk_token_id) in ids:
        parts = text.split() if unit_of(processor.tokenizer) in ("word", "phoneme") else text
        wrong = next((part for part in parts if unknown in processor.tokenizer(part).input_ids), text)
        raise ValueError(f"text={text!r}: the model cannot write {wrong!r}, which its tokenizer lacks")
    return ids


class _SpellingFollower(SpellingRecognizer):
    """A model that spells, made to read."""

    def follow(self, wave: np.ndarray, source: str, text: str, options: dict[str, Any]) -> Transcript:
        ids = text_ids(text, self.processor)
        inputs = self._inputs([wave])
        mask = inputs["attention_mask"]
        labels = torch.tensor([ids], device=self.model.device)
        heard = self.model.listen(inputs["input_features"], mask)
        maps, chances = self._read_again(heard, mask, labels, options.get("memory_slots"))
        frames = self._times.count(int(mask.sum()))
        alignment = torch.zeros(0, 0) if maps is None else maps[0, :, :frames].cpu()
        return self._transcript(wave, source, ids, alignment, chances[0].cpu().numpy())


class _CtcFollower(CtcRecognizer):
    """A CTC model, made to say a text on its best path."""

    def follow(self, wave: np.ndarray, source: str, text: str) -> Transcript:
        ids = [token for token in text_ids(text, self.processor) if token not in self._special]
        rate = self.processor.feature_extractor.sampling_rate
        inputs = self.processor(audio=[wave], sampling_rate=rate, return_tensors="pt").to(self.model.device)
        outputs = self.model(inputs["input_features"], attention_mask=inputs["attention_mask"])
        clip = outputs.logits[0, : int(outputs.frame_mask[0].sum())].float().log_softmax(-1).cpu().numpy()
        tokens = ctc_align(clip, ids, self.model.config.blank_id)
        return self._transcript(wave, source, self._spelled(tokens))
