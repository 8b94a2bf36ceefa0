"""stamps: short spoken descriptions of Tux Paint's pictures, in a dozen languages, from a Debian package.

    python -c "from aural.training.stamps import make_stamps; print(make_stamps('stamps-fr', ['fr']))"

What is notable here:

- most clips are one to three seconds long: short enough to learn to attend from;
- a clip's split follows from its text alone, so that no text is in two splits and a second run gives the same corpus;
- a corpus is made whole or not at all: it is written beside its place and renamed.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .corpora import split_of
from .corpus_files import CorpusSummary, package_version, refuse_taken, unpacked, written_whole
from .normalization import normalize_text
from .spoken_clips import Clip, summarize, write_clips, write_gpl_2

PACKAGE = "tuxpaint-stamps-default"

_STAMPS = Path("usr/share/tuxpaint/stamps")
_SPOKEN = re.compile(r"(?P<stamp>.+)_desc_(?P<language>[a-z]{2,3}(?:_[A-Z]{2})?)\.ogg")


def make_stamps(
    out: str | Path, languages: Sequence[str] = ("fr",), packages: str | Path | None = None
) -> CorpusSummary:
    """Make the corpus `stamps`: what is on a picture, said in one or more languages.

    `out` receives `{train,dev,test}/LANGUAGE-PATH-NAME.flac` (mono, 16 kHz, 16 bit), a `metadata.csv` per split with
    the columns `file_name,text,language,id,duration` (id is the picture's path; seconds), LICENSE and ATTRIBUTION.md.
    Texts are in lower case without marks (`normalize_text(…, "letters")`). A text's split is that of `prompts-en`:
    sha1 % 100 below 15 `test`, below 25 `dev`.

    Args:
        out: a folder that is not there yet, or is empty.
        languages: codes as in the package's names: fr, ro, ru, ca, bg and es have about 900 clips each, be and el
            700, da 320, lt and nl fewer.
        packages: a folder of Debian's package tuxpaint-stamps-default, as a .deb file or unpacked; by default it is
            downloaded (`apt-get download`, about 160 MB) and deleted again.

    Raises:
        ValueError: `languages` is empty, or the package has no recordings in one of them; names those it has.
        OSError: `out` is taken, a package or a tool is missing, or a recording cannot be read; `out` is as it was.
    """
    out = Path(out)
    refuse_taken(out)
    with unpacked([PACKAGE], packages, proof=_STAMPS) as root:
        skipped: Counter[str] = Counter()
        clips = _choose(root / _STAMPS, languages, skipped)
        with written_whole(out) as folder:
            rows = write_clips(folder, clips, ("language", "id"), skipped, "stamps")
            write_gpl_2(
                folder,
                root,
                [
                    "Title: Tux Paint stamps, spoken descriptions",
                    "Authors: Bill Kendrick and contributors to Tux Paint (http://www.tuxpaint.org)",
                    f"Source: Debian's package `{PACKAGE}`{package_version(root, PACKAGE)}",
                    "Changes made to the original work: mixed down to mono, resampled to 16 kHz, written as FLAC; "
                    "texts in lower case without marks",
                ],
            )
    source = f"{PACKAGE} ({', '.join(dict.fromkeys(languages))}), resampled to 16 kHz"
    return summarize("stamps", out, source, rows, skipped)


def read_description(path: Path) -> dict[str, str]:
    """What is on a picture, by language, from the .txt beside it; its first line, in English, is left out.

    Raises:
        OSError: the file cannot be read.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    entries = [line.partition(".utf8=") for line in lines]
    return {language.strip(): text.strip() for language, sign, text in entries if sign}


def _choose(stamps: Path, languages: Sequence[str], skipped: Counter[str]) -> list[Clip]:
    """The recordings in these languages whose text can be spelt; counts in `skipped` the others, by reason."""
    spoken = [(path, found) for path in sorted(stamps.rglob("*.ogg")) if (found := _SPOKEN.fullmatch(path.name))]
    there = Counter(found["language"] for _, found in spoken)
    if not languages or set(languages) - set(there):
        has = ", ".join(f"{language} ({count})" for language, count in there.most_common())
        raise ValueError(f"languages={list(languages)} must be among those that {PACKAGE} speaks: {has}")
    clips: list[Clip] = []
    for path, found in spoken:
        if found["language"] not in languages:
            continue
        description = path.with_name(f"{found['stamp']}.txt")
        line = read_description(description).get(found["language"]) if description.is_file() else None
        text = normalize_text(line, "letters") if line else ""
        if text is None:
            skipped["numbers or signs without a sure reading"] += 1
        elif not text:
            skipped["recording without a text"] += 1
        else:
            stamp = (path.parent / found["stamp"]).relative_to(stamps).as_posix()
            name = f"{found['language']}-{stamp.replace('/', '-')}"
            clips.append(Clip(path, name, text, split_of(text), (found["language"], stamp)))
    return clips
