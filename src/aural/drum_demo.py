"""`aural demo drums`: patch transformers learn to hear drums, alone and together, measured on kits they never met.

Eleven models are trained: per fold of the corpus one that hears moments of mixes and one that names single hits, for
figures over all kits; and one that is kept, which heard only kits whose licence lets its weights be shared. A linear
baseline hears the same sounds. What is finished stays in the folder: a run that was interrupted goes on from there.
"""

import hashlib
import os
import queue
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .drum_folds import (
    BASELINE,
    CLIPS,
    HITS,
    KEPT,
    MIXES,
    MOMENTS,
    PRESENTED,
    DrumPlan,
    hear,
    load_heard,
    measure_baseline,
    measure_classifier,
    measure_model,
    measure_presented,
    plan_facts,
    save_heard,
    split_hits,
    train_classifier,
    train_tagger,
)
from .drum_report import summary, write_folds, write_kept
from .processing import LogMelFeatureExtractor
from .processing.plots import plot_events, save_figure
from .training.drum_labels import FOLDS, LABELS
from .training.drums import SAMPLING_RATE, DrumHit, load_drums
from .training.mix_scores import TESTED
from .training.mixes import SECONDS, DrumMixes, step_edges
from .training.reports import REPORT_NAME

PLANS = {
    "tiny": DrumPlan(16, 16, 8, 40, model={"hidden_size": 24, "num_hidden_layers": 2, "intermediate_size": 48}),
    "standard": DrumPlan(mixes=20_000, strokes=10_000, test=200, baseline=2_000),
}
PICTURE = "events.png"


@dataclass(frozen=True)
class Job:
    """A split to train and measure: where its corpus, its results and, if it is kept, its model lie."""

    name: str
    corpus: Path
    results: Path
    model: Path | None
    plan: DrumPlan
    seed: int


class _Steps(TrainerCallback):
    """Tells whoever draws the bars how far a training is."""

    def __init__(self, name: str, steps: Any) -> None:
        self.name, self.steps = name, steps

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """One update more."""
        self.steps.put((self.name, state.global_step))


def run_job(job: Job, steps: Any) -> None:
    """Train and measure one split; its results, and the model if it is kept, are written when all is done."""
    torch.set_num_threads(1)  # one per process: two threads of two processes wait for each other on two cores
    started = time.perf_counter()
    seen, unseen = split_hits(load_drums(job.corpus), job.name)
    callbacks = [_Steps(job.name, steps)]
    facts: dict[str, Any] = {"settings": _settings(job), "kits": sorted({hit.kit for hit in seen})}
    if job.name.startswith(HITS):
        classifier, extractor = train_classifier(seen, job.plan, job.seed, callbacks)
        facts |= {"parameters": classifier.num_parameters(), "seconds": round(time.perf_counter() - started, 1)}
        clips = measure_classifier(classifier, extractor, unseen)
        heard = {CLIPS: clips, PRESENTED: measure_presented(seen, unseen)}
    else:
        model, extractor = train_tagger(seen, job.plan, job.seed, callbacks)
        facts |= {"parameters": model.num_parameters(), "seconds": round(time.perf_counter() - started, 1)}
        moments, facts["threshold"] = measure_model(model, extractor, seen, unseen, job.plan, job.seed)
        heard = {MOMENTS: moments, BASELINE: measure_baseline(seen, unseen, job.plan, job.seed)}
        if job.model is not None:
            model.save_pretrained(job.model)
            extractor.save_pretrained(job.model)
            facts["caption"] = draw_events(model, extractor, unseen, job.seed, job.model / PICTURE)
    facts["hours"] = sum(len(hit.audio) for hit in seen) / SAMPLING_RATE / 3600
    save_heard(job.results, heard, facts)


def _settings(job: Job) -> dict[str, Any]:
    """What results follow from: with other settings, others would have come out."""
    corpus = hashlib.sha256((job.corpus / "metadata.csv").read_bytes()).hexdigest()
    return {"seed": job.seed, "corpus": corpus, **plan_facts(job.plan)}


def draw_events(
    model: Any, extractor: LogMelFeatureExtractor, unseen: Sequence[DrumHit], seed: int, path: Path
) -> str:
    """Draw what the model hears in the first test mix of three sounds, and return a caption."""
    mixes = DrumMixes(unseen, 8, seed + TESTED, extractor)
    item = next(mixes[index] for index in range(8) if mixes[index]["sounds"] == min(3, mixes.most))
    features = np.asarray(item["input_features"])
    _, (scores,) = hear(model, [features])
    edges = step_edges(model.config.patch_centers(len(features)), SECONDS)
    names = ", ".join(event.label for event in item["events"])
    caption = f"A mix of {names}, of kits that the model never heard."
    save_figure(
        plot_events(features, scores, edges, LABELS, extractor.seconds_per_frame, item["events"], caption), path
    )
    return caption


def run_drums(
    corpus: str | Path,
    out: str | Path,
    plan: DrumPlan,
    seed: int = 0,
    processes: int | None = None,
    console: Console | None = None,
) -> Path:
    """Train and measure every split, and write the reports and the kept model.

    Args:
        corpus: Folder that `aural corpora drums` made.
        out: Folder for `splits/`, `report.json` (over all folds) and `model/`; goes on where an earlier run of the
            same settings stopped.
        plan: How much.
        seed: What everything follows from.
        processes: Trainings at once, each on one core; default: as many as there are cores.
        console: Where progress is drawn.

    Returns:
        `out`.

    Raises:
        OSError: The corpus cannot be read, or `out` holds results of other settings or something else.
    """
    console, corpus, out = console or Console(), Path(corpus), Path(out)
    if not (corpus / "metadata.csv").is_file():
        raise FileNotFoundError(f"{corpus} holds no metadata.csv: make it with `aural corpora drums {corpus}`")
    started = time.perf_counter()
    (out / "splits").mkdir(parents=True, exist_ok=True)
    folds = range(1, FOLDS + 1)
    names = [*(f"{MIXES} {fold}" for fold in folds), KEPT, *(f"{HITS} {fold}" for fold in folds)]
    jobs = [
        Job(name, corpus, out / "splits" / f"{name.replace(' ', '-')}.json", _model(out, name), plan, seed)
        for name in names
    ]
    waiting = [job for job in jobs if not _is_done(job)]
    if len(waiting) < len(jobs):
        console.print(f"{len(jobs) - len(waiting)} of {len(jobs)} splits are there already, from an earlier run.")
    _run_all(waiting, processes or os.cpu_count() or 1, console)
    parts = {job.name: load_heard(job.results) for job in jobs}
    seconds = time.perf_counter() - started if len(waiting) == len(jobs) else None
    write_folds(out, {name: part for name, part in parts.items() if name != KEPT}, plan, seed, seconds)
    write_kept(out / "model", *parts[KEPT], plan, seed)
    text = f"{summary(out / REPORT_NAME)}\n{out}/model loads with from_pretrained; {out}/{REPORT_NAME} has it all"
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    return out


def _model(out: Path, name: str) -> Path | None:
    return out / "model" if name == KEPT else None


def _is_done(job: Job) -> bool:
    if not job.results.is_file():
        return False
    _, facts = load_heard(job.results)
    if facts["settings"] != _settings(job):
        raise FileExistsError(f"{job.results} is of a run with other settings; choose another --out")
    return True


@contextmanager
def _bars(jobs: Sequence[Job], console: Console) -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        items = {job.name: job.plan.strokes if job.name.startswith(HITS) else job.plan.mixes for job in jobs}
        size = jobs[0].plan.batch_size
        tasks = {name: progress.add_task(name, total=-(-count // size)) for name, count in items.items()}
        yield lambda name, step: progress.update(tasks[name], completed=step)


def _run_all(jobs: Sequence[Job], processes: int, console: Console) -> None:
    """All jobs, several at once, with a bar for each."""
    if not jobs:
        return
    with _bars(jobs, console) as show:
        if processes == 1:
            for job in jobs:
                run_job(job, _Shown(show))
            return
        context = get_context("spawn")  # torch's threads do not survive a fork
        with context.Manager() as manager, ProcessPoolExecutor(min(processes, len(jobs)), context) as pool:
            steps = manager.Queue()
            futures = [pool.submit(run_job, job, steps) for job in jobs]
            try:
                _follow(futures, steps, show)
            except BaseException:  # Ctrl-C, or a job that failed: what is under way is not waited for
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list((pool._processes or {}).values()):
                    process.terminate()
                raise


def _follow(futures: Sequence[Future], steps: Any, show: Any) -> None:
    while not all(future.done() for future in futures):
        try:
            show(*steps.get(timeout=0.5))
        except queue.Empty:
            for future in futures:
                if future.done():
                    future.result()  # raises what the job raised
    for future in futures:
        future.result()


class _Shown:
    """A queue whose reader is at hand."""

    def __init__(self, show: Any) -> None:
        self.show = show

    def put(self, step: tuple[str, int]) -> None:
        self.show(*step)
