# SPDX-License-Identifier: Apache-2.0
"""B: what brokers do."""
import random
import threading

from lab import BACKOFF, EXECUTORS, row


def pause(seconds):
    threading.Event().wait(seconds)


@row("B1", "the broker is killed under load and begins again", "P1 P2 P3 P5", EXECUTORS, quick=True, limit=120)
def killed(lab):
    server, client = lab.server(), lab.client()
    lab.back(client, 5, "before the fault")
    client.load(workers=8, timeout=2, casts=0.3, ms=2)
    for wait in (0, 2):
        pause(random.uniform(0.3, 1))
        lab.broker.kill()
        pause(wait)
        lab.broker.again()
        lab.back(client, BACKOFF + 2)
    client.rest()
    assert server.process.poll() is None
