"""What every maker of a corpus needs: Debian's packages unpacked without root, a folder written whole, a summary.

    with unpacked(["hydrogen-data"], None, proof=Path("usr/share/hydrogen")) as root, written_whole(out) as folder:
        ...

Nothing is installed: packages are downloaded and unpacked into a temporary folder, which is deleted again.
"""

import csv
import gzip
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DOCS = Path("usr/share/doc")
COMMON_LICENCES = Path("usr/share/common-licenses")  # of Debian's package base-files, which every Debian has


@dataclass(frozen=True)
class CorpusSummary:
    """What a maker of a corpus made and what it left out; `print` it.

    Attributes:
        name: name of the corpus.
        folder: where it lies.
        source: which recordings it was made from, with their sampling rate.
        licence: identifier of the recordings' licence, or of each of them.
        clips: clips per split.
        minutes: minutes of audio per split.
        words: number of different words over all splits; None for a corpus without texts.
        skipped: number of clips left out, by reason.
        counts: further counts of clips, such as `{"label": {"kick": 55}}`.
    """

    name: str
    folder: Path
    source: str
    licence: str
    clips: dict[str, int]
    minutes: dict[str, float]
    words: int | None
    skipped: dict[str, int] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def __str__(self) -> str:
        total = f"{sum(self.clips.values())} clips, {sum(self.minutes.values()):.1f} min"
        words = "" if self.words is None else f", {self.words} different words"
        lines = [f"{self.name}: {total}{words}, in {self.folder}"]
        lines += [f"  {split}: {self.clips[split]} clips, {self.minutes[split]:.1f} min" for split in self.clips]
        for what, counts in self.counts.items():
            lines.append(f"  by {what}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
        lines += [f"  left out, {reason}: {count}" for reason, count in self.skipped.items()]
        lines += [f"  source: {self.source}", f"  licence: {self.licence}"]
        return "\n".join(lines)


@contextmanager
def unpacked(names: Sequence[str], packages: str | Path | None, proof: Path) -> Iterator[Path]:
    """The root of Debian's unpacked packages: `packages`, or its .deb files or a download in a temporary folder.

    Args:
        names: the packages to download, the first of which holds `proof`.
        packages: a folder of these packages, as .deb files or unpacked; None to download them.
        proof: a folder below the root by which the packages are known.

    Raises:
        OSError: `apt-get` or `dpkg` is missing or fails, or the packages hold no `proof`.
    """
    missing = f"give packages=FOLDER, where {' and '.join(names)} lie unpacked"
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "root"
        if packages is None:
            hint = "; run `apt-get update` first, or give packages=FOLDER"
            run_tool("apt-get", "download", *names, cwd=temporary, hint=hint, missing=missing)
            debs = sorted(Path(temporary).glob("*.deb"))
        else:
            debs = sorted(Path(packages).glob("*.deb"))
        for deb in debs:
            run_tool("dpkg", "-x", str(deb.resolve()), str(root), missing=missing)
        if not debs and packages is not None:
            root = Path(packages)
        if not (root / proof).is_dir():
            raise FileNotFoundError(f"packages={str(packages)!r} holds neither {proof} nor .deb files of {names[0]}")
        yield root


def run_tool(tool: str, *arguments: str, cwd: str | None = None, hint: str = "", missing: str = "") -> bytes:
    """What a program wrote to its standard output.

    Args:
        tool: name of the program.
        arguments: given to it.
        cwd: folder that it runs in.
        hint: put after its last complaint if it fails.
        missing: what to do where there is no such program.

    Raises:
        OSError: there is no such program, or it fails; with its last complaint.
    """
    if shutil.which(tool) is None:
        raise FileNotFoundError(f"{tool} is not on this machine{missing and ': '}{missing}")
    done = subprocess.run([tool, *arguments], cwd=cwd, capture_output=True, check=False)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise OSError(f"`{tool} {arguments[0]}` failed: {lines[-1]}{hint}")
    return done.stdout


@contextmanager
def written_whole(out: Path) -> Iterator[Path]:
    """A new folder beside `out` that takes its place when the block ends, or is deleted when the block fails.

    Raises:
        FileExistsError: `out` is a file or holds files.
    """
    refuse_taken(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.with_name(f".{out.name}.{os.getpid()}.part")
    folder.mkdir()
    try:
        yield folder
        if out.is_dir():
            out.rmdir()  # empty, or this fails
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def refuse_taken(out: Path) -> None:
    """Raise FileExistsError if `out` is a file or a folder with files."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise FileExistsError(f"out={str(out)!r} is there already; give a folder that is new or empty")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows under a line of column names as CSV, one line each."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def licence_text(root: Path, package: str, licence: str) -> str:
    """The text of a licence, cut out of the copyright file of an unpacked package, where it stands in full.

    Args:
        root: of the unpacked packages.
        package: whose copyright file is read.
        licence: its short name there, such as "CC-BY-SA-3.0".

    Raises:
        OSError: the file is missing or does not hold the text.
    """
    path = root / DOCS / package / "copyright"
    paragraphs = re.split(r"\n(?! )", path.read_text(encoding="utf-8"))  # a field and the indented lines of it
    texts = [text for text in paragraphs if text.startswith(f"License: {licence}\n")]
    if not texts:
        raise OSError(f"{path} does not hold the text of {licence}")
    body = [re.sub(r"^ \.?", "", line) for line in max(texts, key=len).splitlines()[1:]]
    return "\n".join(body).strip() + "\n"


def common_licence(root: Path, name: str) -> str | None:
    """The text of a licence that Debian's copyright files only point at, such as "GPL-2"; None on other systems."""
    found = [base / COMMON_LICENCES / name for base in (root, Path("/")) if (base / COMMON_LICENCES / name).is_file()]
    return found[0].read_text(encoding="utf-8") if found else None


def package_version(root: Path, package: str) -> str:
    """A space and the version, from the head of the package's change log; nothing where that log is missing."""
    path = root / DOCS / package / "changelog.Debian.gz"
    if not path.is_file():
        return ""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        head = re.match(r"\S+ \(([^)-]+)", lines.readline())
    return f" {head.group(1)}" if head else ""
