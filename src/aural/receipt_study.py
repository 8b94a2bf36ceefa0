"""`aural demo receipts`: are words that nobody said found, by muting what they attended to?

    aural demo receipts --model model_cards/las-demo --out receipts

Strings of recordings that training never arranged so are composed, one recording is cut out of each, and the model is
made to say the whole text. Its words are then known: those that were said, and those that were not.

Notable here:
- two ways to cut: the sound is removed, or noise of the string's own level is put in its place, of the same length;
- what a reader could have looked at without receipts is measured on the same words: the model's confidence, and the
  marks of trouble (`processing/trouble.py`);
- all thresholds are chosen on strings of another seed, alike for all signals, and looked at once on these; what the
  receipts mute, and by what a word is told, was chosen on strings of yet other seeds;
- the curve of muting is over whole strings with their right texts.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from transformers import PreTrainedModel

from .demo import TEST_SEED, WORDS, one_thread
from .processing import AuralProcessor
from .processing.files import write_whole
from .processing.plots import save_figure
from .receipt_curves import deletion_curve
from .receipt_readers import reader_of
from .receipt_report import PICTURE, draw_study, make_report, told
from .receipting import receipts_of
from .recognition import load_recognizer
from .training.clips import Clip, load_clips
from .training.compose import STRINGS, ComposedStrings, Spoken
from .training.reports import REPORT_NAME

CASES, TUNING, CURVE = 1_000_000, 2_000_000, 3_000_000  # added to the seed, beside that of the demo's test
STRING_COUNT = 10_000  # of a seed; more than any plan takes


@dataclass(frozen=True)
class ReceiptPlan:
    """How much the study does.

    Args:
        cases: Strings with a recording cut out, to measure on.
        tuning: Strings of another seed, to choose thresholds on.
        curve: Whole strings for the curve of muting.
        draws: Of an equal amount elsewhere; half of what `receipts` does, for time.
    """

    cases: int = 100
    tuning: int = 40
    curve: int = 40
    draws: int = 4


PLANS = {"tiny": ReceiptPlan(cases=3, tuning=3, curve=2, draws=2), "standard": ReceiptPlan()}


@dataclass(frozen=True)
class CutString:
    """A composed string and what is left of it.

    Attributes:
        text: What the whole string says.
        cut: Places in the text of the words that were cut out.
        sounds: float32 `(samples,)` by variant: "removed", "noise", and "whole", of which nothing was cut.
    """

    text: str
    cut: tuple[int, ...]
    sounds: dict[str, np.ndarray]


@dataclass(frozen=True)
class AskedWord:
    """What is known of one word of a text that the model was made to say.

    Attributes:
        text: The word.
        said: Whether its sound is there.
        confidence: Geometric mean of the probabilities of its tokens.
        worth: Of its evidence (`Receipt.worth`).
        drop: In nats.
        faithfulness: In nats.
        troubled: Whether a mark of trouble names it.
    """

    text: str
    said: bool
    confidence: float
    worth: float
    drop: float
    faithfulness: float
    troubled: bool


def cut_string(audio: np.ndarray, spoken: Sequence[Spoken], rate: int, generator: np.random.Generator) -> CutString:
    """Cut one recording, drawn at random, out of a string.

    Args:
        audio: float32 `(samples,)`; begins with a pause, whose noise is that of the string.
        spoken: Its recordings, where they sound.
        rate: In Hz.
        generator: Of the choice and of the noise.
    """
    place = int(generator.integers(len(spoken)))
    start, end = (round(edge * rate) for edge in (spoken[place].start, spoken[place].end))
    level = audio[: rate // 50].std()  # the shortest pause is 20 ms
    noise = (level * generator.standard_normal(end - start)).astype(np.float32)
    before = sum(len(one.text.split()) for one in spoken[:place])
    return CutString(
        text=" ".join(one.text for one in spoken),
        cut=tuple(range(before, before + len(spoken[place].text.split()))),
        sounds={
            "removed": np.concatenate([audio[:start], audio[end:]]),
            "noise": np.concatenate([audio[:start], noise, audio[end:]]),
            "whole": audio,
        },
    )


def cut_strings(clips: Sequence[Clip], processor: AuralProcessor, count: int, seed: int) -> Iterator[CutString]:
    """Held-out strings of clips, each with one of its recordings cut out; string i follows from (seed, i)."""
    strings = ComposedStrings(clips, processor, STRING_COUNT, seed, STRINGS, held_out=True)
    for index in range(count):
        audio, _, spoken = strings.compose_timed(index)
        yield cut_string(audio, spoken, strings.sampling_rate, np.random.default_rng((seed, index, 2)))


def ask(
    one: CutString, variant: str, model: PreTrainedModel, processor: AuralProcessor, draws: int, seed: int
) -> list[AskedWord]:
    """Make the model say the whole text of a string, and ask for a receipt of every word.

    Args:
        one: The string.
        variant: Which of its sounds.
        model, processor: What is asked.
        draws, seed: As of `receipts_of`.
    """
    wave, missing = one.sounds[variant], one.cut if variant != "whole" else ()
    reader = reader_of(wave, model, processor, one.text)
    transcript = reader.seen.transcript
    named = set() if transcript is None else {word for trouble in transcript.troubles for word in trouble.words}
    found = receipts_of(reader, draws=draws, seed=seed)
    return [
        AskedWord(
            text=item.text,
            said=place not in missing,
            confidence=item.confidence,
            worth=item.worth,
            drop=item.drop,
            faithfulness=item.drop if item.faithfulness is None else item.faithfulness,
            troubled=item.text in named,
        )
        for place, item in enumerate(found.items)
    ]


def run_receipts(
    model: str | Path, out: str | Path, plan: ReceiptPlan, seed: int = 0, console: Console | None = None
) -> str:
    """Cut, ask, choose thresholds, measure, and write the report and its picture.

    Args:
        model: Folder of a LAS that `aural demo` trained.
        out: Folder for `report.json` and `study.png`.
        plan: How much.
        seed: What strings and places follow from.
        console: Where progress is drawn.

    Returns:
        The table, in Markdown, and where the report lies.

    Raises:
        OSError: The model folder cannot be read, or `out` is a file.
        ValueError: The model does not spell by attention, or cannot write the words of the strings.
    """
    console, out = console or Console(), Path(out)
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file; --out names a folder")
    loaded, processor = load_recognizer(model)
    out.mkdir(parents=True, exist_ok=True)
    begun, clips = time.process_time(), load_clips(WORDS)
    with one_thread():
        asked = {}
        for name, count, start, variants in (
            ("tuning", plan.tuning, TUNING, ("removed", "noise")),
            ("cases", plan.cases, CASES, ("removed", "noise", "whole")),
        ):
            strings = cut_strings(clips, processor, count, seed + TEST_SEED + start)
            rows: dict[str, list[list[AskedWord]]] = {variant: [] for variant in variants}
            for one in track(strings, name, count, console=console, transient=True):
                for variant in variants:
                    rows[variant].append(ask(one, variant, loaded, processor, plan.draws, seed))
            asked[name] = rows
        console.print("the curve of muting")
        whole = cut_strings(clips, processor, plan.curve, seed + TEST_SEED + CURVE)
        curve = deletion_curve([(one.sounds["whole"], one.text) for one in whole], loaded, processor, seed=seed)
    report = make_report(asked["tuning"], asked["cases"], curve, asdict(plan), seed)
    report["seconds"] = {"processor": round(time.process_time() - begun, 1)}
    write_whole(out / REPORT_NAME, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    save_figure(draw_study(report), out / PICTURE)
    return f"{told(report)}\n{out}/{REPORT_NAME} has every word; {out}/{PICTURE} draws them"
