"""Whose checkpoint is it? Names tell, and each dialect has its converter.

from aural.modeling.convert_dialect import convert_state_dict

conversion = convert_state_dict(torch.load("audioset_10_10_0.4593.pth", weights_only=True))
model, settings = conversion.build(), conversion.features  # LogMelFeatureExtractor(**settings)
"""

from collections.abc import Mapping
from typing import Any

from .convert_ast import convert_ast
from .convert_audiomae import convert_audiomae
from .convert_passt import convert_passt
from .convert_shared import Conversion, State, Told
from .convert_transformers_ast import convert_transformers_ast

PATCHES = "patch_embed.proj.weight"  # where timm's ViTs have their patch projection
THEIR_PATCHES = "embeddings.patch_embeddings.projection.weight"  # and transformers' AST
DIALECTS = ("transformers", "ast", "ssast", "passt", "audiomae")
SUPPORTED = "the original AST, SSAST, PaSST, AudioMAE and transformers' AST"
TOLD = ("dialect", "heads", "frames", "stride", "pooling", "multi_label")
POOLINGS = ("cls", "cls_distillation", "mean")
FAMILIES = {  # part of a name, and who has such names
    "relative_position_bias_table": "Swin or HTS-AT",
    "audio_branch.": "CLAP",
    "conv_block1.conv1.": "PANNs",
    "grep_linear": "BEATs",
    "modality_encoders.": "EAT or data2vec 2.0",
    "feature_extractor.conv_layers.": "wav2vec 2.0, HuBERT or WavLM",
    "decoder.layers.0.encoder_attn.": "an encoder-decoder of transformers, such as Whisper",
    "decoder.blocks.0.cross_attn.": "Whisper",
    "speller.": "aural's own Listen, Attend and Spell",
    "embeddings.patch_projection.": "aural's own spectrogram transformer",
}


def convert_state_dict(
    state: State,
    told: Told | None = None,
    config: Mapping[str, Any] | None = None,
    preprocessor: Mapping[str, Any] | None = None,
) -> Conversion:
    """A foreign checkpoint in our terms.

    Args:
        state: Tensors by name, as whoever trained them saved them.
        told: What is known beside the tensors and cannot be inferred, or should not be.
        config: transformers' config.json, if there is one.
        preprocessor: transformers' preprocessor_config.json, if there is one.

    Raises:
        ValueError: It is no checkpoint of a known format, names or shapes do not fit, or the geometry is ambiguous.
    """
    told = told or Told()
    if told.dialect not in (None, *DIALECTS):
        raise ValueError(f"dialect={told.dialect!r} must be one of {', '.join(DIALECTS)}")
    if told.pooling not in (None, *POOLINGS):
        raise ValueError(f"pooling={told.pooling!r} must be one of {', '.join(POOLINGS)}")
    dialect, root = recognize(state, told.dialect)
    if dialect == "transformers":
        if config is None:
            told.only("dialect", "heads", "frames", "stride", "multi_label", because="transformers' AST has one kind")
        else:
            told.only("dialect", "multi_label", because="the checkpoint's config tells it")
        return convert_transformers_ast(state, root, told, config, preprocessor)
    if dialect != "passt":
        told.only(*TOLD, because="AST, SSAST and AudioMAE hear a frame every 10 ms")
    converter = {"ast": convert_ast, "ssast": convert_ast, "passt": convert_passt, "audiomae": convert_audiomae}
    return converter[dialect](state, root, told)


def recognize(state: State, dialect: str | None = None) -> tuple[str, str]:
    """Which dialect the names are of, and what stands before them.

    Args:
        state: Tensors by name.
        dialect: What to take it for; None: as the names tell.

    Raises:
        ValueError: It is none of ours, or an image model.
    """
    anchors = {None: (PATCHES, THEIR_PATCHES), "transformers": (THEIR_PATCHES,)}.get(dialect, (PATCHES,))
    found = [(name, anchor) for anchor in anchors for name in state if name.endswith(anchor)]
    if not found:
        raise ValueError(_no_family(state))
    name, anchor = min(found, key=lambda each: len(each[0]))
    root, kernel = name.removesuffix(anchor), state[name]
    if kernel.ndim == 4 and kernel.shape[1] != 1:
        raise ValueError(
            f"{name} {tuple(kernel.shape)} takes {kernel.shape[1]} channels: this is a model of images, "
            f"which is not converted; supported are {SUPPORTED}"
        )
    if dialect is not None:
        return dialect, root
    if anchor == THEIR_PATCHES:
        return "transformers", root
    if root.endswith("v."):
        return "ast", root
    if f"{root}freq_new_pos_embed" in state:
        return "passt", root
    if any(name.startswith((f"{root}decoder_", f"{root}fc_norm.")) for name in state):
        return "audiomae", root
    raise ValueError(
        f"the checkpoint is a ViT whose names do not tell what heard sounds with it: say which dialect it is, "
        f"of {', '.join(DIALECTS)}"
    )


def _no_family(state: State) -> str:
    """What the checkpoint looks like, if it is known, and what is supported."""
    for part, family in FAMILIES.items():
        if any(part in name for name in state):
            return f"the checkpoint looks like {family}, which is not converted; supported are {SUPPORTED}"
    names = ", ".join(list(state)[:3])
    return f"the checkpoint is of no known format ({len(state)} tensors: {names}, …); supported are {SUPPORTED}"
