"""The folder that a demo writes: whole or not at all, in the place of an earlier demo and of nothing else."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def demo_folder(out: Path, parts: Collection[str], proof: str) -> Iterator[Path]:
    """A new folder beside `out` that takes its place when the block ends; whatever else the block makes goes with it.

    The folder's parent is the block's own, to keep other files in, and is deleted.

    Args:
        out: An absolute path.
        parts: Names of what the demo writes.
        proof: The one of them by which an earlier demo is known.

    Raises:
        OSError: `out` is a file, the folder one is in, or a folder that holds something else than an earlier demo.
    """
    refuse_foreign(out, parts, proof)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        folder = Path(scratch) / "demo"
        folder.mkdir()
        yield folder
        replace_folder(folder, out)


def refuse_foreign(out: Path, parts: Collection[str], proof: str) -> None:
    """Only a folder that is empty or that a demo wrote, which `proof` shows, may be replaced.

    Args:
        out, parts, proof: As for `demo_folder`.

    Raises:
        OSError: Otherwise.
    """
    if out.is_dir():
        names = {entry.name for entry in out.iterdir()}
        foreign = sorted(names - set(parts) if proof in names else names)
        if foreign:
            raise FileExistsError(f"{out} holds {foreign[0]}, which is no part of a demo; choose another --out")
        if out == Path.cwd() or out.is_mount():
            raise FileExistsError(f"{out} is the folder you are in, or a mount point; name a folder in it for --out")
    elif out.exists():
        raise NotADirectoryError(f"{out} is a file; --out names a folder")


def replace_folder(folder: Path, out: Path) -> None:
    """Put the finished folder in the place of an earlier one, which is kept until then and goes with the scratch."""
    old = folder.with_name("old")
    if out.exists():
        out.rename(old)
    try:
        folder.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
