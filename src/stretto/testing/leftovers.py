"""Finds and ends what a test left running. Promises: only processes that carry the test's own directory in their arguments or environment
are looked at, each is signalled by its identity (pid and start time), and never the caller or its ancestors."""

from __future__ import annotations

import os

import psutil

_GRACE_S = 3.0


def find(directory: str) -> list[psutil.Process]:
    """Return this user's living processes that name `directory` (a path no other test has) or have their working folder under it."""
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in psutil.process_iter() if process.pid not in mine and _names(process, directory)]


def end(directory: str) -> list[str]:
    """Ask those processes to end, kill what does not within 3 s; return what they were, for a message."""
    found = find(directory)
    described = []
    for process in found:
        try:
            described.append(f"{process.pid} {' '.join(process.cmdline())[:160]}")
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(found, timeout=_GRACE_S)
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(alive, timeout=_GRACE_S)
    return described


def _names(process: psutil.Process, directory: str) -> bool:
    try:
        if process.uids().real != os.getuid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        if any(directory in word for word in process.cmdline()) or any(directory in value for value in process.environ().values()):
            return True
        return process.cwd().startswith(directory)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
