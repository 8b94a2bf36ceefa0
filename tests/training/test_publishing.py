"""Publishing, before the first request: what is planned, and what is refused and how it is said."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx
from safetensors.torch import save_file

from aural.training import publishing
from aural.training.publishing import plan_publication, publish_folder
from tests.whole import save_folder

CARD = "---\nlicense: cc-by-sa-3.0\ntags:\n- aural\n---\n\n# Tiny\n"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Neither a token nor a client, whoever is logged in on this machine."""

    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(publishing, "get_token", lambda: None)
    monkeypatch.setattr(publishing, "HfApi", refuse)
    monkeypatch.setattr(publishing.ModelCard, "validate", refuse)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = save_folder(tmp_path_factory.mktemp("saved") / "model")
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def change_json(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_dry_run_shows_every_file_its_size_and_where_it_would_go(folder):
    plan = publish_folder(folder, "user/name", private=True, revision="v2", dry_run=True)
    assert plan.commit is None
    assert [file.name for file in plan.files] == sorted(path.name for path in folder.iterdir())
    shown = str(plan)
    assert all(part in shown for part in ("Dry run, nothing is sent", "/user/name, branch v2, private"))
    assert [line for line in shown.splitlines() if "35.4 kB  model.safetensors" in line]


def test_what_other_programs_left_stays_at_home(folder):
    (folder / ".cache").mkdir()
    (folder / ".gitattributes").write_text("*.bin filter=lfs\n")
    plan = plan_publication(folder, "user/name")
    assert plan.left_out == (".cache", ".gitattributes")
    assert not {file.name for file in plan.files} & set(plan.left_out)
    assert "Left out: .cache, .gitattributes." in str(plan)


def test_code_pictures_licence_and_links_within_the_folder_are_published(folder):
    (folder / "modeling_more.py").write_text("from .configuration_more import MoreConfig\n")
    (folder / "configuration_more.py").write_text("class MoreConfig: ...\n")
    (folder / "alignment.png").write_bytes(b"\x89PNG")
    (folder / "LICENSE").write_text("Do as you like.\n")
    (folder / "settings.yaml").symlink_to(folder / "LICENSE")
    change_json(folder / "config.json", auto_map={"AutoConfig": "configuration_more.MoreConfig"})
    plan = plan_publication(folder, "user/name")
    assert {"modeling_more.py", "alignment.png", "LICENSE", "settings.yaml"} <= {file.name for file in plan.files}
    assert "holds no code" not in str(plan)


def test_a_folder_without_code_is_published_with_a_warning(folder):
    for path in folder.glob("*.py"):
        path.unlink()
    for path in folder.glob("*config.json"):
        change_json(path, auto_map=None)
    assert "It holds no code: it loads only where aural is installed." in str(plan_publication(folder, "user/name"))


def test_a_classifier_needs_its_feature_extractor_and_no_tokenizer(folder):
    for name in ("generation_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    change_json(folder / "config.json", architectures=["SpectrogramTransformerForAudioClassification"])
    with pytest.raises(FileNotFoundError, match=r"lacks preprocessor_config\.json$"):
        plan_publication(folder, "user/name")
    (folder / "preprocessor_config.json").write_text("{}")
    assert "preprocessor_config.json" in {file.name for file in plan_publication(folder, "user/name").files}


@pytest.mark.parametrize(
    "name",
    ["config.json", "generation_config.json", "processor_config.json", "tokenizer.json", "model.safetensors"],
)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"not a whole model folder: it lacks {name}"):
        plan_publication(folder, "user/name")


def test_missing_shards_and_modules_are_named(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    (folder / "modeling_more.py").write_text("from .listening import Attention\n")
    change_json(folder / "processor_config.json", auto_map={"AutoProcessor": "talking.AuralProcessor"})
    with pytest.raises(FileNotFoundError, match=r"listening\.py, model-00002-of-00002\.\w+, talking\.py$"):
        plan_publication(folder, "user/name")


def test_code_of_another_repository_is_refused(folder):
    change_json(folder / "config.json", auto_map={"AutoConfig": "other/repo--configuration_las.LasConfig"})
    with pytest.raises(ValueError, match=r"config\.json takes code from another repository: other/repo--"):
        plan_publication(folder, "user/name")


def test_a_folder_without_card_or_licence_says_which_command_makes_one(folder):
    (folder / "README.md").write_text("---\ntags:\n- aural\n---\n# No licence\n")
    with pytest.raises(ValueError, match=r"names no licence: `aural card .*model`"):
        plan_publication(folder, "user/name")
    (folder / "README.md").write_text("---\nlicense: [\n---\n")
    with pytest.raises(ValueError, match="unreadable metadata") as raised:
        plan_publication(folder, "user/name")
    assert "\n" not in str(raised.value)
    (folder / "README.md").unlink()
    with pytest.raises(FileNotFoundError, match=r"no card, README\.md: `aural card .*model` makes one"):
        plan_publication(folder, "user/name")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pytorch_model.bin", b"", "pytorch_model.bin is pickled"),
        ("optimizer.pt", b"", "optimizer.pt is pickled"),
        ("notes.docx", b"", r"notes.docx is no file of a model: allowed are \.json"),
        (".env", b"", "looks like a secret by its name"),
        ("token", b"", "looks like a secret by its name"),
        ("credentials.json", b"{}", "looks like a secret by its name"),
        ("notes.txt", b"hf_" + b"x" * 34, "what looks like a token"),
        ("report.json", b'{"key": "-----BEGIN RSA PRIVATE KEY-----"}', "what looks like a token"),
        ("report.json", b'{"wer": ', "not readable JSON"),
        ("extra.safetensors", b"cut off", "extra.safetensors is damaged"),
    ],
)
def test_files_that_do_not_belong_on_the_hub_are_refused_by_name(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        plan_publication(folder, "user/name")
    assert "\n" not in str(raised.value)
    assert "hf_x" not in str(raised.value)


def test_cut_weights_are_refused(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        plan_publication(folder, "user/name")


def test_links_that_leave_the_folder_and_folders_are_refused(folder, tmp_path):
    (tmp_path / "private.txt").write_text("mine")
    (folder / "notes.txt").symlink_to(tmp_path / "private.txt")
    with pytest.raises(ValueError, match=r"notes\.txt is a link that leaves the folder"):
        plan_publication(folder, "user/name")
    (folder / "notes.txt").unlink()
    (folder / "pictures").mkdir()
    with pytest.raises(ValueError, match="pictures is a folder"):
        plan_publication(folder, "user/name")


@pytest.mark.parametrize("repo_id", ["", "name", "a/b/c", "user/na me", "user/../name", "user/name.git", "-a/b"])
def test_ill_formed_names_are_refused_in_one_line(folder, repo_id):
    with pytest.raises(ValueError, match="repo_id=") as raised:
        plan_publication(folder, repo_id)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("revision", ["", "a b", "../main", "refs/pr/1", "v1.lock", "0123456789" * 4, "a/"])
def test_revisions_that_are_no_branches_are_refused(folder, revision):
    with pytest.raises(ValueError, match="revision="):
        plan_publication(folder, "user/name", revision=revision)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(NotADirectoryError, match="nowhere is not a folder"):
        plan_publication(tmp_path / "nowhere", "user/name")


def test_without_a_token_nothing_is_asked_and_the_way_to_one_is_said(folder):
    with pytest.raises(PermissionError, match=r"log in with `hf auth login` or set HF_TOKEN"):
        publish_folder(folder, "user/name")


def test_the_token_in_use_is_found_in_any_file_whatever_it_looks_like(folder):
    (folder / "report.json").write_text('{"login": "my-own-proxy-password"}')
    with pytest.raises(ValueError, match=r"report\.json holds what looks like a token") as raised:
        publish_folder(folder, "user/name", token="my-own-proxy-password")
    assert "proxy" not in str(raised.value)


def answering(*statuses):
    """A step that the Hub refuses with these statuses, one after the other, before it succeeds."""
    left = list(statuses)

    def step():
        if left:
            request = httpx.Request("POST", "http://hub")
            raise HfHubHTTPError("refused", response=httpx.Response(left.pop(0), request=request))
        return "done"

    return step


def test_a_busy_hub_is_asked_again_a_refusing_one_is_not(monkeypatch):
    waits = []
    monkeypatch.setattr(publishing.time, "sleep", waits.append)
    for busy in (408, 429, 500, 502, 503, 504):
        assert publishing._retried(answering(busy)) == "done"
    assert waits == [1.0] * 6
    waits.clear()
    with pytest.raises(HfHubHTTPError):
        publishing._retried(answering(403))
    assert waits == []
    with pytest.raises(HfHubHTTPError):
        publishing._retried(answering(*[503] * 9))
    assert waits == [1.0, 2.0, 4.0]


def test_a_secret_in_the_notes_of_the_weights_is_found(folder):
    save_file({"a": torch.zeros(1)}, folder / "extra.safetensors", metadata={"login": "hf_" + "x" * 34})
    with pytest.raises(ValueError, match=r"extra\.safetensors holds what looks like a token"):
        plan_publication(folder, "user/name")
