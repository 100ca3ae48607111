# SPDX-License-Identifier: Apache-2.0
"""Runs fault rows, each under its subjects, and keeps the results.  See tests/faults/run."""
import argparse
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
NAMED = re.compile(r"^\s*(ok|not ok|skipped)\s*[:-]?\s*([ABNMHLS]\d{1,2})\b[ :]*(.*)$")


def arguments():
    p = argparse.ArgumentParser(prog="tests/faults/run", description="Break things, and let the ledger judge.")
    p.add_argument("ids", nargs="*", metavar="ID", help="rows, as B1; all of those chosen without one")
    p.add_argument("--all", action="store_true", help="every row under every subject")
    p.add_argument("--subject", action="append", help=f"only under this executor, or under {OSLO}")
    p.add_argument("--seed", type=int, default=int(os.environ.get("FJ_SEED", 0)) or random.randrange(1, 1 << 31))
    p.add_argument("--part", type=int, default=None, metavar="N", help="which tenth of the slow ones: the day's without")
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


def run_programs(args, results):
    """The rows that C programs of the tests are: each names them at the head of its titles."""
    for program in sorted(glob.glob(os.path.join(BUILD, "tests", "*_rows_test")) +
                          glob.glob(os.path.join(BUILD, "tests", "cut_points_test"))):
        began = time.monotonic()
        done = subprocess.run([program], capture_output=True, text=True, timeout=600, check=False,
                              env=dict(os.environ, CK_VERBOSITY="verbose"))
        took = time.monotonic() - began
        lines = [m.groups() for m in map(NAMED.match, done.stdout.splitlines()) if m]
        name = os.path.basename(program)
        if not lines or (done.returncode != 0 and all(word == "ok" for word, _id, _title in lines)):
            lines.append(("not ok", "A0", f"{name} ended with {done.returncode}: {done.stdout[-300:]} {done.stderr[-300:]}"))
        for word, id, title in lines:
            if args.ids and id not in args.ids:
                continue
            title, _, why = title.partition(" # ")
            results.keep(id, title, "", "scripted", {"ok": "passed", "not ok": "failed"}.get(word, word), why, 0,
                         took / len(lines), {}, f"CK_RUN_CASE= {program}")


def main():
    args = arguments()
    part = datetime.date.today().toordinal() % 10 if args.part is None else args.part
    cells = [(r, s) for r in sorted(ROWS, key=lambda r: key(r.id)) for s in subjects(r) if chosen(r, s, args, part)]
    if args.list:
        for r in sorted(ROWS, key=lambda r: key(r.id)):
            print(f"{r.id:4} {'quick' if r.quick else '     '} {r.title} [{', '.join(subjects(r))}]")
        return 0
    print(f"seed {args.seed}, part {part}, {len(cells)} cells", flush=True)
    results = Results()
    if args.all or args.ids:
        run_programs(args, results)
    broker = Broker(os.path.join(BUILD, "faults", "rabbit"))
    if cells:
        broker.start()
    try:
        for number, (r, s) in enumerate(cells):
            began = time.monotonic()
            result, why, figures = run_cell(broker, r, s, args.seed, number)
            results.keep(r.id, r.title, r.promises, s, result, why, args.seed, time.monotonic() - began, figures,
                         f"FJ_SEED={args.seed} tests/faults/run --subject {s} {r.id}")
    finally:
        if cells:
            broker.kill()
    print(f"{results.passed} passed, {results.failed} failed", flush=True)
    return 1 if results.failed else 0


assert lab.ROWS is ROWS
sys.exit(main())
