"""`aural demo bottleneck`: what attention is for, measured on speech longer than training had.

A listener that hands its speller one vector must press a whole utterance into it. Attention took that bottleneck away
(Bahdanau et al. 2015, arXiv:1409.0473). Here it is a dial: `LasConfig.memory_slots` lets the speller see k slots.

Notable here:
- three models per seed learn from the same strings in the same order with as many updates: with *slots*, one
  checkpoint for every k; with *no* attention, the listener's last states; with *full* attention, every state;
- training joins at most six recordings, the test one to twelve: what is longer has to be generalised to;
- every run is written when it ends, and the same command goes on with what is missing;
- tables and figure are made from `bottleneck.json` alone.
"""

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from transformers import set_seed

from .bottleneck_report import draw_report, make_report, memory_name, told
from .demo import TEST_SEED, DemoPlan, make_model, make_processor, one_thread, train
from .modeling import LasForConditionalGeneration
from .processing import AuralProcessor
from .processing.files import write_whole
from .training.clips import load_clips
from .training.collator import SpeechCollator
from .training.compose import ComposedStrings, Stage
from .training.reports import machine_facts

MEMORIES = ("slots", "none", "full")
REPORT, PICTURE = "bottleneck.json", "bottleneck.png"
STAGES = (Stage(0.2, 1, 1), Stage(0.45, 1, 3), Stage(1.0, 1, 6))  # the demo's curriculum, keeping single recordings


@dataclass(frozen=True)
class BottleneckPlan:
    """How much the study does.

    Args:
        training: Of every model: updates, size, batch and learning rate.
        slots: The k to measure at, the last being the number that is trained.
        lengths: Recordings per string to measure at.
        strings: Strings per length and seed.
        seeds: How many, each with three trainings.
        attention_kind: Of the models with slots and with full attention.
        time_reductions: Of the listener's layers.
        clips: Kinds of recordings that strings are composed from.
        beams: Hypotheses in decoding.
        guide: Weight of the guided attention loss, all through training, of the models that attend: without it full
            attention had not aligned after 500 updates.
    """

    training: DemoPlan = field(default_factory=lambda: DemoPlan(updates=800, strings=0, prompts=0, hidden=96))
    slots: tuple[int, ...] = (1, 2, 4, 8, 16)
    lengths: tuple[int, ...] = tuple(range(1, 13))
    strings: int = 40
    seeds: int = 3
    attention_kind: str = "location"
    time_reductions: tuple[int, ...] = (4, 2)
    clips: tuple[str, ...] = ("phonetic",)
    beams: int = 1
    guide: float = 0.5


PLANS = {
    "tiny": BottleneckPlan(
        DemoPlan(updates=2, strings=0, prompts=0, hidden=8, batch_size=2), (1, 2), (1, 3), strings=2, seeds=2
    ),
    "standard": BottleneckPlan(),
}


@dataclass(frozen=True)
class Run:
    """One training and its measurement: which memory the speller has, from which seed, and where the results go."""

    memory: str
    seed: int
    plan: BottleneckPlan
    path: Path

    @property
    def settings(self) -> dict[str, Any]:
        """What the results follow from, as JSON has it; how many other seeds there are is no matter."""
        plan = {name: value for name, value in asdict(self.plan).items() if name != "seeds"}
        return json.loads(json.dumps({"memory": self.memory, "seed": self.seed, **plan}))

    def is_done(self) -> bool:
        """Whether an earlier run of the command left its results.

        Raises:
            FileExistsError: They are of other settings.
        """
        if not self.path.is_file():
            return False
        if json.loads(self.path.read_text(encoding="utf-8"))["settings"] != self.settings:
            raise FileExistsError(f"{self.path} is of a run with other settings; choose another --out")
        return True


def memory_model(processor: AuralProcessor, plan: BottleneckPlan, memory: str) -> LasForConditionalGeneration:
    """The demo's small LAS, whose speller sees what `memory` says: "slots", "none" or "full"."""
    return make_model(
        processor,
        plan.training.hidden,
        listener_time_reductions=list(plan.time_reductions),
        attention_kind="none" if memory == "none" else plan.attention_kind,
        memory_slots=max(plan.slots) if memory == "slots" else None,
        guided_attention_weight=0.0 if memory == "none" else plan.guide,  # nothing to guide without attention
        guided_attention_updates=10**9,  # it stays
    )


def run_one(run: Run, console: Console | None = None) -> None:
    """Train and measure, and show it on a console if one is given; the results are written when all is done."""
    words = load_clips(run.plan.clips)
    processor = make_processor([clip.text for clip in words])
    started = time.perf_counter()
    set_seed(run.seed)
    model = memory_model(processor, run.plan, run.memory)
    size = run.plan.training.batch_size
    data = ComposedStrings(words, processor, run.plan.training.updates * size, run.seed, STAGES, group=size)
    with one_thread(), TemporaryDirectory(prefix=".training.", dir=run.path.parent) as scratch:
        train(model, data, run.plan.training, run.seed, scratch, console or Console(quiet=True))
        trained = time.perf_counter()
        results = []
        for length in run.plan.lengths:
            strings = ComposedStrings(
                words,
                processor,
                run.plan.strings,
                run.seed + TEST_SEED * (length + 1),  # no two lengths, and no other demo, compose the same
                (Stage(1.0, length, length),),
                held_out=length > 1,  # there is no arrangement of one
            )
            results += measure(model.eval(), processor, strings, run)
    facts = {
        "settings": run.settings,
        "parameters": model.num_parameters(),
        "results": results,
        "seconds": {"training": trained - started, "measuring": time.perf_counter() - trained},
        "machine": machine_facts(threads=1),
    }
    write_whole(run.path, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


def measure(
    model: LasForConditionalGeneration, processor: AuralProcessor, strings: ComposedStrings, run: Run
) -> list[dict[str, Any]]:
    """Transcribe the strings, once per number of slots."""
    items = [strings[i] for i in range(len(strings))]
    batch = SpeechCollator()(items)
    spoken = [strings.compose(i)[1] for i in range(len(strings))]
    results = []
    for slots in run.plan.slots if run.memory == "slots" else (None,):
        # The speller alone: CTC hears every state, and would walk around the bottleneck.
        options: dict[str, Any] = {"ctc_weight": 0.0} | ({} if slots is None else {"memory_slots": slots})
        ids = model.generate(
            batch["input_features"], attention_mask=batch["attention_mask"], num_beams=run.plan.beams, **options
        )
        written = processor.batch_decode(ids, skip_special_tokens=True)
        pairs = [{"spoken": a, "written": b} for a, b in zip(spoken, written, strict=True)]
        results.append({"memory": memory_name(run.memory, slots), "length": strings.stages[0].most, "texts": pairs})
    return results


def run_bottleneck(
    out: str | Path, plan: BottleneckPlan, seed: int = 0, processes: int | None = None, console: Console | None = None
) -> str:
    """Train and measure every model, and write the report and the figure.

    Args:
        out: Folder for `runs/`, `bottleneck.json` and `bottleneck.png`; goes on where an earlier run of the same
            settings stopped.
        plan: How much.
        seed: The first of the seeds.
        processes: Trainings at once, each on one core; default: as many as there are cores.
        console: Where progress is drawn.

    Returns:
        The tables, in Markdown, and where the figure lies.

    Raises:
        OSError: `out` is a file, or holds results of other settings.
    """
    console, out = console or Console(), Path(out)
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file; --out names a folder")
    (out / "runs").mkdir(parents=True, exist_ok=True)
    runs = [
        Run(memory, each, plan, out / "runs" / f"{memory}-{each}.json")
        for each in range(seed, seed + plan.seeds)
        for memory in MEMORIES
    ]
    waiting = [run for run in runs if not run.is_done()]
    if len(waiting) < len(runs):
        console.print(f"{len(runs) - len(waiting)} of {len(runs)} trainings are there already, from an earlier run.")
    _run_all(waiting, processes or os.cpu_count() or 1, console)
    parts = [json.loads(run.path.read_text(encoding="utf-8")) for run in runs]
    report = make_report(parts, plan.slots, _settings(plan))
    write_whole(out / REPORT, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    draw_report(out / REPORT, out / PICTURE)
    return f"{told(report)}\n{out}/{PICTURE} draws it; {out}/{REPORT} has every number"


def _settings(plan: BottleneckPlan) -> dict[str, Any]:
    """The plan as the report has it: with the curriculum, without what only the other demo asks."""
    training = {name: value for name, value in asdict(plan.training).items() if name not in ("strings", "prompts")}
    return {**asdict(plan), "training": {**training, "stages": [asdict(stage) for stage in STAGES]}}


def _run_all(runs: Sequence[Run], processes: int, console: Console) -> None:
    if processes == 1 or len(runs) < 2:
        for run in runs:
            console.print(f"memory: {run.memory}, seed {run.seed}")
            run_one(run, console)
        return
    # Spawned: torch's threads do not survive a fork.
    with ProcessPoolExecutor(min(processes, len(runs)), get_context("spawn")) as pool:
        running = {pool.submit(run_one, run): run for run in runs}
        try:
            for number, done in enumerate(as_completed(running), start=1):
                done.result()  # raises what the run raised
                run = running[done]
                console.print(f"{number} of {len(runs)} trainings done: memory {run.memory}, seed {run.seed}")
        except BaseException:  # Ctrl-C, or a run that failed: what is under way is not waited for
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list((pool._processes or {}).values()):
                process.terminate()
            raise
