"""Commands for models that caption.

aural caption yard.wav --model demo-captions/model
aural caption yard.wav park.flac --model demo-captions/model --json --out captions.jsonl
aural corpora effects data/effects
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_corpora import Out, Packages
from .cli_sounds import check_out
from .console import quiet_libraries, say_error
from .heard_bar import heard_bar
from .processing.events import json_lines
from .processing.files import write_whole
from .processing.plots import check_picture

if TYPE_CHECKING:
    from .captioning import Caption

CAPTION_EXAMPLE = (
    "Example: `aural caption yard.wav --model demo-captions/model` · "
    "`aural caption yard.wav park.flac --model demo-captions/model --json --out captions.jsonl`"
)
EFFECTS_EXAMPLE = "Example: `aural corpora effects data/effects` · `… --packages unpacked/`"


def caption(
    files: Annotated[list[Path], typer.Argument(help="Audio files: wav, flac, ogg, opus, mp3.", show_default=False)],
    model: Annotated[str, typer.Option(help="Model folder or Hub id.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per caption and line.")] = False,
    beams: Annotated[
        int | None, typer.Option(min=1, max=64, help="Width of the beam search; default: the model's.")
    ] = None,
    nbest: Annotated[int, typer.Option(min=1, help="Captions to tell of each; with --json.")] = 1,
    max_seconds: Annotated[
        float | None,
        typer.Option(
            help="Longer recordings get a caption for each stretch of so many seconds; default: the model's, else 30.",
            show_default=False,
        ),
    ] = None,
    no_repeat: Annotated[
        int | None,
        typer.Option("--no-repeat", min=1, help="Words in a row that no caption has twice; default: the model's."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; default: standard output.")] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="Of one file: a .png, .svg or .pdf of where each word of its first caption looked."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Stretches captioned together.")] = 8,
    device: Annotated[str, typer.Option(help="Where the model runs, such as cuda.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Say in a sentence what is heard in audio files."""
    quiet_libraries()
    if nbest > 1 and not as_json:
        raise typer.BadParameter("--nbest is for --json: text has one caption of each")
    if picture is not None and len(files) > 1:
        raise typer.BadParameter(f"--picture is of one file, not of {len(files)}")
    if picture is not None:
        check_picture(picture)
    if out is not None:
        check_out(out, files)
    from .captioning import caption as caption_audio
    from .captioning import load_captioner, longest_window

    loaded, processor = load_captioner(model, device)
    longest_window(loaded, max_seconds)  # a wrong one is wrong for every file
    options: dict[str, Any] = {"num_beams": beams, "no_repeat_ngram_size": no_repeat}
    options = {name: value for name, value in options.items() if value is not None}
    texts: list[str] = []
    failed = False
    for file in files:
        try:
            with heard_bar(file.name, quiet) as progress:
                found = caption_audio(file, loaded, processor, batch_size, nbest, max_seconds, progress, **options)
        except (OSError, ValueError) as error:  # one bad file costs the others nothing
            failed = True
            say_error(error)
            continue
        texts.append(written(found, as_json, f"{file}: " if len(files) > 1 else ""))
        if out is None:
            print(texts[-1], end="", flush=True)
        if picture is not None:
            _draw(file, found[0], processor, picture)
    if out is not None and texts:
        write_whole(out, "".join(texts))
    if failed:
        raise typer.Exit(2)


def written(captions: "Sequence[Caption]", as_json: bool, name: str = "") -> str:
    """Captions of one recording as lines: text, with its times where there are several; or JSON.

    Args:
        captions: In order.
        as_json: One object per caption, with times in seconds, and words with where each looked most: the middle of
            its attention in seconds and Hz.
        name: Before each line of text.
    """
    if not as_json:
        several = len(captions) > 1
        times = (f"{one.start:.2f} to {one.end:.2f} s: " if several else "" for one in captions)
        return "".join(f"{name}{time}{one.text}\n" for time, one in zip(times, captions, strict=True))
    return json_lines([_row(one) for one in captions])


def _row(one: "Caption") -> dict[str, Any]:
    words = []
    for word in one.words:
        row, column = divmod(int(word.attention.argmax()), word.attention.shape[1])
        looked = {
            "from": round(one.start + float(one.grid.seconds[column, 0]), 3),
            "to": round(one.start + float(one.grid.seconds[column, 1]), 3),
            "hertz": [round(float(edge)) for edge in one.grid.hertz[row]],
        }
        words.append({"text": word.text, "confidence": round(word.confidence, 4), "looked": looked})
    told: dict[str, Any] = {
        "file": one.source,
        "start": round(one.start, 3),
        "end": round(one.end, 3),
        "text": one.text,
        "confidence": round(one.confidence, 4),
        "words": words,
    }
    if one.alternatives:
        told["alternatives"] = [{"text": text, "score": round(score, 4)} for text, score in one.alternatives]
    return told


def _draw(file: Path, one: "Caption", processor: Any, path: Path) -> None:
    """The picture of a recording's first caption."""
    from .processing.audio import load_audio
    from .processing.plot_captions import plot_caption
    from .processing.plots import save_figure

    extractor = processor.feature_extractor
    wave = load_audio(file, extractor.sampling_rate)[: round(one.end * extractor.sampling_rate)]
    features = extractor(wave, sampling_rate=extractor.sampling_rate, padding=False)["input_features"][0]
    words, maps = [word.text for word in one.words], [word.attention for word in one.words]
    save_figure(plot_caption(features, maps, words, one.grid, extractor.seconds_per_frame, title=one.text), path)


def effects(out: Out, packages: Packages = None) -> None:
    """What twenty animals and things sound like, a recording each, from Debian's tuxpaint-stamps-default."""
    from .training.effects import make_effects

    print(make_effects(out, packages))
