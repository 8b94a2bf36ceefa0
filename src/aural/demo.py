"""`aural demo`: train a small Listen-Attend-Spell model on real speech, measure it, and show where it listens.

The speech is what aural ships: one voice saying digits, letters and code words, joined into strings. What it proves
and what it does not is said in the report: held-out strings are new arrangements of recordings the model knows, and
the whole prompts, which it does not know, are far beyond its small vocabulary.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.progress import track
from transformers import PreTrainedModel, Seq2SeqTrainingArguments, set_seed

from .configuration import LasConfig
from .demo_folder import demo_folder, refuse_foreign
from .modeling import LasForConditionalGeneration
from .processing import AuralProcessor, LogMelFeatureExtractor, train_tokenizer
from .processing.plots import plot_alignment, save_figure
from .training.cards import write_card
from .training.clips import Clip, load_clips
from .training.collator import SpeechCollator
from .training.compose import STRINGS, ComposedStrings, Spoken
from .training.metrics import score_texts
from .training.progress import RichProgress
from .training.reports import REPORT_NAME, machine_facts, write_report
from .training.time_scores import border_errors, time_errors
from .training.trainer import AuralTrainer
from .transcript import Transcript
from .transcription import transcribe

WORDS = ("digit", "letter", "phonetic")
PICTURE = "alignment.png"
PARTS = ("model", REPORT_NAME, PICTURE)  # of what it writes
CTC_SHARE = 0.5  # of CTC in decoding
LONGEST = 8.0  # seconds of the strings that training composes
TEST_SEED = 20_000  # added to the run's seed: strings that no other part of the run composes
ABOUT = (
    "One voice. Held-out strings are new arrangements of recordings the model was trained on; "
    "whole prompts are recordings and words it never saw."
)


@dataclass(frozen=True)
class DemoPlan:
    """How much a demo does.

    Args:
        updates: Optimiser steps; the curriculum is a share of them.
        strings: Held-out strings to measure on.
        prompts: Whole prompts to measure on, at most.
        hidden: LSTM size per direction of the listener; the speller has twice as much.
        batch_size: Strings per update.
        learning_rate: Peak, after the warm-up.
    """

    updates: int
    strings: int
    prompts: int = 1000
    hidden: int = 128
    batch_size: int = 16
    learning_rate: float = 2e-3


PLANS = {
    "tiny": DemoPlan(updates=4, strings=4, prompts=2, hidden=16, batch_size=4),
    "standard": DemoPlan(updates=1200, strings=400),
    "long": DemoPlan(updates=4000, strings=400),
}


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, then as before.

    The data worker keeps a second core busy, and at this model's size threads mostly wait for each other: on two
    cores two threads took three times as long. One thread also repeats bit by bit on any number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def make_processor(texts: Sequence[str]) -> AuralProcessor:
    """40 mels of 16 kHz audio, and the characters of `texts`."""
    return AuralProcessor(LogMelFeatureExtractor(num_mel_bins=40), train_tokenizer([*texts, " "]))


def make_model(processor: AuralProcessor, hidden: int, **changes: Any) -> LasForConditionalGeneration:
    """A small LAS: states of 80 ms, location attention, CTC beside the speller; `changes` of its config."""
    options: dict[str, Any] = {
        "vocab_size": len(processor.tokenizer),
        "num_mel_bins": processor.feature_extractor.num_mel_bins,
        "listener_hidden_size": hidden,
        "listener_time_reductions": [2, 2, 2],
        "listener_dropout": 0.1,
        "attention_kind": "location",
        "attention_size": hidden,
        "speller_layers": 1,
        "speller_hidden_size": 2 * hidden,
        "speller_embedding_size": max(hidden // 2, 8),
        "speller_output_size": 2 * hidden,
        "speller_dropout": 0.1,
        "apply_spec_augment": True,
        "mask_time_prob": 0.03,
        "mask_time_length": 8,
        "mask_time_min_masks": 1,
        "mask_feature_prob": 0.1,
        "mask_feature_length": 4,
        "label_smoothing": 0.1,
        "ctc_weight": 0.3,
    }
    model = LasForConditionalGeneration(LasConfig(**{**options, **changes}))
    # Saved with it: CTC keeps the speller from looping on sound unlike its training's, and no stretch of a long
    # recording is longer than the strings that it learnt from.
    vars(model.generation_config).update(ctc_weight=CTC_SHARE, max_seconds=LONGEST)
    return model


def train(
    model: PreTrainedModel,
    data: ComposedStrings,
    plan: DemoPlan,
    seed: int,
    folder: str,
    console: Console,
    **changes: Any,
) -> None:
    """Run the curriculum through the Trainer; `folder` is for its own files, `changes` are of the arguments."""
    options: dict[str, Any] = {
        "output_dir": folder,
        "max_steps": plan.updates,
        "per_device_train_batch_size": plan.batch_size,
        "train_sampling_strategy": "sequential",  # the order of the items is the curriculum
        "learning_rate": plan.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": min(200, plan.updates // 4),
        "weight_decay": 0.01,
        "max_grad_norm": 2.0,
        "dataloader_num_workers": 1,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "logging_steps": 25,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": seed,
    }
    arguments = Seq2SeqTrainingArguments(**{**options, **changes})
    trainer = AuralTrainer(model, arguments, data_collator=SpeechCollator(pad_to_multiple_of=48), train_dataset=data)
    trainer.pop_callback(transformers.PrinterCallback)  # it prints every log; the bar shows the loss
    trainer.add_callback(RichProgress(console))
    trainer.train_whole()


def measure(
    model: PreTrainedModel,
    processor: AuralProcessor,
    clips: Sequence[tuple[Any, str]],
    label: str,
    console: Console,
    places: Sequence[Sequence[Spoken]] = (),
) -> dict[str, Any]:
    """Transcribe `(audio, text)` pairs with the model's own beam search and score them.

    Args:
        model, processor: What transcribes; a CTC model by its best path.
        clips: What is spoken.
        label: Of the progress bar.
        console: Where it is shown.
        places: Where each clip's recordings lie, if that is known: word times are then measured too.
    """
    written: list[Transcript] = []
    size = 25
    for start in track(range(0, len(clips), size), description=label, console=console, transient=True):
        batch = [audio for audio, _ in clips[start : start + size]]
        written += transcribe(batch, model, processor, batch_size=size)
    references, predictions = [text for _, text in clips], [one.text for one in written]
    pairs = [{"spoken": spoken, "written": text} for spoken, text in zip(references, predictions, strict=True)]
    timed = [(one.words, spoken) for one, spoken in zip(written, places, strict=False)]
    times = {"word_times": time_errors(timed)} if any(border_errors(*one) for one in timed) else {}
    return {**score_texts(references, predictions), **times, "transcripts": pairs}


def draw_alignment(
    model: LasForConditionalGeneration, processor: AuralProcessor, audio: Any, text: str, path: Path
) -> dict[str, str]:
    """Transcribe one clip and draw where each letter was heard; returns what was spoken and written."""
    result = transcribe(audio, model, processor)[0]
    extractor = processor.feature_extractor
    features = extractor(audio, sampling_rate=extractor.sampling_rate, return_tensors="np")["input_features"][0]
    figure = plot_alignment(
        features,
        result.alignment.numpy(),
        result.tokens,
        extractor.seconds_per_frame,
        result.seconds_per_frame,
        title=f"Listen, attend and spell: “{result.text}”",
    )
    save_figure(figure, path)
    return {"spoken": text, "written": result.text}


def run_demo(out: Path, plan: DemoPlan, seed: int = 0, console: Console | None = None) -> dict[str, Any]:
    """Train, measure, draw and save.

    Args:
        out: Folder for `model/`, `report.json` and `alignment.png`; an earlier demo there is replaced, anything else
            is left alone.
        plan: How much to do.
        seed: What the run follows from; with the same machine and thread count the weights repeat bit by bit.
        console: Where progress and results are shown.

    Returns:
        The report.

    Raises:
        OSError: `out` is a file, or a folder that holds something else than a demo.
    """
    console = console or Console()
    out = out.resolve()
    refuse_foreign(out, PARTS, REPORT_NAME)
    words = load_clips(WORDS)
    processor = make_processor([clip.text for clip in words])
    set_seed(seed)
    model = make_model(processor, plan.hidden)
    _say(console, _opening(words, plan, model))
    with demo_folder(out, PARTS, REPORT_NAME) as folder, one_thread():
        started = time.perf_counter()
        data = ComposedStrings(words, processor, plan.updates * plan.batch_size, seed, group=plan.batch_size)
        train(model, data, plan, seed, f"{folder.parent}/trainer", console)
        trained = time.perf_counter()
        test = ComposedStrings(words, processor, plan.strings, seed + TEST_SEED, STRINGS, held_out=True)
        report = {
            **_facts(words, plan, model, seed),
            **_results(model.eval(), processor, test, plan, folder / PICTURE, console),
            "seconds": {"training": trained - started, "total": time.perf_counter() - started},
            "machine": machine_facts(),
        }
        _save(folder, model, processor, report)
    _say(console, _closing(report, out))
    return report


def _say(console: Console, text: str) -> None:
    """As it stands: no markup in paths, and lines as long as they are, so that a path can be copied."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _results(
    model: LasForConditionalGeneration,
    processor: AuralProcessor,
    test: ComposedStrings,
    plan: DemoPlan,
    picture: Path,
    console: Console,
) -> dict[str, Any]:
    """What the model does with strings and prompts it was not trained on, and the picture of the first string."""
    timed = [test.compose_timed(i) for i in range(len(test))]
    strings = [(audio, text) for audio, text, _ in timed]
    prompts = [(clip.audio, clip.text) for clip in load_clips("prompt")][: plan.prompts]
    return {
        "results": [
            {
                "dataset": "composed strings",
                "split": "held out",
                "about": "New arrangements of two to six recordings that the model was trained on.",
                **measure(model, processor, strings, "held-out strings", console, [places for *_, places in timed]),
            },
            {
                "dataset": "whole prompts",
                "split": "kept out",
                "about": "Recordings, and mostly words, that the model never met; the same voice.",
                **measure(model, processor, prompts, "whole prompts", console),
            },
        ],
        "example": draw_alignment(model, processor, *strings[0], picture),
    }


def _save(folder: Path, model: LasForConditionalGeneration, processor: AuralProcessor, report: dict[str, Any]) -> None:
    """Report and picture stand beside the model for whoever looks, and inside it with its card, ready to publish."""
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    for place in (folder, folder / "model"):
        write_report(place, report)
    shutil.copyfile(folder / PICTURE, folder / "model" / PICTURE)
    write_card(folder / "model")


def _facts(words: Sequence[Clip], plan: DemoPlan, model: LasForConditionalGeneration, seed: int) -> dict[str, Any]:
    """What was trained, on what, and how."""
    return {
        "title": "Listen-Attend-Spell on spoken strings",
        "about": ABOUT,
        "language": "en",
        "license": "cc-by-sa-3.0",  # of the recordings
        "base_model": None,
        "data": [
            {
                "name": "Asterisk core sounds, English: digits, letters and code words",
                "license": "CC-BY-SA-3.0",
                "hours": round(_seconds(words) / 3600, 4),
                "source": "recorded by Allison Smith; shipped in aural, composed into strings as training goes on",
            }
        ],
        "recipe": {
            **{name: value for name, value in asdict(plan).items() if name not in ("strings", "prompts")},
            "recordings": len(words),
            "parameters": model.num_parameters(),
        },
        "seed": seed,
        "limits": [
            "One voice, recorded in a studio: other voices and rooms were never heard.",
            f"{len(words)} recordings of one or two words; held-out strings arrange recordings that training used.",
            "Whole prompts show what it does with words it does not know: it fails on most.",
        ],
    }


def _seconds(clips: Sequence[Clip]) -> float:
    return sum(len(clip.audio) / clip.sampling_rate for clip in clips)


def _opening(words: Sequence[Clip], plan: DemoPlan, model: LasForConditionalGeneration) -> str:
    return (
        f"Listen-Attend-Spell, {model.num_parameters() / 1e6:.1f} M parameters, {plan.updates} updates on strings "
        f"composed from {len(words)} recorded words ({_seconds(words):.0f} s of one voice)."
    )


def _closing(report: dict[str, Any], out: Path) -> str:
    lines = []
    for scores in report["results"]:
        low, high = scores["wer_interval"]
        lines.append(
            f"{scores['dataset']}, {scores['split']}: WER {scores['wer']:.1%} (95% interval {low:.1%} to {high:.1%}), "
            f"CER {scores['cer']:.1%}, {scores['utterances']} utterances"
        )
        if times := scores.get("word_times"):
            lines[-1] += (
                f"; word borders within {1000 * times['median_seconds']:.0f} ms at the median, "
                f"{1000 * times['p90_seconds']:.0f} ms at the 90th percentile"
            )
    example = report["example"]
    lines += [
        report["about"],
        f"spoken:  {example['spoken']}",
        f"written: {example['written']}",
        f"{out}/{PICTURE} shows where it listened; {out}/model loads with from_pretrained; {out}/{REPORT_NAME}",
        f"Took {report['seconds']['total']:.0f} s, at most {report['machine']['peak_memory_gb']} GB of memory.",
    ]
    return "\n".join(lines)
