"""A hub on loopback, as far as a cache needs one: lists of files, and the files themselves."""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Files as large as this are known by their SHA-256, smaller ones by git's hash, as at the real hub.
LARGE = 4096


class File:
    def __init__(self, path: Path):
        self.bytes = path.read_bytes()
        size = len(self.bytes)
        self.sha256 = hashlib.sha256(self.bytes).hexdigest()
        self.git = hashlib.sha1(b"blob %d\0" % size + self.bytes).hexdigest()
        self.lfs = {"lfs": {"oid": self.sha256, "sha256": self.sha256, "size": size, "pointerSize": 134}} if size >= LARGE else {}

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git

    def sibling(self, name: str) -> dict:
        return {"rfilename": name, "size": len(self.bytes), "blobId": self.git} | self.lfs

    def leaf(self, name: str) -> dict:
        return {"type": "file", "path": name, "size": len(self.bytes), "oid": self.git} | self.lfs


class Hub:
    """Serves folder/OWNER/NAME; `requests` has what was asked."""

    def __init__(self, folder: Path):
        self.repositories = {
            f"{repository.parent.name}/{repository.name}": {path.name: File(path) for path in sorted(repository.iterdir())}
            for repository in folder.glob("*/*")
        }
        self.requests: list[tuple[str, str]] = []
        handler = type("Bound", (Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.hub.requests.append((self.command, self.path))
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/[^/]+)?/?", path):
            return self.about(*found.groups())
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/([^/]+)", path):
            return self.file(*found.groups())
        self.answer(404, {}, b"{}")

    def about(self, name: str, kind: str | None):
        files = self.hub.repositories.get(name)
        if files is None:
            return self.answer(404, {"X-Error-Code": "RepoNotFound"}, b"{}")
        if kind == "tree":
            told = [file.leaf(path) for path, file in files.items()]
        else:
            siblings = [file.sibling(path) for path, file in files.items()]
            told = {"id": name, "modelId": name, "sha": commit(files), "private": False, "gated": False, "siblings": siblings}
        self.answer(200, {"Content-Type": "application/json"}, json.dumps(told).encode())

    def file(self, name: str, path: str):
        files = self.hub.repositories.get(name, {})
        file = files.get(path)
        if file is None:
            return self.answer(404, {"X-Error-Code": "EntryNotFound"}, b"{}")
        headers = {"X-Repo-Commit": commit(files), "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(len(file.bytes))}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return self.answer(200, headers, file.bytes)
        first, last = int(asked[1]), min(int(asked[2] or len(file.bytes) - 1), len(file.bytes) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(file.bytes)}"
        self.answer(206, headers, file.bytes[first : last + 1])

    def answer(self, status: int, headers: dict[str, str], content: bytes):
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def commit(files: dict[str, File]) -> str:
    return hashlib.sha1("".join(file.sha256 for file in files.values()).encode()).hexdigest()
