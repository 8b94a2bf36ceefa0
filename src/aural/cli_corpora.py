"""`aural corpora NAME OUT`: one command per corpus that anyone can make at home."""

from pathlib import Path
from typing import Annotated

import typer

corpora_app = typer.Typer(
    help="Make a corpus: an audiofolder with a split, from packages that carry labelled speech or sounds.",
    epilog="Example: `aural corpora prompts-en data/prompts-en` · `aural corpora drums data/drums`",
    no_args_is_help=True,
)

Out = Annotated[Path, typer.Argument(help="Folder to make; must not exist or be empty.", show_default=False)]
Packages = Annotated[
    Path | None, typer.Option(help="Folder of Debian packages, as .deb files or unpacked; default: download.")
]


@corpora_app.command(
    "prompts-en", epilog="Example: `aural corpora prompts-en data/prompts-en` · `… --packages unpacked/`"
)
def prompts_en(out: Out, packages: Packages = None) -> None:
    """English telephone prompts of one voice, 18 minutes with text, from Debian's asterisk-core-sounds-en."""
    from .training.corpora import make_prompts_en

    print(make_prompts_en(out, packages))


@corpora_app.command("drums", epilog="Example: `aural corpora drums data/drums` · `… --packages unpacked/`")
def drums(out: Out, packages: Packages = None) -> None:
    """Single drum hits in 10 classes and 5 folds by kit, from Debian's hydrogen-drumkits and hydrogen-data."""
    from .training.drums import make_drums

    print(make_drums(out, packages))
