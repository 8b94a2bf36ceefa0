"""Commands for models of speech.

aural transcribe seven.wav nine.wav --model demo/model --json
aural transcribe film.flac --model demo/model --format srt --out subtitles --resume
aural transcribe --dataset data/speech --model demo/model --out out/speech
ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 -m aural transcribe --dataset data/speech --model demo/model …
"""

from enum import Enum
from pathlib import Path
from typing import Annotated

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
from .cli_language import (
    CtcOption,
    HotWordOption,
    LexiconOption,
    LmOption,
    LmWeightOption,
    NgramOption,
    NgramWeightOption,
    options_beside,
)
from .console import quiet_libraries
from .long_files import Format

TRANSCRIBE_EXAMPLE = (
    "Example: `aural transcribe seven.wav nine.wav --model demo/model --json` · "
    "`aural transcribe film.flac --model demo/model --format srt --out subtitles` · "
    "`aural transcribe --dataset data/speech --split test --model demo/model --out out/speech`"
)
_LONG = "Long recordings"


class Vad(str, Enum):
    """What finds pauses."""

    energy = "energy"
    silero = "silero"


def transcribe(
    model: Annotated[str, typer.Option(help="Model folder or Hub id.", show_default=False)],
    files: Annotated[
        list[Path] | None, typer.Argument(help="Audio files: wav, flac, ogg, opus, mp3.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file and line.")] = False,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="Of the transcript: text, JSON with times (a line per segment, in a file one object), subtitles as "
            "SubRip or WebVTT; default: text.",
        ),
    ] = None,
    beams: Annotated[
        int | None, typer.Option(min=1, max=64, help="Width of the beam search; default: the model's.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Clips decoded together; default: 8, or no limit beside --seconds-per-batch."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Where the model runs, such as cuda; default: cpu, for a corpus an accelerator if any."),
    ] = None,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    subset: SubsetOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder: of a file NAME.txt, .json, .srt or .vtt for each recording, never over one that is there; "
            "or of the parquet files of a corpus.",
            show_default=False,
        ),
    ] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(
            help="Longer recordings are cut at pauses, into stretches of at most so many seconds; default: the "
            "model's, else 15.",
            show_default=False,
            rich_help_panel=_LONG,
        ),
    ] = None,
    vad: Annotated[
        Vad | None,
        typer.Option(
            help="What finds pauses: energy, or silero with the package silero-vad; default: energy.",
            rich_help_panel=_LONG,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="With --out: keep what is done, go on where it stopped.", rich_help_panel=_LONG),
    ] = False,
    ctc_weight: CtcOption = None,
    lm: LmOption = None,
    lm_weight: LmWeightOption = None,
    ngram: NgramOption = None,
    ngram_weight: NgramWeightOption = None,
    hot_word: HotWordOption = None,
    lexicon: LexiconOption = None,
    seconds_per_batch: SecondsOption = None,
    shard_rows: ShardOption = None,
    audio_column: AudioOption = None,
    target_column: TargetOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Write down what is said in audio files, or in a corpus."""
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
    options = options_beside(beams, ctc_weight, lm, lm_weight, ngram, ngram_weight, hot_word, lexicon)
    for_files = {"--json": as_json, "--format": form, "--max-seconds": max_seconds, "--vad": vad, "--resume": resume}
    quiet_libraries()
    if dataset is None or out is None:
        _check_files(files, as_json, form, out, resume)
        from .cli_recordings import Asked, transcribe_files

        vad_name, length = (vad or Vad.energy).value, max_seconds
        told = (form or Format.text, as_json, out, resume, quiet)
        transcribe_files(Asked(files, model, device or "cpu", batch_size or 8, options, length, vad_name, *told))
        return
    refuse_with_dataset(for_files)
    from .annotators import Transcriber

    transcriber = Transcriber(model, batch_size, seconds_per_batch, device, audio_column or "audio", **options)
    annotate(transcriber, dataset, out, split, subset, shard_rows, target_column, quiet)


def _check_files(files: list[Path], as_json: bool, form: Format | None, out: Path | None, resume: bool) -> None:
    """Refuse options that do not go together."""
    if as_json and form is not None:
        raise typer.BadParameter(f"--json and --format {form.value} exclude each other")
    if as_json and out is not None:
        raise typer.BadParameter("--json prints a line per file; with --out give --format json")
    if resume and out is None:
        raise typer.BadParameter("--resume goes on with the files of --out FOLDER; give it too")
    if form in (Format.srt, Format.vtt) and out is None and len(files) > 1:
        raise typer.BadParameter(f"--format {form.value} of {len(files)} files: give --out FOLDER, a file for each")
