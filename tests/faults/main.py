# SPDX-License-Identifier: Apache-2.0
"""Runs fault rows, each under its subjects, and keeps the results.  See tests/faults/run."""
import argparse
import contextlib
import datetime
import glob
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import traceback
import zlib

import lab
import rows  # noqa: F401: registers them
from lab import BUILD, OSLO, ROWS, Broker, Failed, Lab, Skip

RESULTS = os.path.join(BUILD, "faults", "results.jsonl")
LOGS = os.path.join(BUILD, "faults", "logs")
SCRIPTED = "scripted"
# What tests/faults/rows.c prints: a failure's place and reason, or why it was left out, come last.
NAMED = re.compile(r"^(ok|not ok|skipped): ([A-Z]\d{1,2}) (.*?)(?:: (\S+\.c:\d+: .*)| \((.*)\))?$")
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)
UNDER = re.compile(r", under (\w+)$")


def arguments():
    p = argparse.ArgumentParser(prog="tests/faults/run", description="Break things, and let the ledger judge.")
    p.add_argument("ids", nargs="*", metavar="ID", help="rows, as B1; all of those chosen without one")
    p.add_argument("--all", action="store_true", help="every row under every subject")
    p.add_argument("--subject", action="append", help=f"only under this executor, or under {OSLO}")
    p.add_argument("--seed", type=int, default=int(os.environ.get("FJ_SEED", 0)) or random.randrange(1, 1 << 31))
    p.add_argument("--part", type=int, default=None, metavar="N", help="which tenth of the slow ones: the day's without; -1: none")
    p.add_argument("--live", action="store_true", help="only rows over RabbitMQ, not those that are C programs")
    p.add_argument("--jobs", type=int, default=1, metavar="N", help="so many rows at once, each with a broker")
    p.add_argument("--list", action="store_true", help="the rows, and what they run under")
    return p.parse_args()


def key(id):
    return id[0], int(id[1:])


def subjects(row):
    return row.subjects + ((OSLO,) if row.oslo else ())


def chosen(row, subject, args, part):
    """All that is named; else the quick ones under their first subject, and a tenth of the others in turn."""
    if args.ids and row.id not in args.ids:
        return False
    if args.subject and subject not in args.subject:
        return False
    if row.judged and not args.ids:
        return False
    if args.all or args.ids:
        return True
    if row.quick and subject == row.subjects[0]:
        return True
    return zlib.crc32(f"{row.id} {subject}".encode()) % 10 == part


def late(_signal, _frame):
    raise Failed("it does not end in its time")


def run_cell(broker, row, subject, seed, number):
    """One row under one subject: (result, why, figures)."""
    vhost = f"faults-{number}"
    one = None
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, row.limit)
    try:
        broker.ctl("add_vhost", vhost)
        broker.ctl("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
        one = Lab(broker, subject, vhost, seed)
        random.seed(seed)
        row.run(one)
        one.finish()
        return "passed", "", one.figures
    except Skip as e:
        return "skipped", str(e), {}
    except Exception as e:  # noqa: B902: every failure is a cell's
        if not isinstance(e, (Failed, AssertionError)):
            traceback.print_exc()
        return "failed", f"{type(e).__name__}: {e}"[:600], one.figures if one else {}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if one is not None:
            close(one, os.path.join(LOGS, f"{row.id}-{subject}-{number}"))
        restore(broker, vhost)


def close(one, path):
    """Its end; what its programs wrote to standard error is kept."""
    try:
        with open(path, "w") as f:
            for p in one.programs:
                f.write(f"== {p.kind} {p.process.pid}\n{p.log()}")
        one.close()
    except Exception:  # noqa: B902: it has its result; the next one is to run
        traceback.print_exc()


def restore(broker, vhost):
    """A broker as it was, for the next one, however this one left it."""
    try:
        broker.ctl("delete_vhost", vhost, limit=20)
    except Exception:  # noqa: B902: dead, frozen or half-way: another one then
        broker.kill()
        broker.start()


class Results:
    def __init__(self):
        self.passed = self.failed = 0
        os.makedirs(LOGS, exist_ok=True)
        self.file = open(RESULTS, "a")

    def keep(self, id, title, promises, subject, result, why, seed, seconds, figures, run):
        word = {"passed": "ok", "failed": "not ok", "skipped": "skipped"}[result]
        # What oslo.messaging does is told, and is no failure of ours.
        if subject == OSLO and result == "failed":
            word = "oslo"
        self.passed += word in ("ok", "oslo")
        self.failed += word == "not ok"
        print(f"{word} - {id} {title} [{subject}, {seconds:.1f} s]" + (f"\n    {why}" if why else ""), flush=True)
        if word == "not ok":
            print(f"    again: {run}", flush=True)
        self.file.write(json.dumps({"id": id, "title": title, "promises": promises, "subject": subject, "result": result,
                                    "why": why, "seed": seed, "seconds": round(seconds, 1), "figures": figures,
                                    "date": datetime.date.today().isoformat()}) + "\n")
        self.file.flush()
        return word


CUT = "one call is cut at every point of each connection, between frames and within them: by its end, a reset, a stall, garbage"


def rows_of(program, done):
    """(word, id, title, why, figures) of each row that a program of the tests told of."""
    rows = [(word, id, title, where or why, {}) for word, id, title, where, why in
            (m.groups("") for m in map(NAMED.match, done.stdout.splitlines()) if m)]
    counts = COUNTS.search(done.stdout)
    if not rows and counts:
        cuts = int(counts[1]) + int(counts[2])
        rows.append(("ok", "C1", CUT, "", {"cuts": cuts}) if done.returncode == 0 else
                    ("not ok", "C1", CUT, f"{counts[2]} of {cuts} cuts", {}))
    if not rows or (done.returncode != 0 and all(word != "not ok" for word, *_more in rows)):
        rows.append(("not ok", "A0", os.path.basename(program),
                     f"it ended with {done.returncode}: {done.stdout[-300:]} {done.stderr[-300:]}", {}))
    return rows


def has_rows(source, ids):
    """C1 is the one that has no names in it."""
    with open(source) as f:
        text = f.read()
    return not ids or any(f'"{id} ' in text for id in ids) or ("C1" in ids and "rows_run(" not in text)


def run_programs(args, results):
    """The rows that are C programs, with brokers of their own.  `make check` runs them as unit tests."""
    if args.live or (not args.all and not args.ids):
        return
    for source in sorted(glob.glob("tests/faults/*_test.c")):
        if not has_rows(source, args.ids):
            continue
        program = os.path.join(BUILD, "tests", os.path.basename(source)[:-2])
        with open(program, "rb") as f:
            text = f.read()
        if args.ids and not any(f"{id} ".encode() in text for id in args.ids):
            continue
        began = time.monotonic()
        # More schedules than in each `make check`, with the time for them.
        done = subprocess.run(["timeout", "1200", program], capture_output=True, text=True, check=False,
                              env={"FJ_SCHEDULES": "20000", "CK_TIMEOUT_MULTIPLIER": "6"} | os.environ |
                              {"CK_VERBOSITY": "verbose"})
        took = time.monotonic() - began
        rows = rows_of(program, done)
        for word, id, title, why, figures in rows:
            under = UNDER.search(title)
            subject = under[1] if under else SCRIPTED
            if (args.ids and id not in args.ids) or (args.subject and subject not in args.subject):
                continue
            results.keep(id, UNDER.sub("", title), "", subject, {"ok": "passed", "not ok": "failed"}.get(word, word), why, 0,
                         took / len(rows), figures, f"CK_RUN_CASE='{id} {title}' {program}")


class Worker:
    """Runs cells, with a broker of its own."""

    def __init__(self, args, results, name="rabbit"):
        self.args, self.results = args, results
        self.again = []
        self.broker = Broker(os.path.join(BUILD, "faults", name))
        self.started = False

    def run(self, cells):
        if not self.started:
            self.broker.start()
            self.started = True
        for number, r, s in cells:
            if self.run_one(number, r, s) == "not ok" and os.environ.get("FJ_AGAIN"):
                self.again.append((number, r, s))

    def run_one(self, number, r, s):
        began = time.monotonic()
        result, why, figures = run_cell(self.broker, r, s, self.args.seed, number)
        return self.results.keep(r.id, r.title, r.promises, s, result, why, self.args.seed, time.monotonic() - began, figures,
                                 f"FJ_SEED={self.args.seed} tests/faults/run --subject {s} {r.id}")

    def run_again(self):
        """What failed beside others, which may have been too much for the machine.  The first time does not count."""
        for number, r, s in self.again:
            self.results.failed -= 1
            if self.run_one(number, r, s) == "ok":
                print(f"unsteady - {r.id} {r.title} [{s}]", flush=True)

    def close(self):
        if self.started:
            self.broker.kill()


class Helper:
    """A process that takes one row after the other from a pipe, and tells at its end how they went."""

    def __init__(self, number, groups, tasks, args):
        self.said, say = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                results = Results()
                with contextlib.closing(Worker(args, results, f"rabbit-{number}")) as worker:
                    while task := os.read(tasks, 1):
                        worker.run(groups[task[0]])
                    worker.run_again()
                os.write(say, f"{results.passed} {results.failed}".encode())
                status = 0
            finally:
                os._exit(status)
        os.close(say)

    def wait(self):
        said = os.read(self.said, 100).split()
        os.waitpid(self.pid, 0)
        self.pid = 0
        return [int(n) for n in said] or [0, 1]

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)
            self.wait()


def run_beside(groups, args, results):
    """In several processes: a row's cells in one of them, as they may share what there is one of."""
    take, put = os.pipe()
    groups = sorted(groups, key=lambda cells: -sum(r.limit for _n, r, _s in cells))
    os.write(put, bytes(range(len(groups))))
    os.close(put)
    with contextlib.ExitStack() as stack:
        helpers = [stack.enter_context(contextlib.closing(Helper(n, groups, take, args))) for n in range(args.jobs)]
        os.close(take)
        run_programs(args, results)
        for h in helpers:
            passed, failed = h.wait()
            results.passed += passed
            results.failed += failed


def ended(_signal, _frame):
    sys.exit(143)


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, ended)
    part = datetime.date.today().toordinal() % 10 if args.part is None else args.part
    cells = [(r, s) for r in sorted(ROWS, key=lambda r: key(r.id)) for s in subjects(r) if chosen(r, s, args, part)]
    if args.list:
        for r in sorted(ROWS, key=lambda r: key(r.id)):
            how = "judged" if r.judged else "quick" if r.quick else ""
            print(f"{r.id:4} {how:6} {r.title} [{', '.join(subjects(r))}]")
        return 0
    print(f"seed {args.seed}, part {part}, {len(cells)} cells", flush=True)
    results = Results()
    groups = {}
    for number, (r, s) in enumerate(cells):
        groups.setdefault(r.title, []).append((number, r, s))
    if args.jobs > 1 and len(groups) > 1:
        run_beside(list(groups.values()), args, results)
    else:
        run_programs(args, results)
        with contextlib.closing(Worker(args, results)) as worker:
            for group in groups.values():
                worker.run(group)
            worker.run_again()
    print(f"{results.passed} passed, {results.failed} failed", flush=True)
    return 1 if results.failed else 0


assert lab.ROWS is ROWS
sys.exit(main())
