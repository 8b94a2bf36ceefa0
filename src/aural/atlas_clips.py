"""Clips for an atlas of heads: any audio, and mixes of which it is known what sounds when.

What is notable here:
- attention to a clip's own source is told from *described mixes* (`mix_captions.py`): two or three sources, one after
  the other or overlapping, each up to three times, so that most moments have one source that is known;
- what a head is worth is told from what the model was taught: overlapping drum hits for a model of several labels,
  single hits for a model of one;
- kits that the model's own report names as heard are left out.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .training.compose import Stage
from .training.drum_labels import KITS
from .training.drums import DrumHit, load_drums
from .training.effects import load_effects
from .training.event_scores import Event
from .training.mix_captions import MixCaptions
from .training.mix_scores import TESTED
from .training.mix_sounds import drum_sounds, effect_sounds
from .training.mixes import DrumMixes

SEVERAL_SOURCES = (Stage(1.0, 2, 3),)  # two or three in every clip


@dataclass(frozen=True, eq=False)
class KnownClip:
    """A clip, with what sounds in it.

    Attributes:
        name: For errors.
        audio: What `load_audio` reads, such as a path or a float32 array `(samples,)` at the model's rate.
        events: What sounds in it, each with an offset; None where that is not known.
    """

    name: str
    audio: Any
    events: tuple[Event, ...] | None = None


def known_clips(audio: Any) -> list[KnownClip]:
    """Audio as it comes, or clips, or lists of either: as clips."""
    clips = list(audio) if isinstance(audio, list | tuple) else [audio]
    named = enumerate(clips)
    return [
        clip
        if isinstance(clip, KnownClip)
        else KnownClip(str(clip) if isinstance(clip, str | Path) else f"audio {index}", clip)
        for index, clip in named
    ]


def unheard_hits(corpus: str | Path, model: str | Path | None = None) -> list[DrumHit]:
    """The hits of a corpus whose kits a model's report does not name among its data; all where there is no report.

    Args:
        corpus: Folder that `aural corpora drums` made.
        model: Model folder; its report.json is read.

    Raises:
        OSError: The corpus cannot be read.
        ValueError: The model heard every kit.
    """
    hits = load_drums(corpus)
    report = None if model is None else Path(model) / "report.json"
    if report is None or not report.is_file():
        return hits
    data = json.loads(report.read_text(encoding="utf-8")).get("data") or []
    text = "; ".join(str(each.get("name", "")) for each in data)
    names = [name.strip() for part in text.split(":")[1:] for name in part.split(";")[0].split(",")]
    kept = [hit for hit in hits if hit.kit not in names]
    if not kept:
        raise ValueError(f"corpus={str(corpus)!r}: the model's report names all its kits as heard: {', '.join(KITS)}")
    return kept


def described_mixes(
    hits: Sequence[DrumHit], effects: str | Path | None, count: int, seed: int, name: str = "mix"
) -> list[KnownClip]:
    """Mixes of two or three sources, drums and effects, with every sound's time.

    Args:
        hits: Of the drums.
        effects: Folder that `aural corpora effects` made; None for drums alone.
        count: Of mixes.
        seed: What they follow from.
        name: Before each clip's number.

    Raises:
        OSError: The effects cannot be read.
        ValueError: The hits are of too few families.
    """
    sounds = [*drum_sounds(hits), *([] if effects is None else effect_sounds(load_effects(effects)))]
    mixes = MixCaptions(sounds, count, seed, stages=SEVERAL_SOURCES)
    clips = []
    for index in range(count):
        mix = mixes.compose(index)
        events = tuple(Event(each.source, each.start, each.end) for each in mix.sounds)
        clips.append(KnownClip(f"{name} {index}", mix.audio, events))
    return clips


def taught_clips(
    hits: Sequence[DrumHit], labels: Sequence[str], single: bool, count: int, seed: int
) -> list[KnownClip]:
    """What a model of drums is measured on: `count` overlapping mixes, or single hits; none if it has other labels.

    Args:
        hits: Of kits that it has not heard.
        labels: Of the model.
        single: It names one label of several.
        count: Most that are taken.
        seed: The mixes of seed 0 are those that `aural demo drums` measures a model of seed 0 on.
    """
    hits = [hit for hit in hits if hit.label in labels]
    if len({hit.label for hit in hits}) < 2:
        return []
    if single:
        from .drum_folds import presented

        order = np.random.default_rng(seed).permutation(len(hits))[:count]
        chosen = [hits[index] for index in sorted(order.tolist())]
        return [KnownClip(hit.name, presented(hit), (Event(hit.label, 0.0, None),)) for hit in chosen]
    most = min(4, len({hit.label for hit in hits}))
    mixes = DrumMixes(hits, count, seed + TESTED, labels=labels, most=most)
    made = (mixes.compose(index) for index in range(count))
    return [KnownClip(f"test mix {index}", mix.audio, tuple(mix.events)) for index, mix in enumerate(made)]
