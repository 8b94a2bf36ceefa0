"""The command that shows where a model looks.

aural attention seven.wav --model demo/model
aural attention yard.wav --model models/sounds --layer 5 --query 1.2,800 -o yard.svg
aural attention seven.wav --model demo/model --against demo/later -o seven.html
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_sounds import check_out
from .console import quiet_libraries
from .processing.files import write_whole
from .processing.plots import PICTURES

if TYPE_CHECKING:
    from .looking import Look

ATTENTION_EXAMPLE = (
    "Example: `aural attention seven.wav --model demo/model` · "
    "`aural attention yard.wav --model models/sounds --layer 5 --query 1.2,800 -o yard.svg` · "
    "`aural attention seven.wav --model demo/model --against demo/later -o seven.html`"
)
PAGES = (".html", ".htm")


def attention(
    file: Annotated[Path, typer.Argument(help="Audio file: wav, flac, ogg, opus, mp3.", show_default=False)],
    model: Annotated[str, typer.Option(help="Model folder or Hub id.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Picture (.png, .svg, .pdf), or page with sound (.html). A file that you name is replaced. Default: "
            "NAME-attention.png here, or with a number where that is taken.",
            show_default=False,
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="Self-attention by its number from 0, or a map by its name: layers.3, decoder.1.cross, rollout, "
            "alignment. Default: what is natural for the model.",
            show_default=False,
        ),
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="Its number from 0, or mean. Default: all, or their mean.", show_default=False)
    ] = None,
    word: Annotated[
        str | None, typer.Option(help="Of what is written: the word, or its number from 0.", show_default=False)
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(
            help="What looks, in self-attention: clip, SECONDS, or SECONDS,HZ. Default: clip.", show_default=False
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(help="What the model is made to write, in place of what it would.", show_default=False),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="A second model, to compare with on the same clip.", show_default=False)
    ] = None,
    start: Annotated[float, typer.Option(min=0, help="Second to begin at.")] = 0.0,
    end: Annotated[float | None, typer.Option(help="Second to end at; default: the end.", show_default=False)] = None,
    beams: Annotated[
        int | None, typer.Option(min=1, max=64, help="Width of the beam search; default: the model's.")
    ] = None,
    dark: Annotated[bool, typer.Option("--dark", help="On dark ground.")] = False,
    dpi: Annotated[int, typer.Option(min=20, max=600, help="Pixels per inch of a .png.")] = 150,
    device: Annotated[str, typer.Option(help="Where the model runs, such as cuda.")] = "cpu",
) -> None:
    """Show where a model looks in a clip: over its spectrogram, in seconds and Hz, as a picture or a page."""
    quiet_libraries()
    path = _free(file) if out is None else out
    if path.suffix.lower() not in (*PICTURES, *PAGES):
        raise typer.BadParameter(f"--out {path}: its name ends in {', '.join((*PICTURES, PAGES[0]))}")
    check_out(path, [file])
    asked = {"layer": _number(layer), "head": _number(head), "query": _place(query)}
    from .looking import look

    options: dict[str, Any] = {"text": text, "num_beams": beams, "start": start, "end": end, "device": device}
    looks = [look(file, folder, **options) for folder in (model, against) if folder is not None]
    write_attention(looks, path, {**asked, "word": _word(looks[0], word)}, dark, dpi)
    print(path)


def write_attention(looks: list["Look"], path: Path, asked: dict[str, Any], dark: bool, dpi: int = 150) -> None:
    """Write the picture or the page of one look, or of two, by the ending of the path: whole or not at all.

    Args:
        looks: One, or two of the same clip.
        path: Ends in .png, .svg, .pdf or .html.
        asked: layer, head, word and query, as of `plots.figure`.
        dark: On dark ground.
        dpi: Pixels per inch of a .png.

    Raises:
        ValueError: A model lacks what is asked for.
        OSError: The file cannot be written.
    """
    if path.suffix.lower() in PAGES:
        from .attention_page import attention_page

        write_whole(path, attention_page(*looks, **asked, dark=dark or None))
        return
    from . import plots

    one, *others = looks
    drawn = plots.compare(one, others[0], **asked, dark=dark) if others else plots.figure(one, **asked, dark=dark)
    plots.save_figure(drawn, path, dpi)


def _free(file: Path) -> Path:
    """A name in this folder that no file has."""
    number, path = 1, Path(f"{file.stem}-attention.png")
    while path.exists():
        number += 1
        path = Path(f"{file.stem}-attention-{number}.png")
    return path


def _number(said: str | None) -> int | str | None:
    return int(said) if said is not None and re.fullmatch(r"\d+", said) else said


def _place(said: str | None) -> Any:
    """What --query says, as `Map.query_at` takes it."""
    if said is None or said == "clip":
        return said
    try:
        numbers = [float(part) for part in said.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise typer.BadParameter(f"--query {said}: allowed are clip, SECONDS, and SECONDS,HZ such as 1.2,800")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def _word(seen: "Look", said: str | None) -> int | str | None:
    """What --word says: a number counts words, unless it is itself one of them."""
    if said is None or said in [word.text for word in seen.words]:
        return said
    return _number(said)
