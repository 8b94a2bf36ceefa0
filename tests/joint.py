"""Companions small enough for tests, each with an opinion of its own, and models that can be heard by all of them."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from aural import LasForConditionalGeneration, SpectrogramTransformerForConditionalGeneration
from aural.modeling.ngram_table import NGramTable
from tests.tiny import MELS, VOCABULARY, tiny_las
from tests.tiny_spectrogram import tiny_writer


def tiny_lm(vocab_size: int = VOCABULARY, seed: int = 5, positions: int = 80) -> GPT2LMHeadModel:
    """A causal language model with an opinion."""
    torch.manual_seed(seed)
    config = GPT2Config(vocab_size=vocab_size, n_positions=positions, n_embd=8, n_layer=2, n_head=2)
    model = GPT2LMHeadModel(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.7)
    return model


def tiny_ngram(vocab_size: int = VOCABULARY, seed: int = 6) -> NGramTable:
    """Five states, each with its own distribution."""
    generator = torch.Generator().manual_seed(seed)
    next_state = torch.randint(0, 5, (5, vocab_size), generator=generator)
    return NGramTable(next_state, torch.randn(5, vocab_size, generator=generator).log_softmax(-1), 3)


def everything(vocab_size: int = VOCABULARY) -> dict:
    """One of each companion."""
    return {
        "ctc_weight": 0.4,
        "lm": tiny_lm(vocab_size),
        "lm_weight": 0.6,
        "ngram": tiny_ngram(vocab_size),
        "ngram_weight": 0.5,
        "coverage_weight": 0.3,
        "coverage_threshold": 0.4,
    }


def joint_las(seed: int = 0, **overrides) -> LasForConditionalGeneration:
    return tiny_las(seed=seed, **{"ctc_weight": 0.3, **overrides})


def joint_patches(seed: int = 0, **overrides) -> SpectrogramTransformerForConditionalGeneration:
    """A writing patch transformer for the same features, which can be heard by all companions; seeds from 1 on."""
    return tiny_writer(seed + 1, mels=MELS, **{"vocab_size": VOCABULARY, "ctc_weight": 0.3, **overrides})


JOINT = {"las": joint_las, "patches": joint_patches}
