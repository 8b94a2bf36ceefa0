"""Publishing: a model folder goes to the Hub whole and in one commit, or not at all.

    print(publish_folder("demo/model", "user/las-digits", dry_run=True))  # what would go where; needs no network
    print(publish_folder("demo/model", "user/las-digits", private=True))

What is notable:

1. what is wrong with the folder, its card or the names is found before the first request;
2. only kinds of files that a model folder is made of are sent, flat, and no pickled ones: those run when loaded;
   a Trainer's checkpoints and notes stay at home;
3. every step can be done twice: the Hub says which files it has, so a cut connection, and even an answer that was
   lost after the commit was made, end in one whole commit;
4. what is published is searched for secrets, and errors hide the request they come from, which holds the token.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import yaml  # type: ignore[import-untyped]
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import httpx, validate_repo_id
from rich.filesize import decimal
from safetensors import SafetensorError, safe_open
from transformers.dynamic_module_utils import get_relative_imports

from .adapters import ADAPTER_FOLDER, refuse_adapter_folder
from .checkpointing import UNFINISHED

KINDS = (".json", ".safetensors", ".py", ".md", ".png", ".txt", ".yaml")
NAMES = ("LICENSE", "NOTICE")
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
LEFT_OUT = (".cache", ".DS_Store", ".git", ".gitattributes", "__pycache__")  # other programs' own, in any folder
TRAINERS_OWN = (  # patterns
    "checkpoint-*",
    "runs",
    ADAPTER_FOLDER,
    "training_args.bin",
    "trainer_state.json",
    "unlogged_loss_*.json",
    "recipe.yaml",  # and what else a run notes of itself: it may tell folders of whoever trained
    "run.json",
    "examples",
    UNFINISHED,
    "*_results.json",
)
WAITS = (1.0, 2.0, 4.0)  # seconds before each further try
_CONNECTION_LOST = (
    httpx.TimeoutException,
    httpx.NetworkError,
    httpx.RemoteProtocolError,
    ConnectionError,
    TimeoutError,
)
_PASSING = (408, 429, 500, 502, 503, 504)  # answers that may differ the next time
_BRANCH = re.compile(r"(?!refs/)(?!.*(?:\.\.|//|\.lock$|[/.]$))[A-Za-z0-9][\w./-]{0,99}")
_SECRET_NAME = re.compile(r"(env|netrc|token|credentials?|secrets?|id_(rsa|dsa|ecdsa|ed25519))", re.IGNORECASE)
_SECRET = re.compile(
    rb"\b(?:hf|api_org)_(?:oauth_|jwt_)?[A-Za-z0-9]{30,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}"
    rb"|\bAKIA[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_T = TypeVar("_T")


@dataclass(frozen=True)
class PublishedFile:
    """A file of the folder: its name there and in the repository, where it lies, and its size in bytes."""

    name: str
    path: Path
    size: int


@dataclass(frozen=True)
class Publication:
    """What is published, and where.

    Attributes:
        repo_id: "namespace/name".
        revision: The branch.
        private: Whether a new repository is private; None leaves it to the account's own default.
        files: In the order of their names.
        left_out: Entries of the folder that stay at home.
        url: Of the repository.
        commit: The commit's hash; None after a dry run.
    """

    repo_id: str
    revision: str
    private: bool | None
    files: tuple[PublishedFile, ...]
    left_out: tuple[str, ...]
    url: str
    commit: str | None = None

    def __str__(self) -> str:
        access = {True: ", private", False: ", public", None: ""}[self.private]
        head = "Dry run, nothing is sent: these files would go" if self.commit is None else "Published"
        lines = [f"{head} to {self.url}, branch {self.revision}{access}, in one commit:"]
        lines += [f"{decimal(file.size):>12}  {file.name}" for file in self.files]
        lines.append(f"{decimal(sum(file.size for file in self.files)):>12}  in {len(self.files)} files")
        if self.left_out:
            lines.append(f"Left out: {', '.join(self.left_out)}.")
        if not any(file.name.endswith(".py") for file in self.files):
            lines.append("It holds no code: it loads only where aural is installed.")
        if self.commit is not None:
            lines.append(f"Commit {self.commit}")
        return "\n".join(lines)


def plan_publication(
    folder: str | Path, repo_id: str, private: bool | None = None, revision: str | None = None
) -> Publication:
    """Check a model folder and say what would be published; touches no network.

    Args:
        folder: A folder that a model's and a processor's `save_pretrained`, or a Trainer, wrote, with a card,
            README.md.
        repo_id: "namespace/name" on the Hub.
        private: Whether a new repository is private; None leaves it to the account's own default.
        revision: Branch; default "main".

    Raises:
        OSError: The folder, or a file that a model of its kind needs, is missing or cannot be read.
        ValueError: A name is ill-formed, the folder holds an adapter, or a file is of a kind that is not published, is
            damaged, or holds a secret.
    """
    _check_names(repo_id, revision)
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder; a model is a folder with config.json, weights and card")
    refuse_adapter_folder(folder)
    entries = sorted(folder.iterdir())
    left_out = tuple(entry.name for entry in entries if _stays_home(entry.name))
    paths = {entry.name: entry for entry in entries if entry.name not in left_out}
    for path in paths.values():
        _check_kind(path, folder)
    _check_whole(folder, paths)
    for path in paths.values():
        _check_holds_no_secret(path)
    files = tuple(PublishedFile(name, path, path.stat().st_size) for name, path in paths.items())
    return Publication(repo_id, revision or "main", private, files, left_out, f"{constants.ENDPOINT}/{repo_id}")


def publish_folder(
    folder: str | Path,
    repo_id: str,
    private: bool | None = None,
    revision: str | None = None,
    dry_run: bool = False,
    token: str | None = None,
) -> Publication:
    """Publish a model folder on the Hub in one commit.

    Files that the repository has and the folder has not stay there. Doing it again with an unchanged folder makes no
    further commit.

    Args:
        folder: As in `plan_publication`.
        repo_id: As in `plan_publication`; made if it does not exist.
        private: As in `plan_publication`. An existing public repository is not made private but refused.
        revision: Branch, made from "main" if it does not exist; default "main".
        dry_run: Only check and plan; touches no network.
        token: Default: that of `hf auth login` or HF_TOKEN.

    Raises:
        OSError: As in `plan_publication`; or there is no token, the Hub refuses, or it cannot be reached.
        ValueError: As in `plan_publication`; or the Hub finds fault with the card.
    """
    plan = plan_publication(folder, repo_id, private, revision)
    if dry_run:
        return plan
    token = token or get_token()
    if not token:
        raise PermissionError("there is no token for the Hub: log in with `hf auth login` or set HF_TOKEN")
    for file in plan.files:
        _check_holds_no_secret(file.path, token)
    with _in_plain_words(repo_id, token):
        return _send(plan, HfApi(token=token))


def _send(plan: Publication, api: HfApi) -> Publication:
    repo_id, revision = plan.repo_id, plan.revision
    card = ModelCard.load(next(file.path for file in plan.files if file.name == "README.md"))
    try:
        _retried(card.validate)
    except ValueError as error:
        raise ValueError(f"the Hub finds fault with its card: {error}") from None
    _retried(lambda: api.create_repo(repo_id, private=plan.private, exist_ok=True))
    if plan.private and not _retried(lambda: api.model_info(repo_id)).private:
        raise OSError("it exists and is public: make it private on the Hub, or leave out --private")
    if revision != "main":
        _retried(lambda: api.create_branch(repo_id, branch=revision, exist_ok=True))
    # fresh operations for each try: a used one no longer asks the Hub whether it has the file
    commit = _retried(
        lambda: api.create_commit(
            repo_id,
            [CommitOperationAdd(file.name, file.path) for file in plan.files],
            commit_message=f"Publish {len(plan.files)} files",
            revision=revision,
        )
    )
    there = _retried(lambda: api.list_repo_files(repo_id, revision=commit.oid))
    missing = sorted({file.name for file in plan.files} - set(there))
    if missing:  # a .gitignore in the repository makes the Hub drop files without a word
        raise OSError(f"its .gitignore drops {', '.join(missing)}")
    return replace(plan, commit=commit.oid)


def _check_names(repo_id: str, revision: str | None) -> None:
    try:
        validate_repo_id(repo_id)
    except ValueError as error:
        raise ValueError(f"repo_id={repo_id!r}: {error}") from None
    if repo_id.count("/") != 1:
        raise ValueError(f"repo_id={repo_id!r} must be NAMESPACE/NAME, such as user/las-digits")
    if revision is not None and (not _BRANCH.fullmatch(revision) or re.fullmatch(r"[0-9a-f]{40}", revision)):
        raise ValueError(f"revision={revision!r} must be the name of a branch: letters, digits, -, _, . and /")


def _stays_home(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in (*LEFT_OUT, *TRAINERS_OWN))


def _check_kind(path: Path, folder: Path) -> None:
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path} is a link that leaves the folder; put the file itself there")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; a published model is one flat folder of files")
    if path.suffix in PICKLED:
        raise ValueError(f"{path} is pickled, which can run anything when loaded; only safetensors are published")
    if _SECRET_NAME.fullmatch(path.stem.lstrip(".")):
        raise ValueError(f"{path} looks like a secret by its name; it is not published")
    if path.suffix not in KINDS and path.name not in NAMES:
        raise ValueError(f"{path} is no file of a model: allowed are {', '.join((*KINDS, *NAMES))}")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file, or a link to nothing")


def _check_holds_no_secret(path: Path, token: str | None = None) -> None:
    """Search a file, of safetensors only the header, for tokens, keys and the token in use."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little") if path.suffix == ".safetensors" else None
        content = path.read_bytes() if header is None else file.read(header)
    if _SECRET.search(content) or (token is not None and token.encode() in content):
        raise ValueError(f"{path} holds what looks like a token or private key; take it out")


def _check_whole(folder: Path, paths: dict[str, Path]) -> None:
    """Everything that a model of this kind is loaded with is there, readable and fits together."""
    contents = {name: _read_json(path) for name, path in paths.items() if path.suffix == ".json"}
    _require(folder, paths, ["config.json"])
    architectures = contents["config.json"].get("architectures")
    if not isinstance(architectures, list) or not architectures or "model_type" not in contents["config.json"]:
        raise ValueError(f"{folder / 'config.json'} names no model_type or architectures")
    kind = str(architectures[0])
    needed = []
    if kind.endswith("ForConditionalGeneration"):
        needed += ["generation_config.json"]
    if kind.endswith(("ForConditionalGeneration", "ForCTC")):
        needed += ["processor_config.json", "tokenizer.json", "tokenizer_config.json"]
    elif "processor_config.json" not in paths:
        needed += ["preprocessor_config.json"]
    _require(folder, paths, [*needed, *_weights(paths, contents), *_code(paths, contents)])
    for path in paths.values():
        if path.suffix == ".safetensors":
            try:
                with safe_open(path, framework="np"):
                    pass  # opening compares the header with the file's length
            except SafetensorError as error:
                raise ValueError(f"{path} is damaged: {error}") from None
    _check_card(folder, paths)


def _require(folder: Path, paths: dict[str, Path], names: list[str]) -> None:
    missing = sorted({name for name in names if name not in paths})
    if missing:
        raise FileNotFoundError(f"{folder} is not a whole model folder: it lacks {', '.join(missing)}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from None
    return content if isinstance(content, dict) else {}


def _weights(paths: dict[str, Path], contents: dict[str, dict[str, Any]]) -> list[str]:
    """The weight files that a loader will ask for."""
    index = contents.get("model.safetensors.index.json")
    if index is None or "model.safetensors" in paths:
        return ["model.safetensors"]
    shards = index.get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ValueError(f"{paths['model.safetensors.index.json']} has no weight_map")
    return [str(name) for name in shards.values()]


def _code(paths: dict[str, Path], contents: dict[str, dict[str, Any]]) -> list[str]:
    """The Python files that `auto_map` entries and the Python files themselves refer to."""
    modules = {name for path in paths.values() if path.suffix == ".py" for name in get_relative_imports(path)}
    for name, content in contents.items():
        entries = content.get("auto_map")
        for value in entries.values() if isinstance(entries, dict) else ():
            for reference in value if isinstance(value, list) else [value]:
                if "--" in str(reference):
                    raise ValueError(f"{paths[name]} takes code from another repository: {reference}")
                if reference is not None:
                    modules.add(str(reference).partition(".")[0])
    return [f"{module}.py" for module in modules]


def _check_card(folder: Path, paths: dict[str, Path]) -> None:
    if "README.md" not in paths:
        raise FileNotFoundError(f"{folder} has no card, README.md: `aural card {folder}` makes one")
    try:
        licence = ModelCard.load(paths["README.md"]).data.to_dict().get("license")
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{paths['README.md']} has unreadable metadata: {_one_line(error)}") from None
    if not licence:
        raise ValueError(f"{paths['README.md']} names no licence: `aural card {folder}` makes a card that does")


def _retried(step: Callable[[], _T]) -> _T:
    """The step's result, tried again after short waits where the connection is lost or the Hub is busy."""
    for wait in WAITS:
        try:
            return step()
        except (httpx.HTTPError, OSError) as error:
            if not _may_pass(error):
                raise
            time.sleep(wait)
    return step()


def _may_pass(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _PASSING
    return isinstance(error, _CONNECTION_LOST) and not isinstance(error, OfflineModeIsEnabled)


@contextmanager
def _in_plain_words(repo_id: str, token: str) -> Iterator[None]:
    """Turn what the Hub and the connection raise into one line without the token, and without the cause behind it."""
    try:
        yield
    except (httpx.HTTPError, OSError, ValueError, RuntimeError, KeyError) as error:
        kind, message = _explain(error, repo_id)
        raise kind(message.replace(token, "<token>")) from None


def _explain(error: Exception, repo_id: str) -> tuple[type[Exception], str]:
    if isinstance(error, HfHubHTTPError):
        said = f" ({' '.join(error.server_message.split())})" if error.server_message else ""
        status = error.response.status_code
        if status == 401:
            return PermissionError, f"the Hub refuses the token: log in with `hf auth login` or set HF_TOKEN{said}"
        if status == 403:
            return PermissionError, f"the token may not write to {repo_id}: it needs the role write there{said}"
        if status == 404:
            return FileNotFoundError, f"the Hub does not find {repo_id}, or the token may not see it{said}"
        if status == 429:
            return OSError, f"the Hub asks for fewer requests: try again in a few minutes{said}"
        return OSError, f"the Hub answered {status} when publishing {repo_id}{said}"
    if isinstance(error, OfflineModeIsEnabled):
        return OSError, "publishing needs the network: unset HF_HUB_OFFLINE"
    if isinstance(error, httpx.HTTPError | ConnectionError | TimeoutError):
        return ConnectionError, f"no lasting connection to {constants.ENDPOINT}: {_one_line(error)}"
    if isinstance(error, json.JSONDecodeError | KeyError):
        return OSError, f"{constants.ENDPOINT} does not answer as a Hub; is {repo_id} taken by what is no model?"
    return (ValueError if isinstance(error, ValueError) else OSError), f"cannot publish {repo_id}: {_one_line(error)}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
