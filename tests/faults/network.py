# SPDX-License-Identifier: Apache-2.0
"""Networks to break: a namespace at the end of a cable, and what listens where a broker was expected."""
import itertools
import json
import os
import shutil
import subprocess
import time

from lab import Skip, need, until

COUNT = itertools.count()


def run(*words, check=True):
    return subprocess.run(words, capture_output=True, text=True, timeout=20, check=check).stdout


class Cable:
    """A network namespace of its own that reaches the broker over a pair of veth and a proxy without rules.

    Programs run in it with prefix=cable.prefix and at=cable.url().  It is gone when the row ends, and what was in it."""

    def __init__(self, lab):
        if os.geteuid() != 0:
            raise Skip("network namespaces need root")
        if not shutil.which("ip") or not shutil.which("ss"):
            raise Skip("iproute2 is not installed")
        number = os.getpid() % 2048 * 8 + next(COUNT) % 8
        self.name = f"fj{os.getpid()}x{number % 8}"
        self.inner, self.outer = f"{self.name}i", f"{self.name}o"
        net = f"10.213.{number >> 6}"
        self.near, self.far, self.net = f"{net}.{number % 64 * 4 + 1}", f"{net}.{number % 64 * 4 + 2}", f"{net}.{number % 64 * 4}/30"
        self.prefix = ("ip", "netns", "exec", self.name)
        self.lab = lab
        lab.stack.callback(self.close)
        try:
            self.lay()
        except subprocess.CalledProcessError as e:
            raise Skip(f"no network namespace can be made here: {e.stderr.strip()}") from None
        self.relay = lab.chaos(at=self.near)

    def lay(self):
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.outer, "type", "veth", "peer", "name", self.inner, "netns", self.name)
        run("ip", "addr", "add", f"{self.near}/30", "dev", self.outer)
        run("ip", "link", "set", self.outer, "up")
        for words in (("addr", "add", f"{self.far}/30", "dev", self.inner), ("link", "set", self.inner, "up"), ("link", "set", "lo", "up")):
            run("ip", "-n", self.name, *words)
        # While the cable is out nothing for its other end goes another way.
        run("ip", "route", "add", "blackhole", self.net, "metric", "4000")

    def close(self):
        for words in (("route", "del", "blackhole", self.net), ("link", "del", self.outer), ("netns", "del", self.name)):
            run("ip", *words, check=False)
        run("nft", "delete", "table", "netdev", self.name, check=False) if shutil.which("nft") else None
        shutil.rmtree(f"/etc/netns/{self.name}", ignore_errors=True)

    def url(self, **more):
        return self.lab.url(hosts=[f"{self.near}:{self.relay.port}"], **more)

    def inside(self, *words):
        return run(*self.prefix, *words)

    def pull(self):
        """No FIN, no RST: the far end sees its link without a carrier, its addresses and routes stay."""
        run("ip", "link", "set", self.outer, "down")

    def plug(self):
        run("ip", "link", "set", self.outer, "up")

    def drop(self, direction):
        """What goes `out` of the namespace is lost on its way, or what comes `in`."""
        if not shutil.which("nft"):
            raise Skip("nftables is not installed")
        device, where = (self.outer, ()) if direction == "out" else (self.inner, self.prefix)
        run(*where, "nft", f"add table netdev {self.name}; add chain netdev {self.name} lost "
                           f"{{ type filter hook ingress device {device} priority 0; policy drop; }}")

    def mend(self):
        for where in ((), self.prefix):
            run(*where, "nft", "delete", "table", "netdev", self.name, check=False)

    def connections(self):
        """The local ports of those that somebody in there holds open."""
        lines = self.inside("ss", "-tnH", "state", "established", "dst", self.near).splitlines()
        return {line.split()[2].rpartition(":")[2] for line in lines}

    def noticed(self, before, limit):
        """The seconds from now until none of the connections of before is open any more."""
        began = time.monotonic()
        until(lambda: not self.connections() & before, limit + 10, "the connections that are dead are still held", pause=0.05)
        took = time.monotonic() - began
        figures = self.lab.figures
        figures["noticed_s"] = max(figures.get("noticed_s", 0), round(took, 2))
        need(took <= limit, f"it took {took:.1f} s to notice, not {limit} s at most")
