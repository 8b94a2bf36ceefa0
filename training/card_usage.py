"""Code in a card that loads the model: with aural, and with transformers alone where the folder brings its code."""

import json
from typing import Any

SPEECH, SOUND, FEATURES = "automatic-speech-recognition", "audio-classification", "feature-extraction"
PIPELINES = {  # by model type
    "las": SPEECH,
    "spectrogram_transformer": SOUND,
    "spectrogram_transformer_seq2seq": SPEECH,
}

TRANSCRIBE = """\
With aural installed:

```python
import aural

print(aural.transcribe("speech.wav", {model})[0].text)
```
"""
CAPTION = """\
With aural installed:

```python
import aural

print(aural.caption("sound.wav", {model})[0].text)
```
"""
RECOGNIZER = """\
{heading}

```python
import soundfile
from transformers import pipeline
{imports}
recognizer = pipeline("automatic-speech-recognition", model={model}, trust_remote_code=True)
audio, rate = soundfile.read("speech.wav", dtype="float32")  # mono, at recognizer.feature_extractor.sampling_rate
print(recognizer({{"raw": audio, "sampling_rate": rate}})["text"])
```
"""
TAG = """\
With aural installed:

```python
import aural

print(aural.tag("sound.wav", {model})[0].top(3))
```
"""
CLASSIFIER = """\
{heading}

```python
import soundfile
from transformers import pipeline
{imports}
classifier = pipeline("audio-classification", model={model}, trust_remote_code=True)
audio, rate = soundfile.read("sound.wav", dtype="float32")  # mono, at classifier.feature_extractor.sampling_rate
print(classifier({{"raw": audio, "sampling_rate": rate}}))
```
"""
MODEL = """\
{heading}

```python
import soundfile
import torch
from transformers import AutoFeatureExtractor, {auto}
{imports}
extractor = AutoFeatureExtractor.from_pretrained({model}, trust_remote_code=True)
model = {auto}.from_pretrained({model}, trust_remote_code=True)
audio, rate = soundfile.read("sound.wav", dtype="float32")  # mono, at extractor.sampling_rate
with torch.no_grad():
    outputs = model(**extractor(audio, sampling_rate=rate, return_tensors="pt"))
{result}
```
"""
SCORES = "print(outputs.logits.sigmoid())  # (1, time patches, labels), by model.config.id2label"
STATES = "print(outputs.pooler_output)  # (1, hidden)"
PATCHES = "print(outputs.last_hidden_state)  # (1, patches, hidden), for a head to begin from"


def task_of(config: dict[str, Any]) -> str:
    """The Hub's task of a model, by its `config.json`."""
    head = _head(config)
    if head.endswith(("Model", "ForPreTraining")):
        return FEATURES
    return SPEECH if head.endswith("ForCTC") else PIPELINES[config["model_type"]]


def usage(name: str, config: dict[str, Any], captions: bool = False) -> str:
    """Code that loads the model; without aural it runs only where the folder brings its own code.

    Args:
        name: what is loaded: a folder or the Hub's id.
        config: the model's `config.json`.
        captions: whether what it writes are captions; through the pipeline of speech it writes them too.
    """
    travels = "auto_map" in config
    told = {
        "model": json.dumps(name, ensure_ascii=False),
        "imports": "" if travels else "\nimport aural  # registers the model type\n",
        "heading": "With transformers alone:" if travels else "With transformers, in which aural enters it:",
    }
    head = _head(config)
    if head.endswith("ForAudioFrameClassification"):
        parts = [TAG, MODEL]
        told |= {"auto": "AutoModelForAudioFrameClassification", "result": SCORES}
    elif task_of(config) == FEATURES:
        parts = [MODEL]
        told |= {"auto": "AutoModel", "result": STATES if head.endswith("Model") else PATCHES}
    else:
        writer = CAPTION if captions else TRANSCRIBE
        parts = [TAG, CLASSIFIER] if task_of(config) == SOUND else [writer, RECOGNIZER]
        if not travels:
            told["heading"] = "As a pipeline of transformers, in which aural enters it:"
    return "\n".join(part.format(**told) for part in parts)


def _head(config: dict[str, Any]) -> str:
    return str((config.get("architectures") or [""])[0])
