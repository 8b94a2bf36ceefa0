"""`aural convert`: a checkpoint of another program becomes a folder of ours, or one of ours transformers' AST.

    from aural.converting import convert

    print(convert("audioset_10_10_0.4593.pth", "ast", labels="class_labels_indices.csv", license="bsd-3-clause"))

The folder holds model, feature extractor, report and card. It is written whole or not at all, and says where it comes
from: name and checksum of the source, its format, its licence as told, and what of it was not used.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import ASTFeatureExtractor, ASTForAudioClassification, ASTModel, PreTrainedModel

from .checkpoints import Checkpoint, read_checkpoint
from .configuration.spectrogram_transformer import SpectrogramTransformerConfig
from .modeling.convert_dialect import SUPPORTED, convert_state_dict
from .modeling.convert_geometry import resampled
from .modeling.convert_shared import BODY, Conversion, Told
from .modeling.convert_transformers_ast import to_transformers_ast, to_transformers_features
from .modeling.spectrogram_transformer import (
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerModel,
)
from .processing.features import LogMelFeatureExtractor

CONVERTIBLE = (SpectrogramTransformerModel, SpectrogramTransformerForAudioClassification)
TARGETS = ("aural", "transformers")
THEIRS, OURS = "audio-spectrogram-transformer", SpectrogramTransformerConfig.model_type
UNKNOWN = "unknown"  # the Hub's identifier
SHOWN = 6  # unused names on the console


@dataclass(frozen=True)
class Converted:
    """What was converted; `print` it.

    Attributes:
        folder: Where it lies.
        dialect: Whose format the source has.
        to: "aural" or "transformers".
        config: Of the model in our terms.
        parameters: Their number.
        unused: Names of the source's tensors that have no place in the model.
        notes: What was taken for granted, in sentences.
        license: The Hub's identifier.
    """

    folder: Path
    dialect: str
    to: str
    config: SpectrogramTransformerConfig
    parameters: int
    unused: tuple[str, ...]
    notes: tuple[str, ...]
    license: str

    def __str__(self) -> str:
        config = self.config
        rows, columns = config.frequency_patches, config.time_patches(config.position_frames)
        lines = [
            f"{self.dialect} → {self.to}, in {self.folder}",
            f"  width {config.hidden_size}, {config.num_hidden_layers} layers, {config.num_attention_heads} heads, "
            f"{self.parameters:,} parameters",
            f"  {rows} x {columns} patches of {_pair(config.patch_size)} every {_pair(config.patch_stride)} "
            f"(mels x frames), on {config.num_mel_bins} mels and {config.position_frames} frames",
            f"  pooling {config.pooling}, {config.num_class_tokens} class tokens",
            f"  {config.num_labels} labels, {config.problem_type or 'problem type not known'}",
            f"  licence {self.license}",
        ]
        if self.unused:
            more = ", …" if len(self.unused) > SHOWN else ""
            lines.append(f"  {len(self.unused)} tensors not used: {', '.join(self.unused[:SHOWN])}{more}")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def _pair(values: Sequence[int]) -> str:
    return f"{values[0]} x {values[1]}"


def convert(
    source: str | Path,
    out: str | Path,
    labels: str | Path | None = None,
    told: Told | None = None,
    frames: int | None = None,
    stride: tuple[int, int] | None = None,
    license: str | None = None,
    to: str = "aural",
) -> Converted:
    """Convert a checkpoint into a new folder.

    Args:
        source: A file of the original AST, SSAST, PaSST, AudioMAE or transformers' AST; a folder of the last, or a
            folder of ours.
        out: The folder to make; must not exist or be empty.
        labels: A CSV with a column display_name (as AudioSet's class_labels_indices.csv), or one name a line.
        told: What is known of the source and cannot be inferred.
        frames: Frames that positions are resampled for; None: the source's own.
        stride: Mels and frames from one patch to the next that positions are resampled for; None: the source's own.
        license: The Hub's identifier; None: what the source's card names, else "unknown".
        to: "aural", or "transformers" for a folder of transformers' AST.

    Raises:
        FileExistsError: `out` is there already.
        OSError: A file is missing or cannot be read or written.
        ValueError: The source is damaged, runs code, is of another family or does not fit; labels are too few or too
            many; the model has no counterpart in transformers.
    """
    from .training.corpus_files import refuse_taken, written_whole
    from .training.report_reader import LICENSE

    if to not in TARGETS:
        raise ValueError(f"to={to!r} must be one of {', '.join(TARGETS)}")
    if license is not None and not LICENSE.fullmatch(license):
        raise ValueError(f"license={license!r} must be an identifier of the Hub, such as 'bsd-3-clause'")
    out = Path(out)
    refuse_taken(out)
    checkpoint = read_checkpoint(source)
    conversion = _understood(checkpoint, told)
    if frames is not None or stride is not None:
        conversion = resampled(conversion, frames, stride)
    if labels is not None:
        conversion = with_labels(conversion, read_labels(labels))
    chosen, origin, hint = _license(checkpoint, conversion, license)
    notes = (*conversion.notes, *hint)
    with written_whole(out) as folder:
        if to == "aural":
            model: PreTrainedModel = conversion.build()
            model.save_pretrained(folder)
            LogMelFeatureExtractor(**conversion.features).save_pretrained(folder)
        else:
            model = to_transformers(conversion)
            model.save_pretrained(folder)
            _their_extractor(conversion).save_pretrained(folder)
        _write_provenance(folder, out, to, checkpoint, conversion, chosen, origin)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Converted(out, conversion.dialect, to, conversion.config, parameters, conversion.unused, notes, chosen)


def _understood(checkpoint: Checkpoint, told: Told | None) -> Conversion:
    """The checkpoint in our terms; errors name its path."""
    kind = None if checkpoint.config is None else checkpoint.config.get("model_type")
    if kind not in (None, THEIRS, OURS):
        raise ValueError(
            f"{checkpoint.path} holds a model of type {kind!r}, which is not converted; supported are {SUPPORTED}"
        )
    try:
        if kind == OURS:
            (told or Told()).only(because="its config tells it")
            return _our_own(checkpoint)
        return convert_state_dict(checkpoint.tensors, told, checkpoint.config, checkpoint.preprocessor)
    except StrictDataclassError as error:
        raise ValueError(f"{checkpoint.path}: {error.__cause__ or error}") from None
    except ValueError as error:
        raise ValueError(f"{checkpoint.path}: {error}") from None


def _our_own(checkpoint: Checkpoint) -> Conversion:
    """A folder that aural made."""
    made_by = (checkpoint.config or {}).get("architectures") or [None]
    if made_by[0] not in [each.__name__ for each in CONVERTIBLE]:
        raise ValueError(f"architectures={made_by} has no counterpart: only clip classifiers and encoders have")
    if checkpoint.preprocessor is None:
        raise ValueError("there is no preprocessor_config.json")
    config = SpectrogramTransformerConfig.from_dict(dict(checkpoint.config or {}))
    written_by_saving = ("feature_extractor_type", "auto_map")
    features = {name: value for name, value in checkpoint.preprocessor.items() if name not in written_by_saving}
    return Conversion("aural", config, checkpoint.tensors, features, notes=_earlier(checkpoint.path))


def _earlier(folder: Path) -> tuple[str, ...]:
    """Where a folder that was itself converted came from, and what was said of that: it must not be forgotten."""
    try:
        record = json.loads((folder / "report.json").read_text(encoding="utf-8"))["converted"]
        return (
            f"{folder.resolve().name} was converted from {record['file']} (SHA-256 {record['sha256']}).",
            *([record["note"]] if record["note"] else []),
        )
    except (OSError, ValueError, KeyError, TypeError):  # no such report: it was trained
        return ()


def from_transformers(model: ASTModel | ASTForAudioClassification) -> PreTrainedModel:
    """transformers' AST as ours, with the same weights and outputs, in eval mode.

    Args:
        model: An `ASTModel` or `ASTForAudioClassification`.
    """
    return convert_state_dict(model.state_dict(), config=model.config.to_dict()).build()


def to_transformers(
    model: SpectrogramTransformerModel | SpectrogramTransformerForAudioClassification | Conversion,
) -> ASTModel | ASTForAudioClassification:
    """Our encoder or clip classifier as transformers' AST, with the same weights and outputs, in eval mode.

    Args:
        model: A `SpectrogramTransformerModel` or `…ForAudioClassification`, or a conversion.

    Raises:
        TypeError: It is another model.
        ValueError: A field of its config has no counterpart; the first is named.
    """
    if isinstance(model, Conversion):
        state, ours = model.state_dict, model.config
    elif isinstance(model, CONVERTIBLE):
        state, ours = model.state_dict(), model.config
    else:
        raise TypeError(f"{type(model).__name__} has no counterpart: only encoders and clip classifiers have")
    config, tensors = to_transformers_ast(ours, state)
    head = any(name.startswith(BODY) for name in state)
    theirs = (ASTForAudioClassification if head else ASTModel)(config)
    theirs.load_state_dict(tensors, strict=True)
    return theirs.eval()


def _their_extractor(conversion: Conversion) -> ASTFeatureExtractor:
    features = vars(LogMelFeatureExtractor(**conversion.features))
    return ASTFeatureExtractor(**to_transformers_features(features), max_length=conversion.config.position_frames)


def read_labels(path: str | Path) -> list[str]:
    """Names of classes in their order: a CSV's column display_name, by its column index if it has one, or one name a
    line.

    Raises:
        OSError: The file cannot be read.
        ValueError: A name is empty or is there twice, or the indices are not 0, 1, 2 and so on.
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    header = next(csv.reader(lines[:1]), [])
    if "display_name" in header:
        rows = list(csv.DictReader(lines))
        if "index" in header:
            rows = _by_index(rows, path)
        names = [(row["display_name"] or "").strip() for row in rows]
    else:
        names = [line.strip() for line in lines]
    for i, name in enumerate(names):
        if not name:
            raise ValueError(f"{path}: label {i} is empty")
        if name in names[:i]:
            raise ValueError(f"{path}: {name!r} is there twice, as label {names.index(name)} and {i}")
    return names


def _by_index(rows: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    try:
        rows = sorted(rows, key=lambda row: int(row["index"]))
    except (TypeError, ValueError):
        raise ValueError(f"{path}: the column index must hold whole numbers") from None
    if [int(row["index"]) for row in rows] != list(range(len(rows))):
        raise ValueError(f"{path}: the column index must hold 0 to {len(rows) - 1}, each once")
    return rows


def with_labels(conversion: Conversion, names: Sequence[str]) -> Conversion:
    """The same model with names for its classes.

    Raises:
        ValueError: They are too few or too many, or the model has no classes.
    """
    wanted = conversion.config.num_labels
    if not any(name.startswith("classifier.") for name in conversion.state_dict):
        raise ValueError(f"labels: {conversion.dialect} has no classifier to name the classes of")
    if len(names) != wanted:
        raise ValueError(f"labels: {len(names)} names, but the checkpoint has {wanted} classes")
    fields = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    return replace(
        conversion, config=SpectrogramTransformerConfig.from_dict({**conversion.config.to_dict(), **fields})
    )


def _license(checkpoint: Checkpoint, conversion: Conversion, told: str | None) -> tuple[str, str, tuple[str, ...]]:
    """The model's licence, how it is known, and a hint where it is not."""
    if told is not None:
        return told, f"{told}, as told by whoever converted it", ()
    if checkpoint.license is not None:
        return checkpoint.license, f"{checkpoint.license}, as its card says", ()
    published = conversion.published_license
    if published is None:
        return UNKNOWN, "not told", ("The licence is not known: say it with --license.",)
    known = f"the checkpoints that the authors of this format published are under {published}"
    return UNKNOWN, f"not told; {known}", (f"The licence is not known: say it with --license; {known}.",)


def _write_provenance(
    folder: Path, out: Path, to: str, checkpoint: Checkpoint, conversion: Conversion, chosen: str, origin: str
) -> None:
    """report.json, and for our own models the card that follows from it."""
    from .training.cards import write_card
    from .training.reports import conversion_report, write_report

    report = conversion_report(
        title=out.resolve().name,
        license=chosen,
        file=checkpoint.path.resolve().name,
        sha256=checkpoint.sha256,
        dialect=conversion.dialect,
        source_license=origin,
        unused=conversion.unused,
        note=" ".join(conversion.notes) or None,
    )
    write_report(folder, report)
    if to == "aural":
        write_card(folder, out.resolve().name)
