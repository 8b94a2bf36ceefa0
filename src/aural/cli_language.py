"""Language models and others beside a recogniser: the command that makes an n-gram, and what `transcribe` takes.

aural ngram texts.txt --model demo/model --order 6 --out strings.arpa
aural transcribe seven.wav --model demo/model --ngram strings.arpa --ngram-weight 0.3
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import quiet_libraries
from .processing.hot_words import BIAS

NGRAM_EXAMPLE = (
    "Example: `aural ngram texts.txt --model demo/model --order 6 --out strings.arpa`, "
    "then `aural transcribe seven.wav --model demo/model --ngram strings.arpa`"
)


_PANEL = "Beside the model"

CtcOption = Annotated[
    float | None,
    typer.Option("--ctc-weight", min=0, max=1, help="Share of CTC; default: the model's.", rich_help_panel=_PANEL),
]
LmOption = Annotated[
    str | None,
    typer.Option(
        "--lm",
        help="Folder or Hub id of a causal language model over the model's tokens.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
LmWeightOption = Annotated[
    float | None, typer.Option("--lm-weight", min=0, help="Its weight; default: 0.3.", rich_help_panel=_PANEL)
]
NgramOption = Annotated[
    Path | None,
    typer.Option(
        "--ngram",
        help="ARPA file of an n-gram over the model's tokens (`aural ngram`), or over the words of --lexicon.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
NgramWeightOption = Annotated[
    float | None, typer.Option("--ngram-weight", min=0, help="Its weight; default: 0.3.", rich_help_panel=_PANEL)
]
LexiconOption = Annotated[
    Path | None,
    typer.Option(
        "--lexicon",
        help="Of a CTC model: the only words that may be written, a line for each: word and its symbols.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
HotWordOption = Annotated[
    list[str] | None,
    typer.Option(
        "--hot-word",
        help="A word or phrase to prefer; may be given again, and as WORD=BIAS (default: 5).",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]


def options_beside(
    beams: int | None,
    ctc_weight: float | None,
    lm: str | None,
    lm_weight: float | None,
    ngram_file: Path | None,
    ngram_weight: float | None,
    hot_word: list[str] | None,
    lexicon: Path | None = None,
) -> dict[str, Any]:
    """What was typed, as `decoding_options` takes it; what was not typed is left to the model.

    Raises:
        typer.BadParameter: A weight without its model, or a bias that is no number.
    """
    for name, value, needs, needed in (
        ("--lm-weight", lm_weight, "--lm", lm),
        ("--ngram-weight", ngram_weight, "--ngram", ngram_file),
    ):
        if value is not None and needed is None:
            raise typer.BadParameter(f"{name} {value:g}: only with {needs}")
    words: dict[str, float] = {}
    for typed in hot_word or []:
        word, equals, bias = typed.rpartition("=")
        try:
            words[word if equals else typed] = float(bias) if equals else BIAS
        except ValueError:
            raise typer.BadParameter(f"--hot-word {typed}: {bias!r} is no number; WORD=BIAS is allowed") from None
    options = {
        "num_beams": beams,
        "ctc_weight": ctc_weight,
        "lm": lm,
        "lm_weight": lm_weight,
        "ngram": None if ngram_file is None else str(ngram_file),
        "ngram_weight": ngram_weight,
        "hot_words": words or None,
        "lexicon": None if lexicon is None else str(lexicon),
    }
    return {name: value for name, value in options.items() if value is not None}


def ngram(
    texts: Annotated[list[Path], typer.Argument(help="Text files in UTF-8, one text per line.", show_default=False)],
    model: Annotated[str, typer.Option(help="The recogniser's folder or Hub id.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The ARPA file to write.", show_default=False)],
    order: Annotated[int, typer.Option(min=1, max=12, help="Tokens of the longest n-grams.")] = 5,
) -> None:
    """Learn an n-gram over a recogniser's tokens from texts, for `aural transcribe --ngram`."""
    from transformers import AutoProcessor

    from .decoding import ngram_of_texts
    from .loading import load_config
    from .processing.folders import said_of

    quiet_libraries()
    if out.is_dir():
        raise IsADirectoryError(f"--out {out} is a folder; name a file, such as {out / 'texts.arpa'}")
    lines = [line for path in texts for line in read_lines(path)]
    if not lines:
        raise ValueError(f"{texts[0]} holds no text")
    load_config(model, "transcribe")
    with said_of(model):
        tokenizer = AutoProcessor.from_pretrained(model).tokenizer
    found = ngram_of_texts(lines, tokenizer, order)
    found.write(out)
    unknown = sum(tokenizer.unk_token_id in tokenizer(line, add_special_tokens=False).input_ids for line in lines)
    lost = f"; {unknown:,} hold symbols that the recogniser cannot write" if unknown else ""
    print(f"{out}: order {order}, {len(found.grams):,} n-grams of {len(lines):,} texts{lost}")


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty, without the white space around them.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
