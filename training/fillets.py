"""fillets-nl: Dutch dialogue of the game Fish Fillets, spoken by actors, from Debian's packages.

    python -c "from aural.training.fillets import make_fillets_nl; print(make_fillets_nl('fillets-nl'))"

What is notable here:

- whole levels are held out, since a level's lines are about one thing and answer one another;
- a training line that is also said in a held-out level is left out, so that no text is in `train` and elsewhere;
- a corpus is made whole or not at all: it is written beside its place and renamed.
"""

import hashlib
import re
from collections import Counter
from pathlib import Path

from .corpus_files import CorpusSummary, package_version, refuse_taken, unpacked, written_whole
from .normalization import normalize_text
from .spoken_clips import Clip, summarize, write_clips, write_gpl_2

PACKAGES = ("fillets-ng-data-nl", "fillets-ng-data")  # recordings; texts

_GAME = Path("usr/share/games/fillets-ng")
_LINE = re.compile(
    r'^\s*dialogId\(\s*"(?P<id>[^"]*)"\s*,[^\n]*\)\s*^\s*dialogStr\(\s*"(?P<text>(?:[^"\\]|\\.)*)"\s*\)',
    re.MULTILINE,
)
_ESCAPED = re.compile(r"\\(.)")


def make_fillets_nl(out: str | Path, packages: str | Path | None = None) -> CorpusSummary:
    """Make the corpus `fillets-nl`: lines of dialogue in Dutch, two actors in the main.

    `out` receives `{train,dev,test}/LEVEL-ID.flac` (mono, 16 kHz, 16 bit), a `metadata.csv` per split with the columns
    `file_name,text,level,duration` (seconds), LICENSE and ATTRIBUTION.md. Texts are in lower case without marks
    (`normalize_text(…, "letters")`).

    Args:
        out: a folder that is not there yet, or is empty.
        packages: a folder of Debian's packages fillets-ng-data and fillets-ng-data-nl, as .deb files or unpacked; by
            default they are downloaded (`apt-get download`, about 100 MB) and deleted again.

    Raises:
        OSError: `out` is taken, a package or a tool is missing, or a recording cannot be read; `out` is as it was.
    """
    out = Path(out)
    refuse_taken(out)
    with unpacked(PACKAGES, packages, proof=_GAME / "sound") as root:
        skipped: Counter[str] = Counter()
        clips = _choose(root, skipped)
        with written_whole(out) as folder:
            rows = write_clips(folder, clips, ("level",), skipped, "fillets-nl")
            write_gpl_2(
                folder,
                root,
                [
                    "Title: Fish Fillets - Next Generation, Dutch",
                    "Authors: ALTAR interactive, Ivo Danihelka, Pavel Danihelka and the translators "
                    "(http://fillets.sourceforge.net)",
                    f"Source: Debian's packages `{PACKAGES[0]}`{package_version(root, PACKAGES[0])} and "
                    f"`{PACKAGES[1]}`{package_version(root, PACKAGES[1])}",
                    "Changes made to the original work: resampled to 16 kHz mono, written as FLAC; texts in lower "
                    "case without marks",
                ],
            )
    return summarize("fillets-nl", out, f"{PACKAGES[0]}, resampled to 16 kHz", rows, skipped)


def read_dialogs(path: Path) -> dict[str, str]:
    """The text of each line of a level, by its id, as the game shows it, from a dialogs_nl.lua.

    Raises:
        OSError: the file cannot be read.
    """
    found = _LINE.finditer(path.read_text(encoding="utf-8"))
    return {line["id"]: _ESCAPED.sub(r"\1", line["text"]).strip() for line in found}


def split_of_level(level: str) -> str:
    """The split of a level: sha1 of its name % 100 below 12 is `test`, below 22 `dev`, else `train`."""
    bucket = int(hashlib.sha1(level.encode()).hexdigest(), 16) % 100
    return "test" if bucket < 12 else "dev" if bucket < 22 else "train"


def _choose(root: Path, skipped: Counter[str]) -> list[Clip]:
    """The recordings with a text that can be spelt, those of `train` without what held-out levels say too."""
    clips: list[Clip] = []
    texts: dict[str, dict[str, str]] = {}
    for path in sorted((root / _GAME / "sound").glob("**/nl/*.ogg")):
        level = path.parent.parent.name
        if level not in texts:
            dialogs = root / _GAME / "script" / level / "dialogs_nl.lua"
            texts[level] = read_dialogs(dialogs) if dialogs.is_file() else {}
        line = texts[level].get(path.stem)
        text = normalize_text(line, "letters") if line else ""
        if line is None:
            skipped["recording without a line"] += 1
        elif text is None:
            skipped["numbers or signs without a sure reading"] += 1
        elif not text:
            skipped["nothing said"] += 1
        else:
            clips.append(Clip(path, f"{level}-{path.stem}", text, split_of_level(level), (level,)))
    held_out = {clip.text for clip in clips if clip.split != "train"}
    kept = [clip for clip in clips if clip.split != "train" or clip.text not in held_out]
    skipped["training line that is also held out"] += len(clips) - len(kept)
    return kept
