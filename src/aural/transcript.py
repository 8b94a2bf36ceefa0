"""What is said of one clip: text, times, confidence, trouble."""

from dataclasses import dataclass

import torch

from .processing.alignment import TimedToken, TimedWord, split_at_pauses
from .processing.trouble import Trouble
from .result_html import transcript_html


@dataclass(frozen=True)
class Transcript:
    """The text of one clip, and what is known about it.

    A speller without attention (`attention_kind="none"`) tells no times: `words` and `token_times` are empty, nothing
    is known of coverage, and no trouble is found. A CTC model tells times; of it there is no alignment, no coverage
    and no trouble either.

    Attributes:
        text: What the model wrote.
        seconds: Length of the audio.
        source: The file, or `"audio 0"`, … for audio given otherwise.
        alignment: Attention `(tokens, listener frames)` of each written token, `<eos>` last; one head, or their mean.
            One column, all ones, from a speller without attention; of a text decoder, over time patches.
        tokens: The written tokens, as the tokenizer names them.
        seconds_per_frame: Seconds per listener frame or time patch.
        words: The words of `text`, with times and confidence. Of phonemes, what stands between two word borders.
        token_times: The same of each of `tokens`, such as characters; those of a word lie inside its times.
        confidence: Geometric mean of the probabilities of all tokens, `<eos>` among them, 0 to 1. They are the
            model's own for this text, whatever else had a say in the search for it. By CTC, a token's is its highest.
        coverage: Share of the speech that attention covered, 0 to 1; None without attention.
        troubles: Stretches in doubt, in order of time: looped, dropped, or gone back over.
        alternatives: Texts and their scores, best first, `text` among them, when several were asked for.
    """

    text: str
    seconds: float
    source: str
    alignment: torch.Tensor
    tokens: tuple[str, ...]
    seconds_per_frame: float
    words: tuple[TimedWord, ...] = ()
    token_times: tuple[TimedToken, ...] = ()
    confidence: float = 1.0
    coverage: float | None = None
    troubles: tuple[Trouble, ...] = ()
    alternatives: tuple[tuple[str, float], ...] = ()

    def _repr_html_(self) -> str:
        """For notebooks."""
        return transcript_html(self)

    def segments(self, pause: float = 0.6, longest: float = 10.0) -> tuple[tuple[TimedWord, ...], ...]:
        """The words in groups, each said without a long pause.

        Args:
            pause: Seconds between words that end a group.
            longest: Seconds of a group at most; only a single word can be longer.

        Raises:
            ValueError: A number is not above 0.
        """
        return split_at_pauses(self.words, pause, longest)
