"""The three figures of the field, drawn from a live model with its real numbers.

    import aural.explain
    aural.explain.attention("model_cards/drums", "model_cards/drum-loop.flac")  # shows itself in a notebook
    aural.explain.las("model_cards/las-demo").figure(dark=True)
    aural.explain.patches().steps.norms  # (layers + 1, patches)

- `attention`: Q, K, scores, scaling, mask, softmax, context, and all heads beside it (Vaswani et al. 2017, figure 2);
- `las`: spectrogram, pyramid, alignment, speller, characters (Chan et al. 2015, figure 1);
- `patches`: spectrogram, patches, embeddings, positions, layers, pooling (Gong et al. 2021, figure 1).

What is drawn are the arrays in `steps`, of one run of the model's own modules.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from transformers import PreTrainedModel

from .explain_attention import attention_names, attention_steps
from .explain_las import las_steps
from .explain_patches import cut_patches, loudest, patch_steps
from .explain_source import Query, open_source, place_of
from .processing import AuralProcessor, LogMelFeatureExtractor
from .processing.explained import AttentionSteps, Enlarged, LasSteps, PatchSteps, enlarged
from .processing.files import replaced_whole
from .processing.plot_explain_attention import plot_attention_steps
from .processing.plot_explain_las import plot_las_steps
from .processing.plot_explain_patches import plot_patch_steps
from .processing.plots import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS = 150  # per inch of a board nine inches wide
Model = str | Path | PreTrainedModel | None
Processor = AuralProcessor | LogMelFeatureExtractor | None
Steps = TypeVar("Steps", AttentionSteps, LasSteps, PatchSteps)


@dataclass(frozen=True, eq=False)
class Explained(Generic[Steps]):
    """What a model did with a sound, step by step; in a notebook it shows its figure.

    Attributes:
        named: The model and the sound.
        steps: The arrays, all of one run.
        enlarged: Which rows and columns of an attention are shown large; None of the other figures.
    """

    named: str
    steps: Steps
    enlarged: Enlarged | None = None

    def figure(self, dark: bool = False) -> "Figure":
        """A matplotlib figure that belongs to no window.

        Args:
            dark: For dark ground.
        """
        steps: Any = self.steps
        if isinstance(steps, AttentionSteps) and self.enlarged is not None:
            return plot_attention_steps(steps, self.enlarged, self.named, dark)
        return (plot_las_steps if isinstance(steps, LasSteps) else plot_patch_steps)(steps, self.named, dark)

    def save(self, path: str | Path, dark: bool = False) -> None:
        """Write the figure as png, svg or pdf, by the ending of `path`, whole or not at all.

        Raises:
            ValueError: The ending is none of these.
            OSError: The file cannot be written.
        """
        if Path(path).suffix.lower() != ".png":
            save_figure(self.figure(dark), path)
            return
        data = self._png(dark)
        with replaced_whole(path) as part:
            part.write_bytes(data)

    def _repr_png_(self) -> bytes:
        return self._png(False)

    def _png(self, dark: bool) -> bytes:
        """In 256 colours: maps of noise-like numbers are a third as large so, and nobody sees it."""
        from PIL import Image

        full, data = io.BytesIO(), io.BytesIO()
        self.figure(dark).savefig(full, format="png", dpi=DOTS)
        with Image.open(full) as picture:
            picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(data, "png", optimize=True)
        return data.getvalue()


def attention(
    model: Model = None,
    audio: Any = None,
    processor: Processor = None,
    *,
    layer: str | int | None = None,
    head: int | None = None,
    query: Query | None = None,
) -> Explained[AttentionSteps]:
    """Scaled dot-product attention, number by number, and the heads beside it.

    Args:
        model: A folder, a Hub id, or a loaded model: a transformer of patches with any head, a model that writes, or a
            LAS whose attention is "dot" or "multihead". Default: the drum tagger that the repository keeps.
        audio: What `load_audio` reads, at most 30 seconds. Default: a recording that comes with aural.
        processor: Needed with a loaded model.
        layer: By its name in `attention_maps`, such as "layers.3" or "decoder.1.cross", or 3 for "layers.3"; a
            speller's is "alignment". Default: the last cross-attention, else a layer in the middle.
        head: Whose numbers are shown. Default: the one whose weights are sharpest.
        query: The place of the query that is surely shown: a token of the text, or a patch, `row * columns + column`,
            or its (seconds, Hz). Default: the loudest patch, or the first token.

    Raises:
        OSError: No such folder or file.
        ValueError: The model has no such attention, layer, head or query.
    """
    source = open_source("attention", model, audio, processor)
    names = attention_names(source)
    name = names[0] if layer is None else f"layers.{layer}" if str(layer).isdigit() else str(layer)
    if name not in names:
        raise ValueError(f"layer={layer!r}: allowed are {', '.join(sorted(names))}")
    steps = attention_steps(source, name)
    heads, queries = steps.weights.shape[:2]
    if head is not None and not 0 <= head < heads:
        raise ValueError(f"head={head}: the layer has {heads}; allowed are 0 to {heads - 1}")
    if head is None:
        head = int(steps.weights.max(-1).mean(-1).argmax())
    first = 0  # token that may be asked for
    if source.encoder is not None and name.startswith("layers."):
        first = source.encoder.config.num_class_tokens or 0
        chosen = (
            loudest(cut_patches(source)) if query is None else place_of(query, steps.query_boxes[first:], source.sound)
        )
    elif query is None or (isinstance(query, int) and 0 <= query < queries):
        chosen = query or 0
    else:
        raise ValueError(f"query={query}: {queries} tokens look; allowed are 0 to {queries - 1}")
    return Explained(source.named, steps, enlarged(steps, head, first + chosen))


def las(
    model: Model = None, audio: Any = None, processor: Processor = None, *, query: int | None = None
) -> Explained[LasSteps]:
    """Listen-Attend-Spell layer by layer: what the pyramid hears, where each token looks, what is written.

    Args:
        model: A folder, a Hub id, or a loaded LAS. Default: the one that the repository keeps.
        audio: What `load_audio` reads, at most 30 seconds. Default: recordings that come with aural.
        processor: Needed with a loaded model.
        query: The place of the token that is followed through the layers; default: the one that looks most
            sharply.

    Raises:
        OSError: No such folder or file.
        ValueError: The model is no LAS, or there is no such token.
    """
    source = open_source("las", model, audio, processor)
    return Explained(source.named, las_steps(source, query))


def patches(
    model: Model = None, audio: Any = None, processor: Processor = None, *, query: Query | None = None
) -> Explained[PatchSteps]:
    """From a spectrogram to patches, positions, layers, and what the model says.

    Args:
        model: A folder, a Hub id, or a loaded model with an encoder of patches. Default: the drum tagger that the
            repository keeps.
        audio: What `load_audio` reads, at most 30 seconds. Default: a recording that comes with aural.
        processor: Needed with a loaded model.
        query: The place of the patch that is followed, `row * columns + column`, or its (seconds, Hz); default: the
            loudest.

    Raises:
        OSError: No such folder or file.
        ValueError: The model cuts no patches, or there is no such patch.
    """
    source = open_source("patches", model, audio, processor)
    return Explained(source.named, patch_steps(source, query))
