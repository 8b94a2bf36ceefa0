"""Publishing, pushing and loading by id against a Hub on loopback.

HF_ENDPOINT counts when huggingface_hub is imported, so each test plays one of the scenarios below in a process of its
own, `python -m tests.test_hub_roundtrip SCENARIO FOLDER`, which ends by printing what it saw as JSON.
"""

import json
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from tests.hub_server import READ_TOKEN, TOKEN, HubServer

ROOT = Path(__file__).parent.parent
WRONG_TOKEN = "hf_" + "refusedREFUSED" * 3


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


def play(scenario: str, hub: HubServer, folder: Path) -> tuple[dict[str, Any], str]:
    """What the scenario printed as JSON, and everything that it wrote to its logs and terminal."""
    ours = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(folder / "home"),
        "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
    }
    theirs = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    command = [sys.executable, "-m", "tests.test_hub_roundtrip", scenario, str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=theirs | ours, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


def save_publishable(path: Path, **overrides: Any) -> Path:
    """A model folder with a card."""
    from tests.whole import save_folder

    save_folder(path, **overrides)
    (path / "README.md").write_text("---\nlicense: mit\nlibrary_name: transformers\n---\n\n# Tiny\n")
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def failure(call: Callable[[], Any]) -> dict[str, str]:
    """How `call` fails."""
    try:
        call()
    except Exception as error:
        return {"type": type(error).__name__, "text": str(error), "traceback": traceback.format_exc()}
    return {"type": "none", "text": "", "traceback": ""}


def hear(source: str | Path, revision: str = "main") -> tuple[Any, str]:
    """Logits of a fixed noise, and its text, by the model and the processor at `source`."""
    import torch
    from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

    from aural import transcribe
    from tests.whole import wave

    model = AutoModelForSpeechSeq2Seq.from_pretrained(source, revision=revision).eval()
    processor = AutoProcessor.from_pretrained(source, revision=revision)
    inputs = processor(audio=wave(0.5), text="abcd", sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**inputs).logits
    return logits, transcribe(wave(0.5), model, processor)[0].text


def same(one: tuple[Any, str], other: tuple[Any, str]) -> bool:
    """Equal text and, bit by bit, equal logits."""
    return one[1] == other[1] and bool((one[0] == other[0]).all())


def play_publish(folder: Path) -> dict[str, Any]:
    from aural import load_recognizer
    from aural.training.publishing import publish_folder

    model, other = save_publishable(folder / "model"), save_publishable(folder / "other", seed=1)
    first = publish_folder(model, "user/name", private=True)
    again = publish_folder(model, "user/name")
    branch = publish_folder(other, "user/name", revision="v2")
    by_folder, by_id = hear(model), hear("user/name")
    return {
        "commits": [first.commit, again.commit, branch.commit],
        "shown": str(first),
        "by id": same(by_id, by_folder),
        "by revision": same(hear("user/name", "v2"), hear(other)),
        "by commit": same(hear("user/name", str(first.commit)), by_folder),
        "differ": not same(by_folder, hear(other)),
        "recognizer": type(load_recognizer("user/name")[0]).__name__,
        "no repository": failure(lambda: load_recognizer("user/nowhere")),
        "no revision": failure(lambda: hear("user/name", "v3")),
    }


def test_published_folder_loads_by_id_revision_and_commit(hub, tmp_path):
    seen, _ = play("publish", hub, tmp_path)
    repo = hub.repos["user/name"]
    assert repo.private
    assert {name: repo.files("main")[name] for name in files_of(tmp_path / "model")} == files_of(tmp_path / "model")
    assert {name: repo.files("v2")[name] for name in files_of(tmp_path / "other")} == files_of(tmp_path / "other")
    assert len(repo.commits) == 3  # the empty one, and one for each folder; publishing again made none
    assert seen["commits"] == [repo.branches["main"], repo.branches["main"], repo.branches["v2"]]
    assert f"Published to {hub.url}/user/name, branch main, private, in one commit:" in seen["shown"]
    assert all(seen[key] for key in ("by id", "by revision", "by commit", "differ"))
    assert seen["recognizer"] == "LasForConditionalGeneration"
    assert seen["no repository"]["type"] == "OSError"
    assert "user/nowhere" in seen["no repository"]["text"]
    assert "v3" in seen["no revision"]["text"]


def play_bare(folder: Path) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

    model = AutoModelForSpeechSeq2Seq.from_pretrained("user/name", trust_remote_code=True).eval()
    processor = AutoProcessor.from_pretrained("user/name", trust_remote_code=True)
    inputs = processor(audio=torch.load(folder / "wave.pt"), text="abcd", sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**inputs).logits
    written = processor.batch_decode(model.generate(inputs.input_features, attention_mask=inputs.attention_mask))
    return {"aural": "aural" in sys.modules, "logits": logits.tolist(), "text": written[0]}


def test_published_code_gives_the_same_without_aural(hub, tmp_path, monkeypatch):
    import torch

    from aural.modeling import kernels
    from tests.whole import wave

    monkeypatch.setattr(kernels, "library", lambda: None)  # they do not travel, and round otherwise
    model = save_publishable(tmp_path / "model")
    logits, text = hear(model)
    torch.save(torch.from_numpy(wave(0.5)), tmp_path / "wave.pt")
    hub.add("user/name", files_of(model))
    seen, _ = play("bare", hub, tmp_path)
    assert seen == {"aural": False, "logits": logits.tolist(), "text": text}


def play_trouble(folder: Path) -> dict[str, Any]:
    from aural.training import publishing

    logging.basicConfig(level=logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.DEBUG)
    publishing.WAITS = (0.05, 0.05, 0.05)
    model = save_publishable(folder / "model")

    def publish(name: str, **options: Any) -> dict[str, str]:
        return failure(lambda: publishing.publish_folder(model, f"user/{name}", **options))

    return {
        "cut": publish("cut"),
        "lost": publish("lost"),
        "gone": publish("gone"),
        "wrong token": publish("wrong", token=WRONG_TOKEN),
        "read token": publish("read", token=READ_TOKEN),
        "public": publish("public", private=True),
        "ignoring": publish("ignoring"),
    }


def test_cut_connections_end_in_one_whole_commit_and_refusals_are_one_line_without_the_token(hub, tmp_path):
    hub.cut_uploads.update({"user/cut": 2, "user/gone": 99})
    hub.lost_answers.update({"user/lost": 1})
    hub.add("user/public", {})
    hub.add("user/ignoring", {".gitignore": b"tokenizer.json"})
    seen, written = play("trouble", hub, tmp_path)
    model = files_of(tmp_path / "model")
    for name in ("cut", "lost"):
        assert seen[name]["type"] == "none", seen[name]["traceback"]
        assert hub.repos[f"user/{name}"].files("main") == {".gitattributes": b"", **model}
        assert len(hub.repos[f"user/{name}"].commits) == 2
    for name in ("gone", "public"):
        assert hub.repos[f"user/{name}"].files("main") == {".gitattributes": b""}
    assert not {"user/wrong", "user/read"} & set(hub.repos)
    expected = {
        "gone": ("ConnectionError", "no lasting connection"),
        "wrong token": ("PermissionError", "log in with `hf auth login` or set HF_TOKEN"),
        "read token": ("PermissionError", "role write"),
        "public": ("OSError", "exists and is public"),
        "ignoring": ("OSError", ".gitignore drops tokenizer.json"),
    }
    for name, (kind, text) in expected.items():
        assert seen[name]["type"] == kind
        assert text in seen[name]["text"]
        assert "\n" not in seen[name]["text"]
    assert "DEBUG" in written
    commits = [repr((repo.commits, repo.messages)) for repo in hub.repos.values()]
    for token in (TOKEN, READ_TOKEN, WRONG_TOKEN):
        assert not any(token in text for text in (written, json.dumps(seen), *commits))


def play_push(folder: Path) -> dict[str, Any]:
    import torch
    from transformers import (
        AutoModelForSpeechSeq2Seq,
        AutoProcessor,
        Seq2SeqTrainer,
        Seq2SeqTrainingArguments,
        default_data_collator,
    )

    model_folder = save_publishable(folder / "model")
    model = AutoModelForSpeechSeq2Seq.from_pretrained(model_folder)
    processor = AutoProcessor.from_pretrained(model_folder)
    model.push_to_hub("user/pushed")
    processor.push_to_hub("user/pushed")
    pushed = same(hear("user/pushed"), hear(model_folder))
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(folder / "run"),
        max_steps=1,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        push_to_hub=True,
        hub_model_id="user/trained",
        hub_strategy="end",
    )
    item = {"input_features": torch.randn(20, 6), "attention_mask": torch.ones(20).long(), "labels": [4, 5, 2]}
    trainer = Seq2SeqTrainer(
        model, arguments, data_collator=default_data_collator, train_dataset=[item] * 8, processing_class=processor
    )
    trainer.train()
    trainer.push_to_hub()
    return {"pushed": pushed, "trained": same(hear("user/trained"), hear(folder / "run"))}


def test_push_to_hub_of_model_processor_and_trainer_load_by_id(hub, tmp_path):
    seen, _ = play("push", hub, tmp_path)
    assert seen == {"pushed": True, "trained": True}
    assert {"config.json", "model.safetensors", "processor_config.json", "README.md"} <= set(
        hub.repos["user/trained"].files("main")
    )
    assert TOKEN not in repr(hub.repos)


def play_trained(folder: Path) -> dict[str, Any]:
    from transformers import AutoModelForSpeechSeq2Seq

    from tests.training.test_trainer_card import TOLD, make_trainer

    base = save_publishable(folder / "base")
    options = {"push_to_hub": True, "save_strategy": "steps", "save_steps": 1, "card": TOLD}
    model = AutoModelForSpeechSeq2Seq.from_pretrained(base)
    run = folder / "run"
    refused = failure(lambda: make_trainer(run, push_to_hub=True, hub_model_id="user/refused"))
    trainer = make_trainer(run, model, hub_model_id="user/trained", hub_always_push=True, **options)
    trainer.train()
    trainer.save_state()
    commit = trainer.push_to_hub(license="mit")
    end = make_trainer(folder / "end", model, hub_model_id="user/end", hub_strategy="end", **options)
    end.train()
    end.save_model()  # as in the stock Trainer, this pushes
    return {"refused": refused, "commit": commit.oid, "trained": same(hear("user/trained"), hear(run))}


def test_a_trainers_push_sends_its_card_and_nothing_pickled(hub, tmp_path):
    seen, _ = play("trained", hub, tmp_path)
    assert seen["trained"]
    assert "a card needs license, language, dataset" in seen["refused"]["text"]
    assert "user/refused" not in hub.repos
    repo = hub.repos["user/trained"]
    assert seen["commit"] == repo.branches["main"]
    assert [json.loads(message)["summary"] for message in repo.messages] == [
        "Training in progress, step 1",
        "Training in progress, step 2",
        "End of training",
    ]
    files, run = repo.files("main"), files_of(tmp_path / "run")
    report = json.loads(files["report.json"])
    card = ModelCard(files["README.md"].decode())
    wer, cer = (result.metric_value for result in card.data.eval_results)
    assert (wer, cer) == (report["results"][0]["wer"], report["results"][0]["cer"])
    assert (card.data.license, report["base_model"]) == ("mit", "base")
    assert '"user/trained"' in card.text
    assert files.keys() == run.keys() - {"trainer_state.json"} | {".gitattributes"}
    for commit in (*repo.commits.values(), *hub.repos["user/end"].commits.values()):
        assert all(Path(name).suffix in (".json", ".safetensors", ".py", ".md", "") for name in commit)
        assert not {"trainer_state.json", "training_args.bin"} & commit.keys()
    assert {"report.json", "README.md", "model.safetensors"} <= hub.repos["user/end"].files("main").keys()
    assert len(hub.repos["user/end"].messages) == 1
    everything = repr([*repo.commits.values()])
    assert TOKEN not in everything and str(tmp_path) not in everything


def play_hostile(folder: Path) -> dict[str, Any]:
    from huggingface_hub import snapshot_download

    from aural import load_recognizer

    target = folder / "a" / "b" / "target"
    return {
        "climbing": failure(lambda: snapshot_download("user/climbing")),
        "climbing, to a folder": failure(lambda: snapshot_download("user/climbing", local_dir=target)),
        "absolute": failure(lambda: snapshot_download("user/absolute")),
        "absolute, to a folder": failure(lambda: snapshot_download("user/absolute", local_dir=target)),
        "shards": failure(lambda: load_recognizer("user/shards")),
        "pickled": failure(lambda: load_recognizer("user/pickled")),
        "pickled folder": failure(lambda: load_recognizer(folder / "pickled")),
    }


def test_hostile_repositories_write_nothing_outside_and_pickles_are_not_loaded(hub, tmp_path):
    import torch

    model = save_publishable(tmp_path / "pickled")
    whole = files_of(model)
    del whole["model.safetensors"]
    (model / "model.safetensors").unlink()
    torch.save({"touched": torch.zeros(1)}, model / "pytorch_model.bin")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "../../../evil.safetensors"}}
    hub.add("user/climbing", {"../../evil.py": b"evil", "a/../../../evil.txt": b"evil", "config.json": b"{}"})
    hub.add("user/absolute", {str(tmp_path / "evil.py"): b"evil"})
    hub.add("user/shards", {**whole, "model.safetensors.index.json": json.dumps(index).encode()})
    hub.add("user/pickled", files_of(model))
    seen, _ = play("hostile", hub, tmp_path)
    assert not list(tmp_path.rglob("*evil*"))
    for name in ("climbing", "climbing, to a folder", "absolute", "absolute, to a folder", "shards"):
        assert "Invalid filename" in seen[name]["text"]
    for name in ("pickled", "pickled folder"):
        assert seen[name]["type"] == "OSError"
    assert "model.safetensors" in seen["pickled folder"]["text"]
    assert not any("pytorch_model.bin" in request for request in hub.asked)


if __name__ == "__main__":
    result = globals()[f"play_{sys.argv[1]}"](Path(sys.argv[2]))
    print(json.dumps(result))
