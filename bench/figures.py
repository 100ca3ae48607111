# SPDX-License-Identifier: Apache-2.0
"""Of the rounds' results: medians, ratios, and whether goals are met."""
import statistics

from settings import FOREIGN


class Figures:
    """@param results {side: [a result a round]}.  Rounds in which others had too much of the machine do not count; where they are more than
    half of all, the whole is void, and only for the curious."""

    def __init__(self, results):
        n = len(next(iter(results.values())))
        bad = {i for i in range(n) if any(r[i].get("foreign", 0) > FOREIGN for r in results.values())}
        self.rounds, self.bad = n, len(bad)
        self.void = len(bad) * 2 > n
        self.kept = {side: [x for i, x in enumerate(r) if self.void or i not in bad] for side, r in results.items()}
        self.foreign = max(x.get("foreign", 0) for r in results.values() for x in r)

    def sides(self):
        return self.kept.keys()

    def all(self, side, key):
        return [x[key] for x in self.kept[side]]

    def median(self, side, key):
        return statistics.median(self.all(side, key))

    def medians(self, side):
        return {k: self.median(side, k) for k in self.kept[side][0] if isinstance(self.kept[side][0][k], (int, float))}

    def spread(self, side, key):
        values = self.all(side, key)
        return min(values), max(values)


class Goal:
    """How the median of one side has to stand to that of another (a ratio), or by itself (under: None)."""

    def __init__(self, key, over, under, sign, limit):
        self.key, self.over, self.under, self.sign, self.limit = key, over, under, sign, limit

    def applies(self, figures):
        there = figures.sides()
        return self.over in there and (self.under is None or self.under in there)

    def value(self, figures):
        value = figures.median(self.over, self.key)
        if self.under is None:
            return value
        beside = figures.median(self.under, self.key)
        return value / beside if beside else float("inf")

    def judged(self, figures):
        value = self.value(figures)
        return value, value <= self.limit if self.sign == "<=" else value >= self.limit

    @property
    def name(self):
        return f"{self.key}: {self.over}" + (f"/{self.under}" if self.under else "")
