"""Commands for models of speech.

aural transcribe seven.wav nine.wav --model demo/model --json
aural transcribe --dataset data/speech --model demo/model --out out/speech
ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 -m aural transcribe --dataset data/speech --model demo/model …
"""

import json
from pathlib import Path
from typing import Annotated, Any

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

TRANSCRIBE_EXAMPLE = (
    "Example: `aural transcribe seven.wav nine.wav --model demo/model --json` · "
    "`aural transcribe --dataset data/speech --split test --model demo/model --out out/speech`"
)


def transcribe(
    model: Annotated[str, typer.Option(help="Model folder or Hub id.", show_default=False)],
    files: Annotated[
        list[Path] | None, typer.Argument(help="Audio files: wav, flac, ogg, opus, mp3.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per file and line.")] = False,
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
        typer.Option(help="Folder for the parquet files of a corpus.", show_default=False, rich_help_panel="A corpus"),
    ] = None,
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
        "--out": out,
        "--seconds-per-batch": seconds_per_batch,
        "--shard-rows": shard_rows,
        "--audio-column": audio_column,
        "--target-column": target_column,
    }
    check_inputs(files or [], dataset, out, corpus_options)
    options: dict[str, Any] = {} if beams is None else {"num_beams": beams}
    quiet_libraries()
    if dataset is None or out is None:
        _transcribe_files(files or [], model, device or "cpu", as_json, batch_size or 8, options)
        return
    refuse_with_dataset({"--json": as_json})
    from .annotators import Transcriber

    transcriber = Transcriber(model, batch_size, seconds_per_batch, device, audio_column or "audio", **options)
    annotate(transcriber, dataset, out, split, subset, shard_rows, target_column, quiet)


def _transcribe_files(
    files: list[Path], model: str, device: str, as_json: bool, batch_size: int, options: dict[str, Any]
) -> None:
    from .processing import load_audio
    from .transcription import load_recognizer
    from .transcription import transcribe as transcribe_audio

    loaded, processor = load_recognizer(model, device)
    rate, failed = processor.feature_extractor.sampling_rate, False
    for start in range(0, len(files), batch_size):  # printed as it comes: a long list shows its progress
        readable = {}
        for file in files[start : start + batch_size]:
            try:
                readable[file] = load_audio(file, rate)
            except (OSError, ValueError) as error:  # one bad file costs the others nothing
                failed = True
                say_error(error)
        results = transcribe_audio(list(readable.values()), loaded, processor, batch_size, **options)
        for file, result in zip(readable, results, strict=True):
            if as_json:
                line = {"file": str(file), "text": result.text, "seconds": round(result.seconds, 3)}
                print(json.dumps(line, ensure_ascii=False), flush=True)
            else:
                print(f"{file}: {result.text}" if len(files) > 1 else result.text, flush=True)
    if failed:
        raise typer.Exit(2)
