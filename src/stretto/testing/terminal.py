"""The terminal interface of the real Claude Code on a pseudo-terminal, seen and typed at as a person would.

Hides: the terminal, what escape codes draw (the package `pyte`), which keys a dialog ignores at first. Promises what `claude` promises for
the environment and the end of the process; a failed wait shows the screen.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from stretto.testing.claude import Api, Home, Shell, binary, permissions_arguments, settings_arguments, stop

KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "ctrl-c": "\x03",
    "ctrl-d": "\x04",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "shift-tab": "\x1b[Z",
    "tab": "\t",
}
_TAKE_TERMINAL = "import fcntl,os,sys,termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Interactive:
    """The terminal interface of Claude Code on a pseudo-terminal, with the screen as a person would see it."""

    def __init__(
        self,
        *,
        api: Api,
        project: str | os.PathLike[str],
        home: Home,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        permission_mode: str | None = "default",
        settings: Mapping[str, object] | None = None,
        shell: Shell = "bash",
        size: tuple[int, int] = (50, 140),
    ) -> None:
        import pyte  # only terminal sessions need it

        rows, columns = size
        home.trust(project)
        command = [binary(), *permissions_arguments(permission_mode), *settings_arguments(settings), *args]
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        try:
            self.process = subprocess.Popen(
                # The launcher makes the terminal the controlling one and becomes claude: a fork with threads around stays simple.
                [sys.executable, "-I", "-S", "-c", _TAKE_TERMINAL, *command],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                cwd=project,
                env=home.environment(api, shell=shell, env=env),
                start_new_session=True,
            )
        finally:
            os.close(slave)
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)

    def screen(self) -> str:
        """Return what the terminal shows now, lines without trailing spaces."""
        self._pump(0.0)
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def wait_for(self, what: str | Callable[[str], bool], limit_s: float = 30.0) -> str:
        """Wait until the screen holds a text (or satisfies a function); return the screen.

        Raises:
            AssertionError: it did not within `limit_s` seconds, or the session ended; the text holds the screen.
        """
        holds = (lambda screen: what in screen) if isinstance(what, str) else what
        deadline = time.monotonic() + limit_s
        while not holds(self.screen()):
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                why = f"claude ended with {self.process.returncode}" if ended else f"not within {limit_s} s"
                raise AssertionError(f"waiting for {what!r}: {why}; the screen is\n{self.screen()}")
            self._pump(0.05)
        return self.screen()

    def press(self, *keys: str) -> None:
        """Press keys by name (`KEYS`) or as they are."""
        for key in keys:
            os.write(self._master, KEYS.get(key, key).encode())
            self._settle()

    def press_until(self, key: str, what: Callable[[str], bool], limit_s: float = 30.0) -> str:
        """Press a key again and again, half a second apart, until the screen satisfies `what`; return the screen.

        A dialog that has just appeared ignores keys for a moment, so that nothing typed for something else answers it.
        """
        deadline = time.monotonic() + limit_s
        while True:
            self.press(key)
            try:
                return self.wait_for(what, 0.5)
            except AssertionError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise

    def approve(self) -> str:
        """Wait for a permission question, answer it with its first choice, yes, once; return the question."""
        asked = _question(self.wait_for(lambda screen: bool(_question(screen))))
        self.press_until("enter", lambda screen: _question(screen) != asked)
        return asked

    def send(self, text: str) -> None:
        """Type a text and press enter."""
        os.write(self._master, text.encode())
        # Enter in the same read as the text would be taken for a pasted newline: it has to come after the text was drawn.
        self.wait_for(lambda screen: text.strip()[-30:] in screen)
        self.press("enter")

    def close(self, limit_s: float = 15.0) -> int:
        """Leave as a person would (ctrl-c twice), stop what does not; return the exit code, negative for a signal."""
        try:
            deadline = time.monotonic() + limit_s
            while self.process.poll() is None and time.monotonic() < deadline:
                # The first press only asks for a second one, which has to come within about a second.
                try:
                    os.write(self._master, KEYS["ctrl-c"].encode())
                except OSError:
                    pass  # it left in this very moment; the next look sees that
                pressed = time.monotonic()
                while self.process.poll() is None and time.monotonic() < pressed + 0.3:
                    self._pump(0.05)
            stop(self.process)
        finally:
            os.close(self._master)
            self._master = -1
        return int(self.process.returncode)

    def __enter__(self) -> Interactive:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._master >= 0:
            self.close()

    def _settle(self, quiet_s: float = 0.15) -> None:
        """Read until nothing has been drawn for a moment (a key can open something that takes the next one)."""
        while self._pump(quiet_s):
            pass

    def _pump(self, limit_s: float) -> bool:
        """Feed the screen what has arrived, waiting at most `limit_s` for the first byte; say whether there was any."""
        fed = False
        while self._master >= 0 and select.select([self._master], [], [], 0.0 if fed else limit_s)[0]:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:  # EIO: the last holder of the terminal is gone
                return fed
            self._stream.feed(data)
            fed = True
        return fed


def _question(screen: str) -> str:
    """Return the permission dialog on the screen, "" when there is none."""
    dialog = screen.rpartition("────\n")[2]
    return dialog if "Do you want to" in dialog else ""
