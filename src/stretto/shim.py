"""The intercepted command: `pytest -q` as the shell typed it, joined with a run that already happened, or run for real and recorded.

An island: started with `-I -S` by a launcher that imports it from its cached bytecode, C modules only, because a shell waits for it.
It is one idea in one file, because everything here happens to one process between its start and its exit. Promises:

- whatever is odd (input that is not empty, a terminal, inherited descriptors, a sandbox, no supervisor within `ASK_LIMIT_S`) ends in
  `execve` of the real command in this very process: as if no shim were there;
- a recorded command is our own child in our own context, and gets for its output the kind of file it would have had: a regular file
  where ours is one, else a pipe. We copy what it prints, ever with bounded memory, and end as it ended, by code or by signal;
- after the child has started, no failure of ours (a full disk, a missing directory, a dead supervisor) loses output or exit code;
- a joined run is copied from its bundle (bundle.py tells the format), finished or still under way by the same path; if it is lost on
  the way, the real command runs and what was already printed is not printed twice.

Signals. The host ends a command by one SIGTERM to every descendant, `kill $!` reaches only us: so a signal is passed on only when the
child still lives `FORWARD_AFTER_S` later. Called from a shell function we die with the (sub)shell that runs it, since `kill $!`
means that one. On Linux the child dies with us.

Below a call of ours nothing of ours stands on the PATH: whoever looks there for the next program of its name (a version manager's shim,
a wrapper of the user's) finds what it would find without us, and the supervisor is told the PATH that the command really has.

Arguments: state base, how we were called, name, the command's own arguments. How is `path`, or `function:PID:MAIN:LINE:SHELL` (what bash
knows of itself, nothing in zsh), or `through:PID`, which never asks anybody: it executes the real command in place, bound to the life
of the subshell. A name with a slash is the file that the shell would have run, whatever the PATH.
"""

import _signal
import posix
import select
import sys
import time

LINUX = sys.platform.startswith("linux")
ENTRY_MARK = b"#!/bin/sh\n# stretto entry\n"
"""How our own PATH entries begin (shellenv.py): never taken for the real command, whatever state directory they are from."""
VERSION = b"0.2.0"
"""Equal to the package's (tests/unit/test_retries.py)."""
ASK_LIMIT_S = 1.5
FORWARD_AFTER_S = 0.05
KEEP_LIMIT_BYTES = 64 * 1024 * 1024
"""Of one stream. A run that prints more is passed through and never joined."""
FREE_LEAST_BYTES = 128 * 1024 * 1024
"""Less room than this beside the state, and nothing is recorded: the child must not meet a full disk that is not its own."""
LEAVE_LIMIT_S = 0.03
"""How long after its exit a command's helpers may hold the output open before they count as left running."""
CHUNK_BYTES = 1 << 16
PIPE_MOST_BYTES = 1 << 16
"""What can be in a pipe of ours when the command ends; what comes after that many bytes is not its own."""
PIPE_WRITE_BYTES = 4096
"""What a blocking pipe that reports room takes without blocking (PIPE_BUF)."""
READS_MOST = 100
"""How often a read of the child's output may fail before it counts as ended."""
LOOK_LEAST_S, LOOK_MOST_S, JOIN_LOOK_MOST_S, DRAIN_LOOK_MOST_S = 0.001, 0.02, 0.005, 0.2
WRITER_LIMIT_S = 1.0
"""How long a writer may take from the making of its directory until it holds the lock in it."""
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL
"""What a descriptor to write to reports when nobody will ever read."""
FALLOC_FL_PUNCH_HOLE_KEEP_SIZE = 3
S_IFMT, S_IFCHR, S_IFREG, S_IFSOCK = 0o170000, 0o020000, 0o100000, 0o140000
FORWARDED = (
    _signal.SIGHUP,
    _signal.SIGINT,
    _signal.SIGQUIT,
    _signal.SIGTERM,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
    _signal.SIGALRM,
    _signal.SIGCONT,
    _signal.SIGWINCH,
)
ENDING = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM)
UNSTARTED = b"\0"
"""Among the numbers of signals: the child could not become the command."""
HARMLESS = (_signal.SIGCONT, _signal.SIGWINCH)
"""Say nothing about who ended the command."""


def main(arguments):
    """Run one command; does not return."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    call = Call(arguments)
    if call.exe is None:
        not_found(call)
    if call.shell:
        die_with_shell(call.shell)
    if call.via == b"through":
        native(call)
    if call.name == b"git":
        gate(call)
    try:
        reply, connection = ask(call)
        if reply.get(b"do") == b"record":
            record = Recording(call, reply[b"dir"])
            record.begin()
        elif reply.get(b"do") == b"join":
            join = Join(call, reply[b"dir"])
    except Exception:  # noqa: BLE001  no failure of ours, not even a bug, may come between the user and the command
        native(call)  # `begin` is the last that can fail, and only as long as there is no child
    if reply.get(b"do") == b"record":
        record.end_like_child(connection)
    elif reply.get(b"do") == b"join":
        join.end_like_writer(connection)
    native(call)


# --- what was called --------------------------------------------------------------------------------------------------------


class Call:
    """One call as the shell made it."""

    def __init__(self, arguments):
        words = [word.encode(sys.getfilesystemencoding(), "surrogateescape") for word in arguments]
        self.base, how, typed = words[:3]
        self.argv = words[2:]
        self.name = typed.rpartition(b"/")[2]
        self.via, _, rest = how.partition(b":")
        self.shell = 0
        self.in_bash = False
        if self.via != b"path":
            pid, _, self.place = rest.partition(b":")
            self.shell = int(pid or 0) or posix.getppid()
            self.in_bash = bool(pid)
        self.env = environment()
        path = self.env.get(b"PATH", b"/usr/bin:/bin")
        if self.via != b"through" and self.name != b"git":  # those have no PATH entry to come back to, and are no calls of ours themselves
            path = without_entries(path, self.base, self.name)
            if b"PATH" in self.env:
                self.env[b"PATH"] = path
        self.exe = resolve(self.name, path) if typed == self.name else typed if is_program(typed) else None
        last = self.env.get(b"_")
        if last and self.exe and (last == sys.orig_argv[0].encode(errors="surrogateescape") or last.endswith(b"/" + self.name)):
            self.env[b"_"] = self.exe  # the shell names the program it starts: for the command that is itself, not this interpreter


def environment():
    """Return the environment as this process was given it; Python adds LC_CTYPE to its own in the C locale."""
    try:
        entries = read_file(b"/proc/self/environ").split(b"\0")
    except OSError:
        found = dict(posix.environ)
        if found.get(b"LC_CTYPE") in (b"C.UTF-8", b"UTF-8") and found.get(b"LANG", b"C") in (b"C", b"POSIX") and b"LC_ALL" not in found:
            del found[b"LC_CTYPE"]
        return found
    found = {}
    for entry in entries:
        name, equals, value = entry.partition(b"=")
        if name and equals:
            found.setdefault(name, value)
    return found


def without_entries(path, base, name):
    """Return a PATH without the folders in which we stand for tools, also those of another state directory."""
    ours = base + b"/paths/"
    return b":".join([each for each in path.split(b":") if not (each.startswith(ours) or is_entry((each or b".") + b"/" + name))])


def is_program(path):
    """Say whether a shell would run this file; if not, it has its own words for that."""
    try:
        return posix.access(path, posix.X_OK) and posix.stat(path).st_mode & S_IFMT == S_IFREG
    except OSError:
        return False


def resolve(name, path):
    """Return the executable a shell without us would find, absolute, or None."""
    for folder in path.split(b":"):
        candidate = (folder or b".") + b"/" + name
        if not posix.access(candidate, posix.X_OK):
            continue
        try:
            status = posix.stat(candidate)
        except OSError:  # there it is all the same: what stands in the way is told by whoever executes it
            if is_entry(candidate):
                continue
        else:
            if status.st_mode & S_IFMT != S_IFREG or (status.st_size < 8192 and is_entry(candidate)):
                continue
        return candidate if candidate.startswith(b"/") else posix.getcwdb() + b"/" + candidate
    return None


def is_entry(path):
    try:
        return read_file(path, len(ENTRY_MARK)) == ENTRY_MARK
    except OSError:
        return False  # executable but not readable: not ours


def not_found(call):
    """A tool that went away while the session ran. The function asks the shell itself for the words it has for that."""
    if call.via == b"path":
        write_all(2, call.name + b": command not found\n")
    posix._exit(127)


def native(call, failed=-1):
    """Become the real command; does not return. `failed` is a descriptor to which a byte is written when that cannot be done."""
    default_signals()
    try:
        posix.execve(call.exe, call.argv, call.env)
    except OSError as error:
        if error.errno == 8:  # ENOEXEC, no `#!` line: shells then read it themselves
            posix.execve(b"/bin/sh", [b"sh", call.exe, *call.argv[1:]], call.env)
        if failed >= 0:
            posix.write(failed, UNSTARTED)
        write_all(2, call.exe + b": " + error.strerror.encode() + b"\n")
        posix._exit(127 if error.errno == 2 else 126)


def default_signals():
    """Undo what a Python does to its own signals at the start, unless the shell above us ignores SIGPIPE on purpose."""
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        if not (number == _signal.SIGPIPE and shell_ignores(number)):
            _signal.signal(number, _signal.SIG_DFL)


def shell_ignores(number):
    """Say whether our parent ignores a signal; only the shell of a function is known to hand that on to us."""
    if not Parent.shell:
        return False
    try:
        ignored = read_file(b"/proc/%d/status" % Parent.shell).split(b"\nSigIgn:")[1].split(b"\n")[0]
    except (OSError, IndexError):
        return False
    return bool(int(ignored, 16) >> (number - 1) & 1)


class Parent:
    """The shell whose function called us, 0 when something else did."""

    shell = 0


def die_with_shell(shell):
    """Let the kernel end us when the shell process that runs the function is ended."""
    Parent.shell = shell
    if LINUX:
        prctl(PR_SET_PDEATHSIG, _signal.SIGTERM)
        if posix.getppid() != shell:  # it was ended before we could ask
            end_by_signal(_signal.SIGTERM)


def prctl(option, value):
    import _ctypes

    _ctypes.call_function(_ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl"), (option, int(value), 0, 0, 0))


# --- asking the supervisor --------------------------------------------------------------------------------------------------


def ask(call):
    """Return the supervisor's answer and the open connection; ({}, None) where nobody is to be asked or nobody answers."""
    env = call.env
    if env.get(b"STRETTO") == b"off" or env.get(b"STRETTO_FRESH") or env.get(b"STRETTO_WORKER"):
        return {}, None
    stdin = empty_input(env)
    streams = output_streams()
    if stdin is None or streams is None or inherits_more():
        return {}, None
    cwd = posix.getcwdb()
    project = granted(call.base, cwd)
    if project is None:
        return {}, None
    deadline = time.monotonic() + ASK_LIMIT_S
    connection = connect(project, cwd, deadline)
    request = {
        b"op": b"invoke",
        b"v": b"1",
        b"version": VERSION,
        b"session": env.get(b"CLAUDE_CODE_SESSION_ID", b""),
        b"name": call.name,
        b"exe": call.exe,
        b"argv": b"\0".join(call.argv),
        b"cwd": cwd,
        b"env": b"\0".join([name + b"=" + value for name, value in env.items()]),
        b"context": context(),
        b"streams": streams,
        b"stdin": stdin,
        b"via": call.via,
        b"pid": b"%d" % posix.getpid(),
    }
    send(connection, encode(request), deadline)
    import fcntl  # noqa: F401  needed later; loaded while the supervisor thinks

    return receive(connection, deadline), connection


GATE_LIMIT_S = 12.5
"""For an answer of a gate: longer than it is kept back for a check that is about to end (gates.HOLD_S)."""
GATE_PASSED = b"STRETTO_GATE"
"""Tells our own git hook that the gate was asked already."""
GIT_VALUES = (
    b"-C",
    b"-c",
    b"--git-dir",
    b"--work-tree",
    b"--namespace",
    b"--exec-path",
    b"--super-prefix",
    b"--config-env",
    b"--attr-source",
)
"""Options of git itself that take their value from the next word (git(1))."""
GIT_ELSEWHERE = (b"--git-dir", b"--work-tree", b"--bare")


def gate(call):
    """Ask before a commit or a push whether it may be done, then do it or end with 1; does not return.

    Whatever fails on the way, git runs; in a project that asks for such gates a line says that nobody judged it.
    """
    place, cwd = gated(call.argv)
    if place is None or call.env.get(b"STRETTO_WORKER"):
        native(call)
    if denied(call.base, place, cwd, call.env):
        posix._exit(1)
    call.env[GATE_PASSED] = place
    native(call)


def hook(arguments):
    """Ask for a git hook, which git starts in the repository's folder, and end with 1 when it is not to be done; does not return.

    Arguments: state base, `commit` or `push`.
    """
    try:
        base, place = [word.encode(sys.getfilesystemencoding(), "surrogateescape") for word in arguments]
        code = int(denied(base, place, b".", environment()))
    except Exception:  # noqa: BLE001  as in `gate`
        code = 0
    posix._exit(code)


def denied(base, place, cwd, env):
    """Ask the gate, say what it says on stderr, and return whether it refuses."""
    project = None
    refused = False
    try:
        here = posix.getcwdb()
        project = granted(base, real(cwd, here))
        if project is None:
            return False
        deadline = time.monotonic() + GATE_LIMIT_S
        connection = connect(project, here, deadline)
        override = b"1" if env.get(b"STRETTO") == b"off" else b"0"
        session = env.get(b"CLAUDE_CODE_SESSION_ID", b"")
        send(connection, encode({b"op": b"gate", b"place": place, b"session": session, b"override": override}), deadline)
        reply = receive(connection, deadline)
        refused, text = reply[b"do"] == b"deny", reply[b"text"]
    except Exception:  # noqa: BLE001  nothing of ours may come between the user and git
        asked_for = project is not None and posix.access(project + b"/gates", posix.F_OK)
        text = b"Stretto: this " + place + b" was judged by nobody: the supervisor does not answer" if asked_for else b""
    if text:
        write_all(2, text + b"\n")
    return refused


def real(cwd, here):
    """Return the folder git would work in, its links followed."""
    posix.chdir(cwd)
    try:
        return posix.getcwdb()
    finally:
        posix.chdir(here)


def gated(argv):
    """Return `commit` or `push` and the folder it is done in, (None, ".") for any other call of git.

    One that only looks, or names its repository in another way than by a folder, is another call.
    """
    cwd, words = b".", list(argv[1:])
    while words and words[0].startswith(b"-"):
        option, equals, _ = words.pop(0).partition(b"=")
        if option in GIT_ELSEWHERE:
            return None, b"."
        if option in GIT_VALUES and not equals:
            if not words:
                return None, b"."
            value = words.pop(0)
            if option == b"-C" and value:
                cwd = value if value.startswith(b"/") else cwd + b"/" + value
    if not words or words[0] not in (b"commit", b"push"):
        return None, b"."
    looks = (b"--help", b"-h", b"--dry-run", *((b"-n",) if words[0] == b"push" else ()))
    for word in words[1:]:
        if word == b"--":
            break
        if word in looks:
            return None, b"."
    return words[0], cwd


def empty_input(env):
    """Return the kind of standard input, None when a command could read something from it.

    `idle` is the socket Claude Code gives a command whose text has a `<` in it: nothing ever comes from there.
    """
    try:
        status = posix.fstat(0)
    except OSError:
        return None
    kind = status.st_mode & S_IFMT
    if kind == S_IFCHR:
        return b"null" if status.st_rdev == posix.stat(b"/dev/null").st_rdev else None
    if kind == S_IFREG:
        return b"null" if status.st_size == 0 else None
    if kind == S_IFSOCK and env.get(b"CLAUDECODE"):
        poller = select.poll()
        poller.register(0, select.POLLIN)
        return None if poller.poll(0) else b"idle"
    return None


def output_streams():
    """Return merged or split; None when an output is closed, a device, or the two stand in a relation no copy could keep."""
    try:
        out, err = posix.fstat(1), posix.fstat(2)
    except OSError:
        return None
    null = posix.stat(b"/dev/null").st_rdev
    if any(status.st_mode & S_IFMT == S_IFCHR and status.st_rdev != null for status in (out, err)):
        return None  # a terminal, /dev/full
    if (out.st_dev, out.st_ino) != (err.st_dev, err.st_ino):
        return b"split"
    if out.st_mode & S_IFMT == S_IFREG and not same_position():
        return None  # `>f 2>f`: two positions in one file, which overwrite each other
    return b"merged"


def same_position():
    """Say whether 1 and 2, one regular file, write at one position: both always at its end, or one open file."""
    import fcntl

    flags = [fcntl.fcntl(descriptor, fcntl.F_GETFL) for descriptor in (1, 2)]
    if flags[0] & flags[1] & posix.O_APPEND:
        return True
    fcntl.fcntl(1, fcntl.F_SETFL, flags[0] ^ posix.O_NONBLOCK)  # means nothing on a regular file, and shows on every copy of one open file
    same = fcntl.fcntl(2, fcntl.F_GETFL) == flags[1] ^ posix.O_NONBLOCK
    fcntl.fcntl(1, fcntl.F_SETFL, flags[0])
    return same


def inherits_more():
    """Say whether a descriptor above 2 was handed to us (a job server, `3>file`); one of those listed is the listing's own."""
    names = posix.listdir(b"/proc/self/fd" if LINUX else b"/dev/fd")
    return sum(int(name) > 2 for name in names) > 1


def granted(base, folder):
    """Return the state directory of the project a folder is in, None when it is in none; nested repositories are their own."""
    from _blake2 import blake2b

    while True:
        state = base + b"/projects/" + blake2b(folder, digest_size=16).hexdigest().encode()
        if posix.access(state + b"/grant", posix.R_OK):
            return state
        if folder == b"/" or posix.access(folder + b"/.git", posix.F_OK):
            return None
        folder = folder[: folder.rindex(b"/")] or b"/"


def connect(state, cwd, deadline):
    """Return a connection to the project's supervisor.

    Raises:
        OSError: there is none, it is somebody else's, or it does not accept before the deadline.
    """
    import _socket

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | getattr(_socket, "SOCK_CLOEXEC", 0))
    connection.setblocking(False)
    path = state + b"/s"
    long = len(path) > 100
    if long:  # beyond what the kernel takes
        posix.chdir(state)
        path = b"s"
    try:
        while True:
            try:
                connection.connect(path)
                break
            except BlockingIOError:  # its queue is full
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.002)
    finally:
        if long:
            posix.chdir(cwd)
    if LINUX:
        credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        if int.from_bytes(credentials[4:8], sys.byteorder) != posix.geteuid():
            raise OSError("the supervisor is somebody else's")
    return connection


def encode(message):
    """One frame; the format is described in rpc.py and held equal by its contract test."""
    parts = []
    for key, value in message.items():
        parts += (len(key).to_bytes(4, "big"), key, len(value).to_bytes(4, "big"), value)
    body = b"".join(parts)
    return len(body).to_bytes(4, "big") + body


def send(connection, data, deadline):
    """Send every byte.

    Raises:
        OSError: the peer broke off, or the time is over.
    """
    while data:
        try:
            data = data[connection.send(data) :]
        except BlockingIOError:
            await_ready(connection, select.POLLOUT, deadline)


def receive(connection, deadline):
    """Return the next message.

    Raises:
        OSError: the peer broke off, or the time is over.
        ValueError: what came is no message.
    """
    body = exactly(connection, int.from_bytes(exactly(connection, 4, deadline), "big"), deadline)
    items = []
    at = 0
    while at < len(body):
        size = int.from_bytes(body[at : at + 4], "big")
        items.append(body[at + 4 : at + 4 + size])
        at += 4 + size
    return dict(zip(items[::2], items[1::2], strict=True))


def exactly(connection, count, deadline):
    parts = []
    while count:
        try:
            part = connection.recv(min(count, 1 << 20))
        except BlockingIOError:
            await_ready(connection, select.POLLIN, deadline)
            continue
        if not part:
            raise OSError("the supervisor broke off")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def await_ready(connection, events, deadline):
    poller = select.poll()
    poller.register(connection.fileno(), events)
    if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise OSError("no answer in time")


def tell(connection, message):
    """Send a report if somebody still listens; what happened is on disk in any case."""
    try:
        connection.send(encode(message))
    except OSError:
        pass


def context():
    """Return what kind of process this is, as text: the same lines observe.own_context makes (contract-tested)."""
    if not LINUX:
        return b"uid=%d\ngid=%d\ngroups=%s" % (posix.getuid(), posix.getgid(), str(sorted(posix.getgroups())).encode())
    wanted = (b"uid", b"gid", b"groups", b"umask", b"capinh", b"capprm", b"capeff", b"capbnd", b"capamb", b"nonewprivs", b"seccomp")
    lines = []
    for line in read_file(b"/proc/self/status").split(b"\n"):
        name, _, value = line.partition(b":")
        if name.lower() in wanted:
            lines.append(name.lower() + b"=" + b" ".join(value.split()))
    for name in (b"cgroup", b"ipc", b"mnt", b"net", b"pid", b"time", b"user", b"uts"):
        try:
            lines.append(b"ns_" + name + b"=" + posix.readlink(b"/proc/self/ns/" + name))
        except OSError:
            continue
    for name in (b"limits", b"personality"):
        lines.append(name + b"=" + b"|".join(read_file_or_nothing(b"/proc/self/" + name).split(b"\n")))
    groups = read_file_or_nothing(b"/proc/self/cgroup").split(b"\n")
    lines.append(b"cgroup=" + b"|".join([line[: line.rindex(b"/")] if is_scope(line) else line for line in groups]))
    return b"\n".join(sorted(lines))


def is_scope(line):
    return line.endswith(b".scope") and b"/" in line and not line.endswith(b"/.scope")


# --- a run of our own -------------------------------------------------------------------------------------------------------


class Stream:
    """One output of the child on its way to where it belongs.

    `real` is where it belongs. A real pipe gets a pipe, which we pump; anything else gets a regular file, which we follow.
    """

    def __init__(self, number, real, folder, name):
        self.number, self.real, self.folder = number, real, folder
        self.kind = posix.fstat(real).st_mode & S_IFMT
        self.follows = self.kind in (S_IFREG, S_IFCHR)
        self.pending = b""
        self.seen = 0
        self.kept = 0
        self.ended = False
        self.reader_gone = False
        self.over = False
        self.refused = 0
        self.unread = 0
        self.punched = 0
        self.printed = None
        path = folder + b"/" + name if folder else None
        flags = posix.O_APPEND | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
        if self.follows:
            self.sink, self.source = open_followed(path, flags)
            self.copy = -1
        else:
            self.source, self.sink = posix.pipe2(posix.O_CLOEXEC) if hasattr(posix, "pipe2") else posix.pipe()
            posix.set_blocking(self.source, False)
            self.copy = posix.open(path, flags | posix.O_WRONLY, 0o600) if path else -1

    def already_printed(self, descriptor, count):
        """Tell what a lost run has printed here: as long as the child prints the same, it is not printed again."""
        self.printed = (descriptor, count) if count else None

    def take(self):
        """Read what the child printed and hand it on; return how many bytes it was. Reads nothing while something waits to go out."""
        if self.pending or self.ended:
            return 0
        try:
            data = posix.read(self.source, CHUNK_BYTES)
        except BlockingIOError:
            return 0
        except OSError:  # ours to bear: tried again, but what was read around it is no result
            self.over = True
            self.unread += 1
            self.ended = self.unread > READS_MOST
            return 0
        if not data:
            self.ended = not self.follows
            return 0
        at = self.seen
        self.seen += len(data)
        self.keep(data)
        self.pending = self.fresh_part(data, at) if self.printed else data
        self.flush()
        return len(data)

    def keep(self, data):
        if self.over or (self.copy < 0 and not self.follows):
            return
        if self.seen > KEEP_LIMIT_BYTES:
            self.over = True
        elif self.copy >= 0:
            try:
                write_all(self.copy, data)
            except OSError:  # a full disk is our trouble, not the command's
                self.over = True
        if not self.over:
            self.kept = self.seen

    def punch(self):
        """Give the disk back what has been copied of a stream that is too long to keep."""
        if self.over and self.follows and LINUX and self.seen - self.punched > KEEP_LIMIT_BYTES // 4:
            import _ctypes

            class Offset(_ctypes._SimpleCData):
                _type_ = "q"

            fallocate = _ctypes.dlsym(_ctypes.dlopen(None, 0), "fallocate64")
            _ctypes.call_function(fallocate, (self.source, FALLOC_FL_PUNCH_HOLE_KEEP_SIZE, Offset(0), Offset(self.seen)))
            self.punched = self.seen

    def fresh_part(self, data, at):
        """Return what of `data`, printed at offset `at`, is not on the screen yet."""
        descriptor, count = self.printed
        old = posix.pread(descriptor, min(len(data), max(0, count - at)), at)
        if data.startswith(old) and len(old) == min(len(data), max(0, count - at)):
            if at + len(data) >= count:
                self.printed = None
            return data[len(old) :]
        self.printed = None  # another output than the lost one: all of it, from its beginning
        return posix.pread(descriptor, at, 0) + data

    def flush(self):
        """Write what waits, as far as that does not block (a followed stream's file never does)."""
        while self.pending:
            try:
                if self.follows:
                    self.pending = self.pending[posix.write(self.real, self.pending) :]
                elif not self.room():
                    return
                else:
                    self.pending = self.pending[posix.write(self.real, self.pending[:PIPE_WRITE_BYTES]) :]
            except BlockingIOError:
                return
            except OSError as error:
                self.refused = error.errno if self.follows else 0
                self.reader_left()

    def room(self):
        poller = select.poll()
        poller.register(self.real, select.POLLOUT)
        found = poller.poll(0)
        if found and found[0][1] & GONE:
            self.reader_left()
            return False
        return bool(found)

    def reader_left(self):
        """Nobody reads (or the file takes no more): let a child that writes to a pipe meet what it would have met without us."""
        self.pending = b""
        self.reader_gone = True
        if not self.follows and not self.ended:
            self.ended = True
            let_go(self.source)

    def released(self):
        """Say whether no process holds the child's end any more. Call only after our own copy of it is closed."""
        if not self.follows:
            return self.ended
        import fcntl

        try:
            fcntl.flock(self.source, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def open_followed(path, flags):
    """Return two open files, to append to and to read from, of a new regular file; without a path one that is nowhere."""
    import fcntl

    if path is None:
        for folder in (posix.environ.get(b"TMPDIR", b"/tmp"), b"/tmp", b"/dev/shm"):
            path = b"%s/.stretto-%d-%d" % (folder, posix.getpid(), time.monotonic_ns())
            try:
                sink = posix.open(path, flags | posix.O_WRONLY, 0o600)
                break
            except OSError:
                continue
        source = posix.open(path, posix.O_RDWR | posix.O_CLOEXEC)
        posix.unlink(path)
    else:
        sink = posix.open(path, flags | posix.O_WRONLY, 0o600)
        source = posix.open(path, posix.O_RDWR | posix.O_CLOEXEC)  # to write only for `punch`
    fcntl.flock(sink, fcntl.LOCK_EX)  # belongs to the open file the child inherits: free only when its last holder is gone
    return sink, source


class Recording:
    """The real command as our child, its output copied to where it belongs and, with a folder, to disk."""

    def __init__(self, call, folder):
        import fcntl

        self.call, self.folder = call, folder
        self.lock = -1
        self.frames = -1
        split = output_streams() != b"merged"
        if folder:
            room = posix.statvfs(folder)
            if room.f_bavail * room.f_frsize < FREE_LEAST_BYTES:
                raise OSError("too little room beside the state")
            self.lock = posix.open(folder + b"/lock", posix.O_RDWR | posix.O_CREAT | posix.O_NOFOLLOW | posix.O_CLOEXEC, 0o600)
            lock_exclusive(fcntl, self.lock)
            if split:
                flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
                self.frames = posix.open(folder + b"/frames", flags, 0o600)
        self.streams = [Stream(1, 1, folder, b"out")]
        if split:
            self.streams.append(Stream(2, 2, folder, b"err"))
        self.child = 0
        self.exit_handle = -1
        self.status = None
        self.due = {}
        self.caught = []
        self.unstarted = False
        self.began_s = time.monotonic()

    def begin(self):
        """Start the child.

        Raises:
            OSError: it could not be started; nothing has happened yet.
        """
        ignored_children = _signal.getsignal(_signal.SIGCHLD) == _signal.SIG_IGN
        self.wake, self.wake_end = posix.pipe()
        posix.set_blocking(self.wake_end, False)
        posix.set_blocking(self.wake, False)
        numbers = [number for number in FORWARDED if _signal.getsignal(number) == _signal.SIG_DFL]
        before = _signal.pthread_sigmask(_signal.SIG_BLOCK, numbers)
        try:
            _signal.set_wakeup_fd(self.wake_end, warn_on_full_buffer=False)
            for number in [*numbers, _signal.SIGCHLD]:
                _signal.signal(number, noted)
            if LINUX:
                import _ctypes  # noqa: F401  before the fork, so that the child finds it loaded
            parent = posix.getpid()
            self.began_s = time.monotonic()
            child = posix.fork()
        except BaseException:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
            raise
        if child == 0:
            self.become(parent, [*numbers, _signal.SIGCHLD], before, ignored_children)
        self.child = child
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)

    def become(self, parent, numbers, mask, ignored_children):
        """In the new process: turn into the command; does not return."""
        try:
            _signal.set_wakeup_fd(-1)
            for number in numbers:
                _signal.signal(number, _signal.SIG_IGN if number == _signal.SIGCHLD and ignored_children else _signal.SIG_DFL)
            if LINUX:
                prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)
                if posix.getppid() != parent:
                    posix._exit(137)
            posix.dup2(self.streams[0].sink, 1)
            posix.dup2(self.streams[-1].sink, 2)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
            native(self.call, self.wake_end)
        finally:
            posix._exit(126)

    def end_like_child(self, connection):
        """Copy until the child has ended, then end the same way; does not return."""
        for stream in self.streams:
            let_go(stream.sink)
        if hasattr(posix, "pidfd_open"):
            try:
                self.exit_handle = posix.pidfd_open(self.child)
            except OSError:
                pass  # an old kernel: SIGCHLD wakes us as well
        if connection is not None:
            tell(connection, {b"op": b"started", b"pid": b"%d" % self.child})
        self.copy_until_exit()
        wall_s = time.monotonic() - self.began_s
        left = self.finish_output()
        times = posix.times()
        how, value = self.outcome()
        out, err = self.streams[0].kept, self.streams[1].kept if len(self.streams) > 1 else 0
        if self.folder and left:
            write_exit(self.folder, b"lost", 0, out, err)  # it goes on printing: this was not all of it, so nobody may join it
        elif self.folder:
            write_exit(self.folder, how, value, out, err)
        if connection is not None:
            report = {
                b"op": b"exited",
                b"how": how,
                b"value": b"%d" % value,
                b"out": b"%d" % out,
                b"err": b"%d" % err,
                b"cpu_us": b"%d" % ((times.children_user + times.children_system) * 1e6),
                b"wall_us": b"%d" % (wall_s * 1e6),
                b"left": b"%d" % left,
            }
            tell(connection, report)
        if left and forked() == 0:
            self.drain(connection)
        self.tell_refused()
        end_as(self.call, self.child, self.status)

    def tell_refused(self):
        """Do not end with 0 when a file took not all of the output: the command itself would have met that, and only it knows what then."""
        refused = [stream.refused for stream in self.streams if stream.refused]
        if refused and self.status == 0:
            self.status = 1 << 8
            try:
                write_all(2, self.call.name + b": write error: " + posix.strerror(refused[0]).encode() + b"\n")
            except OSError:
                pass  # the same file, most likely

    def outcome(self):
        """Return how the run ended, for the record: only what was the command's own doing may ever be joined."""
        self.note_signals()  # one that came in the same moment as the exit
        if any(stream.over for stream in self.streams):
            return b"oversize", 0
        if self.unstarted:
            return b"lost", 0
        if self.caught:
            return b"cancelled", self.caught[0]
        if any(stream.reader_gone for stream in self.streams):
            return b"cancelled", int(_signal.SIGPIPE)
        if self.status & 0x7F:
            return b"signal", self.status & 0x7F
        return b"code", self.status >> 8 & 0xFF

    def copy_until_exit(self):
        pause_s = LOOK_LEAST_S
        while self.status is None:
            moved = self.turn(pause_s)
            pause_s = LOOK_LEAST_S if moved else min(pause_s * 2, LOOK_MOST_S)
            self.forward()

    def turn(self, pause_s):
        """Wait for something to do, at most `pause_s` where a file is followed, and do it; return the bytes that moved."""
        poller = select.poll()
        poller.register(self.wake, select.POLLIN)
        if self.exit_handle >= 0:
            poller.register(self.exit_handle, select.POLLIN)
        limits = [max(0.0, deadline - time.monotonic()) for deadline in self.due.values()]
        for stream in self.streams:
            if stream.follows:
                limits.append(pause_s)
            elif not stream.ended:
                poller.register(stream.real, select.POLLOUT if stream.pending else 0)
                if not stream.pending:
                    poller.register(stream.source, select.POLLIN)
        moved = 0
        ready = dict(poller.poll(min(limits) * 1000 if limits else None))
        for stream in self.streams:
            if not stream.follows and not stream.ended and ready.get(stream.real, 0) & GONE:
                stream.take()
                stream.reader_left()
            stream.flush()
            moved += self.take(stream)
        if self.wake in ready:
            self.note_signals()
        if self.exit_handle in ready or self.exit_handle < 0:
            pid, status = posix.waitpid(self.child, posix.WNOHANG)
            if pid:
                self.status = status
        return moved

    def note_signals(self):
        try:
            numbers = posix.read(self.wake, 256)
        except OSError:  # nothing there, or it comes with the next look
            return
        for number in numbers:
            if number == UNSTARTED[0]:
                self.unstarted = True
            elif number != _signal.SIGCHLD:
                self.due.setdefault(number, time.monotonic() + FORWARD_AFTER_S)
                if number not in HARMLESS:
                    self.caught.append(number)

    def take(self, stream):
        """Move what one stream has, at most a share of it, so that signals and the other stream get their turn."""
        moved = 0
        while moved < 16 * CHUNK_BYTES and (count := stream.take()):
            moved += count
        if moved and self.frames >= 0:
            try:
                write_all(self.frames, bytes([stream.number]) + moved.to_bytes(4, "big"))
            except OSError:
                stream.over = True
        if stream.over:
            stream.punch()
        return moved

    def forward(self):
        """Pass on the signals the child has outlived by the time in which it would have ended from its own copy of them."""
        now = time.monotonic()
        for number in [number for number, deadline in self.due.items() if deadline <= now]:
            del self.due[number]
            if self.status is None:
                posix.kill(self.child, number)

    def finish_output(self):
        """Copy what is there after the exit; return whether processes still hold the output (and may print without end)."""
        deadline = time.monotonic() + LEAVE_LIMIT_S
        own = [size_of(stream.source) if stream.follows else stream.seen + PIPE_MOST_BYTES for stream in self.streams]
        while True:
            moved = sum(self.take(stream) for stream in self.streams)
            through = all(stream.ended or stream.seen >= size for stream, size in zip(self.streams, own, strict=True))
            if through and time.monotonic() > deadline and not all(stream.released() for stream in self.streams):
                return True
            waiting = [stream for stream in self.streams if stream.pending]
            if waiting:
                poller = select.poll()
                poller.register(self.wake, select.POLLIN)
                for stream in waiting:
                    poller.register(stream.real, select.POLLOUT)
                if self.wake in dict(poller.poll(50)):
                    self.note_signals()
                for stream in waiting:
                    stream.flush()
                now = time.monotonic()
                if any(number in ENDING and due <= now for number, due in self.due.items()):
                    return False  # nobody waits for the rest: without us the command would have been gone by now
                if not through:
                    deadline = now + LEAVE_LIMIT_S
                continue
            if moved:
                continue
            if all(stream.released() for stream in self.streams):
                for stream in self.streams:
                    while self.take(stream):  # what a helper printed last, between the look and its end
                        pass
                if not any(stream.pending for stream in self.streams):
                    return False
            elif time.monotonic() > deadline:
                return True
            else:
                time.sleep(0.001)

    def drain(self, connection):
        """In a process of its own: go on copying for what the command left running, as long as that holds the output; no return."""
        try:
            _signal.set_wakeup_fd(-1)
            for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM):
                _signal.signal(number, _signal.SIG_IGN)  # ends with those it copies for
            for descriptor in (self.lock, self.wake, self.wake_end, self.exit_handle, self.frames):
                if descriptor >= 0:
                    let_go(descriptor)
            self.frames = -1
            if connection is not None:
                connection.close()
            let_go(0)
            if len(self.streams) == 1:
                let_go(2)
            for stream in self.streams:
                if stream.copy >= 0:
                    let_go(stream.copy)
                    stream.copy = -1
            pause_s = LOOK_LEAST_S
            open_streams = list(self.streams)
            while open_streams:
                moved = 0
                poller = select.poll()
                for stream in list(open_streams):
                    released = stream.follows and stream.released()  # before the look at what there is to copy
                    moved += self.take(stream)
                    if (released or stream.ended) and not stream.pending and not stream.take():
                        open_streams.remove(stream)
                        let_go(stream.real)
                        continue
                    if stream.pending:
                        poller.register(stream.real, select.POLLOUT)
                    elif not stream.follows and not stream.ended:
                        poller.register(stream.source, select.POLLIN)
                        poller.register(stream.real, 0)
                pause_s = LOOK_LEAST_S if moved else min(pause_s * 2, DRAIN_LOOK_MOST_S)
                waits = any(stream.follows and not stream.pending for stream in open_streams)
                if open_streams:
                    for descriptor, events in poller.poll(pause_s * 1000 if waits else None):
                        for stream in open_streams:
                            if descriptor == stream.real and events & GONE:
                                stream.reader_left()
                            elif stream.pending:
                                stream.flush()
        finally:
            posix._exit(0)


def let_go(descriptor):
    """Close; the system lets go of a descriptor whatever it reports."""
    try:
        posix.close(descriptor)
    except OSError:
        pass


def size_of(descriptor):
    """Return how much is in an open file, 0 when nobody can say."""
    try:
        return posix.fstat(descriptor).st_size
    except OSError:
        return 0


def forked():
    """Fork; -1 when there is no room for another process."""
    for _ in range(3):
        try:
            return posix.fork()
        except OSError:
            time.sleep(0.02)
    return -1


def noted(number, frame):
    """The number is in the wake-up pipe; that is all a signal has to do."""


def lock_exclusive(fcntl, descriptor):
    """Take the writer's lock; a shim that only looks whether it is held may be in the way for a moment.

    Raises:
        OSError: it stays held.
    """
    for _ in range(50):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.001)
    raise OSError("the attempt has a writer already")


def write_exit(folder, how, value, out, err):
    """Record the end; without it (a full disk, a removed directory) the run reads as lost."""
    aside = folder + b"/exit.%d.tmp" % posix.getpid()
    try:
        descriptor = posix.open(aside, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC, 0o600)
        write_all(descriptor, b"%s %d %d %d\n" % (how, value, out, err))
        posix.close(descriptor)
        posix.rename(aside, folder + b"/exit")
    except OSError:
        pass


def end_as(call, pid, status):
    """End as a child with this wait status ended."""
    number = status & 0x7F
    if number and call.via == b"function" and call.in_bash and number not in (_signal.SIGINT, _signal.SIGPIPE):
        tell_like_bash(call, pid, number, status & 0x80)
        posix._exit(128 + number)
    if number:
        end_by_signal(number)
    posix._exit(status >> 8 & 0xFF)


def tell_like_bash(call, pid, number, core):
    """Say what bash says of a command that died of a signal. Its own line would name the function's file and our command line."""
    main, _, place = call.place.partition(b":")
    line, _, shell = place.partition(b":")
    if main == b"%d" % call.shell:  # in a subshell it is another's to tell
        what = _signal.strsignal(number).encode()
        if number == _signal.SIGTERM:
            text = what + b"\n"
        else:
            words = b" ".join([quoted(word) for word in call.argv])
            text = b"%s: line %s: %5d %-24s%s%s\n" % (shell, line, pid, what, b"(core dumped) " if core else b"", words)
        try:
            write_all(2, text)
        except OSError:
            pass  # nobody reads it


def quoted(word):
    if word and not word.translate(None, b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%"):
        return word
    return b"'" + word + b"'" if b"'" not in word else b'"' + word + b'"'


def end_by_signal(number):
    """Die of a signal, as the shell above us must see it, without leaving a core file that is not the command's."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if LINUX:
        prctl(PR_SET_DUMPABLE, 0)
    if number not in (_signal.SIGKILL, _signal.SIGSTOP):
        _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [number])
    posix.kill(posix.getpid(), number)
    posix._exit(128 + number)


# --- a run of somebody else -------------------------------------------------------------------------------------------------


class Lost(Exception):
    """The run cannot be joined to its end."""


class Join:
    """Copies a run's bundle to our own outputs: what is there, what comes, and the end.

    Raises:
        OSError, Lost: there is nothing to copy from, or not all of it; nothing has been printed then.
    """

    def __init__(self, call, folder):
        import fcntl

        self.call, self.folder, self.fcntl = call, folder, fcntl
        self.began_s = time.monotonic()
        self.split = output_streams() == b"split"
        self.files = {}
        self.done = {1: 0, 2: 0}
        self.frames = -1
        self.frames_done = 0
        self.owed = []
        self.lock = -1
        self.writer_seen = False
        self.end = self.look()
        if self.end:
            self.open_files()
            self.check_sizes()
        else:
            self.await_writer()

    def await_writer(self):
        """A run that has only just begun: its writer makes the files."""
        deadline = time.monotonic() + WRITER_LIMIT_S
        while True:
            try:
                self.open_files()
                if self.writing() or self.look():
                    return
            except FileNotFoundError:
                posix.stat(self.folder)  # without its directory nothing will come
            if time.monotonic() > deadline:
                raise Lost
            time.sleep(LOOK_LEAST_S)

    def open_files(self):
        names = {1: b"out", 2: b"err"} if self.split else {1: b"out"}
        for number, name in names.items():
            if number not in self.files:
                self.files[number] = posix.open(self.folder + b"/" + name, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
        if self.split and self.frames < 0:
            self.frames = posix.open(self.folder + b"/frames", posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC)

    def look(self):
        """Return (how, value, {stream: bytes}) when the run has ended, else None."""
        try:
            text = read_file(self.folder + b"/exit", 200)
        except FileNotFoundError:
            return None
        if not text.endswith(b"\n") or text.count(b" ") != 3:
            raise Lost  # no writer of ours wrote this
        how, value, out, err = text.split()
        return how, int(value), {1: int(out), 2: int(err)} if self.split else {1: int(out)}

    def writing(self):
        """Say whether the writer holds its lock."""
        if self.lock < 0:
            self.lock = posix.open(self.folder + b"/lock", posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
        try:
            self.fcntl.flock(self.lock, self.fcntl.LOCK_SH | self.fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        self.fcntl.flock(self.lock, self.fcntl.LOCK_UN)
        return False

    def check_sizes(self):
        how, _, sizes = self.end
        if how not in (b"code", b"signal"):
            raise Lost
        for number, size in sizes.items():
            if posix.fstat(self.files[number]).st_size < size:
                raise Lost

    def end_like_writer(self, connection):
        """Print the run and end as it did; when it is lost on the way, run the real command. Does not return."""
        default_signals()  # so that we die of a reader that leaves, as most commands do
        try:
            self.copy()
        except (OSError, Lost, ValueError):
            self.report(connection, b"0")
            self.run_instead()
        self.report(connection, b"1")
        how, value, _ = self.end
        end_as(self.call, posix.getpid(), value if how == b"signal" else value << 8)

    def report(self, connection, ok):
        _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
        tell(connection, {b"op": b"joined", b"ok": ok, b"waited_us": b"%d" % ((time.monotonic() - self.began_s) * 1e6)})

    def copy(self):
        pause_s = LOOK_LEAST_S
        while self.end is None:
            self.end = self.look()  # before the bytes: what is on disk when it is there is all there is
            if self.end:
                self.check_sizes()
                break
            if not self.writing():
                self.end = self.look()
                if self.end is None:
                    raise Lost
                continue
            if self.copy_seen():
                pause_s = LOOK_LEAST_S
            else:
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, JOIN_LOOK_MOST_S)
        _, _, sizes = self.end
        if self.split:
            self.copy_frames(sizes)
        for number, size in sizes.items():
            while self.done[number] < size:
                if not self.copy_some(number, size - self.done[number]):
                    raise Lost

    def copy_seen(self):
        """Copy what the writer has printed so far; return the bytes."""
        if self.split:
            return self.copy_frames(None)
        return self.copy_some(1, CHUNK_BYTES)

    def copy_frames(self, sizes):
        moved = 0
        while record := posix.pread(self.frames, 5, self.frames_done):
            if len(record) < 5:
                break
            number, count = record[0], int.from_bytes(record[1:], "big")
            if number not in self.files:
                raise Lost
            if sizes:
                count = min(count, sizes[number] - self.done[number])
            while count:
                copied = self.copy_some(number, count)
                if not copied:
                    raise Lost
                count -= copied
                moved += copied
            self.frames_done += 5
        return moved

    def copy_some(self, number, most):
        data = posix.pread(self.files[number], min(most, CHUNK_BYTES), self.done[number])
        if posix.fstat(self.files[number]).st_size > KEEP_LIMIT_BYTES:
            raise Lost  # its writer gives the beginning of such a file back to the disk; what was read may be holes
        if data:
            write_all(number, data)
            self.done[number] += len(data)
        return len(data)

    def run_instead(self):
        """The real command after all; what it prints anew begins where the lost run stopped, if it prints the same."""
        _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
        try:
            if not any(self.done.values()):
                raise Lost
            run = Recording(self.call, None)
            for stream in run.streams:
                if posix.fstat(self.files[stream.number]).st_size <= KEEP_LIMIT_BYTES:
                    stream.already_printed(self.files[stream.number], self.done[stream.number])
            run.begin()
        except Exception:  # noqa: BLE001  better a line twice than a command not run
            native(self.call)
        run.end_like_child(None)


# --- files ------------------------------------------------------------------------------------------------------------------


def read_file(path, most=1 << 24):
    """Return a file's bytes, at most `most` of them."""
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        parts = []
        while most > 0 and (part := posix.read(descriptor, min(most, 1 << 16))):
            parts.append(part)
            most -= len(part)
        return b"".join(parts)
    finally:
        posix.close(descriptor)


def read_file_or_nothing(path):
    try:
        return read_file(path)
    except OSError:
        return b""


def write_all(descriptor, data):
    """Write every byte, waiting where the descriptor does not block by itself."""
    view = memoryview(data)
    while view:
        try:
            view = view[posix.write(descriptor, view) :]
        except BlockingIOError:
            poller = select.poll()
            poller.register(descriptor, select.POLLOUT)
            poller.poll()
