"""What the controls of the page in the browser call, whatever draws the page: from a recording to HTML.

Notable here:
- No request leaves anything behind for the next: a visitor's recording and wishes come with each call, and what comes
  of them goes back. Models are shared, and keep nothing.
- Whatever goes wrong becomes words on the page, and the page goes on.
"""

import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from .app_files import write_examples, write_playback
from .app_gate import API
from .app_hearing import TROUBLE, Wishes, closest_view, hear, in_words, look_closely, read_clip, stretch_of
from .app_models import ModelCard, Shelf
from .app_page import answer_html, look_html, problem_html
from .attention_page import framed_page

Progress = Callable[[float, str], None]  # part done from 0 to 1, and what is done
Shown = tuple[str, str, bool]  # the answer and the view of attention as HTML; whether there is more to view


@dataclass(frozen=True)
class Limits:
    """What visitors may ask for.

    Attributes:
        minutes: Length of a recording.
        megabytes: Size of an upload.
        at_once: Requests that are worked on at a time; others wait in the queue.

    Raises:
        ValueError: A number is not above 0.
    """

    minutes: float = 10.0
    megabytes: int = 100
    at_once: int = 2

    def __post_init__(self) -> None:
        for name, value in (("minutes", self.minutes), ("megabytes", self.megabytes), ("at_once", self.at_once)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}={value!r} must be above 0")


@dataclass(frozen=True, eq=False)
class _Request:
    """What one visitor asks for: a model that is loaded, and a recording `(samples,)` at the rate of its features."""

    card: ModelCard
    loaded: tuple[Any, Any]
    rate: int
    wave: np.ndarray


class Room:
    """What the page's controls call. Holds what all visitors share, and nothing of any of them.

    Args:
        shelf: The models.
        limits: What visitors may ask for.
        folder: Of this run.
    """

    def __init__(self, shelf: Shelf, limits: Limits, folder: Path) -> None:
        self.shelf, self.limits, self.folder = shelf, limits, folder
        self.examples: dict[str, dict[str, Path]] = {}
        for kind in dict.fromkeys(card.kind for card in shelf.cards):
            place = folder / "examples" / kind
            place.mkdir(parents=True)
            self.examples[kind] = write_examples(kind, place)

    def answer(
        self, clip: str | None, name: str, wishes: Wishes, progress: Progress
    ) -> Iterator[tuple[str, str, bool]]:
        """What was heard, then where the model listened, as HTML; and whether the recording is longer than that view.

        Args:
            clip: File that was recorded or uploaded.
            name: Of the model.
            wishes: What else was chosen.
            progress: Called as the work goes on.
        """
        try:
            progress(0.0, f"opening {name}")
            request = self._open(clip, name)
            seconds = len(request.wave) / request.rate

            def heard_to(heard: float, of: float | None) -> None:
                progress(min(heard / seconds, 1.0), f"heard {min(heard, seconds):.0f} of {seconds:.0f} s")

            progress(0.0, f"listening to {seconds:.1f} s")
            heard = hear(request.wave, request.card, request.loaded, wishes, heard_to)
            path = write_playback(request.wave, request.rate, self.folder / "playback")
            answer = answer_html(heard, f"{API[1:]}file={quote(str(path))}")
            long = seconds > closest_view(request.card, request.loaded) + 0.05
        except Exception as error:
            yield self._problem(error, clip, name), "", False
            return
        yield answer, "", long
        progress(0.99, "drawing where it listened")
        yield answer, self.closer(clip, name, wishes, 0.0), long

    def closer(self, clip: str | None, name: str, wishes: Wishes, start: float) -> str:
        """Where the model listened in a stretch of the recording, as HTML; arguments as of `answer`.

        Args:
            start: Seconds at which the stretch begins.
        """
        try:
            request = self._open(clip, name)
            longest = closest_view(request.card, request.loaded)
            part, first, last = stretch_of(request.wave, request.rate, start, longest)
            seen = look_closely(part, request.card, request.loaded, wishes)
            frame = framed_page(replace(seen, model=name, source=Path(clip or "").name))
        except Exception as error:
            return self._problem(error, clip, name)
        whole = len(part) == len(request.wave)
        said = "Where it listened" if whole else f"Where it listened from {first:.2f} to {last:.2f} s, heard by itself"
        return look_html(frame, said)

    def _open(self, clip: str | None, name: str) -> _Request:
        card, loaded = self.shelf.card(name), self.shelf.loaded(name)
        rate = getattr(loaded[1], "feature_extractor", loaded[1]).sampling_rate
        return _Request(card, loaded, rate, read_clip(clip, rate, self.limits.minutes))

    def _problem(self, error: Exception, clip: str | None, name: str) -> str:
        """Trouble as HTML. A mistake of ours is told to whoever runs the page, in the server's console."""
        if not isinstance(error, TROUBLE):
            traceback.print_exception(error, file=sys.stderr)
            return problem_html("Something went wrong here; the console of the server tells what.")
        folders = [card.folder for card in self.shelf.cards if card.name == name]
        return problem_html(in_words(error, clip, *folders))
