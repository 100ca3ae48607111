# SPDX-License-Identifier: Apache-2.0
"""Networks to break: a namespace at the end of a cable, and what listens where a broker was expected."""
import contextlib
import itertools
import os
import select
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time

from lab import BUILD, Skip, need, until

COUNT = itertools.count()


def certificates():
    """The folder with what scripts/certs makes."""
    folder = os.path.abspath(os.path.join(BUILD, "certs"))
    if not os.path.exists(f"{folder}/client-both.pem"):
        run("scripts/certs", folder)
    return folder


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
        number = os.getpid() % 1024 * 8 + next(COUNT) % 8
        self.name = f"fj{os.getpid()}x{number % 8}"
        self.inner, self.outer = f"{self.name}i", f"{self.name}o"
        self.number, self.net = number, f"{self.address(number, 0)}/29"
        # `hole` is nobody's, and preferred by who knows both: RFC 6724, the longest prefix that is common with one's own.
        self.near, self.far, self.hole, self.other = (self.address(number, i) for i in (1, 2, 3, 4))
        self.prefix = ("ip", "netns", "exec", self.name)
        self.near6, self.far6, self.hole6 = (f"2001:db8:{number:x}::{i}" for i in (1, 2, 3))
        self.lab = lab
        lab.stack.callback(self.close)
        try:
            self.lay()
        except subprocess.CalledProcessError as e:
            raise Skip(f"no network namespace can be made here: {e.stderr.strip()}") from None
        self.relay = lab.chaos(at=self.near)

    @staticmethod
    def address(number, host):
        return f"10.213.{number >> 5}.{number % 32 * 8 + host}"

    def lay(self):
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.outer, "type", "veth", "peer", "name", self.inner, "netns", self.name)
        for address in (self.near, self.other):
            run("ip", "addr", "add", f"{address}/29", "dev", self.outer)
        run("ip", "link", "set", self.outer, "up")
        for words in (("addr", "add", f"{self.far}/29", "dev", self.inner), ("link", "set", "lo", "up"),
                      ("addr", "add", f"{self.far6}/64", "dev", self.inner, "nodad"), ("link", "set", self.inner, "up")):
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

    def never(self, address):
        """What goes there from within is lost, with nobody to say so."""
        run("ip", "-n", self.name, "neigh", "replace", address, "lladdr", "02:00:00:00:00:01", "dev", self.inner)

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


class Names:
    """A name server for who is at the end of a cable."""

    def __init__(self, cable):
        self.answers, self.silent = {}, False
        folder = f"/etc/netns/{cable.name}"  # which `ip netns exec` puts over /etc; the cable takes it away
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/resolv.conf", "w") as f:
            f.write(f"nameserver {cable.near}\n")
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((cable.near, 53))
        cable.lab.stack.callback(self.socket.close)
        self.socket.settimeout(0.5)
        threading.Thread(target=self.run, daemon=True).start()

    def answer(self, name, *addresses):
        self.answers[name] = addresses

    def run(self):
        while self.socket.fileno() >= 0:
            with contextlib.suppress(OSError):
                query, who = self.socket.recvfrom(4096)
                if not self.silent:
                    self.socket.sendto(self.reply(query), who)

    def reply(self, query):
        """RFC 1035, section 4.1: a head, the question again, and what there is of the kind that was asked for."""
        end = query.index(b"\0", 12)
        labels, at = [], 12
        while at < end:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        question, kind = query[12:end + 5], struct.unpack("!H", query[end + 1:end + 3])[0]
        addresses = self.answers.get(".".join(labels).lower())
        family, ours = {1: (socket.AF_INET, "."), 28: (socket.AF_INET6, ":")}.get(kind, (None, "none"))
        found = [socket.inet_pton(family, a) for a in addresses or () if ours in a]
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | (3 if addresses is None else 0), 1, len(found), 0, 0)
        return head + question + b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(a)) + a for a in found)


class Listener:
    """Takes connections at a port of its own, and does with each, in a thread, what `serve` does."""

    def __init__(self, lab, serve=None):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.heads = []  # the first bytes of each connection
        self.over = False
        if serve is not None:
            self.serve = serve
        lab.stack.callback(self.close)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.over:
            with contextlib.suppress(OSError):
                one = self.socket.accept()[0]
                threading.Thread(target=self.take, args=(one,), daemon=True).start()

    def take(self, one):
        with one, contextlib.suppress(OSError):
            one.settimeout(30)
            self.heads.append(one.recv(8, socket.MSG_PEEK))
            self.serve(one)

    def close(self):
        self.over = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def says(what):
    """For Listener: says this, and waits until the other side goes."""

    def serve(one):
        one.sendall(what)
        while one.recv(65536):
            pass

    return serve


class Idle(Listener):
    """Before the broker, as balancers are: a connection over which nothing goes for so long is cut.

    rudely   both ends learn of it by an RST when they send the next time"""

    def __init__(self, lab, seconds, rudely=False):
        self.to, self.seconds, self.rudely, self.cuts = lab.broker.port, seconds, rudely, 0
        super().__init__(lab)

    def serve(self, one):
        with socket.create_connection(("127.0.0.1", self.to)) as other:
            ends = {one: other, other: one}
            while True:
                ready = select.select(list(ends), [], [], self.seconds)[0]
                if not ready:
                    self.cuts += 1
                    break
                for end in ready:
                    data = end.recv(65536)
                    if not data:
                        return
                    ends[end].sendall(data)
            if self.rudely:
                select.select(list(ends), [], [], 30)  # somebody says something
                for end in ends:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Secure(Listener):
    """Speaks TLS before the broker, with a certificate of scripts/certs.

    wants    only with who has a certificate of the right authority
    gather   seconds for which it collects what goes to the client, which then comes in one record"""

    def __init__(self, lab, name="good", wants=False, gather=0.0):
        self.to, self.gather, self.through = lab.broker.port, gather, []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.use(name)
        if wants:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(f"{certificates()}/ca.pem")
        super().__init__(lab)

    def use(self, name):
        """Another certificate, from now on."""
        self.context.load_cert_chain(f"{certificates()}/{name}.pem", f"{certificates()}/{name}.key")

    def serve(self, one):
        with self.context.wrap_socket(one, server_side=True) as tls, socket.create_connection(("127.0.0.1", self.to)) as plain:
            self.through.append(tls)
            while True:
                if not tls.pending():
                    select.select([tls, plain], [], [])
                if plain in select.select([plain], [], [], 0)[0]:
                    if self.gather:
                        time.sleep(self.gather)
                    data = plain.recv(16384)
                    if not data:
                        return
                    tls.sendall(data)
                if tls.pending() or tls in select.select([tls], [], [], 0)[0]:
                    data = tls.recv(16384)
                    if not data:
                        return
                    plain.sendall(data)

    def truncate(self):
        """The end of every stream, without TLS's own."""
        for tls in self.through:
            with contextlib.suppress(OSError):
                tls.shutdown(socket.SHUT_RDWR)
        self.through = []
