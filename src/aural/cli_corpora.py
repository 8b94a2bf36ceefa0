"""`aural corpora NAME OUT`: one command per corpus that anyone can make at home."""

from pathlib import Path
from typing import Annotated

import typer

corpora_app = typer.Typer(
    help="Make a corpus: an audiofolder with a split, from packages that carry labelled speech or sounds.",
    epilog="Example: `aural corpora prompts-en data/prompts-en` · `aural corpora synthetic-en data/synthetic-en`",
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


@corpora_app.command(
    "synthetic-en",
    epilog="Example: `aural corpora synthetic-en data/synthetic-en --hours 5` · `… --seed 1 --workers 2`",
)
def synthetic_en(
    out: Out,
    hours: Annotated[float, typer.Option(help="Hours of speech: 91% train, 3% each of dev and two test sets.")] = 5.0,
    seed: Annotated[int, typer.Option(help="Of every draw: the same seed and hours give the same files.")] = 0,
    workers: Annotated[int | None, typer.Option(help="Processes that speak.", show_default="one per core")] = None,
    packages: Packages = None,
) -> None:
    """English clauses of Debian's fortunes in 28 voices of flite and eSpeak NG, with noise and rooms, to learn from.

    eSpeak NG comes with `pip install espeakng-loader` or Debian's espeak-ng.
    """
    from .training.synthetic import make_synthetic_en

    print(make_synthetic_en(out, hours, seed, packages, workers))


@corpora_app.command(
    "fillets-nl", epilog="Example: `aural corpora fillets-nl data/fillets-nl` · `… --packages unpacked/`"
)
def fillets_nl(out: Out, packages: Packages = None) -> None:
    """Dutch dialogue of a game by two actors, 90 minutes with text, from Debian's fillets-ng-data-nl."""
    from .training.fillets import make_fillets_nl

    print(make_fillets_nl(out, packages))


@corpora_app.command(
    "stamps", epilog="Example: `aural corpora stamps data/stamps-fr` · `… data/stamps --language es --language ca`"
)
def stamps(
    out: Out,
    language: Annotated[
        list[str] | None,
        typer.Option(help="Language code, repeatable: fr, ro, ru, ca, bg, es, be, el, da.", show_default="fr"),
    ] = None,
    packages: Packages = None,
) -> None:
    """Spoken descriptions of pictures, 1 to 3 seconds each, from Debian's tuxpaint-stamps-default."""
    from .training.stamps import make_stamps

    print(make_stamps(out, language or ("fr",), packages))


@corpora_app.command("drums", epilog="Example: `aural corpora drums data/drums` · `… --packages unpacked/`")
def drums(out: Out, packages: Packages = None) -> None:
    """Single drum hits in 10 classes and 5 folds by kit, from Debian's hydrogen-drumkits and hydrogen-data."""
    from .training.drums import make_drums

    print(make_drums(out, packages))
