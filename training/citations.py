"""What to cite: the papers behind a model, by its configuration, and aural itself, as BibTeX."""

import re
from typing import Any

_LAS = """\
@misc{chan2015listen,
  title = {Listen, Attend and Spell},
  author = {Chan, William and Jaitly, Navdeep and Le, Quoc V. and Vinyals, Oriol},
  year = {2015},
  eprint = {1508.01211},
  archivePrefix = {arXiv}
}"""

_LOCATION = """\
@misc{chorowski2015attention,
  title = {Attention-Based Models for Speech Recognition},
  author = {Chorowski, Jan and Bahdanau, Dzmitry and Serdyuk, Dmitriy and Cho, Kyunghyun and Bengio, Yoshua},
  year = {2015},
  eprint = {1506.07503},
  archivePrefix = {arXiv}
}"""

_AST = """\
@misc{gong2021ast,
  title = {AST: Audio Spectrogram Transformer},
  author = {Gong, Yuan and Chung, Yu-An and Glass, James},
  year = {2021},
  eprint = {2104.01778},
  archivePrefix = {arXiv}
}"""

_TRANSFORMER = """\
@misc{vaswani2017attention,
  title = {Attention Is All You Need},
  author = {Vaswani, Ashish and Shazeer, Noam and Parmar, Niki and Uszkoreit, Jakob and Jones, Llion and Gomez, Aidan
    N. and Kaiser, {\\L}ukasz and Polosukhin, Illia},
  year = {2017},
  eprint = {1706.03762},
  archivePrefix = {arXiv}
}"""

_CTC = """\
@inproceedings{graves2006connectionist,
  title = {Connectionist Temporal Classification: Labelling Unsegmented Sequence Data with Recurrent Neural Networks},
  author = {Graves, Alex and Fern{\\'a}ndez, Santiago and Gomez, Faustino and Schmidhuber, J{\\"u}rgen},
  booktitle = {Proceedings of the 23rd International Conference on Machine Learning},
  year = {2006},
  doi = {10.1145/1143844.1143891}
}"""

_PASST = """\
@misc{koutini2021efficient,
  title = {Efficient Training of Audio Transformers with Patchout},
  author = {Koutini, Khaled and Schl{\\"u}ter, Jan and Eghbal-zadeh, Hamid and Widmer, Gerhard},
  year = {2021},
  eprint = {2110.05069},
  archivePrefix = {arXiv}
}"""

_SSAST = """\
@misc{gong2021ssast,
  title = {SSAST: Self-Supervised Audio Spectrogram Transformer},
  author = {Gong, Yuan and Lai, Cheng-I Jeff and Chung, Yu-An and Glass, James},
  year = {2021},
  eprint = {2110.09784},
  archivePrefix = {arXiv}
}"""

_AUDIOMAE = """\
@misc{huang2022masked,
  title = {Masked Autoencoders that Listen},
  author = {Huang, Po-Yao and Xu, Hu and Li, Juncheng and Baevski, Alexei and Auli, Michael and Galuba, Wojciech and
    Metze, Florian and Feichtenhofer, Christoph},
  year = {2022},
  eprint = {2207.06405},
  archivePrefix = {arXiv}
}"""

_AURAL = """\
@software{aural,
  title = {aural: attention in audio on the Hugging Face stack},
  version = {VERSION}
}"""


_MODELS = {
    "las": [_LAS],
    "spectrogram_transformer": [_AST],
    "spectrogram_transformer_seq2seq": [_AST, _TRANSFORMER],
}
_OBJECTIVES = {"masked_autoencoder": _AUDIOMAE, "discriminative_generative": _SSAST}
_DIALECTS = {"passt": _PASST, "ssast": _SSAST, "audiomae": _AUDIOMAE}


def bibtex(config: dict[str, Any], version: str, dialect: str = "") -> str:
    """Entries for a model.

    Args:
        config: the model's `config.json`, with its `model_type` and `architectures`.
        version: of the aural that trained it; what no version number holds is left out.
        dialect: of the checkpoint that it was converted from.
    """
    entries = list(_MODELS.get(config["model_type"], []))
    head = str((config.get("architectures") or [""])[0])
    if head.endswith("ForCTC"):
        entries.append(_CTC)
    if head.endswith("ForPreTraining") and config.get("pretraining_objective") in _OBJECTIVES:
        entries.append(_OBJECTIVES[config["pretraining_objective"]])
    if config.get("attention_kind") == "location":
        entries.append(_LOCATION)
    letters = re.sub(r"[^a-z]", "", dialect.lower())
    patchout = any(config.get(f"patchout_{kind}") for kind in ("time", "frequency", "unstructured"))
    for name, entry in _DIALECTS.items():
        if name in letters or (name == "passt" and (patchout or config.get("position_kind") == "factorized")):
            entries.append(entry)
    return "\n\n".join([*entries, _AURAL.replace("VERSION", re.sub(r"[^\w.+!-]", "", version))])
