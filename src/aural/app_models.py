"""The models of the page in the browser: what each can do, told from its config, and each loaded once, when asked for.

Notable here:
- A visitor chooses by name and never sends a path: names are the ends of the folders' paths, as long as it takes for
  no two to be alike.
- Whoever asks first loads, and whoever asks for the same model meanwhile waits for it; other models are not held up.
"""

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import AutoProcessor, GenerationConfig

from . import model_cards
from .captioning import load_captioner
from .loading import load_config
from .processing.folders import said_of
from .processing.tokenizers import unit_of
from .recognition import load_recognizer
from .tag_windows import HEADS
from .tagging import load_tagger
from .training.reports import REPORT_NAME

KEPT = ("las-demo", "drums")  # folders below model_cards/ that hold whole models, in a clone
LOADERS: dict[str, Any] = {"speech": load_recognizer, "captions": load_captioner, "sounds": load_tagger}


@dataclass(frozen=True)
class ModelCard:
    """What the page knows of a model before it is loaded.

    Attributes:
        name: What visitors call it by.
        folder: A model folder or Hub id.
        kind: `"speech"`, `"captions"` or `"sounds"`.
        beams: Width of its own beam search, of a model that writes; None for one that does not.
        slots: Its most memory slots; None for a model without them.
    """

    name: str
    folder: str
    kind: str
    beams: int | None
    slots: int | None


@dataclass(eq=False)
class _Place:
    card: ModelCard
    lock: threading.Lock = field(default_factory=threading.Lock)
    loaded: tuple[Any, Any] | None = None


class Shelf:
    """Models by name, the first of them first.

    Args:
        folders: Model folders or Hub ids.
        device: Where models go.

    Raises:
        OSError: There is no such folder, or it is no model folder.
        ValueError: None is given, one is given twice, or a model is none that the page can show.
    """

    def __init__(self, folders: Sequence[str], device: str = "cpu") -> None:
        if not folders:
            raise ValueError("folders=[]: the page needs at least one model")
        self._device = device
        names = short_names(folders)
        self._places = {name: _Place(read_card(name, folder)) for name, folder in zip(names, folders, strict=True)}

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        """All models, in order."""
        return tuple(place.card for place in self._places.values())

    def card(self, name: str) -> ModelCard:
        """What is known of a model.

        Raises:
            ValueError: There is no such model.
        """
        return self._place(name).card

    def loaded(self, name: str) -> tuple[Any, Any]:
        """The model, in eval mode, and its processor or feature extractor.

        Raises:
            OSError, ValueError: As the loaders of each kind, or there is no such model.
        """
        place = self._place(name)
        with place.lock:
            if place.loaded is None:
                place.loaded = LOADERS[place.card.kind](place.card.folder, self._device)
            return place.loaded

    def _place(self, name: str) -> _Place:
        if name not in self._places:
            raise ValueError(f"model={name!r}; allowed are {', '.join(self._places)}")
        return self._places[name]


def short_names(folders: Sequence[str]) -> list[str]:
    """The last part of each path, with as many of those before as it takes to tell all apart.

    Raises:
        ValueError: One is given twice.
    """
    parts = [Path(folder).parts or (folder,) for folder in folders]
    if twice := next((folder for at, folder in enumerate(folders) if parts[at] in parts[:at]), None):
        raise ValueError(f"model {twice} is given twice")
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return list(folders)


def read_card(name: str, folder: str) -> ModelCard:
    """What a model can do, told from its folder without its weights.

    A text decoder captions where its folder's report tells of captions, or where there is none and its tokens are
    words, as `look` takes it; other models that write are for speech.

    Args:
        name: What it shall be called.
        folder: A model folder or Hub id.

    Raises:
        OSError, ValueError: As `load_config`; or a model without a head that the page can show.
    """
    config = load_config(folder, "app")
    head = (config.architectures or ["model without a head"])[0]
    if head in HEADS:
        return ModelCard(name, folder, "sounds", None, None)
    if not head.endswith(("ForConditionalGeneration", "ForCTC")):
        raise ValueError(
            f"{folder} holds a {head}, which neither writes nor tags; `aural app` has nothing to show of it"
        )
    captions = head.startswith("Spectrogram") and not head.endswith("ForCTC") and _captions(folder)
    beams = 1 if head.endswith("ForCTC") else _own_beams(folder)
    return ModelCard(name, folder, "captions" if captions else "speech", beams, getattr(config, "memory_slots", None))


def _own_beams(folder: str) -> int:
    try:
        return GenerationConfig.from_pretrained(folder).num_beams or 1
    except OSError:  # a folder without one is searched greedily
        return 1


def _captions(folder: str) -> bool:
    """Whether a text decoder says what is heard, not what is spoken: by the folder's report, else by its tokens."""
    try:
        report = json.loads((Path(folder) / REPORT_NAME).read_text(encoding="utf-8"))
        return "captions" in {result["kind"] for result in report["results"]}
    except (OSError, ValueError, KeyError, TypeError):  # no report, or another's file of that name
        with said_of(folder):
            return unit_of(AutoProcessor.from_pretrained(folder).tokenizer) == "word"


def kept_models() -> list[str]:
    """The folders of the small models that come with a clone; none where aural was installed from a wheel."""
    here = Path(model_cards.__file__).resolve().parent
    return [str(here / name) for name in KEPT if (here / name / "config.json").is_file()]
