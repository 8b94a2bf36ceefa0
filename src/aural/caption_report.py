"""What `aural demo captions` writes down: report, picture and a model folder that is ready to publish."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .captioning import Caption
from .processing import AuralProcessor
from .training.caption_metrics import score_captions
from .training.cards import write_card
from .training.drum_labels import KITS
from .training.drums import SAMPLING_RATE
from .training.mix_captions import DescribedMix
from .training.mix_sounds import MixSound
from .training.reports import REPORT_NAME, write_report
from .training.slot_scores import SLOTS, score_slots

if TYPE_CHECKING:
    from .caption_demo import Sounds

PICTURE = "captions.png"
ABOUT = (
    "A test of hearing and writing on mixes of known sounds, whose captions follow from what was mixed; not a "
    "captioner of the world, which needs captions by people (the recipe clotho)."
)
ABOUT_TESTS = {
    "recordings heard": "Arrangements that training never composed, of recordings that it heard.",
    "kits never heard": "The same with drums of kits that training never heard, in four families; effects are known.",
}


def test_result(split: str, mixes: Sequence[DescribedMix], told: Sequence[Caption], seed: int) -> dict[str, Any]:
    """A result of the kind "captions" (`training/caption_results.py`).

    Args:
        split: Which test.
        mixes: What was to be told, in every wording.
        told: The captions.
        seed: Of the intervals.
    """
    references, texts = [mix.texts for mix in mixes], [one.text for one in told]
    return {
        "kind": "captions",
        "dataset": "described mixes",
        "split": split,
        "about": ABOUT_TESTS[split],
        **score_captions(references, texts, seed),
        "slots": score_slots([mix.told for mix in mixes], texts, seed),
        "predictions": [
            {"name": one.source, "references": wordings, "caption": one.text}
            for one, wordings in zip(told, references, strict=True)
        ],
    }


def facts(
    sounds: "Sounds", plan: dict[str, Any], parameters: int, seed: int, processor_seconds: float
) -> dict[str, Any]:
    """What was trained, on what, and how.

    Args:
        sounds: What mixes were made of.
        plan: The plan's fields by name.
        parameters: Of the model.
        seed: Of the run.
        processor_seconds: Of the processes that trained, without those that mixed.
    """
    heard, unheard = _kits(sounds.heard), _kits(sounds.unheard)
    settings = {name: list(value) if isinstance(value, tuple) else value for name, value in plan.items()}
    return {
        "title": "Descriptions of mixed sounds",
        "about": ABOUT,
        "language": "en",
        "license": "gpl-2.0",
        "base_model": None,
        "data": [
            {
                "name": f"drum hits of {len(heard)} kits: {', '.join(heard)}",
                "license": sorted({KITS[kit].licence for kit in heard}),
                "hours": _hours(sounds.heard),
                "source": "Debian's hydrogen-drumkits and hydrogen-data, by `aural corpora drums`, mixed as it trains",
            },
            {
                "name": f"effects: {', '.join(sound.source for sound in sounds.effects)}",
                "license": "GPL-2",
                "hours": _hours(sounds.effects),
                "source": "Debian's tuxpaint-stamps-default, by `aural corpora effects`, mixed as it trains",
            },
        ],
        "recipe": {**settings, "parameters": parameters, "processor_seconds": round(processor_seconds, 1)},
        "seed": seed,
        "limits": [
            f"It knows {len(sounds.effects)} effects, a recording each, and four families of drums, alone or up to "
            "three at once; of anything else it says one of these.",
            f"The kits never heard are {', '.join(unheard)}: few, so that between kits the spread is larger than the "
            "intervals, which are over mixes.",
            "Earlier designs failed on other arrangements of these recordings and of these kits, and this one was "
            "chosen for that; the arrangements of the two tests were looked at once.",
            "Runs differ by chance more than the intervals, which are over mixes, tell.",
            "Its CTC head transcribes, a word for every sound; for captions it is no companion of the decoder.",
        ],
    }


def _kits(sounds: Sequence[MixSound]) -> list[str]:
    return sorted({sound.kit for sound in sounds})


def _hours(sounds: Sequence[MixSound]) -> float:
    return round(sum(len(sound.audio) for sound in sounds) / SAMPLING_RATE / 3600, 5)


def save(folder: Path, model: Any, processor: AuralProcessor, report: dict[str, Any]) -> None:
    """Report and picture stand beside the model for whoever looks, and inside it with its card, ready to publish."""
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    for place in (folder, folder / "model"):
        write_report(place, report)
    shutil.copyfile(folder / PICTURE, folder / "model" / PICTURE)
    write_card(folder / "model")


def said(report: dict[str, Any], out: Path) -> str:
    """The scores of a report in lines."""
    lines = []
    for result in report["results"]:
        low, high = result["exact_interval"]
        slots = ", ".join(f"{name} {result['slots'][name]:.1%}" for name in SLOTS if name in result["slots"])
        lines.append(
            f"{result['dataset']}, {result['split']}: {result['exact']:.1%} exactly right (95% interval {low:.1%} to "
            f"{high:.1%}), {slots}; BLEU-4 {result['bleu_4']:.3f}, {result['clips']} clips"
        )
    lines += [
        report["about"],
        report["example"]["caption"],
        f"{out}/{PICTURE} draws it; {out}/model loads with `aural caption`; {out}/{REPORT_NAME} has every caption",
        f"Training took {report['seconds']['training']:.0f} s, {report['recipe']['processor_seconds']:.0f} s of a "
        f"processor; at most {report['machine']['peak_memory_gb']} GB of memory.",
    ]
    return "\n".join(lines)
