"""The Messages API as Claude Code needs it, with a script where the model would be.

Hides: the HTTP server (loopback, any free port, a thread per connection), server-sent events, and which requests are side jobs.
Promises:
- the main conversation takes the turns of `script` one after the other, each subagent those of `agent_script` from the start; when a
  script is used up, the answer is the text `last`;
- a request that offers few tools (a title, a summary) gets a fixed text and uses nothing up;
- a request that is sent again unchanged (the client's retry) gets the same turn again;
- ids of tool calls depend only on the label, the conversation and the position: two runs of one script have the same ids;
- every conversation request is kept, with monotonic times of arrival and answer;
- a fault of the server or of a script that is a function is raised when the context is left, not lost in a thread.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

SIDE_JOB_TOOLS = 2  # a request with this many tools or fewer is no conversation (`--bare`, the smallest one, offers three)
SIDE_JOB_TEXT = "A short title"
_MAX_BODY_BYTES = 256 << 20
_Connection = socket.socket | tuple[bytes, socket.socket]  # what socketserver says it may be; here always the first


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call of a turn; `id` is chosen by the server unless given."""

    tool: str
    input: Mapping[str, object]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer of the model: a text, then calls. `think_s` seconds pass before the first byte of it."""

    calls: tuple[Call, ...] = ()
    text: str = ""
    think_s: float = 0.0


Script = Sequence[Turn] | Callable[[dict[str, Any]], Turn]


def bash(command: str, *, think_s: float = 0.0, text: str = "", **more: object) -> Turn:
    """Return a turn that calls the Bash tool once; `more` are further inputs of the tool (timeout in ms, run_in_background)."""
    return Turn((Call("Bash", {"command": command, "description": "run a command", **more}),), text, think_s)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came back for one tool call, as the model gets it."""

    tool_use_id: str
    is_error: bool
    text: str


@dataclass(frozen=True, slots=True)
class Wait:
    """How long the session was busy with the calls of one turn: from the end of the answer to the arrival of the next request."""

    tool_use_ids: tuple[str, ...]
    sent_s: float
    returned_s: float

    @property
    def waited_s(self) -> float:
        return self.returned_s - self.sent_s


@dataclass(slots=True)
class Request:
    """One conversation request and the turn it was answered with; times are `time.monotonic()` seconds."""

    body: dict[str, Any]
    headers: dict[str, str]  # names in lower case
    arrived_s: float
    agent: str = ""  # id of the subagent, "" for the main conversation
    session: str = ""
    turn: Turn = field(default_factory=Turn)
    call_ids: tuple[str, ...] = ()
    answered_s: float = 0.0  # when the answer, made in one piece, was handed to the system; 0.0: not yet, or the client had left

    def new_messages(self) -> list[dict[str, Any]]:
        """Return the messages after the model's last one: results, prompts, and what hooks added."""
        messages = self.body["messages"]
        last = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
        return list(messages[last + 1 :])

    def new_texts(self) -> list[str]:
        """Return every text among the new messages that is not a tool's result, in order (prompts, reminders, context of hooks)."""
        return [text for message in self.new_messages() for text in _texts(message["content"])]

    def results(self) -> list[ToolResult]:
        """Return the results of tool calls among the new messages, in order."""
        return [result for message in self.new_messages() for result in _results(message["content"])]


class ScriptedApi:
    """A server for one or more sessions; use it as a context manager.

    Args:
        script: turns of the main conversation, or a function from the request's JSON to the turn. Function scripts may be called from
            several threads.
        agent_script: the same for subagents; a sequence is played from the start for each of them.
        by_session: give every session id its own run through `script` (two sessions at once); otherwise all share one position, so that
            a resumed or cleared session goes on where the last one stopped.
        label: part of every tool call's id.
        last: text of the answer when nothing is left.
    """

    def __init__(
        self,
        script: Script = (),
        *,
        agent_script: Script = (),
        by_session: bool = False,
        label: str = "s",
        last: str = "done",
    ) -> None:
        self.requests: list[Request] = []
        self.side_jobs: list[dict[str, Any]] = []
        self.strays: list[str] = []  # requests for paths this server does not know: "METHOD path"
        self.faults: list[Exception] = []
        self._script, self._agent_script = script, agent_script
        self._by_session, self._label, self._last = by_session, label, last
        self._lock = threading.Lock()
        self._positions: dict[tuple[str, str], int] = {}
        self._agents: dict[str, int] = {}
        self._answers: dict[tuple[str, str], tuple[int, tuple[Turn, tuple[str, ...]]]] = {}
        self._closing = threading.Event()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Return the address for ANTHROPIC_BASE_URL."""
        assert self._server is not None, "the server runs only inside the with block"
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> ScriptedApi:
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="scripted-api", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server is not None and self._thread is not None
        self._closing.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()
        if self.faults and error is None:
            raise AssertionError(f"the scripted API failed {len(self.faults)} time(s); first: {self.faults[0]!r}") from self.faults[0]

    # What was seen.

    def main_requests(self) -> list[Request]:
        """Return the requests of main conversations in order of arrival."""
        return [request for request in self.requests if not request.agent]

    def agent_requests(self) -> list[Request]:
        """Return the requests of subagents in order of arrival."""
        return [request for request in self.requests if request.agent]

    def tool_results(self) -> list[ToolResult]:
        """Return each tool result once, in the order in which they came back (subagents included)."""
        seen: dict[str, ToolResult] = {}
        for request in list(self.requests):
            for result in request.results():
                seen.setdefault(result.tool_use_id, result)
        return list(seen.values())

    def texts(self) -> list[str]:
        """Return what was said to the model apart from results, each request's new part, in order."""
        return [text for request in list(self.requests) for text in request.new_texts()]

    def waits(self) -> list[Wait]:
        """Return one entry per turn with calls whose results have come back, in the order of sending."""
        found = []
        requests = list(self.requests)
        for number, request in enumerate(requests):
            if not request.call_ids or not request.answered_s:
                continue
            for later in requests[number + 1 :]:
                if {result.tool_use_id for result in later.results()} & set(request.call_ids):
                    found.append(Wait(request.call_ids, request.answered_s, later.arrived_s))
                    break
        return found

    # What is answered.

    def _answer(self, request: Request) -> None:
        """Choose the turn and the ids of its calls, and remember the request."""
        conversation = (request.session if self._by_session else "", request.agent)
        fingerprint = hash(json.dumps([request.session, request.body["messages"]], sort_keys=True))
        with self._lock:
            self.requests.append(request)
            kept = self._answers.get(conversation)
            if kept is not None and kept[0] == fingerprint:
                request.turn, request.call_ids = kept[1]
                return
            position = self._positions.get(conversation, 0)
            self._positions[conversation] = position + 1
            prefix = self._prefix(conversation)
        script = self._agent_script if request.agent else self._script
        turn = script(request.body) if callable(script) else next(iter(script[position : position + 1]), Turn(text=self._last))
        ids = tuple(call.id or f"toolu_{prefix}{position + 1:03d}{number:02d}" for number, call in enumerate(turn.calls))
        request.turn, request.call_ids = turn, ids
        with self._lock:
            self._answers[conversation] = (fingerprint, (turn, ids))

    def _prefix(self, conversation: tuple[str, str]) -> str:
        session, agent = conversation
        ordinal = self._agents.setdefault(agent, len(self._agents) + 1) if agent else 0
        # A session's number is the order of its first request; two sessions racing may swap numbers, never share one.
        sessions = list(dict.fromkeys(key[0] for key in self._positions))
        return f"{self._label}{sessions.index(session) if session else 0}a{ordinal}n"

    def _think(self, think_s: float) -> bool:
        """Let `think_s` seconds pass; False when the server is being closed instead."""
        return not self._closing.wait(think_s) if think_s else True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, api: ScriptedApi) -> None:
        self.api = api
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: _Connection, client_address: object) -> None:
        if isinstance(request, socket.socket):
            with self._open_lock:
                self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: _Connection) -> None:
        if isinstance(request, socket.socket):
            with self._open_lock:
                self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep open; their threads then leave by themselves."""
        with self._open_lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was first

    def handle_error(self, request: _Connection, client_address: object) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and not isinstance(error, ConnectionError):
            self.api.faults.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the requests are kept."""

    def do_HEAD(self) -> None:
        self._json({}, body=False)

    def do_GET(self) -> None:
        self.server.api.strays.append(f"GET {self.path}")
        self._json({"data": [], "has_more": False})

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if length > _MAX_BODY_BYTES:
            raise ValueError(f"a request of {length} bytes")
        raw = self.rfile.read(length)
        arrived_s = time.monotonic()
        path = self.path.partition("?")[0]
        if path.endswith("/count_tokens"):
            self._json({"input_tokens": max(1, len(raw) // 4)})
        elif path.endswith("/v1/messages"):
            self._messages(json.loads(raw), arrived_s)
        else:
            self.server.api.strays.append(f"POST {self.path}")
            self._json({"type": "error", "error": {"type": "not_found_error", "message": "unknown path"}}, status=404)

    def _messages(self, body: dict[str, Any], arrived_s: float) -> None:
        api = self.server.api
        headers = {name.lower(): value for name, value in self.headers.items()}
        request: Request | None = None
        ids: tuple[str, ...] = ()
        if len(body.get("tools") or ()) <= SIDE_JOB_TOOLS:
            api.side_jobs.append(body)
            turn = Turn(text=SIDE_JOB_TEXT)
        else:
            agent = headers.get("x-claude-code-agent-id", "")
            request = Request(body, headers, arrived_s, agent, headers.get("x-claude-code-session-id", ""))
            try:
                api._answer(request)
            except Exception as error:  # noqa: BLE001 a script's fault ends the session at once; 400 is not retried by the client
                api.faults.append(error)
                detail = {"type": "invalid_request_error", "message": f"the script failed: {error!r}"}
                self._json({"type": "error", "error": detail}, status=400)
                return
            turn, ids = request.turn, request.call_ids
            if not api._think(turn.think_s):
                self.close_connection = True
                return
        message = _message(turn, ids, body, len(api.requests))
        if request is not None:
            request.answered_s = time.monotonic()  # before the write: whoever has the answer finds the time there
        try:
            if body.get("stream"):
                self._stream(message)
            else:
                self._json(message)
        except ConnectionError:
            if request is not None:
                request.answered_s = 0.0
            raise

    def _stream(self, message: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("cache-control", "no-cache")
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(b"".join(_event(event) for event in _events(message)))
        self.wfile.flush()
        self.close_connection = True

    def _json(self, value: Mapping[str, object], *, status: int = 200, body: bool = True) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


def _message(turn: Turn, ids: Sequence[str], body: Mapping[str, Any], number: int) -> dict[str, Any]:
    content: list[dict[str, object]] = []
    if turn.text or not turn.calls:
        content.append({"type": "text", "text": turn.text or "ok"})
    for call, call_id in zip(turn.calls, ids, strict=True):
        content.append({"type": "tool_use", "id": call_id, "name": call.tool, "input": dict(call.input)})
    return {
        "id": f"msg_{number:06d}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", "scripted"),
        "content": content,
        "stop_reason": "tool_use" if turn.calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
    }


def _events(message: dict[str, Any]) -> Iterator[dict[str, object]]:
    """Yield the events a streamed message is made of; inputs of tools come in one piece of partial JSON."""
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}
    for index, block in enumerate(message["content"]):
        start: dict[str, object]
        if block["type"] == "text":
            start, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            start, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield {"type": "content_block_start", "index": index, "content_block": start}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None},
        "usage": {"output_tokens": message["usage"]["output_tokens"]},
    }
    yield {"type": "message_stop"}


def _event(event: Mapping[str, object]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _blocks(content: object) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content) if isinstance(content, list) else []


def _texts(content: object) -> list[str]:
    return [block["text"] for block in _blocks(content) if block.get("type") == "text"]


def _results(content: object) -> list[ToolResult]:
    return [
        ToolResult(block["tool_use_id"], bool(block.get("is_error")), "\n".join(_texts(block.get("content"))))
        for block in _blocks(content)
        if block.get("type") == "tool_result"
    ]
