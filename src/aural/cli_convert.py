"""The command for checkpoints of other programs.

aural convert audioset_10_10_0.4593.pth models/ast --labels class_labels_indices.csv --license bsd-3-clause
"""

from pathlib import Path
from typing import Annotated

import typer

from .console import quiet_libraries

CONVERT_EXAMPLE = (
    "Example: `aural convert audioset_10_10_0.4593.pth models/ast --labels class_labels_indices.csv "
    "--license bsd-3-clause` · `aural convert models/ast models/ast-5s --frames 512` · "
    "`aural convert models/mine models/theirs --to transformers`"
)


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint of AST, SSAST, PaSST or AudioMAE (.pth, .pt, .bin, .safetensors), or a folder of "
            "transformers' AST or of aural.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to make; must not exist or be empty.", show_default=False)],
    labels: Annotated[
        Path | None, typer.Option(help="Names of the classes: a CSV with display_name, or one a line.")
    ] = None,
    license: Annotated[
        str | None, typer.Option(help="Licence by the Hub's identifier; default: as the source's card says.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Resample the positions to so many frames.")] = None,
    stride: Annotated[
        str | None, typer.Option(help="Resample them to another stride, in mels and frames.", metavar="F,T")
    ] = None,
    to: Annotated[str, typer.Option(help="aural, or transformers for its AST.")] = "aural",
    dialect: Annotated[
        str | None, typer.Option(help="What SOURCE is, where its names do not tell: ast, ssast, passt, audiomae.")
    ] = None,
    heads: Annotated[int | None, typer.Option(min=1, help="Its attention heads; default: width / 64.")] = None,
    pooling: Annotated[str | None, typer.Option(help="Its pooling: cls, cls_distillation or mean.")] = None,
    source_frames: Annotated[
        int | None, typer.Option(min=1, help="Frames that its positions are for, where several fit.")
    ] = None,
    source_stride: Annotated[
        str | None, typer.Option(help="Stride of its patches, where several fit.", metavar="F,T")
    ] = None,
    frame_shift: Annotated[
        float | None, typer.Option(help="Milliseconds from one of its frames to the next, where it is not known.")
    ] = None,
    multi_label: Annotated[
        bool | None,
        typer.Option("--multi-label/--single-label", help="Whether its clips have several labels at once."),
    ] = None,
) -> None:
    """Make a folder of aural from another program's checkpoint, or of transformers' AST from one of aural."""
    from .converting import convert as convert_checkpoint
    from .modeling.convert_shared import Told

    quiet_libraries()
    told = Told(
        dialect=dialect,
        heads=heads,
        frames=source_frames,
        stride=_pair("--source-stride", source_stride),
        pooling=pooling,
        frame_shift_ms=frame_shift,
        multi_label=multi_label,
    )
    print(convert_checkpoint(source, out, labels, told, frames, _pair("--stride", stride), license, to))


def _pair(option: str, text: str | None) -> tuple[int, int] | None:
    """Two numbers from "10,10"."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() and int(part) for part in parts):
        raise typer.BadParameter(
            f"{option} {text!r} must be two numbers of at least 1, mels and frames, such as 10,10"
        )
    return int(parts[0]), int(parts[1])
