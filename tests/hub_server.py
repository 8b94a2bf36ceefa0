"""A Hub on loopback, of the standard library: what huggingface_hub and transformers ask of it, kept in memory.

    with HubServer() as hub:
        subprocess.run([...], env={**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": fresh})
        assert hub.repos["user/name"].files("main")["config.json"]

The client reads HF_ENDPOINT when huggingface_hub is imported, so it runs in a process of its own. Files travel inside
commits ("regular"), never through LFS or Xet.
"""

import base64
import hashlib
import json
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_" + "loopbackWRITE" * 3
READ_TOKEN = "hf_" + "loopbackREAD" * 3


def git_oid(content: bytes) -> str:
    """Git's name of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    """Commits, and the branches that point at them."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)  # by hash, the oldest first
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)  # of the commits that clients made

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        """Add or replace files on a branch; returns the commit's hash."""
        whole = {**self.files(branch), **files}
        sha = hashlib.sha1(f"{len(self.commits)} {sorted(whole)}".encode()).hexdigest()
        self.commits[sha] = whole
        self.branches[branch] = sha
        return sha

    def files(self, revision: str) -> dict[str, bytes]:
        """Files at a branch or commit."""
        return self.commits.get(self.branches.get(revision, revision), {})


class HubServer(ThreadingHTTPServer):
    """The server; a context manager that serves from a thread.

    Attributes:
        repos: By id.
        tokens: The valid ones, and their role.
        cut_uploads: How many commit requests per repository are still to be cut off in the middle.
        lost_answers: How many commits per repository are still to be made without an answer.
        bad_card: What `validate-yaml` says of every card; empty for fine.
        asked: Every request, such as "GET /api/models/user/name".
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repository] = {}
        self.tokens = {TOKEN: "write", READ_TOKEN: "read"}
        self.cut_uploads: Counter[str] = Counter()
        self.lost_answers: Counter[str] = Counter()
        self.bad_card = ""
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """For HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, repo_id: str, files: dict[str, bytes], private: bool = False) -> Repository:
        """Put a repository there, as if published long ago."""
        self.repos[repo_id] = Repository(private)
        self.repos[repo_id].commit("main", {".gitattributes": b"", **files})
        return self.repos[repo_id]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are no news."""

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()


class Refused(Exception):
    """Answered with a status and, where the Hub has one, an error code."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_GET(self) -> None:
        self._answer(b"")

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        parts = self._parts()
        if parts[4:5] == ["commit"] and self._take(self.server.cut_uploads, "/".join(parts[2:4])):
            self.rfile.read(10_000)
            self._hang_up()
        else:
            self._answer(self._body())

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def _parts(self) -> list[str]:
        return [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _take(self, counter: Counter[str], repo_id: str) -> bool:
        counter[repo_id] -= 1
        return counter[repo_id] >= 0

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, body: bytes) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        headers = {}
        try:
            role = self._role()
            if self.command == "POST" and role != "write" and self.path != "/api/validate-yaml":
                raise Refused(403 if role else 401, "You need a token with the role write")
            status, content, headers = self._route(self._parts(), body, role)
        except Refused as error:
            status, content = error.status, json.dumps({"error": str(error)}).encode()
            headers = {"X-Error-Message": str(error).partition(":")[0]} | (
                {"X-Error-Code": error.code} if error.code else {}
            )
        if not self.close_connection:
            self._write(status, content, headers)

    def _write(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _role(self) -> str:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.server.tokens:
            raise Refused(401, f"Invalid credentials in Authorization header: {token}")  # the worst a Hub could say
        return self.server.tokens.get(token, "")

    def _route(self, parts: list[str], body: bytes, role: str) -> tuple[int, bytes, dict[str, str]]:
        match parts:
            case ["api", "whoami-v2"] if role:
                return self._json({"name": "user", "type": "user", "orgs": []})
            case ["api", "repos", "create"]:
                return self._create(json.loads(body))
            case ["api", "validate-yaml"]:
                if self.server.bad_card:
                    raise Refused(400, self.server.bad_card)
                return self._json({"errors": [], "warnings": []})
            case ["api", "models", user, name, *rest]:
                return self._model(f"{user}/{name}", rest, body, role)
            case [user, name, "resolve", revision, *path]:
                return self._file(self._repo(f"{user}/{name}", role), revision, "/".join(path))
        raise Refused(404, "Not found")

    def _json(self, content: Any, status: int = 200) -> tuple[int, bytes, dict[str, str]]:
        return status, json.dumps(content).encode(), {}

    def _repo(self, repo_id: str, role: str) -> Repository:
        repo = self.server.repos.get(repo_id)
        if repo is None or (repo.private and not role):
            raise Refused(404 if role else 401, "Repository not found", "RepoNotFound")
        return repo

    def _create(self, asked: dict[str, Any]) -> tuple[int, bytes, dict[str, str]]:
        repo_id = f"{asked.get('organization') or 'user'}/{asked['name']}"
        exists = repo_id in self.server.repos
        if not exists:
            self.server.add(repo_id, {}, private=asked.get("visibility") == "private")
        return self._json({"url": f"{self.server.url}/{repo_id}"}, 409 if exists else 200)

    def _model(self, repo_id: str, rest: list[str], body: bytes, role: str) -> tuple[int, bytes, dict[str, str]]:
        repo = self._repo(repo_id, role)
        action, revision = rest[0] if rest else "", rest[1] if rest[1:] else "main"
        if action == "branch":
            if revision in repo.branches:
                raise Refused(409, "Reference already exists")
            repo.branches[revision] = repo.branches["main"]
            return self._json({})
        files, sha = self._at(repo, revision)
        match action:
            case "" | "revision":
                names = [{"rfilename": name} for name in files]
                return self._json({"id": repo_id, "sha": sha, "private": repo.private, "siblings": names})
            case "tree":
                return self._tree(files, "".join(f"{part}/" for part in rest[2:]))
            case "preupload":
                return self._preupload(files, json.loads(body)["files"])
            case "commit":
                return self._commit(repo_id, revision, [json.loads(line) for line in body.splitlines()])
        raise Refused(404, "Not found")

    def _at(self, repo: Repository, revision: str) -> tuple[dict[str, bytes], str]:
        sha = repo.branches.get(revision, revision)
        if sha not in repo.commits:
            raise Refused(404, "Invalid rev id", "RevisionNotFound")
        return repo.commits[sha], sha

    def _tree(self, files: dict[str, bytes], folder: str) -> tuple[int, bytes, dict[str, str]]:
        found = {name: content for name, content in files.items() if not folder or name.startswith(folder)}
        if folder and not found:
            raise Refused(404, "No such folder", "EntryNotFound")
        return self._json(
            [{"type": "file", "path": path, "size": len(x), "oid": git_oid(x)} for path, x in found.items()]
        )

    def _preupload(self, files: dict[str, bytes], asked: list[dict[str, Any]]) -> tuple[int, bytes, dict[str, str]]:
        ignored = files.get(".gitignore", b"").decode().split()
        answers = [
            {
                "path": file["path"],
                "uploadMode": "regular",
                "shouldIgnore": file["path"] in ignored,
                "oid": git_oid(files[file["path"]]) if file["path"] in files else None,
            }
            for file in asked
        ]
        return self._json({"files": answers})

    def _commit(self, repo_id: str, branch: str, lines: list[dict[str, Any]]) -> tuple[int, bytes, dict[str, str]]:
        added = [line["value"] for line in lines if line["key"] == "file"]
        repo = self.server.repos[repo_id]
        repo.messages += [json.dumps(line["value"]) for line in lines if line["key"] == "header"]
        sha = repo.commit(branch, {file["path"]: base64.b64decode(file["content"]) for file in added})
        if self._take(self.server.lost_answers, repo_id):
            self._hang_up()
        return self._json({"commitUrl": f"{self.server.url}/{repo_id}/commit/{sha}", "commitOid": sha})

    def _file(self, repo: Repository, revision: str, path: str) -> tuple[int, bytes, dict[str, str]]:
        files, sha = self._at(repo, revision)
        if path not in files:
            return 404, b"{}", {"X-Repo-Commit": sha, "X-Error-Code": "EntryNotFound", "X-Error-Message": "Not found"}
        return 200, files[path], {"X-Repo-Commit": sha, "ETag": f'"{git_oid(files[path])}"'}
