"""The small models that learn the demo's strings: LAS, and the patch transformer with two heads that write.

The patches are of full height, 60 ms wide, one every 40 ms: a state of the encoder for every moment, as CTC needs it.
There is no dropout: no string comes twice, and in so few updates it costs time alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from .configuration import SpectrogramTransformerConfig, SpectrogramTransformerSeq2SeqConfig, TextDecoderConfig
from .demo import CTC_SHARE, LONGEST, DemoPlan, make_model
from .modeling import SpectrogramTransformerForConditionalGeneration, SpectrogramTransformerForCTC
from .processing import AuralProcessor
from .processing.ctc_tokenizer import CtcTokenizer

HEADS = 4  # of every attention
ENCODER_LAYERS, DECODER_LAYERS = 6, 2
PATCH, STRIDE = 6, 4  # frames of 10 ms


@dataclass(frozen=True)
class StringModel:
    """A kind of model in the comparison.

    Attributes:
        title: What tables call it.
        make: From the demo's processor and a plan to a new model.
        processor: From the demo's processor to the one that fits the model.
        arguments: Of the Trainer, beside the demo's.
    """

    title: str
    make: Callable[[AuralProcessor, DemoPlan], PreTrainedModel]
    processor: Callable[[AuralProcessor], AuralProcessor]
    arguments: dict[str, Any]


def encoder_config(processor: AuralProcessor, hidden: int, **changes: Any) -> SpectrogramTransformerConfig:
    """A small patch transformer for the demo's features; `changes` of its config."""
    mels = processor.feature_extractor.num_mel_bins
    options: dict[str, Any] = {
        "num_mel_bins": mels,
        "patch_size": [mels, PATCH],
        "patch_stride": [mels, STRIDE],
        "hidden_size": hidden,
        "num_hidden_layers": ENCODER_LAYERS,
        "num_attention_heads": HEADS,
        "position_kind": "rotary",
        "pooling": "mean",
        "apply_spec_augment": True,
        "mask_time_prob": 0.03,
        "mask_time_length": 8,
        "mask_time_min_masks": 1,
        "mask_feature_prob": 0.1,
        "mask_feature_length": 4,
    }
    return SpectrogramTransformerConfig(**{**options, **changes})


def make_ctc(processor: AuralProcessor, plan: DemoPlan) -> SpectrogramTransformerForCTC:
    """A symbol or a blank for every patch."""
    return SpectrogramTransformerForCTC(encoder_config(processor, plan.hidden, vocab_size=len(processor.tokenizer)))


def make_seq2seq(processor: AuralProcessor, plan: DemoPlan) -> SpectrogramTransformerForConditionalGeneration:
    """A decoder over the same encoder, which CTC teaches to hear in order and which decodes with it."""
    decoder = TextDecoderConfig(
        vocab_size=len(processor.tokenizer),
        hidden_size=plan.hidden,
        num_hidden_layers=DECODER_LAYERS,
        num_attention_heads=HEADS,
    )
    encoder = encoder_config(processor, plan.hidden)
    model = SpectrogramTransformerForConditionalGeneration(
        SpectrogramTransformerSeq2SeqConfig(encoder=encoder, decoder=decoder, ctc_weight=0.4, label_smoothing=0.1)
    )
    vars(model.generation_config).update(ctc_weight=CTC_SHARE, max_seconds=LONGEST)  # as the demo's LAS
    return model


STRING_MODELS: dict[str, StringModel] = {
    "las": StringModel(
        "LAS", lambda processor, plan: make_model(processor, plan.hidden), lambda processor: processor, {}
    ),
    "ctc": StringModel(
        "patches, CTC",
        make_ctc,
        lambda processor: AuralProcessor(processor.feature_extractor, CtcTokenizer.of(processor.tokenizer)),
        {"adam_beta2": 0.98},  # as transformers are trained since arXiv:1706.03762
    ),
    "seq2seq": StringModel(
        "patches, decoder with CTC", make_seq2seq, lambda processor: processor, {"adam_beta2": 0.98}
    ),
}
