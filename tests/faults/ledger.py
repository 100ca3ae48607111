# SPDX-License-Identifier: Apache-2.0
"""The ledger: what clients began and how each operation ended, what servers ran; and whether all of it agrees.

It judges what is promised whatever fails: one end for each operation (P1), in time (P2), true about what was sent (P3), no answer that is
another's, nothing run twice, nothing answered that did not run.
"""
import collections
import statistics
import threading

SLACK = 0.2  # seconds by which an end may be late on a loaded machine


class Ledger:
    def __init__(self):
        self.lock = threading.Condition()
        self.begun, self.ends, self.runs = {}, collections.defaultdict(list), collections.defaultdict(list)

    def note(self, event):
        with self.lock:
            seq, what = event.get("seq"), event["ev"]
            if what == "begin":
                self.begun[seq] = event
            elif what == "end":
                self.ends[seq].append(event)
            elif what == "run":
                self.runs[seq].append(event)
            self.lock.notify_all()

    def wait(self, condition, limit):
        """Wait until `condition(self)`; False when it does not come true in `limit` seconds."""
        with self.lock:
            return self.lock.wait_for(lambda: condition(self), limit)

    def ended(self, *codes):
        """The ends so far with one of the codes, or with any."""
        with self.lock:
            return [e for ends in self.ends.values() for e in ends if not codes or e["code"] in codes]

    def counts(self):
        return dict(collections.Counter(e["code"] for e in self.ended()))

    def late(self):
        """By how much each operation ended after its time, in seconds, of those that did not come back."""
        with self.lock:
            return sorted(ends[0]["at"] - self.begun[seq]["by"] for seq, ends in self.ends.items()
                          if seq in self.begun and ends[0]["code"] != "OK")

    def figures(self):
        late = self.late() or [0]
        out = {"operations": len(self.begun), "unanswered": len(self.late()), "late_20ms": sum(x > 0.02 for x in late),
               "late_200ms": sum(x > 0.2 for x in late), "late_ms_max": round(1000 * max(0, late[-1]), 1),
               "late_ms_p999": round(1000 * max(0, late[min(len(late) - 1, int(len(late) * 0.999))]), 1)}
        took = [e["at"] - self.begun[e["seq"]]["at"] for e in self.ended("OK") if e["seq"] in self.begun]
        if took:
            out["ok_ms_median"] = round(1000 * statistics.median(took), 2)
        return out | {k: v for k, v in sorted(self.counts().items())}

    def faults(self, again=False, slack=SLACK, casts_run=False, lost=()):
        """What does not agree, in words; none is the promise kept.

        again      a message may run again, as with acknowledgements after the run
        casts_run  each cast that ended well must have run
        lost       sequence numbers whose client was killed, so that they need not have ended
        """
        with self.lock:
            out = []
            for seq, begun in self.begun.items():
                out += self.of_one(seq, begun, again, slack, casts_run, seq in lost)
            out += [f"{seq} ended and was never begun" for seq in self.ends if seq not in self.begun]
            out += [f"{seq} ran and was never begun" for seq in self.runs if seq not in self.begun]
            return out

    def of_one(self, seq, begun, again, slack, casts_run, lost):
        ends, ran, kind = self.ends.get(seq, []), len(self.runs.get(seq, [])), begun["op"]
        if len(ends) != 1:
            return [] if lost and not ends else [f"{seq} ended {len(ends)} times"]
        end, out = ends[0], []
        if end["at"] - begun["by"] > slack:
            out.append(f"{seq} ended {end['at'] - begun['by']:.2f} s late, with {end['code']}")
        if end["sent"] == "no" and ran:
            out.append(f"{seq} ended with {end['code']} and sent = no, but ran")
        if ran > 1 and not again and kind != "fanout":
            out.append(f"{seq} ran {ran} times")
        if end["code"] == "OK" and kind == "call":
            if end["ret"] != seq:
                out.append(f"{seq} got {end['ret']!r}, another's answer")
            if not ran:
                out.append(f"{seq} came back and never ran")
        if casts_run and end["code"] == "OK" and kind == "cast" and not ran:
            out.append(f"{seq}, a cast that was sent, never ran")
        return out
