"""A PEFT model whose folder says what its base had become. It needs PEFT: `adapters.py` imports it when asked to."""

import json
from pathlib import Path
from typing import Any

from peft import PeftModel

from ..processing.files import write_whole
from .adapters import BASE_CONFIG


class AdapterModel(PeftModel):
    """`peft.PeftModel`, saved with the config of the model that it adapts, and without PEFT's blank card.

    The weights in `adapter_model.safetensors` fit a base of the new vocabulary or label set, of which the base's own
    folder knows nothing; `BASE_CONFIG` does. It is not named config.json, by which transformers would take the folder
    for that of a whole model.
    """

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, is_main_process: bool = True, **kwargs: Any
    ) -> None:
        """As in PEFT.

        Args:
            save_directory: Made if it is not there.
            is_main_process: The others write nothing.
            kwargs: As in PEFT, but for `save_embedding_layers`: the embedding is saved in any case.
        """
        kwargs["save_embedding_layers"] = False  # "auto" would read the base's config again, and save rows twice
        super().save_pretrained(str(save_directory), is_main_process=is_main_process, **kwargs)
        if is_main_process:
            base: Any = self.get_base_model()
            settings = {**base.config.to_dict(), "architectures": [type(base).__name__]}
            text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False)
            write_whole(Path(save_directory) / BASE_CONFIG, text + "\n")

    def create_or_update_model_card(self, output_dir: str) -> None:
        """Nothing: cards are measured, and of whole models; PEFT's would name a path of this machine."""
