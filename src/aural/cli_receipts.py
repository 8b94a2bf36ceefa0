"""The command that asks whether what a model says is owed to what it attended to.

aural receipts seven.wav --model demo/model
aural receipts seven.wav --model demo/model --text "seven nine" -o receipts.png
aural receipts yard.wav --model models/sounds --json --out receipts.json
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_sounds import check_out
from .console import quiet_libraries
from .processing.files import write_whole
from .processing.plots import check_picture

if TYPE_CHECKING:
    from .receipting import Receipt, Receipts

RECEIPTS_EXAMPLE = (
    'Example: `aural receipts seven.wav --model demo/model` · `… --text "seven nine" -o receipts.png` · '
    "`aural receipts yard.wav --model models/sounds --json --out receipts.json`"
)


def receipts(
    file: Annotated[Path, typer.Argument(help="Audio file: wav, flac, ogg, opus, mp3.", show_default=False)],
    model: Annotated[str, typer.Option(help="Model folder or Hub id.", show_default=False)],
    text: Annotated[
        str | None,
        typer.Option(
            help="Text to ask for in place of the model's own; of a tagger labels, with commas between.",
            show_default=False,
        ),
    ] = None,
    share: Annotated[
        float | None, typer.Option(help="Of a word's attention, that is muted; default: 0.8.", show_default=False)
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(min=0, help="Times that as much is muted elsewhere; default: 8.", show_default=False),
    ] = None,
    fill: Annotated[str, typer.Option(help="What muted features hold: mean or silence.")] = "mean",
    seed: Annotated[int, typer.Option(min=0, help="What the places elsewhere follow from.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    out: Annotated[Path | None, typer.Option(help="File to write; default: standard output.")] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", "-o", help="A .png, .svg or .pdf of what was muted and what it cost.")
    ] = None,
    dark: Annotated[bool, typer.Option("--dark", help="The picture on dark ground.")] = False,
    device: Annotated[str, typer.Option(help="Where the model runs, such as cuda.")] = "cpu",
) -> None:
    """Mute what each word, tag or event attended to, and tell what is left of it.

    Words that keep their confidence have no evidence in the sound.
    """
    quiet_libraries()
    if picture is not None:
        check_picture(picture)
    if out is not None:
        check_out(out, [file])
    from .looking import load_looker
    from .receipting import DRAWS, SHARE
    from .receipting import receipts as ask

    loaded, processor = load_looker(model, device)
    found = ask(
        file,
        loaded,
        processor,
        text=text,
        share=SHARE if share is None else share,
        draws=DRAWS if draws is None else draws,
        seed=seed,
        fill=fill,
    )
    told = json.dumps(found.told(), ensure_ascii=False) + "\n" if as_json else written(found)
    if picture is not None:
        _draw(found, picture, dark)
    if out is None:
        print(told, end="")
    else:
        write_whole(out, told)


def written(found: "Receipts") -> str:
    """Receipts as lines: the text, and a row for each word, tag or event."""
    if not found.items:
        return f"{found.source}: nothing is said, so there is nothing to ask again\n"
    rows = [_row(found, item) for item in found.items]
    head = ("", "muted", "sure", "worth", "nats lost", "elsewhere", "more than")
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [found.text]
    for row in (head, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, *row[len(head) :]]).rstrip())
    return "\n".join(lines) + "\n"


def _row(found: "Receipts", item: "Receipt") -> tuple[str, ...]:
    stretches = found.evidence_seconds(item)
    where = f"{stretches[0][0]:.2f} to {stretches[-1][1]:.2f} s" if stretches else "nothing"
    others, more = "–", "–"
    if item.random_mean is not None and item.share_below is not None:
        others = f"{item.random_mean:.2f} ± {item.random_spread:.2f}"
        more = f"{item.share_below:.0%} of {len(item.random_drops)}"
    cells = (item.text, where, f"{item.confidence:.0%}", f"{item.worth:+.0%}", f"{item.drop:.2f}", others, more)
    return (*cells, "no evidence in the sound") if item.without_evidence else cells


def _draw(found: "Receipts", path: Path, dark: bool) -> None:
    from .processing.plot_receipts import plot_receipts
    from .processing.plots import save_figure

    if not found.items:
        raise ValueError(f"{found.source}: nothing is said, so there is no picture of it")
    end = found.feature_start + len(found.features) * found.seconds_per_feature
    hertz = (float(found.row_hertz.min()), float(found.row_hertz.max()))
    span = (found.feature_start, end)
    figure = plot_receipts(found.features, span, hertz, found.column_seconds, found.items, found.text, dark)
    save_figure(figure, path)
