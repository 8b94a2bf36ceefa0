"""Models as callables from columns to columns: for `Dataset.map`, Ray Data's `map_batches`, and whole corpora.

    rows = dataset.cast_column("audio", Audio(decode=False))
    rows.map(aural.Transcriber("models/las"), batched=True, num_proc=2)
    ray.data.read_parquet("corpus").map_batches(aural.Transcriber("models/las"), batch_size=256)

- One holds only settings, so it is pickled in no time; each process loads the model once, when it first needs it.
  Among the settings is a fingerprint of the model's files, so that `datasets` takes no cached rows of a model that was
  trained since.
- Within the rows of a call the longest clips come first and clips of like lengths together; rows keep their order.
- A clip that cannot be read is a row that says why. Every column has one type in every call, whatever went wrong: what
  a row lacks is `""`, `0.0` or an empty list, never null, since `datasets` fixes types by the first rows.
"""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from .annotation import UNREADABLE, Annotator
from .processes import default_device
from .processing.audio import load_audio
from .recognition import load_recognizer, recognizer_of
from .tag_windows import WindowPlan, check_scores, is_framewise, score_windows
from .tagging import RecordingTags, load_tagger

NO_MEMORY = "the clip is too long for the memory of the device"


class Transcriber(Annotator):
    """From audio to text, for batches of columns.

    Adds `predicted_text`; `duration`, the seconds that were heard; and `error`, which is "" where all went well.

    Args:
        model: A folder or Hub id of a speech recognition model.
        batch_size: Clips decoded together; default: 8, or no limit beside `seconds_per_batch`.
        seconds_per_batch: Most seconds in a batch, padding included; a longer clip has a batch to itself.
        device: Where the model runs; default: the accelerator of this process if there is one, else "cpu".
        audio_column: Column of the audio.
        generate_kwargs: As `transcribe` takes them, such as `num_beams=8`; there must be one text per clip. `lm`,
            `ngram` and `hot_words` may be given by name, and are loaded once per process.

    Raises:
        OSError: There is no such model.
        ValueError: The model is of another family, or a number is not above 0.
    """

    columns: ClassVar[dict[str, Any]] = {"predicted_text": "", "duration": 0.0, "error": ""}

    def __init__(
        self,
        model: str | Path,
        batch_size: int | None = None,
        seconds_per_batch: float | None = None,
        device: str | None = None,
        audio_column: str = "audio",
        **generate_kwargs: Any,
    ) -> None:
        super().__init__("transcribe", model, batch_size, seconds_per_batch, device, audio_column)
        self.generate_kwargs = generate_kwargs

    def load(self) -> None:
        self._decoding()

    def options(self) -> dict[str, Any]:
        return dict(self.generate_kwargs)

    def _annotated(
        self, sources: Sequence[Any], seconds: list[float], order: list[int]
    ) -> Iterator[dict[int, dict[str, Any]]]:
        rate = self._loaded()[1].feature_extractor.sampling_rate
        for batch in self._cut(order, seconds.__getitem__):
            rows, waves = {}, {}
            for index in batch:
                try:
                    waves[index] = load_audio(sources[index], rate)
                except UNREADABLE as error:
                    rows[index] = self.failed(error)
            texts = self._texts(list(waves.values()))
            for (index, wave), text in zip(waves.items(), texts, strict=True):
                heard = {"predicted_text": text or "", "duration": len(wave) / rate, "error": ""}
                rows[index] = heard if text is not None else {**heard, "error": NO_MEMORY}
            yield rows

    def _texts(self, waves: list[np.ndarray]) -> list[str | None]:
        """Texts of `waves`, each `(samples,)`; None for one that alone is too long for the device's memory."""
        if not waves:
            return []
        try:
            return [*self._generate(waves)]
        except torch.OutOfMemoryError:
            if len(waves) == 1:
                return [None]
        half = len(waves) // 2  # out of the handler, whose traceback holds the tensors
        return [*self._texts(waves[:half]), *self._texts(waves[half:])]

    @torch.inference_mode()
    def _generate(self, waves: list[np.ndarray]) -> list[str]:
        return recognizer_of(*self._loaded()).texts(waves, self._decoding())

    def _loaded(self) -> tuple[Any, Any]:
        return _recognizer(self.model, self.fingerprint, self.device or default_device())

    def _decoding(self) -> dict[str, Any]:
        """What the recogniser is told, with what was said by name loaded."""
        try:
            said = json.dumps(self.generate_kwargs, sort_keys=True)
        except TypeError:  # it holds objects, which need no loading
            return recognizer_of(*self._loaded()).options(self.generate_kwargs)
        return _decoding_options(self.model, self.fingerprint, self.device or default_device(), said)


class Tagger(Annotator):
    """From audio to the sounds that it holds, for batches of columns.

    Adds `predicted_labels`, the highest first, with their `predicted_scores` from 0 to 1; `duration`, the seconds that
    were heard; and `error`, which is "" where all went well. Clips of any length are heard in windows, as by `tag`.

    Args:
        model: A folder or Hub id of a model that tags sounds.
        top_k: Labels per clip; default: all.
        window, hop: Seconds heard at once and from one window to the next, as for `tag`.
        batch_size: Windows scored together, of one clip or of several; default: 8, or no limit beside
            `seconds_per_batch`.
        seconds_per_batch: Most seconds in a batch, padding included.
        device: Where the model runs; default: the accelerator of this process if there is one, else "cpu".
        audio_column: Column of the audio.

    Raises:
        OSError: There is no such model.
        ValueError: The model is of another family, or a number is not above 0. What the window must fit is known once
            the model is loaded.
    """

    columns: ClassVar[dict[str, Any]] = {"predicted_labels": [], "predicted_scores": [], "duration": 0.0, "error": ""}

    def __init__(
        self,
        model: str | Path,
        top_k: int | None = None,
        window: float | None = None,
        hop: float | None = None,
        batch_size: int | None = None,
        seconds_per_batch: float | None = None,
        device: str | None = None,
        audio_column: str = "audio",
    ) -> None:
        super().__init__("tag", model, batch_size, seconds_per_batch, device, audio_column)
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k={top_k} must be at least 1")
        self.top_k, self.window, self.hop = top_k, window, hop

    def load(self) -> None:
        self._loaded()

    def options(self) -> dict[str, Any]:
        return {"top_k": self.top_k, "window": self.window, "hop": self.hop}

    def _annotated(
        self, sources: Sequence[Any], seconds: list[float], order: list[int]
    ) -> Iterator[dict[int, dict[str, Any]]]:
        model, extractor, plan = self._loaded()
        failed: dict[int, Exception] = {}

        def windows() -> Iterator[tuple[int, RecordingTags, Any]]:
            for index in order:
                recording = RecordingTags(sources[index], f"clip {index}", model, extractor, plan)
                try:
                    for window in recording.windows():
                        yield index, recording, window
                except UNREADABLE as error:  # a file that is cut tells it at its end
                    failed[index] = error

        open_at: tuple[int, RecordingTags] | None = None  # whose windows are not all scored
        shift = extractor.seconds_per_frame
        for batch in self._cut(windows(), lambda item: len(item[2].features) * shift):
            rows = {}
            scored = score_windows([window for _, _, window in batch], model, extractor, plan)
            for (index, recording, window), (scores, weights) in zip(batch, scored, strict=True):
                if open_at is not None and open_at[0] != index and open_at[0] not in failed:
                    rows[open_at[0]] = self._row(open_at[1])
                open_at = index, recording
                recording.add(window, scores, weights)
            yield rows
        last = {} if open_at is None or open_at[0] in failed else {open_at[0]: self._row(open_at[1])}
        yield {**last, **{index: self.failed(error) for index, error in failed.items()}}

    def _loaded(self) -> tuple[Any, Any, WindowPlan]:
        model, extractor = _tagger(self.model, self.fingerprint, self.device or default_device())
        check_scores(model)
        return model, extractor, WindowPlan.of(model.config, extractor, is_framewise(model), self.window, self.hop)

    def _row(self, recording: RecordingTags) -> dict[str, Any]:
        tagging = recording.result()
        labels, scores = zip(*tagging.top(self.top_k or len(tagging.labels)), strict=True)
        return {
            "predicted_labels": list(labels),
            "predicted_scores": list(scores),
            "duration": tagging.seconds,
            "error": "",
        }


@lru_cache(maxsize=1)
def _recognizer(model: str, fingerprint: str, device: str) -> tuple[Any, Any]:
    return load_recognizer(model, device)


@lru_cache(maxsize=1)
def _decoding_options(model: str, fingerprint: str, device: str, said: str) -> dict[str, Any]:
    return recognizer_of(*_recognizer(model, fingerprint, device)).options(json.loads(said))


@lru_cache(maxsize=1)
def _tagger(model: str, fingerprint: str, device: str) -> tuple[Any, Any]:
    return load_tagger(model, device)
