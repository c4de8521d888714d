"""``python -m bench [WORD…]``: measure the scenarios whose names contain a word, and say what was reached."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from bench import measure
from bench.scenarios import PEAK, SCENARIOS, Scenario

if TYPE_CHECKING:
    from bench.measure import Series


def verdicts(scenario: Scenario, series: dict[str, Series]) -> list[tuple[str, bool]]:
    """Each target of a scenario in words, and whether it was reached."""
    ours, *others = series.values()
    found = []
    if scenario.faster is not None:
        # Against several others, the fastest one counts.
        times = min(measure.ratio(other, ours) for other in others)
        found.append((f"{times:.1f} times faster, wanted {scenario.faster:g}", times >= scenario.faster))
    if scenario.within is not None:
        limit = scenario.within
        found.append((f"{ours.seconds * 1e3:.0f} ms, wanted below {limit * 1e3:.0f}", ours.seconds < limit))
    if scenario.grows is not None:
        grown, limit = ours.used / 1e6, scenario.grows / 1e6
        found.append((f"{grown:.1f} MB more on disk, wanted below {limit:.0f}", ours.used < scenario.grows))
    found.append((f"peak {ours.peak / 1e6:.0f} MB, wanted below {PEAK / 1e6:.0f}", ours.peak < PEAK))
    return found


def report(scenario: Scenario, series: dict[str, Series]) -> bool:
    """Print what was measured; whether everything was reached."""
    print(f"\n{scenario.name} (median of {scenario.rounds})")
    for name, side in series.items():
        disk = f"  disk +{side.used / 1e6:6.1f} MB" if scenario.grows is not None else ""
        print(f"    {name:15} {side.seconds * 1e3:9.1f} ms  peak {side.peak / 1e6:5.1f} MB{disk}")
    found = verdicts(scenario, series)
    for words, reached in found:
        print(f"    {'reached    ' if reached else 'NOT REACHED'} {words}")
    sys.stdout.flush()
    return all(reached for _, reached in found)


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("words", nargs="*", help="only scenarios whose name contains one of these")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is not reached")
    options = parser.parse_args()
    measure.adopt_orphans()
    chosen = [s for s in SCENARIOS if not options.words or any(word in s.name for word in options.words)]
    missed, failed = [], []
    for scenario in chosen:
        try:
            if not report(scenario, scenario.run()):
                missed.append(scenario.name)
        except measure.CommandFailed as error:
            print(f"\n{scenario.name}\n    FAILED {error}", flush=True)
            failed.append(scenario.name)
    print(f"\n{len(chosen) - len(missed) - len(failed)} of {len(chosen)} scenarios reach all that they must")
    return 1 if failed or (missed and options.strict) else 0


if __name__ == "__main__":
    sys.exit(main())
