"""Run by test_bundle in a process that has no aural: load a folder, and print as JSON what it gives.

python without_aural.py FOLDER INPUTS.npz
"""

import importlib.abc
import json
import sys
from typing import Any


class Gone(importlib.abc.MetaPathFinder):
    """Makes this process one in which aural was never installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.split(".")[0] == "aural":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main(folder: str, inputs: str) -> None:
    """Load everything in `folder` by Auto classes with its own code, run it on `inputs`, save it again beside."""
    sys.meta_path.insert(0, Gone())
    import numpy as np
    import torch
    import transformers

    arrays = np.load(inputs)
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True)
    logits = {}
    for name, reference in config.auto_map.items():
        if name != "AutoConfig":
            model = getattr(transformers, name).from_pretrained(folder, trust_remote_code=True).eval()
            output = model(
                torch.from_numpy(arrays["features"]), decoder_input_ids=torch.from_numpy(arrays["decoder_input_ids"])
            )
            logits[reference] = output[0].tolist()
    processor = transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
    features = processor(audio=arrays["wave"], sampling_rate=16000, return_tensors="np")["input_features"]
    recognizer = transformers.pipeline("automatic-speech-recognition", model=folder, trust_remote_code=True)
    result = {
        "logits": logits,
        "heard": features.tolist(),
        "same_features": bool((extractor(arrays["wave"], sampling_rate=16000)["input_features"][0] == features).all()),
        "text": recognizer(arrays["wave"])["text"],
        "labels": processor(text="ab ba")["labels"],
        "aural": [name for name in sys.modules if name.split(".")[0] == "aural"],
    }
    model.save_pretrained(f"{folder}-again")
    processor.save_pretrained(f"{folder}-again")
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
