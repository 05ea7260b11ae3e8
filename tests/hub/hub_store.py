"""What the test Hub keeps, in memory: repositories with their commits, branches, tags and files."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import Any


class HubError(Exception):
    """An answer that the client turns into an exception of its own.

    Args:
        status: of HTTP.
        message: for the body and `X-Error-Message`.
        code: `X-Error-Code`, by which the client chooses the exception.
        headers: further ones.
    """

    def __init__(self, status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status = status
        line = " ".join(message.encode("ascii", "replace").decode().split())  # what a header can carry
        self.headers = {"X-Error-Message": line, **(headers or {})} | ({"X-Error-Code": code} if code else {})


@dataclass(frozen=True)
class File:
    """A file of a commit; a large one lies in the LFS storage, and git holds a pointer to it."""

    data: bytes
    large: bool = False

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def blob_id(self) -> str:
        """Git's id of the bytes, or of the pointer."""
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        blob = pointer.encode() if self.large else self.data
        return hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.blob_id

    def facts(self, oid: str = "sha256") -> dict[str, Any]:
        """Size and, if large, what LFS knows; the Hub names the hash differently in its answers."""
        size = len(self.data)
        return {"size": size} | ({"lfs": {oid: self.sha256, "size": size, "pointerSize": 134}} if self.large else {})


@dataclass(frozen=True)
class Commit:
    sha: str
    parent: str | None
    title: str
    files: dict[str, File]
    date: str = field(default_factory=lambda: datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z"))

    def entries(self, folder: str = "", recursive: bool = True) -> list[dict[str, Any]]:
        """Files and folders below a folder, as the tree endpoint lists them; only its own unless recursive."""
        prefix = f"{folder}/" if folder else ""
        entries: dict[str, dict[str, Any]] = {}
        for path, file in sorted(self.files.items()):
            if not path.startswith(prefix):
                continue
            parents = [path[:end] for end in range(len(prefix), len(path)) if path[end] == "/"]
            for parent in parents if recursive else parents[:1]:
                oid = hashlib.sha1(f"{self.sha}/{parent}".encode()).hexdigest()
                entries[parent] = {"type": "directory", "path": parent, "oid": oid, "size": 0}
            if recursive or not parents:
                entries[path] = {"type": "file", "path": path, "oid": file.blob_id, **file.facts("oid")}
        return list(entries.values())


class Repository:
    """A model, dataset or Space.

    Args:
        kind: "model", "dataset" or "space".
        name: with its namespace, "org/name".
        private: seen by its owner only.
    """

    def __init__(self, kind: str, name: str, private: bool):
        self.kind, self.name, self.private = kind, name, private
        self.variables: dict[str, str] = {}  # of a Space
        self.gated: str | bool = False  # "auto" or "manual": seen by all, its files only by its owner
        self.commits: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.commit("main", "initial commit", {".gitattributes": File(b"*.safetensors filter=lfs -text\n")})

    @property
    def owner(self) -> str:
        return self.name.split("/")[0]

    @property
    def url_path(self) -> str:
        return self.name if self.kind == "model" else f"{self.kind}s/{self.name}"

    def commit(self, branch: str, title: str, files: dict[str, File], parent: Commit | None = None) -> Commit:
        """Puts all files of a new commit at the head of a branch."""
        parent_sha = parent.sha if parent else None
        content = {path: file.etag for path, file in files.items()}
        identity = [self.kind, self.name, parent_sha, title, content, len(self.commits)]
        sha = hashlib.sha1(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self.commits[sha] = Commit(sha, parent_sha, title, files)
        self.branches[branch] = sha
        return self.commits[sha]

    def find(self, revision: str) -> Commit:
        """The commit of a branch, a tag, a pull request's ref, or a hash of at least seven figures.

        Raises:
            HubError: 404, RevisionNotFound.
        """
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        sha = self.branches.get(name) or self.tags.get(name)
        if not sha and len(revision) >= 7:
            sha = next((sha for sha in self.commits if sha.startswith(revision)), None)
        if not sha:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[sha]

    def history(self, revision: str) -> list[Commit]:
        """Commits of a revision, newest first."""
        commits = [self.find(revision)]
        while commits[-1].parent:
            commits.append(self.commits[commits[-1].parent])
        return commits
