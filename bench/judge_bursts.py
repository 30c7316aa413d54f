"""Good canaries and clear faults by a router's own counts, where errors come in bursts.

    python -m bench.judge_bursts              tables 8 and 10 of docs/judging.md: seeded
    python -m bench.judge_bursts --runs 20    fewer runs

By simulation of the readings alone, every 250 ms, at 200 requests a second. A burst falls on one
version as a whole, on the canary with its share of the requests, begins at any moment, and is
spread evenly over as long as it lasts. Plain Python, and no more imports than the bets need.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from analysis.evalues import Tally
from analysis.rounds import Rounds
from analysis.stakes import AdaptiveBets

PACE: Final = 0.25
RPS: Final = 200.0
ODDS: Final = 20.0 * 4.0 / 3.0
"""What fails a canary by the router's counts, with alpha 5 %."""
HOUR: Final = 3600
RATE: Final = 0.01
"""Share of requests that a good canary fails."""
WEIGHTS: Final = (0.5, 0.05, 0.2)
SIZES: Final = (30, 100, 10, 1)
RUNS: Final = 100
FAULTS: Final = ((0.001, 0.3), (0.001, 0.1), (0.01, 0.3), (0.01, 0.1), (0.001, 0.9))
SEED: Final = 20261130
_CALM_S: Final = 30.0
_MOST_S: Final = 120.0


class RouterBets:
    """One stream of one canary, as `analysis.evidence` bets on it.

    Args:
        burst: seconds for which one version may fail by chance.
    """

    def __init__(self, burst: float) -> None:
        self._bets = AdaptiveBets(round(HOUR / (PACE + burst)))
        self._rounds = Rounds(burst)

    def take(self, tally: Tally, start: float, end: float) -> float:
        """The odds after one reading."""
        bet = self._rounds.take(tally, 1.0, start, end)
        if bet is not None:
            self._bets.bet([bet.odds], bet.whole, 1.0)
            self._rounds.expect(end, suspicious=self._bets.suspicious)
        return self._bets.value


def errors(  # the law of a good canary's errors
    dice: random.Random, weight: float, rate: float, size: int, lasts: float
) -> dict[int, list[int]]:
    """An hour of a good canary: bad requests of canary and stable, by the number of the reading."""
    found: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    at = 0.0
    while (at := at + dice.expovariate(RPS * rate / size)) < HOUR:
        stable = dice.random() >= weight
        number = 1 if size == 1 else 1 + int(dice.expovariate(1 / (size - 0.5)))
        for _ in range(number):
            found[int((at + lasts * dice.random()) / PACE)][stable] += 1
    return found


def failed(bad: dict[int, list[int]], burst: float, weight: float) -> bool:
    """Whether a good canary is failed by an hour of such errors."""
    bets, before = RouterBets(burst), 0
    for number in sorted(bad):
        if number > before:  # readings without bad requests, as one: nothing comes of them
            calm = RPS * PACE * (number - before)
            bets.take(Tally(0, weight * calm, 0, (1 - weight) * calm), before * PACE, number * PACE)
        before, one = number + 1, RPS * PACE
        bad_c, bad_b = bad[number]
        tally = Tally(bad_c, weight * one, bad_b, (1 - weight) * one)
        if bets.take(tally, number * PACE, before * PACE) >= ODDS:
            return True
    return False


def seconds(dice: random.Random, burst: float, weight: float, rates: tuple[float, float]) -> float:
    """Seconds from a fault, whose errors come alone, to enough odds."""
    bets, at = RouterBets(burst), 0.0
    fault = _CALM_S + dice.random()
    n_c, n_b = weight * RPS * PACE, (1 - weight) * RPS * PACE
    while at < fault + _MOST_S:
        part = min(max((at + PACE - fault) / PACE, 0.0), 1.0)
        rate = rates[0] + part * (rates[1] - rates[0])
        tally = Tally(_poisson(dice, n_c * rate), n_c, _poisson(dice, n_b * rates[0]), n_b)
        if bets.take(tally, at, at + PACE) >= ODDS and at + PACE > fault:
            return at + PACE - fault
        at += PACE
    return _MOST_S


def _poisson(dice: random.Random, mean: float) -> int:
    number, left = 0, dice.expovariate(1.0)
    while left < mean:
        number, left = number + 1, left + dice.expovariate(1.0)
    return number


def _three(values: Sequence[float]) -> str:
    ordered = sorted(values)
    p90 = ordered[min(round(0.9 * len(ordered)), len(ordered) - 1)]
    return f"{ordered[len(ordered) // 2]:.2f} / {p90:.2f} / {ordered[-1]:.2f}"


def faults(runs: int) -> None:
    """Print how soon a fault is found."""
    print("| weight | errors | burst | fault → enough odds, s |\n|---|---|---|---|", flush=True)
    for rates in FAULTS:
        for weight in sorted(WEIGHTS):
            for burst in (0.0, 1.0):
                dice = random.Random(SEED)
                took = [seconds(dice, burst, weight, rates) for _ in range(runs)]
                which = f"{100 * rates[0]:g} % → {100 * rates[1]:g} % | {burst:g} s"
                print(f"| {100 * weight:g} % | {which} | {_three(took)} |", flush=True)


def alarms(runs: int) -> None:
    """Print how often a good canary is failed."""
    print("| weight | rate | bursts, mean | last | `burst: 0s` | `burst: 1s` |")
    print("|---|---|---|---|---|---|", flush=True)
    for size, lasts in [(30, 1.0), *((one, 1.0) for one in SIZES if one not in {1, 30}), (1, 0.0)]:
        for weight in WEIGHTS:
            shares = []
            for burst in (0.0, 1.0):
                dice = random.Random(SEED)
                hours = (errors(dice, weight, RATE, size, lasts) for _ in range(runs))
                bad = sum(failed(hour, burst, weight) for hour in hours)
                shares.append(f"{100 * bad / runs:.1f}%")
            how = f"{size} | {lasts:g} s" if size > 1 else "alone | -"
            print(f"| {100 * weight:g} % | 1 % | {how} | {' | '.join(shares)} |", flush=True)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    runs = parser.parse_args().runs
    faults(runs)
    alarms(runs)


if __name__ == "__main__":
    main()
