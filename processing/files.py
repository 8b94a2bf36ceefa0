"""Files that are whole or not there: written beside their place and renamed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced_whole(path: str | Path) -> Iterator[Path]:
    """A file to write, which takes the place of `path` when the block ends well, and is gone when it does not.

        with replaced_whole("picture.png") as part:
            figure.savefig(part, format="png")  # the part's name does not end as that of `path`

    Args:
        path: The file, there already or not; its folder exists.

    Raises:
        OSError: The file cannot be written; what stood at `path` is untouched.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: str | Path, text: str) -> Path:
    """Write `text` as UTF-8, with the line ends that it has, whole or not at all; returns the path.

    Args:
        path: The file, there already or not; its folder exists.
        text: All that the file will hold.

    Raises:
        OSError: The file cannot be written; what stood at `path` is untouched.
    """
    path = Path(path)
    with replaced_whole(path) as part:
        part.write_bytes(text.encode("utf-8"))
    return path
