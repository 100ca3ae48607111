# SPDX-License-Identifier: Apache-2.0
"""Runs the groups of interop tests named on the command line, or all but those that take minutes."""
import sys

import harness
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
          "chaos": chaos, "notifications": notifications, "options": options}
SLOW = {"idle": long_idle, "service-full": service_full}

suite = harness.Suite()
for name in sys.argv[1:] or GROUPS:
    with suite.case(f"the group {name} runs to its end", 3000 if name in SLOW else 900):
        (GROUPS | SLOW)[name](suite)
harness.main_exit(suite)
