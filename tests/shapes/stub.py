"""A supervisor in a thread that answers shims by a table the test sets. It knows a tree by its bytes and joins what it recorded.

It speaks rpc.py on the project's socket and makes real bundles; what it does not do is judge: the real one is daemon.py.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from stretto import bundle, rpc
from stretto.model import AttemptId, End, invocation_from

Answer = Callable[[rpc.Message], rpc.Message | None]
"""What a test may decide for itself; None leaves it to the stub."""


def project_state(base: Path, root: Path) -> Path:
    return base / "projects" / hashlib.blake2b(os.fsencode(os.path.realpath(root)), digest_size=16).hexdigest()


class Stub:
    """Records every call, joins every call it has a result for; `decide` goes first."""

    def __init__(self, base: Path, root: Path) -> None:
        self.state, self.root = project_state(base, root), root
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.state / "grant").write_text("{}")
        self.attempts = self.state / "attempts"
        self.decide: Answer = lambda message: None
        self.join = True
        self.calls: list[rpc.Message] = []
        self.answers: list[bytes] = []
        self.reports: list[rpc.Message] = []
        self._results: dict[str, str] = {}
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        here = os.getcwd()
        os.chdir(self.state)  # the address may be too long for the kernel
        try:
            self._listener.bind("s")
        finally:
            os.chdir(here)
        self._listener.listen(64)
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering and break off every connection, as a killed supervisor does."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed by an earlier call
        self._listener.close()
        self._thread.join()
        with self._lock:
            for connection in self._open:
                connection.shutdown(socket.SHUT_RDWR)
        (self.state / "s").unlink(missing_ok=True)

    def forget(self) -> None:
        """Begin anew: nothing recorded, nothing asked, nothing on disk."""
        with self._lock:
            self._results.clear()
            self.calls.clear()
            self.answers.clear()
            self.reports.clear()
        shutil.rmtree(self.attempts, ignore_errors=True)

    def reported(self, op: str) -> list[rpc.Message]:
        return [report for report in self.reports if report["op"] == op.encode()]

    def idle(self) -> bool:
        """Say whether every shim that asked is gone."""
        return not self._open

    def new_bundle(self) -> Path:
        return Path(bundle.create(str(self.attempts), AttemptId(os.urandom(16).hex())))

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        reader = rpc.Reader()
        key, folder = "", ""
        with connection:
            while True:
                try:
                    data = connection.recv(1 << 16)
                except OSError:
                    data = b""
                if not data:
                    break
                for message in reader.feed(data):
                    if message["op"] == b"invoke":
                        key = self._key(message)
                        answer = self.decide(message) or self._answer(key)
                        folder = os.fsdecode(answer.get("dir", b""))
                        with self._lock:
                            self.calls.append(message)
                            self.answers.append(answer["do"])
                        connection.sendall(rpc.encode(answer))
                        continue
                    if message["op"] == b"exited" and not _is_result(message):
                        self._results.pop(key, None)
                    with self._lock:
                        self.reports.append(message)
            with self._lock:
                self._open.discard(connection)
                if folder and self._results.get(key) == folder and not bundle.read_exit(folder):
                    del self._results[key]

    def _answer(self, key: str) -> rpc.Message:
        with self._lock:
            if self.join and key in self._results:
                return {"do": b"join", "dir": os.fsencode(self._results[key]), "attempt": b"x"}
            folder = str(self.new_bundle())
            self._results[key] = folder
            return {"do": b"record", "dir": os.fsencode(folder), "attempt": b"x"}

    def _key(self, message: rpc.Message) -> str:
        digest = hashlib.blake2b(invocation_from(message).key(b"salt", b"").encode())
        for path in sorted(self.root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                digest.update(os.fsencode(path) + b"\0" + path.read_bytes())
        return digest.hexdigest()


def _is_result(exited: rpc.Message) -> bool:
    """Say whether a run ended by its own doing and left nothing behind."""
    return End(how=exited["how"].decode(), value=int(exited["value"])).by_itself and exited["left"] == b"0"  # type: ignore[arg-type]
