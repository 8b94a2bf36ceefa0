"""Where encoder and decoder of a model that writes come from: made anew, or kept as they were learned apart."""

import copy
from typing import Any, cast

from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from ..configuration.text_decoder import TextDecoderConfig
from .spectrogram_transformer import SpectrogramTransformerModel
from .text_decoder import TextDecoder


def make_decoder(config: PreTrainedConfig) -> PreTrainedModel:
    """The decoder of a config, of new weights: states, no logits.

    Raises:
        ValueError: transformers has no such model.
    """
    if config.model_type == TextDecoderConfig.model_type:  # by name: a Hub folder's code may be loaded twice
        return TextDecoder(cast(TextDecoderConfig, config))
    if type(config) not in MODEL_MAPPING:
        raise ValueError(f"decoder={config.model_type!r} is no model type of transformers, nor 'text_decoder'")
    return cast(Any, MODEL_MAPPING[type(config)])(config)


def encoder_from(given: Any) -> SpectrogramTransformerModel:
    """The encoder of a spectrogram transformer with any head or none.

    Args:
        given: The model, or its folder or Hub id.

    Raises:
        TypeError: It is another model.
    """
    if not isinstance(given, PreTrainedModel):
        return SpectrogramTransformerModel.from_pretrained(given, add_pooling_layer=False)
    if not isinstance(given.base_model, SpectrogramTransformerModel):
        raise TypeError(f"encoder is a {type(given).__name__}; allowed: a spectrogram transformer, or its folder")
    return given.base_model


def decoder_from(given: Any) -> tuple[Any, dict[str, Any]]:
    """What a decoder's weights are taken from, and the special ids that its texts have.

    Args:
        given: A causal language model, or its folder or Hub id; or a `TextDecoderConfig`.

    Returns:
        The language model, or for a config a decoder without weights to keep; and fields of the whole's config.

    Raises:
        TypeError: It is none of these.
        ValueError: A language model with more between its states and its logits than a linear layer.
    """
    if isinstance(given, TextDecoderConfig):
        return TextDecoder(copy.deepcopy(given)), {}
    model = given if isinstance(given, PreTrainedModel) else AutoModelForCausalLM.from_pretrained(given)
    head = model.get_output_embeddings()
    if head is None:
        raise TypeError(
            f"decoder is a {type(model).__name__}; allowed: a causal language model or a TextDecoderConfig"
        )
    known = {id(weight) for part in (model.base_model, head) for weight in part.parameters()}
    if others := [name for name, weight in model.named_parameters() if id(weight) not in known]:
        raise ValueError(f"decoder ({type(model).__name__}) has {others[0]} between its states and its logits")
    ids = {name: getattr(model.config, name, None) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    return model, {**ids, "unk_token_id": None}


def keep_decoder(model: Any, writer: PreTrainedModel) -> None:
    """Give the decoder and the output layer of `model` the weights of a language model.

    Args:
        model: A `SpectrogramTransformerForConditionalGeneration`.
        writer: As `decoder_from` returns it; a `TextDecoder` has nothing to keep.

    Raises:
        ValueError: A weight of the language model has no place, or one beside cross-attention is missing.
    """
    if isinstance(writer, TextDecoder):
        return
    missing, unexpected = model.decoder.load_state_dict(writer.base_model.state_dict(), strict=False)
    odd = [*unexpected, *(name for name in missing if "cross" not in name)]
    if odd:
        raise ValueError(f"decoder ({type(writer).__name__}): {odd[0]} is in one of the two models only")
    model.lm_head.load_state_dict(writer.get_output_embeddings().state_dict())


__all__ = ["decoder_from", "encoder_from", "keep_decoder", "make_decoder"]
