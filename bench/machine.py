# SPDX-License-Identifier: Apache-2.0
"""What /proc says of processes and of the machine."""
import os

TICK = os.sysconf("SC_CLK_TCK")
OURS = {os.getpid()}  # all that this run has started: what they do is not others' work


def processor_time(pid):
    """Seconds so far, in the program and in the kernel, of all its threads; 0 when it has gone."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return 0
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid):
    """Bytes."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("Rss:"))


def machine_time():
    """Seconds of all processors: there were so many, so many were not idle."""
    with open("/proc/stat") as f:
        ticks = [int(n) for n in f.readline().split()[1:9]]  # user nice system idle iowait irq softirq steal
    return sum(ticks) / TICK, (sum(ticks) - ticks[3] - ticks[4]) / TICK


class Span:
    """What some processes, and others, used between its making and its end."""

    def __init__(self, pids):
        self.pids = pids
        self.before = {p: processor_time(p) for p in set(pids.values()) | OURS}
        self.machine = machine_time()

    def end(self):
        """@return the seconds of each of the processes, and the part of the machine that others had"""
        there, busy = (now - then for now, then in zip(machine_time(), self.machine))
        used = {p: processor_time(p) - self.before.get(p, 0) for p in set(self.before) | OURS}  # some have begun since
        others = max(0.0, busy - sum(used.values())) / there if there > 0 else 0.0
        return {name: used[p] for name, p in self.pids.items()}, others
