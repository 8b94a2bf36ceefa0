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
    wave = arrays["wave"]
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True)
    speaks = "AutoModelForSpeechSeq2Seq" in config.auto_map
    writes = speaks or config.architectures[0].endswith("ForCTC")
    texts = {"decoder_input_ids": torch.from_numpy(arrays["decoder_input_ids"])} if speaks else {}
    logits = {}
    for name, reference in config.auto_map.items():
        if name == "AutoConfig" or (name == "AutoModelForCTC" and config.vocab_size is None):
            continue
        load = getattr(transformers, name).from_pretrained
        model, told = load(folder, trust_remote_code=True, output_loading_info=True)
        if not told["missing_keys"]:  # else a head of another model
            logits[reference] = model.eval()(torch.from_numpy(arrays["features"]), **texts)[0].tolist()
            model.save_pretrained(f"{folder}-again")
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
    features = extractor(wave, sampling_rate=16000, return_tensors="np")["input_features"]
    extractor.save_pretrained(f"{folder}-again")
    result = {"logits": logits, "heard": features.tolist()}
    if writes:
        processor = transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=True)
        heard = processor(audio=wave, sampling_rate=16000, return_tensors="np")["input_features"]
        recognizer = transformers.pipeline("automatic-speech-recognition", model=folder, trust_remote_code=True)
        result["same_features"] = bool((heard == features).all())
        result["answer"] = recognizer(wave)["text"]
        result["labels"] = processor(text="ab ba")["labels"]
        if not speaks:
            result["chunks"] = recognizer(wave, return_timestamps="word")["chunks"]
        processor.save_pretrained(f"{folder}-again")
    else:
        tagger = transformers.pipeline("audio-classification", model=folder, trust_remote_code=True)
        result["answer"] = tagger(wave)
    result["aural"] = [name for name in sys.modules if name.split(".")[0] == "aural"]
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
