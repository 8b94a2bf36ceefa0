"""`aural train`, `aural evaluate`, `aural merge`, `aural recipes`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from .console import quiet_libraries

TRAIN_EXAMPLE = (
    "Example: `aural train prompts-en --out runs/prompts` · `aural train my.yaml --set training.max_steps=200` · "
    "`torchrun --nproc_per_node 2 -m aural train prompts-en`"
)
EVALUATE_EXAMPLE = "Example: `aural evaluate runs/prompts` · `aural evaluate user/model --data my_clips --split test`"

MERGE_EXAMPLE = "Example: `aural merge runs/mine/adapter models/mine`"

recipes_app = typer.Typer(
    help="Recipes that come with aural: what `aural train` can run by name.",
    epilog="Example: `aural recipes list` · `aural recipes show prompts-en > mine.yaml`",
    no_args_is_help=True,
)

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="section.key=value in place of the recipe's; may come several times.", metavar="KEY=VALUE"
    ),
]


def train(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or a name of `aural recipes list`.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; default: runs/RECIPE. The same command goes on there.")
    ] = None,
    set_: Set = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count the data, build the model, and estimate time and disk.")
    ] = False,
) -> None:
    """Train a model by a recipe, go on with a run that was stopped, and measure it when it is over."""
    quiet_libraries()
    from .training.recipe_files import load_recipe

    loaded = load_recipe(recipe, set_ or [])
    if dry_run:
        from .dry_run import dry_run as try_out
        from .dry_run import render

        console = Console()
        for part in render(try_out(loaded)):
            console.print(part, markup=False, highlight=False)
        return
    from .runs import train as run

    run(loaded, out or Path("runs") / Path(recipe).stem)


def evaluate(
    model: Annotated[str, typer.Argument(help="Model folder or Hub id.", show_default=False)],
    data: Annotated[
        str | None, typer.Option(help="Folder, files or Hub id; default: test sets of the recipe beside the model.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Which split of the data.")] = None,
    column: Annotated[str | None, typer.Option(help="Column of the text or label, where it has another name.")] = None,
    normalization: Annotated[
        str | None, typer.Option(help="Of the texts, by name; default: that of the recipe beside the model.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Clips at once.")] = 16,
    out: Annotated[Path | None, typer.Option(help="File for all results, each clip's answer too, as JSON.")] = None,
) -> None:
    """Measure a model on data that it was not trained on."""
    quiet_libraries()
    from .evaluation import evaluate as measure
    from .run_results import said
    from .training.sources import Source

    if data is None and (split is not None or column is not None):
        raise typer.BadParameter("--split and --column are for --data")
    sets = None if data is None else {data: [Source(data, split=split, target_column=column)]}
    for line in said(measure(model, sets, normalization, batch_size, out)):
        print(line)


def merge(
    adapter: Annotated[Path, typer.Argument(help="Folder of adapters that a run left.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder to make; must not exist or be empty.", show_default=False)],
) -> None:
    """Merge LoRA adapters into their base: a model folder like any other."""
    from .training.adapters import merge_adapter

    quiet_libraries()
    print(merge_adapter(adapter, out))


@recipes_app.command("list")
def list_recipes() -> None:
    """Name, status and purpose of each recipe."""
    from .training.recipe_files import load_recipe, recipe_names

    table = Table("recipe", "status", "about")
    for name in recipe_names():
        recipe = load_recipe(name)
        table.add_row(name, recipe.status, recipe.about)
    Console().print(table)


@recipes_app.command("show")
def show_recipe(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or a name of `aural recipes list`.", show_default=False)],
    set_: Set = None,
) -> None:
    """The whole recipe as YAML, with what it extends; a start for one of your own."""
    from .training.recipe import dump_recipe
    from .training.recipe_files import load_recipe

    print(dump_recipe(load_recipe(recipe, set_ or [])), end="")


@recipes_app.command("launch")
def launch_files(
    name: Annotated[str | None, typer.Argument(help="Name of a file; without, they are listed.")] = None,
) -> None:
    """Settings for `accelerate launch`, of one GPU, a node or two: `aural recipes launch one-node > one-node.yaml`."""
    from .training.recipe_files import LAUNCHES, launch_file

    print("\n".join(LAUNCHES) if name is None else launch_file(name), end="\n" if name is None else "")
