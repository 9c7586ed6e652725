"""The native alternative: an `async` PostToolUse hook that runs the project's checks after every edit. Run as a program by Claude Code.

It runs the commands one after the other, hands their ends to the model with the next request, as such a hook may, and notes begin and
end of each for the report. It starts anew with every edit and stops nothing: a native hook knows of no other. Standard library only.
"""

import json
import subprocess
import sys
import time


def settings(python: str, notes: str, commands: "tuple[str, ...]") -> "dict[str, object]":
    """Return the settings that install it; `notes` is the file it writes to."""
    hook = {"type": "command", "command": python, "args": ["-I", __file__, notes, *commands], "async": True, "timeout": 600}
    return {"hooks": {"PostToolUse": [{"matcher": "Edit|Write", "hooks": [hook]}]}}


def run(notes: str, commands: "list[str]") -> None:
    """Run the commands and print what the model is to be told."""
    told = []
    began_s = time.monotonic()
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        told.append("{}: exit {}\n{}".format(command, done.returncode, "\n".join(done.stdout.splitlines()[-10:])))
        with open(notes, "a", encoding="utf-8") as file:
            file.write(json.dumps({"command": command, "began_s": began_s, "ended_s": time.monotonic()}) + "\n")
    print(json.dumps({"hookSpecificOutput": {"hookEventName": "PostToolUse", "additionalContext": "\n\n".join(told)}}))


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2:])
