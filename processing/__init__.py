"""Audio in, log-mel features, tokenizers, processor; what comes out: texts, times, n-grams, pictures."""

from .audio import load_audio
from .ctc import CtcToken, ctc_greedy
from .ctc_search import CtcHypothesis, ctc_prefix_search
from .ctc_tokenizer import CtcTokenizer
from .features import LogMelFeatureExtractor
from .hot_words import hot_words
from .lexicon import Lexicon
from .ngram import NGram, table_arrays
from .ngram_kenlm import read_kenlm
from .ngram_training import train_ngram
from .processor import AuralProcessor
from .tokenizers import train_tokenizer

__all__ = [
    "AuralProcessor",
    "CtcHypothesis",
    "CtcToken",
    "CtcTokenizer",
    "Lexicon",
    "LogMelFeatureExtractor",
    "NGram",
    "ctc_greedy",
    "ctc_prefix_search",
    "hot_words",
    "load_audio",
    "read_kenlm",
    "table_arrays",
    "train_ngram",
    "train_tokenizer",
]
