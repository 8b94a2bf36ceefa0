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

_AURAL = """\
@software{aural,
  title = {aural: attention in audio on the Hugging Face stack},
  version = {VERSION}
}"""


def bibtex(config: dict[str, Any], version: str) -> str:
    """Entries for a model.

    Args:
        config: the model's `config.json`, with its `model_type`.
        version: of the aural that trained it; what no version number holds is left out.
    """
    entries = [_LAS] if config["model_type"] == "las" else []
    if config.get("attention_kind") == "location":
        entries.append(_LOCATION)
    return "\n\n".join([*entries, _AURAL.replace("VERSION", re.sub(r"[^\w.+!-]", "", version))])
