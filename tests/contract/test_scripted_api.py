"""The scripted API keeps the promises the real client and every test with it rely on; the client here is plain HTTP."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time

import pytest

from stretto.testing.api import SIDE_JOB_TEXT, Call, ScriptedApi, Turn, bash
from stretto.testing.netns import is_isolated, isolate
from stretto.testing.wait import wait_until

TOOLS = [{"name": name} for name in ("Bash", "Edit", "Read")]


def post(api, body, *, path="/v1/messages?beta=true", headers=None, method="POST"):
    connection = http.client.HTTPConnection("127.0.0.1", int(api.url.rsplit(":", 1)[1]), timeout=20)
    try:
        connection.request(method, path, json.dumps(body), {"content-type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.getheader("content-type"), answer.read()
    finally:
        connection.close()


def ask(api, messages, *, headers=None, **more):
    status, _, raw = post(api, {"model": "m", "tools": TOOLS, "messages": messages, **more}, headers=headers)
    assert status == 200, raw
    return json.loads(raw)


def user(text):
    return {"role": "user", "content": text}


def result(call_id, text, *, is_error=False):
    block = {"type": "tool_result", "tool_use_id": call_id, "content": [{"type": "text", "text": text}], "is_error": is_error}
    return {"role": "user", "content": [block]}


def stream_events(raw):
    return [json.loads(part.split(b"data: ", 1)[1]) for part in raw.split(b"\n\n") if part]


def test_stream_holds_the_same_blocks_as_the_plain_answer():
    turn = Turn((Call("Bash", {"command": "a"}), Call("Read", {"file_path": "b"})), text="hello")
    with ScriptedApi([turn]) as plain, ScriptedApi([turn]) as streamed:
        whole = ask(plain, [user("go")])
        status, kind, raw = post(streamed, {"model": "m", "tools": TOOLS, "messages": [user("go")], "stream": True})
    events = stream_events(raw)
    assert (status, kind) == (200, "text/event-stream")
    assert events[0]["type"] == "message_start"
    assert [event["type"] for event in events][-2:] == ["message_delta", "message_stop"]
    blocks = []
    for event in events:
        if event["type"] == "content_block_start":
            blocks.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            if delta["type"] == "text_delta":
                blocks[-1]["text"] += delta["text"]
            else:
                blocks[-1]["input"] = json.loads(delta["partial_json"])
    assert blocks == whole["content"]
    assert events[-2]["delta"]["stop_reason"] == whole["stop_reason"] == "tool_use"


def test_two_runs_of_one_script_have_the_same_ids_and_different_positions_differ():
    ids = []
    for _ in range(2):
        with ScriptedApi([bash("a"), Turn((Call("Bash", {}), Call("Bash", {})))], label="x") as api:
            first = ask(api, [user("go")])["content"][0]["id"]
            second = ask(api, [user("go"), result(first, "out")])["content"]
            ids.append([first, *(block["id"] for block in second)])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3


def test_requests_with_few_tools_use_nothing_up():
    with ScriptedApi([bash("a")]) as api:
        status, _, raw = post(api, {"model": "m", "messages": [user("a title, please")]})
        assert (status, json.loads(raw)["content"][0]["text"]) == (200, SIDE_JOB_TEXT)
        assert ask(api, [user("go")])["content"][0]["name"] == "Bash"
        assert (len(api.requests), len(api.side_jobs)) == (1, 1)


def test_used_up_script_ends_the_turn_with_a_text():
    with ScriptedApi([], last="enough") as api:
        answer = ask(api, [user("go")])
    assert (answer["stop_reason"], answer["content"]) == ("end_turn", [{"type": "text", "text": "enough"}])


def test_request_sent_again_gets_the_same_turn_again():
    """A client that lost the answer asks again; that must not move the script."""
    with ScriptedApi([bash("a"), bash("b")]) as api:
        first, again = ask(api, [user("go")]), ask(api, [user("go")])
        other = ask(api, [user("go"), result(first["content"][0]["id"], "out")])
    assert first["content"] == again["content"]
    assert other["content"][0]["input"]["command"] == "b"


def test_each_subagent_plays_its_script_from_the_start():
    with ScriptedApi([bash("main")], agent_script=[bash("one"), bash("two")]) as api:
        commands = [
            ask(api, [user(f"{agent} {number}")], headers={"x-claude-code-agent-id": agent})["content"][0]["input"]["command"]
            for number in range(2)
            for agent in ("a1", "a2")
        ]
        assert ask(api, [user("go")])["content"][0]["input"]["command"] == "main"
        assert commands == ["one", "one", "two", "two"]
        ids = [call_id for request in api.requests for call_id in request.call_ids]
        assert len(set(ids)) == len(ids) == 5
        assert (len(api.main_requests()), len(api.agent_requests())) == (1, 4)


def test_by_session_gives_each_session_its_own_run_through_the_script():
    with ScriptedApi([bash("one"), bash("two")], by_session=True) as api:
        headers = [{"x-claude-code-session-id": name} for name in ("u", "v")]
        commands = [ask(api, [user(f"{n}")], headers=h)["content"][0]["input"]["command"] for n in range(2) for h in headers]
        ids = {call_id for request in api.requests for call_id in request.call_ids}
    assert commands == ["one", "one", "two", "two"]
    assert len(ids) == 4


def test_results_and_texts_are_told_once_in_order_with_their_errors():
    with ScriptedApi([bash("a"), bash("b")]) as api:
        first = ask(api, [user("go")])
        history = [user("go"), {"role": "assistant", "content": first["content"]}, result(first["content"][0]["id"], "A")]
        history.append({"role": "system", "content": "some context"})
        second = ask(api, history)
        history += [{"role": "assistant", "content": second["content"]}, result(second["content"][0]["id"], "B", is_error=True)]
        ask(api, history)
        assert [(r.text, r.is_error) for r in api.tool_results()] == [("A", False), ("B", True)]
        assert api.texts() == ["go", "some context"]
        waits = api.waits()
    assert [wait.tool_use_ids[0] for wait in waits] == [first["content"][0]["id"], second["content"][0]["id"]]
    assert all(wait.waited_s >= 0 for wait in waits)


def test_thinking_time_passes_before_the_answer_and_not_in_the_wait():
    with ScriptedApi([bash("a", think_s=0.3), Turn(text="end", think_s=0.3)]) as api:
        call_id = ask(api, [user("go")])["content"][0]["id"]
        ask(api, [user("go"), result(call_id, "out")])
        thought = [request.answered_s - request.arrived_s for request in api.requests]
        waited = api.waits()[0].waited_s
        between = api.requests[1].arrived_s - api.requests[0].answered_s
    assert min(thought) >= 0.3
    assert waited == between


def test_leaving_ends_a_turn_that_still_thinks():
    ended = []

    def client():
        try:
            ended.append(ask(api, [user("go")]))
        except OSError as error:
            ended.append(error)

    with ScriptedApi([bash("a", think_s=3600)]) as api:
        threading.Thread(target=client, daemon=True).start()
        wait_until(lambda: api.requests, 20, "the request")
        assert not ended
    wait_until(lambda: ended, 20, "the end of the client")
    assert isinstance(ended[0], OSError)


def test_function_script_sees_the_request_and_its_fault_is_raised_on_leaving():
    with ScriptedApi(lambda body: Turn(text=body["messages"][0]["content"].upper())) as api:
        assert ask(api, [user("go")])["content"][0]["text"] == "GO"
    with pytest.raises(AssertionError, match="KeyError"), ScriptedApi(lambda body: body["nothing"]) as api:
        assert post(api, {"tools": TOOLS, "messages": [user("go")]})[0] == 400


def test_probes_and_counts_are_answered_and_unknown_paths_are_kept():
    with ScriptedApi([bash("a")]) as api:
        assert post(api, {}, path="/", method="HEAD")[0] == 200
        assert json.loads(post(api, {"messages": [user("x" * 400)]}, path="/v1/messages/count_tokens")[2])["input_tokens"] > 50
        assert post(api, {}, path="/api/elsewhere")[0] == 404
        assert ask(api, [user("go")])["content"][0]["name"] == "Bash"
        assert api.strays == ["POST /api/elsewhere"]


def test_wait_until_says_what_was_seen_last():
    seen = iter(range(1_000_000))
    with pytest.raises(AssertionError, match=r"the moon not reached within 0\.05 s; last value 0"):
        wait_until(lambda: next(seen) * 0, 0.05, "the moon")
    with pytest.raises(AssertionError, match="last error FileNotFoundError"):
        wait_until(lambda: open("/nonexistent/file"), 0.01, "a file")
    assert wait_until(lambda: next(seen) > 3 and "yes", 20) == "yes"
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 / 0, 20)


def test_suite_sees_loopback_only():
    """No test can reach another host; where the system forbids that, the reason is printed."""
    reason = isolate()
    if reason:
        pytest.skip(reason)
    assert is_isolated()
    with socket.socket() as other, pytest.raises(OSError):
        other.settimeout(5)
        other.connect(("192.0.2.1", 80))
    started = time.monotonic()
    with ScriptedApi() as api:
        assert ask(api, [user("go")])["stop_reason"] == "end_turn"
    assert api.requests[0].arrived_s >= started


def test_isolation_without_root_keeps_the_ids_and_files_stay_ours(short):
    """The child gives up root (if it has it) first; where the system allows no user namespaces, its reason is printed."""
    code = """
import ctypes, os, sys
from stretto.testing import netns
where = sys.argv[1]
os.chdir(where)  # before giving up root: the run's directory is private
if os.getuid() == 0:
    os.chown(where, 65534, 65534)
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: giving up root in place took it away, an ordinary login has it
before = (os.getuid(), os.getgid(), os.readlink("/proc/self/ns/net"))
reason = netns.enter()
if reason:
    print("reason", reason)
    sys.exit()
assert (os.getuid(), os.getgid()) == before[:2], os.getuid()
assert os.readlink("/proc/self/ns/net") != before[2]
assert netns.is_isolated()
with open("made", "w") as file:
    assert os.fstat(file.fileno()).st_uid == os.getuid()
os.chmod("made", 0o600)
child = os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-c", "test -O made"])
assert child == 0
print("isolated")
"""
    where = short / "w"
    where.mkdir()
    answer = subprocess.run([sys.executable, "-c", code, str(where)], capture_output=True, text=True, timeout=60)
    if answer.stdout.startswith("reason"):
        pytest.skip(answer.stdout.strip())
    assert (answer.returncode, answer.stdout) == (0, "isolated\n"), answer.stderr
