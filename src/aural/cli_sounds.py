"""Commands for models of sounds.

aural tag yard.wav --model models/sounds
aural tag night.flac --model models/sounds --events --audacity --out night.txt
aural tag --dataset 'data/*.parquet' --model models/sounds --out out/tags
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_annotate import (
    AudioOption,
    DatasetOption,
    SecondsOption,
    ShardOption,
    SplitOption,
    SubsetOption,
    TargetOption,
    annotate,
    check_inputs,
    refuse_with_dataset,
)
from .console import quiet_libraries, say_error
from .heard_bar import Heard, heard_bar
from .processing.events import (
    THRESHOLD,
    Event,
    audacity_labels,
    check_seconds,
    csv_lines,
    json_lines,
    label_thresholds,
)
from .processing.files import write_whole

if TYPE_CHECKING:
    from .tagging import Tagging

TAG_EXAMPLE = (
    "Example: `aural tag yard.wav --model models/sounds` · "
    "`aural tag night.flac --model models/sounds --events --threshold 0.4 --threshold Dog=0.6 --csv --out night.csv`"
    " · `aural tag --dataset data/sounds --model models/sounds --out out/tags`"
)
TOP_K = 5
BATCH_SIZE = 8


def tag(
    model: Annotated[str, typer.Option(help="Model folder or Hub id.", show_default=False)],
    files: Annotated[
        list[Path] | None, typer.Argument(help="Audio files: wav, flac, ogg, opus, mp3.", show_default=False)
    ] = None,
    events: Annotated[bool, typer.Option("--events", help="Sounds from onset to offset.")] = False,
    top_k: Annotated[int | None, typer.Option(min=1, help="Tags per file; default: 5, in a corpus all.")] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(help="Lowest score, or LABEL=SCORE; may be repeated. Default for events: 0.5.", metavar="SCORE"),
    ] = None,
    window: Annotated[
        float | None, typer.Option(help="Seconds heard at once; default: 10, or the model's length if that is less.")
    ] = None,
    hop: Annotated[float | None, typer.Option(help="Seconds between windows; default: half the window.")] = None,
    median: Annotated[float, typer.Option(help="Median filter for events, in seconds.")] = 0.0,
    min_duration: Annotated[float, typer.Option(help="Seconds below which an event is dropped.")] = 0.0,
    min_gap: Annotated[float, typer.Option(help="Seconds up to which a gap in an event is closed.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file, or per event, and line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A table with a header.")] = False,
    audacity: Annotated[bool, typer.Option("--audacity", help="Events of one file as a label track.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="File to write; default: standard output. For a corpus a folder.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Windows scored together; default: 8, or no limit beside --seconds-per-batch."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Where the model runs, such as cuda; default: cpu, for a corpus an accelerator if any."),
    ] = None,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    subset: SubsetOption = None,
    seconds_per_batch: SecondsOption = None,
    shard_rows: ShardOption = None,
    audio_column: AudioOption = None,
    target_column: TargetOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Say which sounds audio files of any length hold, and when; or which a corpus holds, clip by clip."""
    corpus_options = {
        "--split": split,
        "--subset": subset,
        "--seconds-per-batch": seconds_per_batch,
        "--shard-rows": shard_rows,
        "--audio-column": audio_column,
        "--target-column": target_column,
    }
    files = files or []
    check_inputs(files, dataset, out, corpus_options)
    shaping = {"median": median, "min_duration": min_duration, "min_gap": min_gap}
    quiet_libraries()
    if dataset is not None and out is not None:
        forms = {"--json": as_json, "--csv": as_csv, "--audacity": audacity, "--events": events}
        by_name = {f"--{name.replace('_', '-')}": value for name, value in shaping.items()}
        refuse_with_dataset({**forms, "--threshold": threshold, **by_name})
        from .annotators import Tagger

        tagger = Tagger(model, top_k, window, hop, batch_size, seconds_per_batch, device, audio_column or "audio")
        annotate(tagger, dataset, out, split, subset, shard_rows, target_column, quiet)
        return
    check_seconds(**shaping)
    _check_options(events, top_k, shaping)
    form = _form(events, len(files), as_json, as_csv, audacity)
    if out is not None:
        check_out(out, files)
    hear, labels = _hearing(model, device or "cpu", window, hop, batch_size or BATCH_SIZE)
    thresholds = _thresholds(threshold or [], labels, THRESHOLD if events else 0.0)
    label_thresholds(thresholds, labels)

    def written(file: Path, result: "Tagging", with_header: bool) -> str:
        name = f"{file}: " if len(files) > 1 else ""
        if events:
            return _events_text(str(file), result.events(thresholds, **shaping), form, name, with_header)
        tags = [(label, score) for label, score in result.top(top_k or TOP_K) if score >= thresholds[label]]
        return _tags_text(str(file), result.seconds, tags, form, name, with_header)

    _tag_files(files, hear, written, out, quiet)


def _hearing(
    model: str, device: str, window: float | None, hop: float | None, batch_size: int
) -> "tuple[Callable[[Path, Heard], Tagging], tuple[str, ...]]":
    """What tags a file, and the labels that it knows."""
    from .tagging import WindowPlan, is_framewise, label_names, load_tagger
    from .tagging import tag as tag_audio

    loaded, extractor = load_tagger(model, device)
    WindowPlan.of(loaded.config, extractor, is_framewise(loaded), window, hop)  # a wrong one is wrong for every file

    def hear(file: Path, progress: Heard) -> "Tagging":
        return tag_audio(file, loaded, extractor, window, hop, batch_size, progress)[0]

    return hear, label_names(loaded)


def _tag_files(
    files: list[Path],
    hear: "Callable[[Path, Heard], Tagging]",
    written: "Callable[[Path, Tagging, bool], str]",
    out: Path | None,
    quiet: bool,
) -> None:
    """Print each file's text as it comes, or write all of them into `out`."""
    texts: list[str] = []
    failed = False
    for file in files:
        try:
            with heard_bar(file.name, quiet) as progress:
                result = hear(file, progress)
        except (OSError, ValueError) as error:  # one bad file costs the others nothing
            failed = True
            say_error(error)
            continue
        texts.append(written(file, result, not texts))
        if out is None:
            print(texts[-1], end="", flush=True)
    if out is not None and texts:
        write_whole(out, "".join(texts))
    if failed:
        raise typer.Exit(2)


def _check_options(events: bool, top_k: int | None, shaping: dict[str, float]) -> None:
    """Refuse options that would do nothing."""
    if events and top_k is not None:
        raise typer.BadParameter("--top-k is for tags of whole files; with --events give --threshold")
    if not events and (useless := [f"--{name.replace('_', '-')}" for name, value in shaping.items() if value]):
        raise typer.BadParameter(f"{', '.join(useless)}: only for --events")


def check_out(out: Path, files: list[Path]) -> None:
    """Refuse, before the hours of work, a file that cannot be written or must not be lost."""
    if out.is_dir():
        raise IsADirectoryError(f"--out {out}: is a folder; a file is needed")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"--out {out}: there is no folder {out.parent}")
    if out.resolve() in {file.resolve() for file in files}:
        raise ValueError(f"--out {out}: is one of the audio files")


def _form(events: bool, files: int, as_json: bool, as_csv: bool, audacity: bool) -> str:
    """How results are written: "plain", "json", "csv" or "audacity"."""
    chosen = [name for name, wanted in (("json", as_json), ("csv", as_csv), ("audacity", audacity)) if wanted]
    if len(chosen) > 1:
        raise typer.BadParameter(f"{' and '.join(f'--{name}' for name in chosen)} exclude each other")
    if audacity and not events:
        raise typer.BadParameter("--audacity: a label track holds events; give --events too")
    if audacity and files > 1:
        raise typer.BadParameter(f"--audacity: a label track is for one file, not {files}")
    return chosen[0] if chosen else "plain"


def _thresholds(given: list[str], labels: tuple[str, ...], base: float) -> dict[str, float]:
    """A threshold for each label from `SCORE` and `LABEL=SCORE`."""
    by_label: dict[str, float] = {}
    for text in given:
        label, named, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise typer.BadParameter(f"--threshold {text!r}; allowed are a number and LABEL=NUMBER") from None
        if named:
            by_label[label] = value
        else:
            base = value
    return {**dict.fromkeys(labels, base), **by_label}


def _events_text(file: str, events: list[Event], form: str, name: str, with_header: bool) -> str:
    if form == "audacity":
        return audacity_labels(events)
    rows = [
        {
            "file": file,
            "onset": round(event.onset, 3),
            "offset": round(event.offset, 3),
            "label": event.label,
            "score": round(event.score, 4),
        }
        for event in events
    ]
    if form == "json":
        return json_lines(rows)
    if form == "csv":
        return csv_lines(rows, ("file", "onset", "offset", "label", "score") if with_header else None)
    return "".join(f"{name}{e.onset:.2f} to {e.offset:.2f} s: {e.label} ({e.score:.2f})\n" for e in events)


def _tags_text(
    file: str, seconds: float, tags: list[tuple[str, float]], form: str, name: str, with_header: bool
) -> str:
    rows = [{"label": label, "score": round(score, 4)} for label, score in tags]
    if form == "json":
        return json_lines([{"file": file, "seconds": round(seconds, 3), "tags": rows}])
    if form == "csv":
        return csv_lines([{"file": file, **row} for row in rows], ("file", "label", "score") if with_header else None)
    return "".join(f"{name}{label} ({score:.2f})\n" for label, score in tags)
