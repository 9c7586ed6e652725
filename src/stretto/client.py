"""The hook: bytes in from Claude Code, one question to the supervisor, bytes out.

An island: started with `-I -S` by a launcher that imports it from its cached bytecode, and imports C modules only, because Claude Code
waits for it at every tool call. Hides where the supervisor is and how it is started. Promises:
- exit 2 (which blocks) only when the supervisor's reply says so; every failure of ours, of whatever kind, is exit 0 and silence, but
  for one visible notice at the start of a session;
- a folder without a grant gets nothing: no process, no file, no connection;
- a deadline on everything; the supervisor it starts is double-forked, since Claude Code ends the whole tree of a hook that is late.

Arguments: islands directory, state base, the supervisor's interpreter, our mark, the event's name.
"""

import _socket
import posix
import sys

try:
    from _blake2 import blake2b
except ImportError:  # a build without it; slower, same digest
    from hashlib import blake2b

REPLY_LIMIT_S = {b"SessionStart": 8.0, b"SessionEnd": 1.0, b"Stop": 12.5, b"SubagentStop": 12.5, b"TaskCompleted": 12.5}
"""Below the hook's own timeout (install.py), so that it is always we who give up, quietly."""
OTHER_LIMIT_S = 3.0
STARTS = (b"SessionStart", b"UserPromptSubmit", b"PreToolUse", b"PostToolBatch")
"""Events worth starting a supervisor for: more of the session follows them."""
START_LIMIT_S = {b"SessionStart": 6.0}
OTHER_START_LIMIT_S = 2.0
STARTED_REPLY_LIMIT_S = 2.5
"""From starting a supervisor until it listens, and then until it answers; together below the hook's timeout, too. A session that begins
has the time to wait for a slow machine, every later event holds a call."""
BODY_MOST_BYTES = 16 << 20
"""More of the host's JSON is not passed on: below what one message may hold (rpc.py), and far above any hook's."""
ADOPT_LIMIT_S = 4.0
"""How long the start of a session may wait until its worktree is granted."""
ANCESTORS_MOST = 100
"""More processes above a hook than this are a loop that starts itself: no supervisor for that either."""
WATCH = b"Watch"
"""Not an event: wait until the session is to be woken, which exit 2 with a text does."""
WATCH_AGAIN_S = 0.5
"""How often a watcher looks whether a supervisor has come while none serves the project."""
ENV_KEPT = (b"HOME", b"PATH", b"USER", b"LOGNAME", b"LANG", b"TMPDIR", b"XDG_STATE_HOME", b"XDG_RUNTIME_DIR", b"SYSTEMROOT")
"""All the supervisor inherits: no key, no token, nothing of the session."""


VERSION = b"0.2.0"
"""Equal to the package's (tests/unit/test_retries.py): a supervisor of another one makes way for its successor."""


def main(argv):
    """Answer one hook call; does not return."""
    islands, base, python, _, event = (argument.encode() for argument in argv)
    try:
        code, out, err = ask(islands, base, python, event)
    except Exception as error:  # noqa: BLE001  no failure of ours, not even a bug, may reach the session
        code, out, err = 0, b"", b""
        if event == b"SessionStart":
            out = notice(str(error))
    write(1, out)
    write(2, err)
    posix._exit(2 if code == 2 else 0)


def ask(islands, base, python, event):
    """Return (code, stdout, stderr) as the supervisor answers; (0, "", "") where it has nothing to say."""
    environ = posix.environ
    if environ.get(b"STRETTO_WORKER") or environ.get(b"STRETTO") == b"off":
        return 0, b"", b""
    folder = environ.get(b"CLAUDE_PROJECT_DIR")
    key = granted(base, folder) if folder else None
    if key is None and folder and event == b"SessionStart":
        key = worktree(islands, base, python)
    if key is None:
        return 0, b"", b""
    body, cut = read_body()
    state = base + b"/projects/" + key
    if event == WATCH:
        return watch(state, body)
    message = {
        b"op": b"hook",
        b"event": event,
        b"version": VERSION,
        b"input": body,
        b"cut": b"1" if cut else b"0",
        b"session": environ.get(b"CLAUDE_CODE_SESSION_ID", b""),
        b"env_file": environ.get(b"CLAUDE_ENV_FILE", b""),
        b"claude_pid": environ.get(b"CLAUDE_PID", b"0"),
        b"path": environ.get(b"PATH", b""),
    }
    reply = exchange(connect(state, REPLY_LIMIT_S.get(event, OTHER_LIMIT_S)), message)
    if reply is None:
        if event not in STARTS or nested():
            return 0, b"", b""
        word = start(islands, base, python, key, state)
        reply = exchange(connect_soon(state, START_LIMIT_S.get(event, OTHER_START_LIMIT_S), word), message)
        if reply is None:
            raise OSError("its supervisor does not start; `stretto doctor` says more")
    return int(reply[b"code"]), reply[b"out"], reply[b"err"]


def watch(state, body):
    """Wait until somebody wants the session woken, and return what wakes it; silence when nobody does any more.

    Only where a person or a program can be woken: without one the host waits for this process and nothing else happens (`claude -p`).
    """
    if not wakeable(posix.environ):
        return 0, b"", b""
    import time

    message = {b"op": b"watch", b"session": session_of(body)}
    parent, host = posix.getppid(), int(posix.environ[b"CLAUDE_PID"])
    while posix.getppid() == parent and alive(host):
        try:
            reply = exchange(connect(state, None), message)
        except OSError:
            reply = None
        if reply is not None:
            return int(reply[b"code"]), reply[b"out"], reply[b"err"]
        if not exists(state + b"/grant"):
            return 0, b"", b""
        time.sleep(WATCH_AGAIN_S)  # its supervisor is gone: the next one takes us in
    return 0, b"", b""


def alive(pid):
    try:
        posix.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # somebody else's by now
    return True


def wakeable(environ):
    return environ.get(b"CLAUDE_CODE_SESSION_ATTENDED") == b"1"


def session_of(body):
    """Return the session's id out of the host's JSON, b"" without one. No parser: json costs more than this whole file."""
    _, found, rest = body.partition(b'"session_id"')
    value = rest.lstrip().removeprefix(b":").lstrip()
    return value[1 : value.index(b'"', 1)] if found and value[:1] == b'"' else b""


def granted(base, folder):
    """Return the key of the granted project that holds `folder`, None without one. Leaves us inside the folder that decided it."""
    try:
        posix.chdir(folder)
        path = posix.getcwdb()
    except OSError:
        return None
    while True:
        key = blake2b(path, digest_size=16).hexdigest().encode()
        if exists(base + b"/projects/" + key + b"/grant"):
            return key
        if path == b"/" or exists(path + b"/.git"):
            return None  # a nested repository or a worktree is a project of its own
        path = path[: path.rindex(b"/")] or b"/"


def worktree(islands, base, python):
    """Return the key of the worktree we are in where the user granted its repository with all its worktrees, None elsewhere.

    Asked at the start of a session only. Looks at what `stretto init` wrote down (worktrees.py); the grant itself is made, and everything
    that has to hold for it looked at, by the package, in a process of its own.

    Raises:
        OSError: a project of this repository is granted, but not this worktree; the text says what to do.
    """
    path = posix.getcwdb()
    while not exists(path + b"/.git"):
        if path == b"/":
            return None
        path = path[: path.rindex(b"/")] or b"/"
    try:
        posix.chdir(path)
        posix.chdir(line(b".git").removeprefix(b"gitdir: "))
        posix.chdir(line(b"commondir"))
        common = posix.getcwdb()
        names = posix.listdir(base + b"/repositories/" + blake2b(common, digest_size=16).hexdigest().encode())
    except OSError:
        return None  # a repository of its own, or one that nobody granted
    if not any(exists(base + b"/projects/" + name.rstrip(b"+") + b"/grant") for name in names):
        return None
    here = "this worktree is not served: "
    if not any(name.endswith(b"+") for name in names):
        raise OSError(
            here + "run `stretto init` in it, or `stretto init --worktrees` in a project of its repository that is granted, for all of them"
        )
    said = adopt(islands, base, python, path)
    if said:
        raise OSError(here + said.decode("utf-8", "replace"))
    posix.chdir(path)
    return blake2b(path, digest_size=16).hexdigest().encode()


def adopt(islands, base, python, path):
    """Have the worktree granted; return b"" when it is, else why not."""
    import time

    answer, given = posix.pipe()
    pid = posix.fork()
    if not pid:
        try:
            null = posix.open(b"/dev/null", posix.O_RDWR)
            posix.dup2(null, 0)
            posix.dup2(given, 1)
            posix.dup2(null, 2)
            posix.closerange(3, 1024)
            env = {name: value for name, value in posix.environ.items() if name in ENV_KEPT or name.startswith(b"LC_")}
            code = b"import sys; sys.path.insert(0, sys.argv[1]); from stretto.worktrees import main; main(sys.argv[2:])"
            posix.execve(python, [python, b"-I", b"-c", code, islands[: islands.rindex(b"/")], base, path], env)
        finally:
            posix._exit(1)
    posix.close(given)
    deadline = time.monotonic() + ADOPT_LIMIT_S
    while not (ended := posix.waitpid(pid, posix.WNOHANG))[0]:
        if time.monotonic() > deadline:
            posix.kill(pid, 9)
            posix.waitpid(pid, 0)
            return b"it could not be granted in time; run `stretto init` in it"
        time.sleep(0.005)
    return b"" if ended[1] == 0 else posix.read(answer, 4096).strip() or b"it could not be granted; run `stretto init` in it"


def line(path):
    """Return the first 4 kB of a file without the line's end; never waits for whoever writes it."""
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    try:
        return posix.read(descriptor, 4096).rstrip(b"\n")
    finally:
        posix.close(descriptor)


def exists(path):
    try:
        posix.lstat(path)
    except OSError:
        return False
    return True


def nested():
    """Say whether a worker of ours is above us whose mark somebody took out of our environment: then no supervisor is started for it.

    Only asked before a start: a supervisor that is there looks for itself. Without /proc it has to, once it was started.
    """
    pid = posix.getppid()
    for _ in range(ANCESTORS_MOST):
        try:
            if b"\0STRETTO_WORKER=" in b"\0" + contents(b"/proc/%d/environ" % pid):
                return True
            pid = int(contents(b"/proc/%d/stat" % pid).rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return False  # the top, somebody else's, or gone
        if pid <= 1:
            return False
    return True


def contents(path):
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return read(descriptor)
    finally:
        posix.close(descriptor)


def connect(state, limit_s):
    """Return a connection to the project's supervisor, None when nobody listens. The name is taken inside the folder: it is short."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.settimeout(limit_s)
    try:
        posix.chdir(state)
        connection.connect(b"s")
    except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
        connection.close()
        return None
    return connection


def connect_soon(state, limit_s, word):
    """Like `connect`, tried again until the supervisor that was just started listens; None as soon as it is known that it never will."""
    import time

    deadline = time.monotonic() + limit_s
    said = b""
    while time.monotonic() < deadline:
        connection = connect(state, STARTED_REPLY_LIMIT_S)
        if connection is not None:
            return connection
        if not said:
            try:
                said = posix.read(word, 1)
            except BlockingIOError:
                pass  # it is still on its way
            else:
                if not said:
                    return None  # it is gone without a word: broken, or its interpreter is
        time.sleep(0.01)
    return None


def start(islands, base, python, key, state):
    """Start the supervisor: own session, no descriptor of ours, not our working directory, reparented at once.

    However many hooks do this at the same time, one supervisor gets its lock and the others leave. Returns a descriptor from which one
    byte can be read once it, or another one, serves the project; its end-of-file without that byte means that it failed.
    """
    word, given = posix.pipe()
    pid = posix.fork()
    if pid:
        posix.close(given)
        posix.set_blocking(word, False)
        posix.waitpid(pid, 0)
        return word
    try:
        posix.setsid()
        if posix.fork():
            posix._exit(0)
        null = posix.open(b"/dev/null", posix.O_RDWR)
        try:
            errors = posix.open(state + b"/supervisor.err", posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_NOFOLLOW, 0o600)
        except OSError:
            errors = null  # something else stands there: the supervisor puts it aside
        posix.dup2(null, 0)
        posix.dup2(null, 1)
        posix.dup2(errors, 2)
        posix.dup2(given, 3)
        posix.set_inheritable(3, True)
        posix.closerange(4, 1024)
        posix.chdir(b"/")
        environ = posix.environ
        env = {name: value for name, value in environ.items() if name in ENV_KEPT or name.startswith(b"LC_")}
        package = islands[: islands.rindex(b"/")]
        code = b"import sys; sys.path.insert(0, sys.argv[1]); from stretto.daemon import main; main(sys.argv[2:])"
        posix.execve(python, [python, b"-I", b"-c", code, package, base, key, b"3"], env)
    finally:
        posix._exit(1)


def encode(message):
    """One frame; the format is described in rpc.py and held equal by its contract test."""
    parts = []
    for key, value in message.items():
        parts += (len(key).to_bytes(4, "big"), key, len(value).to_bytes(4, "big"), value)
    body = b"".join(parts)
    return len(body).to_bytes(4, "big") + body


def exchange(connection, message):
    """Return the answer to `message`, None when there is nobody: no connection, or its other end was just dying.

    Raises:
        OSError: the time is over.
    """
    if connection is None:
        return None
    try:
        connection.sendall(encode(message))
        return receive(connection)
    except (BrokenPipeError, ConnectionResetError, EOFError):
        return None


def receive(connection):
    """Return the next message.

    Raises:
        EOFError: the peer broke off.
        OSError: the time is over.
    """
    body = exactly(connection, int.from_bytes(exactly(connection, 4), "big"))
    items = []
    at = 0
    while at < len(body):
        size = int.from_bytes(body[at : at + 4], "big")
        items.append(body[at + 4 : at + 4 + size])
        at += 4 + size
    return dict(zip(items[::2], items[1::2], strict=True))


def exactly(connection, count):
    parts = []
    while count:
        part = connection.recv(min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def read(descriptor):
    parts = []
    while part := posix.read(descriptor, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def read_body():
    """Return what the host says, and whether there was more than is passed on: then its head, which is enough to say that it was there."""
    parts, size, cut = [], 0, False
    while part := posix.read(0, 1 << 20):
        if size + len(part) <= BODY_MOST_BYTES:
            parts.append(part)
            size += len(part)
        else:
            size, cut = BODY_MOST_BYTES, True  # read to its end all the same: the host writes until then
            del parts[1:]
    return b"".join(parts), cut


def write(descriptor, data):
    while data:
        data = data[posix.write(descriptor, data) :]


def notice(why):
    """What the user sees when a session begins without us; the only thing this file ever says by itself."""
    text = "".join(letter for letter in why if letter.isprintable() and letter not in '"\\')
    return ('{"systemMessage": "Stretto is not working in this session, everything runs as without it: ' + text + '"}').encode()


if __name__ == "__main__":
    main(sys.argv[1:])
