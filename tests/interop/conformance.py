# SPDX-License-Identifier: Apache-2.0
"""The conformance table over a real broker, and what it leaves there: tests/conformance says what each cell is."""
import os
import re
import subprocess

from harness import BUILD, ctl, same, table, until, url

VHOST = "conformance"
# A topic's queues stay for the next server, reply queues until they expire: as oslo.messaging has it.
MAY_STAY = re.compile(r"conformance_[0-9a-f]{32}(\.(s|first|second))?|reply_[0-9a-f]{32}")


def conformance(suite):
    program = os.path.join(BUILD, "tests", "conformance_test")
    ctl("add_vhost", VHOST)
    ctl("set_permissions", "-p", VHOST, "guest", ".*", ".*", ".*")
    with suite.case("conformance: every cell holds over a broker", 240):
        env = dict(os.environ, FJ_TEST_URL=url(VHOST), FJ_CELLS=", rabbit", FJ_TEST_EXECUTORS="serial",
                   OS_FJORD__PLUGIN_DIR=os.path.join(os.path.abspath(BUILD), "plugins"))
        run = subprocess.run([program], env=env, capture_output=True, text=True, timeout=230)
        if run.returncode != 0:
            said = run.stdout.splitlines() + run.stderr.splitlines()
            failed = [i for i, line in enumerate(said) if line.startswith("FAILED")]
            raise AssertionError(f"status {run.returncode}: " + "\n".join("\n".join(said[i:i + 2]) for i in failed))
    with suite.case("conformance: nothing is connected afterwards, and only what belongs there stays", 100):
        until(lambda: [c for c in table("list_connections", "vhost") if c["vhost"] == VHOST] == [])
        left = [q["name"] for q in table("list_queues", "-p", VHOST, "name")]
        same(len(left) > 0, True, "there were queues")
        same([name for name in left if not MAY_STAY.fullmatch(name)], [], "queues left behind")
        left = [e["name"] for e in table("list_exchanges", "-p", VHOST, "name")]
        same([name for name in left if name not in ("", "openstack") and not name.startswith("amq.")], [],
             "exchanges left behind")
    ctl("delete_vhost", VHOST)
