"""Commands for language models beside a recogniser.

aural ngram texts.txt --model demo/model --order 6 --out strings.arpa
aural transcribe seven.wav --model demo/model --ngram strings.arpa --ngram-weight 0.3
"""

from pathlib import Path
from typing import Annotated

import typer

from .console import quiet_libraries

NGRAM_EXAMPLE = (
    "Example: `aural ngram texts.txt --model demo/model --order 6 --out strings.arpa`, "
    "then `aural transcribe seven.wav --model demo/model --ngram strings.arpa`"
)


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
