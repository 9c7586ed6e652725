"""Whether what a call left running did anything between two looks."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from stretto.background import Background, Seen

IDLE = Seen(start="1", parent=1, work=(b"10 100 0 1",))


def worked(seen: Seen, **changes: object) -> Seen:
    return seen._replace(work=(*seen.work[:-1], seen.work[-1] + b"1"), **changes)


def followed(seen: dict[int, Seen], *, harmless: bool = False) -> Background:
    background = Background()
    background.follow(seen, session="s", announced=True, harmless=harmless)
    return background


def look(background: Background, now: dict[int, Seen], ours: tuple[int, ...] = (), lost: dict[int, Seen] | None = None) -> bool:
    def processes(pids: Collection[int]) -> dict[int, Seen]:
        found = set(pids)
        for _ in now:
            found |= {pid for pid, seen in now.items() if seen.parent in found}
        return {pid: seen for pid, seen in now.items() if pid in found}

    return background.look(processes, lambda session, since_ticks, leaders: lost or {}, ours)


def test_processes_that_stand_still_do_nothing_and_nothing_is_said_of_them():
    background = followed({10: IDLE, 11: IDLE._replace(parent=10)})
    for _ in range(3):
        assert not look(background, {10: IDLE, 11: IDLE._replace(parent=10)})
        assert not background.active and background


@pytest.mark.parametrize(
    "now",
    [
        pytest.param({10: worked(IDLE)}, id="it used a processor"),
        pytest.param({10: IDLE._replace(busy=True)}, id="it runs right now"),
        pytest.param({10: IDLE._replace(work=(*IDLE.work, b"11 0 0 0"))}, id="a thread more"),
        pytest.param({10: IDLE, 12: IDLE._replace(parent=10)}, id="a child more"),
        pytest.param({10: IDLE._replace(start="2")}, id="another process of that pid"),
        pytest.param({10: IDLE._replace(work=())}, id="what it does cannot be seen"),
        pytest.param({10: worked(IDLE, serves=True)}, id="it begins to take connections"),
    ],
)
def test_whatever_else_is_work(now):
    background = followed({10: IDLE})
    assert look(background, now)
    assert background.active


def test_the_end_of_a_process_is_something_that_happened_and_then_it_is_forgotten():
    background = followed({10: IDLE, 11: IDLE})
    assert look(background, {11: IDLE})
    assert background.active
    assert look(background, {})
    assert not background.active and not background
    assert not look(background, {})


def test_what_a_process_that_ended_has_left_is_found_and_followed():
    """A daemon: its parent ends as soon as it has begun, and nobody leads to it any more."""
    background = followed({10: IDLE})
    assert look(background, {}, lost={11: IDLE})
    assert not look(background, {11: IDLE})
    assert look(background, {11: worked(IDLE)})


def test_a_server_works_without_a_word_and_so_does_what_it_starts_but_neither_who_started_it_nor_beside_it():
    server, child, shell = IDLE._replace(parent=9, serves=True), IDLE._replace(parent=10), IDLE._replace(parent=1)
    background = followed({9: shell, 10: server, 11: child})
    assert not look(background, {9: shell, 10: worked(server), 11: worked(child), 12: IDLE._replace(parent=11)})
    assert not look(background, {9: shell, 10: worked(server)})  # its children end as they will
    assert look(background, {9: worked(shell), 10: worked(server)})
    assert look(background, {9: worked(shell)}), "a server that ends is no longer there for a test that uses it"


def test_what_harmless_calls_left_running_is_known_and_says_nothing():
    background = followed({10: IDLE}, harmless=True)
    assert not look(background, {10: worked(IDLE), 12: IDLE._replace(parent=10)})
    assert background.announced({12, 10, 1}) and not background.announced({13, 1})


def test_what_is_found_again_at_the_end_of_a_call_of_unknown_effects_is_that_calls():
    background = followed({10: IDLE, 11: IDLE}, harmless=True)
    background.follow({10: IDLE}, session="s", announced=False, harmless=False)
    assert look(background, {10: worked(IDLE)})
    assert not background.announced({10})


def test_what_a_shim_records_is_known_in_another_way():
    shim, command = IDLE._replace(parent=10), IDLE._replace(parent=20)
    background = followed({10: IDLE, 20: shim, 21: command})
    assert not look(background, {10: IDLE, 20: worked(shim), 21: worked(command)}, ours=(20,))
    assert not look(background, {10: IDLE}, ours=(20,))
    assert look(background, {10: worked(IDLE), 20: shim}, ours=(20,))


def test_what_nobodys_session_is_known_to_have_started_is_no_sessions_work():
    """A terminal from which a check was asked once is followed; what its user writes there is a stranger's all the same."""
    background = Background()
    background.follow({10: IDLE}, session="", announced=False, harmless=False)
    assert background and not background.of_sessions
    background.follow({11: IDLE}, session="s", announced=True, harmless=False)
    assert background.of_sessions
    look(background, {10: IDLE})
    assert background and not background.of_sessions
