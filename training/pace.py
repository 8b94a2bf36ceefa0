"""How fast a run went: audio per second, padding, waiting for data, memory; one line at its end.

    trainer.train()  # an AuralTrainer
    print(pace_sentence(trainer.pace.figures()))
    # 412 s of audio per second (38 per processor second), padding 3.1%, waiting for data 1.2%, peak 1.4 GB

- Timed are updates, from asking for a first batch to the end of the step; evaluations and checkpoints are told apart.
- Waiting is the time in the loader's `next`: with data workers the wait for them, without any the making of features.
- A resumed run adds to what its checkpoint holds, in `trainer_state.json`.
- Processes meet only where they wait for each other anyway, at saves and at the end; no step is made slower. Frames
  are counted where the batches lie, and read at those meetings.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

MEMORY_EVERY = 30.0  # seconds between two looks at the memory of data workers, which takes milliseconds
ADDED = ("clips", "real_frames", "frames", "processor_seconds")  # over processes and over the parts of a resumed run
SHARED = ("updates", "update_seconds", "waiting_seconds", "other_seconds")  # the mean over processes; parts add up
LARGEST = ("peak_memory", "peak_device_memory")  # bytes, of one process
GB = 1e9


class PaceCallback(TrainerCallback, ExportableState):
    """Measures a training, on every process of it; `MeasuredTrainer` has one.

    Args:
        seconds_per_frame: Of `input_features`; default: as the Trainer's processing class or the model's config says.
        clock: Tells wall seconds.
        processor_clock: Tells the seconds that this process has computed, all its threads together.
    """

    def __init__(
        self,
        seconds_per_frame: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
        processor_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self.seconds_per_frame = seconds_per_frame
        self.before: dict[str, float] = {}  # what the checkpoint had of which this run goes on
        self._clock, self._processor_clock = clock, processor_clock
        self._processes = self._workers = 1
        self._start()

    def _start(self) -> None:
        """Set this process's sums to nothing, from now on."""
        self._own: dict[str, Any] = dict.fromkeys((*ADDED, *SHARED, *LARGEST), 0)
        self._world: dict[str, float] = {}  # of all processes, at their last meeting
        self._began = self._clock()
        self._ended: float | None = None
        self._helped = _seconds_of_children()
        self._update_began: tuple[float, float] | None = None
        self._memory_due = self._began

    def watch(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The same batches, with the wait for each timed and its frames counted.

        Args:
            batches: An iterator over the training loader; each has `input_features` (batch, frames, mels), and
                `attention_mask` (batch, frames) unless all frames are real. What was not asked for stays in it.
        """
        while True:
            asked = self._clock()
            if self._update_began is None:
                self._update_began = (asked, self._processor_clock())
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self._own["waiting_seconds"] += self._clock() - asked
            self._count(batch)
            yield batch

    def _count(self, batch: Mapping[str, Any]) -> None:
        mask = batch.get("attention_mask")
        shaped = batch.get("input_features") if mask is None else mask
        if shaped is None:
            return
        clips, frames = shaped.shape[:2]
        self._own["clips"] += clips
        self._own["frames"] += clips * frames
        # A sum on the device: reading it now would make an accelerator wait in every step.
        self._own["real_frames"] = self._own["real_frames"] + (clips * frames if mask is None else mask.sum())

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start from nothing, or from what the checkpoint had."""
        self._processes, self._workers = args.world_size, args.dataloader_num_workers
        if self.seconds_per_frame is None:
            self.seconds_per_frame = _seconds_per_frame(kwargs.get("processing_class"), kwargs.get("model"))
        self._start()
        states: Any = state.stateful_callbacks  # by class, whatever its annotation says
        saved = states.get(type(self).__name__) if state.global_step else None
        self.before = dict(saved["attributes"]["before"]) if isinstance(saved, dict) else {}
        # The stock Trainer's save fails for a callback that the checkpoint which it went on from did not know.
        states[type(self).__name__] = self.state()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Add up the update; let the processes meet if they are about to save or evaluate."""
        now = self._clock()
        if self._update_began is not None:
            began, computed = self._update_began
            self._own["update_seconds"] += now - began
            self._own["processor_seconds"] += self._processor_clock() - computed
            self._update_began = None
        self._own["updates"] += 1
        if now >= self._memory_due:
            self._own["peak_memory"] = max(self._own["peak_memory"], _memory_with_workers())
            self._memory_due = now + MEMORY_EVERY

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Forget a beginning that no step followed: what comes now is no part of an update."""
        self._update_began = None

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop the clock and add up the processes."""
        self._ended = self._clock()
        self.meet()

    def meet(self) -> None:
        """Add up the processes; to be called on all of them before a checkpoint keeps `state`."""
        if self._processes > 1:
            self._world = _together(gather_object([self._sums()]))

    def _sums(self) -> dict[str, float]:
        """What this process has measured since the run began."""
        sums = {**self._own, "real_frames": int(self._own["real_frames"])}
        passed = (self._clock() if self._ended is None else self._ended) - self._began
        sums["other_seconds"] = max(0.0, passed - sums["update_seconds"])
        sums["processor_seconds"] += max(0.0, _seconds_of_children() - self._helped)
        sums["peak_memory"] = max(sums["peak_memory"], _peak_memory())
        sums["peak_device_memory"] = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        return sums

    def _total(self) -> dict[str, float]:
        """Of all processes, as of their last meeting, and of what was before."""
        now = (self._world or dict.fromkeys(self._own, 0)) if self._processes > 1 else _together([self._sums()])
        total = {name: now[name] + self.before.get(name, 0) for name in (*ADDED, *SHARED)}
        return total | {name: max(now[name], self.before.get(name, 0)) for name in LARGEST}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as transformers' `ExportableState` wants it."""
        return {"args": {"seconds_per_frame": self.seconds_per_frame}, "attributes": {"before": self._total()}}

    def figures(self) -> dict[str, Any]:
        """What was measured, over all processes and all parts of a resumed run; equal on every process after the end.

        Returns:
            `updates`, `clips`; `audio_seconds`, without padding, and what it was divided by: `update_seconds` on the
            clock, waiting included, and `processor_seconds` that all processes and their data workers computed;
            `other_seconds` for evaluations, checkpoints and the beginning; `audio_per_second`, of all processes,
            `audio_per_second_per_process`, `audio_per_processor_second`, which is per busy core; `padding_share` of
            the frames; `waiting_share` of `update_seconds`; `peak_memory_gb` of a process with its data workers and
            `peak_device_memory_gb` of its accelerator, each the largest; `processes`, `threads` and `workers` of each.
            None stands for what is not known: audio where frames have no length, shares and rates of nothing.
        """
        total = self._total()
        audio = None if self.seconds_per_frame is None else total["real_frames"] * self.seconds_per_frame
        rate = _ratio(audio, total["update_seconds"])
        padding = _ratio(total["real_frames"], total["frames"])
        device = total["peak_device_memory"]
        return {
            "updates": round(total["updates"]),
            "clips": total["clips"],
            "audio_seconds": audio,
            "update_seconds": total["update_seconds"],
            "other_seconds": total["other_seconds"],
            "processor_seconds": total["processor_seconds"],
            "audio_per_second": rate,
            "audio_per_second_per_process": _ratio(rate, self._processes),
            "audio_per_processor_second": _ratio(audio, total["processor_seconds"]),
            "padding_share": None if padding is None else 1 - padding,
            "waiting_share": _ratio(total["waiting_seconds"], total["update_seconds"]),
            "peak_memory_gb": round(total["peak_memory"] / GB, 2),
            "peak_device_memory_gb": round(device / GB, 2) if device else None,
            "processes": self._processes,
            "threads": torch.get_num_threads(),
            "workers": self._workers,
        }


def pace_sentence(figures: Mapping[str, Any]) -> str:
    """The line that a run ends with.

    Args:
        figures: As `PaceCallback.figures` gives them.
    """
    if not figures["updates"]:
        return "no update was made"
    parts = []
    if figures["audio_per_second"] is not None:
        parts.append(f"{_number(figures['audio_per_second'])} s of audio per second")
        details = [f"by {figures['processes']} processes"] if figures["processes"] > 1 else []
        if figures["audio_per_processor_second"] is not None:
            details.append(f"{_number(figures['audio_per_processor_second'])} per processor second")
        parts[0] += f" ({', '.join(details)})" if details else ""
    if figures["padding_share"] is not None:
        parts.append(f"padding {figures['padding_share']:.1%}")
    if figures["waiting_share"] is not None:
        parts.append(f"waiting for data {figures['waiting_share']:.1%}")
    parts.append(f"peak {figures['peak_memory_gb']:.1f} GB")
    if figures["peak_device_memory_gb"] is not None:
        parts.append(f"{figures['peak_device_memory_gb']:.1f} GB on the device")
    return ", ".join(parts)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _ratio(above: float | None, below: float) -> float | None:
    return None if above is None or not below else above / below


def _together(processes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The sums of all processes as those of one run."""
    sums = {name: sum(one[name] for one in processes) for name in (*ADDED, *SHARED)}
    means = {name: sums[name] / len(processes) for name in SHARED}
    return sums | means | {name: max(one[name] for one in processes) for name in LARGEST}


def _seconds_per_frame(processing_class: Any, model: Any) -> float | None:
    extractor = getattr(processing_class, "feature_extractor", processing_class)
    if (seconds := getattr(extractor, "seconds_per_frame", None)) is not None:
        return float(seconds)
    shift = getattr(getattr(model, "config", None), "frame_shift_ms", None)
    return None if shift is None else shift / 1000


def _seconds_of_children() -> float:
    """Processor seconds of the processes that this one started, finished or, of data workers, running."""
    times = os.times()
    running = [spent for worker in _workers() if (spent := _ask(worker, "cpu_times")) is not None]
    return times.children_user + times.children_system + sum(one.user + one.system for one in running)


def _memory_with_workers() -> float:
    """Bytes of this process at its peak, and of those that its running data workers do not share with it."""
    held = [info for worker in _workers() if (info := _ask(worker, "memory_full_info")) is not None]
    return _peak_memory() + sum(getattr(info, "uss", info.rss) for info in held)


def _workers() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid is not None]


def _ask(pid: int, what: str) -> Any:
    try:
        return getattr(psutil.Process(pid), what)()
    except psutil.Error:  # it has just ended
        return None


def _peak_memory() -> float:
    """Bytes that this process held at most."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
