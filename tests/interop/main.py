# SPDX-License-Identifier: Apache-2.0
"""Runs the groups of interop tests named on the command line, or all but those that take minutes."""
import os
import sys

import harness
from bench import bench
from chaos import chaos
from conformance import conformance
from edge import edge
from examples import examples
from executors import executors
from faults import faults
from heartbeat import heartbeat, long_idle
from interceptors import interceptors
from inspecting import inspecting
from inspection import inspection
from matrix import matrix
from migration import migration
from notifications import notifications
from options import options
from services import service, service_full
from storm import storm
from tls import tls
from tool import tool
from topology import topology

GROUPS = {"matrix": matrix, "topology": topology, "edge": edge, "faults": faults,
          "heartbeat": heartbeat, "storm": storm, "tool": tool, "examples": examples,
          "conformance": conformance, "executors": executors, "migration": migration, "service": service,
          "tls": tls, "inspect": inspecting, "inspection": inspection, "interceptors": interceptors,
          "chaos": chaos, "notifications": notifications, "options": options,
          "bench": bench}
SLOW = {"idle": long_idle, "service-full": service_full}

suite = harness.Suite()


def run(name):
    """@return how many cases of the group passed and failed"""
    passed, failed = suite.passed, suite.failed
    with suite.case(f"the group {name} runs to its end", 3000 if name in SLOW else 900):
        (GROUPS | SLOW)[name](suite)
    return suite.passed - passed, suite.failed - failed


def run_again(name, passed, failed):
    """By itself: the first time does not count."""
    print(f"again: {failed} cases of {name} failed", flush=True)
    suite.passed -= passed
    suite.failed -= failed
    if run(name)[1] == 0:
        print(f"unsteady: {name}", flush=True)


counts = {name: run(name) for name in sys.argv[1:] or GROUPS}
for name, (passed, failed) in counts.items():
    if failed and os.environ.get("FJ_AGAIN"):
        run_again(name, passed, failed)
harness.main_exit(suite)
