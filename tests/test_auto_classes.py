"""What `import aural` registers: Auto classes and the speech pipeline."""

import shutil

import pytest
import soundfile
import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
    AutoTokenizer,
    pipeline,
)

from aural import AuralProcessor, LasConfig, LasForConditionalGeneration, LasModel, LogMelFeatureExtractor
from tests.whole import save_folder, wave


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_folder(tmp_path_factory.mktemp("model"))


def test_auto_classes_load_ours(folder):
    assert isinstance(AutoConfig.from_pretrained(folder), LasConfig)
    assert isinstance(AutoModel.from_pretrained(folder), LasModel)
    assert isinstance(AutoModelForSpeechSeq2Seq.from_pretrained(folder), LasForConditionalGeneration)
    assert isinstance(AutoFeatureExtractor.from_pretrained(folder), LogMelFeatureExtractor)
    assert isinstance(AutoProcessor.from_pretrained(folder), AuralProcessor)
    assert AutoTokenizer.from_pretrained(folder)("ab").input_ids == [5, 6, 2]


def test_the_loaded_processor_gives_the_same_features_and_text(folder):
    sound = wave(1.0)
    loaded = AutoProcessor.from_pretrained(folder)
    direct = LogMelFeatureExtractor(num_mel_bins=6)(sound, sampling_rate=16000, return_tensors="pt")
    features = loaded(audio=sound, sampling_rate=16000, return_tensors="pt")
    assert torch.equal(features["input_features"], direct["input_features"])
    assert loaded.decode([5, 4, 6, 2]) == "a b"


def test_the_speech_pipeline_transcribes_an_array_as_generate_does(folder):
    sound = wave(1.0)
    recognizer = pipeline("automatic-speech-recognition", model=str(folder))
    model, processor = AutoModelForSpeechSeq2Seq.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    inputs = processor(audio=sound, sampling_rate=16000, return_tensors="pt")
    expected = processor.batch_decode(model.generate(inputs["input_features"]))[0]
    assert recognizer(sound)["text"] == expected
    assert recognizer({"raw": sound, "sampling_rate": 16000})["text"] == expected
    assert recognizer([sound, sound[:5000]], batch_size=2)[0]["text"] == expected


def test_the_speech_pipeline_does_not_cut_a_text_at_256_tokens(tmp_path):
    model = LasForConditionalGeneration.from_pretrained(save_folder(tmp_path))
    model.lm_head.weight.data.zero_()
    model.lm_head.bias.data.fill_(-1e4)
    model.lm_head.bias.data[5] = 0  # writes "a" and never ends
    model.save_pretrained(tmp_path)
    text = pipeline("automatic-speech-recognition", model=str(tmp_path))(wave(12.0))["text"]
    assert set(text) == {"a"}
    assert len(text) == 360  # 1,198 frames at 30 tokens a second


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the pipeline reads file names through ffmpeg")
def test_the_speech_pipeline_transcribes_a_file_where_ffmpeg_is_installed(folder, tmp_path):
    soundfile.write(tmp_path / "a.wav", wave(1.0), 16000, subtype="FLOAT")
    recognizer = pipeline("automatic-speech-recognition", model=str(folder))
    assert recognizer(str(tmp_path / "a.wav"))["text"] == recognizer(wave(1.0))["text"]
