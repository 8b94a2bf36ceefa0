"""What is saved travels with its code: a folder that aural wrote loads where aural is not installed.

A Hub folder is flat, and transformers copies code only from flat modules. So where aural is installed, its face hands
in a writer (`TravelsWithCode.code_writer`) that writes the package's own sources as one flat set of files; where this
file is itself a copy in such a folder, no writer is there and transformers copies the flat files as they are.
"""

from pathlib import Path
from typing import Any, ClassVar, Protocol


class CodeWriter(Protocol):
    """What the face hands in."""

    def auto_map(self, travels: type) -> dict[str, str]:
        """`auto_map` of what an instance of `travels` saves: `{"AutoConfig": "configuration_las.LasConfig"}`, say."""

    def write(self, travels: type, folder: Path) -> None:
        """Write the flat files that an instance of `travels` needs into `folder`."""


class TravelsWithCode:
    """Mixin, named before the transformers class, for configs, feature extractors and processors."""

    code_writer: ClassVar[CodeWriter | None] = None
    auto_map: dict[str, str]

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> Any:
        """As in transformers, with the code beside it."""
        writer = TravelsWithCode.code_writer
        if writer is None or Path(save_directory).is_file():
            return super().save_pretrained(save_directory, *args, **kwargs)  # type: ignore[misc]
        for part in (self, *vars(self).values()):  # a processor's feature extractor is saved inside it
            if isinstance(part, TravelsWithCode) and (auto_map := writer.auto_map(type(part))):
                part.auto_map = auto_map
        saved = super().save_pretrained(save_directory, *args, **kwargs)  # type: ignore[misc]
        writer.write(type(self), Path(save_directory))
        return saved

    def _upload_modified_files(self, working_dir: Any, *args: Any, **kwargs: Any) -> Any:
        """`save_pretrained(push_to_hub=True)` uploads from within: the code has to be there by then."""
        writer = TravelsWithCode.code_writer
        if writer is not None:
            writer.write(type(self), Path(working_dir))
        return super()._upload_modified_files(working_dir, *args, **kwargs)  # type: ignore[misc]
