"""What a `Look` holds: one clip as a model heard it, what the model made of it, and where it looked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from .captioning import Caption
from .look_maps import Map
from .processing.alignment import TimedToken
from .processing.events import Event
from .processing.grid import PatchGrid
from .tagging import Tagging
from .transcript import Transcript


@dataclass(frozen=True)
class LookedWord:
    """One written word.

    Attributes:
        text: As it stands in the text.
        start, end: Seconds at which it was said; None of a caption, whose words are not said, and where nothing tells.
        confidence: Geometric mean of the probabilities of its tokens, 0 to 1.
        first, last: Its tokens: from `first` up to, without, `last`.
    """

    text: str
    start: float | None
    end: float | None
    confidence: float
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Look:
    """What a model makes of one clip, and where it looks.

    Attributes:
        source: The file, or "audio" for audio given otherwise.
        model: The model's folder, or its class.
        kind: "las", "ctc", "writer" (a text decoder beside patches) or "tagger".
        audio: float32 `(samples,)`, what was looked at.
        sampling_rate: Of it, in Hz.
        features: float32 `(frames, mels)`, as the model got them.
        seconds_per_feature: From one frame to the next.
        feature_start: Seconds at which the first frame's own time starts; `seconds_per_feature` later the next one's.
        hertz: `(mels, 2)`, lowest and highest frequency of each mel band.
        text: What was written, or was said to be; "" of a tagger.
        tokens: As the tokenizer names them.
        token_times: One per token, or none where the model tells no times.
        words: Of the text, in order.
        grid: Where patches lie; None of a LAS.
        maps: Where it looks, by name, computed when asked for: "alignment" of models that attend to write, "layers.0"
            and on and "rollout" of patch transformers, "decoder.0.cross" and on of text decoders. A layer that the
            model lacks is refused by `map`.
        transcript, caption, tagging: The result in full, of models that transcribe, caption or tag.
        events: Sounds from onset to offset, of a tagger.
        blind: Why there are no maps, where there are none.
    """

    source: str
    model: str
    kind: str
    audio: np.ndarray
    sampling_rate: int
    features: np.ndarray
    seconds_per_feature: float
    feature_start: float
    hertz: np.ndarray
    text: str = ""
    tokens: tuple[str, ...] = ()
    token_times: tuple[TimedToken, ...] = ()
    words: tuple[LookedWord, ...] = ()
    grid: PatchGrid | None = None
    maps: Mapping[str, Map] = field(default_factory=dict)
    transcript: Transcript | None = None
    caption: Caption | None = None
    tagging: Tagging | None = None
    events: tuple[Event, ...] = ()
    blind: str = ""

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return len(self.audio) / self.sampling_rate

    @property
    def end(self) -> float:
        """Seconds at which the last frame of the features ends: later than the audio where it was padded."""
        return self.feature_start + len(self.features) * self.seconds_per_feature

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of a tagger's labels."""
        return self.tagging.labels if self.tagging else ()

    @property
    def scores(self) -> np.ndarray:
        """The clip's scores, float32 `(labels,)`."""
        return self.tagging.clip_scores if self.tagging else np.zeros(0, dtype=np.float32)

    @property
    def map_names(self) -> str:
        """The names of the maps, in words: "layers.0 to layers.11, rollout"."""
        layers = [name for name in self.maps if name.startswith("layers.")]
        said = [f"{layers[0]} to {layers[-1]}"] if len(layers) > 2 else layers
        rest = [name for name in self.maps if name not in layers]
        return ", ".join([*said, *rest]) or "no map"

    def map(self, name: int | str) -> Map:
        """A map by its name, or self-attention by the number of its layer.

        Raises:
            ValueError: The model has no such layer, or no attention at all.
        """
        if not self.maps:
            raise ValueError(f"{self.model}: {self.blind}")
        wanted = f"layers.{name}" if isinstance(name, int) and not isinstance(name, bool) else name
        if wanted not in self.maps:
            raise ValueError(f"layer={name!r}: {self.model} has {self.map_names}")
        return self.maps[cast(str, wanted)]

    def word(self, which: int | str) -> LookedWord:
        """A word by its number from 0, or by its text: the first such.

        Raises:
            ValueError: It is not in the text.
        """
        if isinstance(which, int) and -len(self.words) <= which < len(self.words):
            return self.words[which]
        if found := [word for word in self.words if word.text == which]:
            return found[0]
        if not self.words:
            raise ValueError(f"word={which!r}: {self.model} wrote no words")
        allowed = ", ".join(f"{place} {word.text!r}" for place, word in enumerate(self.words))
        raise ValueError(f"word={which!r}: the words are {allowed}")

    def _repr_html_(self) -> str:
        """The page in a frame, for notebooks."""
        from .attention_page import framed_page

        return framed_page(self)
