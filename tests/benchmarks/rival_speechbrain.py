"""A LAS made of speechbrain's parts, of the size and the function of ours; `make bench-rivals` installs them.

speechbrain imports torchaudio, and so does transformers where it is installed, but its compiled extension does not
load beside newer versions of torch. Nothing here needs it: a module that says so stands in its place, from the moment
that this folder is imported.
"""

import importlib.util
import sys
import types
from typing import Any

import torch
from torch import nn

MELS, VOCABULARY = 80, 32
LISTENER, SPELLER, EMBEDDING = 256, 512, 128  # the listener's per direction
LAYERS = 3  # of the listener, each of which halves the frames first
BOS, EOS = 1, 2


def is_installed() -> bool:
    """Whether the rival can be raced."""
    return importlib.util.find_spec("speechbrain") is not None


def do_without_torchaudio() -> None:
    """Let torchaudio be imported without its extension, where speechbrain is installed."""
    if not is_installed():
        return
    extension: Any = types.ModuleType("torchaudio._extension")
    extension._IS_TORCHAUDIO_EXT_AVAILABLE = False
    extension.fail_if_no_align = lambda function: function
    sys.modules.setdefault("torchaudio._extension", extension)


class RivalLas(nn.Module):
    """Three bidirectional LSTMs over halved frames, then `AttentionalRNNDecoder` with key-value attention.

    Of its kinds of attention that one is a scaled dot product, the nearest to our `dot`; it projects query, keys and
    values by one matrix each, where ours has two layers for query and keys and none for values.
    """

    def __init__(self) -> None:
        super().__init__()
        from speechbrain.decoders import seq2seq
        from speechbrain.nnet import RNN, linear, losses

        self.losses, self.seq2seq = losses, seq2seq
        sizes = [2 * MELS] + [4 * LISTENER] * (LAYERS - 1)
        self.layers = nn.ModuleList(RNN.LSTM(LISTENER, input_size=size, bidirectional=True) for size in sizes)
        self.embedding = nn.Embedding(VOCABULARY, EMBEDDING)
        memory = 2 * LISTENER
        self.decoder = RNN.AttentionalRNNDecoder(
            "lstm", "keyvalue", SPELLER, memory, 1, enc_dim=memory, input_size=EMBEDDING
        )
        self.head = linear.Linear(VOCABULARY, input_size=SPELLER)

    def listen(self, features: torch.Tensor, shares: torch.Tensor | None) -> torch.Tensor:
        """Listener states of features `(batch, frames, mels)`.

        Args:
            features: Padded.
            shares: Each row's part of the frames, with which sequences are packed; None reads padding as sound.
        """
        states = features
        for layer in self.layers:
            states, _ = layer(states.unflatten(1, (-1, 2)).flatten(2), lengths=shares)
        return states

    def loss(self, features: torch.Tensor, shares: torch.Tensor, labels: torch.Tensor, packed: bool) -> torch.Tensor:
        """Cross entropy of labels `(batch, targets)`, all of them as long."""
        inputs = torch.cat([torch.full_like(labels[:, :1], BOS), labels[:, :-1]], dim=1)
        states = self.listen(features, shares if packed else None)
        outputs, _ = self.decoder(self.embedding(inputs), states, shares)
        log_probs = self.head(outputs).log_softmax(dim=-1)
        return self.losses.nll_loss(log_probs, labels, torch.ones(len(labels)))

    def searcher(self, beams: int, steps: int, states: int) -> nn.Module:
        """Greedy or beam search over exactly `steps` tokens, for so many listener states."""
        ratio = (steps + 0.5) / states
        options = {"bos_index": BOS, "eos_index": EOS, "min_decode_ratio": 0.0, "max_decode_ratio": ratio}
        if beams == 1:
            return self.seq2seq.S2SRNNGreedySearcher(self.embedding, self.decoder, self.head, **options)
        options.update(min_decode_ratio=ratio, beam_size=beams, using_eos_threshold=False)
        return self.seq2seq.S2SRNNBeamSearcher(self.embedding, self.decoder, self.head, **options)
