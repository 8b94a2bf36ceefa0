"""The command line: one function per verb, each a thin layer over a function that Python users call too.

    aural demo
    aural demo drums --corpus data/drums
    aural demo captions
    aural demo pretraining --corpus data/drums
    aural demo heads --las demo
    aural demo bottleneck
    aural train prompts-en --out runs/prompts-en
    aural evaluate runs/prompts-en
    aural recipes list
    aural convert audioset_10_10_0.4593.pth models/ast --license bsd-3-clause
    aural transcribe seven.wav --model demo/model
    aural transcribe --dataset data/speech --model demo/model --out out/speech
    aural ngram texts.txt --model demo/model --out texts.arpa
    aural tag yard.wav --model models/sounds --events
    aural caption yard.wav --model demo-captions/model
    aural receipts seven.wav --model demo/model
    aural attention seven.wav --model demo/model -o seven.html
    aural app --model demo/model
    aural explain attention -o attention.png
    aural atlas --corpus data/drums --model model_cards/drums -o atlas.png
    aural card demo/model --id user/las-digits
    aural publish demo/model user/las-digits
    aural corpora prompts-en data/prompts-en

Trouble is one line on standard error and exit code 2, never a traceback; AURAL_TRACEBACK=1 shows it for a bug report.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from .cli_app import APP_EXAMPLE
from .cli_app import app as app_command
from .cli_atlas import ATLAS_EXAMPLE, atlas
from .cli_attention import ATTENTION_EXAMPLE, attention
from .cli_captions import CAPTION_EXAMPLE, EFFECTS_EXAMPLE, caption, effects
from .cli_convert import CONVERT_EXAMPLE, convert
from .cli_corpora import corpora_app
from .cli_demo import demo_app
from .cli_explain import explain_app
from .cli_language import NGRAM_EXAMPLE, ngram
from .cli_receipts import RECEIPTS_EXAMPLE, receipts
from .cli_sounds import TAG_EXAMPLE, tag
from .cli_speech import TRANSCRIBE_EXAMPLE, transcribe
from .cli_training import EVALUATE_EXAMPLE, MERGE_EXAMPLE, TRAIN_EXAMPLE, evaluate, merge, recipes_app, train
from .console import say_error
from .version import __version__

app = typer.Typer(
    help="Attention in audio on the Hugging Face stack: train, transcribe, look where the model listens.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(demo_app, name="demo")
app.add_typer(explain_app, name="explain")
app.add_typer(recipes_app, name="recipes")
app.add_typer(corpora_app, name="corpora")
corpora_app.command(epilog=EFFECTS_EXAMPLE)(effects)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"aural {__version__}")
        raise typer.Exit


@app.callback(epilog="Example: `aural demo` trains a small Listen-Attend-Spell model on speech that comes with aural.")
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app.command(epilog=TRAIN_EXAMPLE)(train)
app.command(epilog=EVALUATE_EXAMPLE)(evaluate)
app.command(epilog=MERGE_EXAMPLE)(merge)
app.command(epilog=TRANSCRIBE_EXAMPLE)(transcribe)
app.command(epilog=NGRAM_EXAMPLE)(ngram)
app.command(epilog=TAG_EXAMPLE)(tag)
app.command(epilog=CAPTION_EXAMPLE)(caption)
app.command(epilog=ATTENTION_EXAMPLE)(attention)
app.command(epilog=CONVERT_EXAMPLE)(convert)
app.command(epilog=RECEIPTS_EXAMPLE)(receipts)
app.command(epilog=ATLAS_EXAMPLE)(atlas)
app.command("app", epilog=APP_EXAMPLE)(app_command)


@app.command(epilog="Example: `aural card demo/model` · `aural card demo/model --id user/las-digits`")
def card(
    folder: Annotated[Path, typer.Argument(help="Model folder that holds report.json.", show_default=False)],
    repo_id: Annotated[
        str | None, typer.Option("--id", help="Hub id for the card's code; default: the folder's name.")
    ] = None,
) -> None:
    """Write the model card, FOLDER/README.md, from the run's report there, and check it."""
    from .training.cards import write_card

    print(write_card(folder, repo_id))


@app.command(epilog="Example: `aural publish demo/model user/las-digits --dry-run` · `… --private --revision v2`")
def publish(
    folder: Annotated[
        Path, typer.Argument(help="Model folder with a card (`aural card FOLDER`).", show_default=False)
    ],
    repo_id: Annotated[str, typer.Argument(help="NAMESPACE/NAME on the Hub.", show_default=False)],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch; default: main.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check, and show what would go where.")] = False,
) -> None:
    """Publish a model folder on the Hub, in one commit."""
    from .training.publishing import publish_folder

    print(publish_folder(folder, repo_id, private or None, revision, dry_run))


def main() -> None:
    """Run the command line."""
    try:
        app()
    except (ValueError, OSError, TypeError, RuntimeError, ImportError) as error:
        if os.environ.get("AURAL_TRACEBACK"):
            raise
        say_error(error)
        sys.exit(2)
