"""`aural demo heads`: three ways to write what is heard, on the same strings with the same budget.

    aural demo heads                # trains LAS, CTC and a decoder with CTC
    aural demo heads --las demo     # takes LAS from what `aural demo` left

Notable here:
- recordings, curriculum, seed, batches, one thread and test are those of `aural demo` (`demo.py`);
- the budget is processor time: every kind of model has as many updates as fit into that of the demo's LAS. What an
  update of each costs is measured in turns on the same batches, so that whatever else the machine does weighs on all
  alike;
- held-out strings are looked at once, when a model's training is over;
- every model's results are written when it is done, and the same command goes on with those that are missing.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from transformers import set_seed

from .demo import PLANS as DEMO_PLANS
from .demo import TEST_SEED, WORDS, DemoPlan, make_processor, measure, one_thread, train
from .processing import AuralProcessor
from .processing.files import write_whole
from .string_models import STRING_MODELS
from .string_report import make_report, told
from .training.clips import Clip, load_clips
from .training.collator import SpeechCollator
from .training.compose import STRINGS, ComposedStrings
from .training.reports import REPORT_NAME, machine_facts

REPORT = "strings.json"
LAS = "las"


@dataclass(frozen=True)
class StringPlan:
    """How much the comparison does.

    Args:
        models: Updates, size, batch and learning rate of each kind of model.
        strings: Held-out strings to measure on.
        timed: Batches, evenly from the curriculum, on which an update of each model is timed.
    """

    models: Mapping[str, DemoPlan] = field(
        default_factory=lambda: {
            LAS: DEMO_PLANS["standard"],
            "ctc": DemoPlan(updates=1300, strings=0, prompts=0, hidden=160, learning_rate=1.5e-3),
            "seq2seq": DemoPlan(updates=1200, strings=0, prompts=0, hidden=160, learning_rate=1.5e-3),
        }
    )
    strings: int = 400
    timed: int = 12


_TINY = DemoPlan(updates=2, strings=0, prompts=0, hidden=16, batch_size=2)
PLANS = {
    "tiny": StringPlan(dict.fromkeys(STRING_MODELS, _TINY), strings=3, timed=2),
    "standard": StringPlan(),
}


def run_strings(
    out: str | Path,
    plan: StringPlan,
    seed: int = 0,
    models: Sequence[str] = tuple(STRING_MODELS),
    las: str | Path | None = None,
    console: Console | None = None,
) -> str:
    """Train and measure every kind of model, and write the report.

    Args:
        out: Folder for `runs/` and `strings.json`; goes on where an earlier run of the same settings stopped.
        plan: How much.
        seed: What the runs follow from.
        models: Which, names of `STRING_MODELS`; the report holds all that are done.
        las: Folder that `aural demo` wrote: its report takes the place of training LAS once more.
        console: Where progress is drawn.

    Returns:
        The table, in Markdown, and where the report lies.

    Raises:
        OSError: `out` is a file, or holds results of other settings; `las` holds no report.
        ValueError: An unknown model.
    """
    console, out = console or Console(), Path(out)
    if unknown := [name for name in models if name not in STRING_MODELS]:
        raise ValueError(f"models={unknown}: allowed are {', '.join(STRING_MODELS)}")
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file; --out names a folder")
    kept = {} if las is None else {LAS: _from_demo(Path(las))}
    (out / "runs").mkdir(parents=True, exist_ok=True)
    runs = [Run(name, seed, plan, out / "runs" / f"{name}.json") for name in STRING_MODELS]
    done = [run.is_done() for run in runs]  # all are looked at before any is trained
    for run, finished in zip(runs, done, strict=True):
        if run.model in models and run.model not in kept and not finished:
            console.print(f"{STRING_MODELS[run.model].title}, {run.training.updates} updates")
            run_one(run, console)
    parts = kept | {run.model: run.read() for run in runs if run.model not in kept and run.path.is_file()}
    report = make_report(parts, update_seconds(plan, seed), plan, seed)
    write_whole(out / REPORT, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return f"{told(report)}\n{out}/{REPORT} has every number and transcript"


@dataclass(frozen=True)
class Run:
    """One kind of model's training and measurement, and where the results go."""

    model: str
    seed: int
    plan: StringPlan
    path: Path

    @property
    def training(self) -> DemoPlan:
        """Of this kind of model."""
        return self.plan.models[self.model]

    @property
    def settings(self) -> dict[str, Any]:
        """What the results follow from, as JSON has it."""
        training = {name: value for name, value in asdict(self.training).items() if name not in ("strings", "prompts")}
        return {"model": self.model, "seed": self.seed, "strings": self.plan.strings, **training}

    def read(self) -> dict[str, Any]:
        """What the run wrote."""
        return json.loads(self.path.read_text(encoding="utf-8"))

    def is_done(self) -> bool:
        """Whether an earlier run of the command left its results.

        Raises:
            FileExistsError: They are of other settings.
        """
        if not self.path.is_file():
            return False
        if self.read()["settings"] != self.settings:
            raise FileExistsError(f"{self.path} is of a run with other settings; choose another --out")
        return True


def run_one(run: Run, console: Console) -> None:
    """Train and measure; the results are written when all is done.

    Args:
        run: What, and where to.
        console: Where progress is drawn.
    """
    kind, plan = STRING_MODELS[run.model], run.training
    words = load_clips(WORDS)
    processor = kind.processor(make_processor([clip.text for clip in words]))
    set_seed(run.seed)
    model = kind.make(processor, plan)
    data = _strings(words, processor, plan, run.seed)
    load, started, spent = _load(), time.perf_counter(), time.process_time()
    with one_thread(), TemporaryDirectory(prefix=".training.", dir=run.path.parent) as scratch:
        train(model, data, plan, run.seed, scratch, console, **kind.arguments)
        trained, spent = time.perf_counter(), time.process_time() - spent
        test = ComposedStrings(words, processor, run.plan.strings, run.seed + TEST_SEED, STRINGS, held_out=True)
        timed = [test.compose_timed(i) for i in range(len(test))]
        clips, places = [(audio, text) for audio, text, _ in timed], [one for *_, one in timed]
        result = measure(model.eval(), processor, clips, "held-out strings", console, places)
    facts = {
        "settings": run.settings,
        "parameters": model.num_parameters(),
        "result": result,
        "seconds": {
            "training": round(trained - started, 1),
            "training_processor": round(spent, 1),  # without the data worker, as a clock of one thread has it
            "measuring": round(time.perf_counter() - trained, 1),
        },
        "processes_at_once": [load, _load()],
        "machine": machine_facts(threads=1),
    }
    write_whole(run.path, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


def update_seconds(plan: StringPlan, seed: int = 0) -> dict[str, float]:
    """Processor seconds of an update of each kind of model, taken in turns on the same batches, on one thread.

    Args:
        plan: Sizes, and how many batches.
        seed: What strings and weights follow from.
    """
    words = load_clips(WORDS)
    processor = make_processor([clip.text for clip in words])
    longest = plan.models[LAS]
    data, size = _strings(words, processor, longest, seed), longest.batch_size
    places = [round((i + 0.5) / plan.timed * (longest.updates - 1)) for i in range(plan.timed)]
    collator = SpeechCollator(pad_to_multiple_of=48)
    batches = [collator([data[at * size + i] for i in range(size)]) for at in places]
    spent = dict.fromkeys(STRING_MODELS, 0.0)
    with one_thread():
        set_seed(seed)
        models = {name: kind.make(processor, plan.models[name]).train() for name, kind in STRING_MODELS.items()}
        optimizers = {name: torch.optim.AdamW(model.parameters(), lr=1e-4) for name, model in models.items()}
        for turn, batch in enumerate([batches[-1], *batches]):  # the first warms up
            for name, model in models.items():
                begun = time.process_time()
                model(**batch).loss.backward()
                optimizers[name].step()
                optimizers[name].zero_grad()
                spent[name] += (time.process_time() - begun) if turn else 0.0
    return {name: seconds / plan.timed for name, seconds in spent.items()}


def _strings(words: Sequence[Clip], processor: AuralProcessor, plan: DemoPlan, seed: int) -> ComposedStrings:
    """The demo's curriculum for a plan's updates."""
    size = plan.batch_size
    return ComposedStrings(words, processor, plan.updates * size, seed, group=size)


def _load() -> float | None:
    """Processes that wanted a core, mean of the last minute; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _from_demo(folder: Path) -> dict[str, Any]:
    """What the report of `aural demo` says of LAS on the held-out strings."""
    path = folder / REPORT_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {REPORT_NAME}: --las names a folder that `aural demo` wrote")
    report = json.loads(path.read_text(encoding="utf-8"))
    recipe, seconds = report["recipe"], report["seconds"]
    return {
        "settings": {"model": LAS, "seed": report["seed"], **recipe},
        "parameters": recipe["parameters"],
        "result": report["results"][0],
        "seconds": {"training": round(seconds["training"], 1), "training_processor": None, "measuring": None},
        "processes_at_once": None,
        "machine": report["machine"],
    }
