"""Hunt for so many minutes, or through so many lives: `python -m tests.hunt --minutes 10`."""

from __future__ import annotations

import argparse
import collections
import sys
import time

from .life import KINDS, ROUNDS, hunt


def main(arguments: list[str]) -> int:
    """Be the command line; 0 when nothing was found, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.hunt", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--lives", type=int, default=100, help=f"of {ROUNDS} rounds each, where no minutes are given")
    parser.add_argument("--seed", type=int, default=0, help="of the first life")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--git", action="store_true", help="the project is a repository")
    chosen = parser.parse_args(arguments)
    began_s, seed, rounds = time.monotonic(), chosen.seed, 0
    found: collections.Counter[str] = collections.Counter()
    answers: collections.Counter[str] = collections.Counter()
    needless: collections.Counter[str] = collections.Counter()
    block = 20
    while True:
        lives = block if chosen.minutes else chosen.lives
        bag = hunt(range(seed, seed + lives), chosen.kinds, git=chosen.git)
        for at, number, finding in bag.findings:
            found[f"{finding.what}: {finding.kind}: {finding.story}"] += 1
            if found.total() <= 20:
                print(f"seed {at}, round {number}: {finding.what}: {finding.kind}: {finding.story}")
        seed, rounds = seed + lives, rounds + bag.rounds
        answers += bag.answers
        needless += bag.needless
        if time.monotonic() - began_s >= chosen.minutes * 60:
            break
    took_s = time.monotonic() - began_s
    print(f"{rounds} rounds in {took_s:.0f} s ({1000 * took_s / rounds:.1f} ms each), {found.total()} findings")
    print(f"answers: {dict(answers)}; needless misses: {dict(needless)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
