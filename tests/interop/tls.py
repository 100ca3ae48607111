# SPDX-License-Identifier: Apache-2.0
"""TLS, both ways between C and Python, with a RabbitMQ that wants certificates of its clients."""
import contextlib
import os
import subprocess

from harness import BUILD, EXECUTORS, CPeer, PythonPeer, same

TOPIC = "it-tls"
CERTS = os.path.abspath(os.path.join(BUILD, "certs"))
BROKER = os.path.join(BUILD, "rabbit-tls")
USER = "fjord-tests"  # the common name of the client's certificate


def rabbit(*args):
    return subprocess.run(["scripts/rabbit", *args], check=True, capture_output=True, text=True, timeout=180,
                          env=os.environ | {"RABBIT_CERTS": CERTS}).stdout.strip()


@contextlib.contextmanager
def broker():
    subprocess.run(["scripts/certs", CERTS], check=True, capture_output=True, timeout=60)
    rabbit("start", BROKER)
    try:
        yield rabbit("tls-url", BROKER)
    finally:
        rabbit("stop", BROKER)


def by(url, **more):
    """The URL with the options of TLS; a value of None takes one away."""
    options = {"ssl": "true", "ssl_ca_file": f"{CERTS}/ca.pem", "ssl_cert_file": f"{CERTS}/client.pem",
               "ssl_key_file": f"{CERTS}/client.key"} | more
    return url + "?" + "&".join(f"{k}={v}" for k, v in options.items() if v is not None)


def both_ways(suite, url):
    big = "x" * 1000000
    for executor in EXECUTORS:
        with suite.case(f"tls: Python calls a C server, executor {executor}"):
            server, client = CPeer(at=by(url), executor=executor), PythonPeer(at=by(url))
            server.serve(TOPIC, "c")
            client.call(TOPIC, "echo", {"x": big}).expect(big)
            client.call(TOPIC, "fail").expect_failure("ValueError")
            server.stop("c")
            server.close()
            client.close()
    with suite.case("tls: C calls a Python server"):
        server, client = PythonPeer(at=by(url)), CPeer(at=by(url))
        server.serve(TOPIC, "p")
        client.call(TOPIC, "echo", {"x": big}).expect(big)
        client.cast(TOPIC, "note", {"x": 1}).expect(None)
        same(server.seen(1), [["p", 1]], "what the cast brought")
        client.close()
        server.close()


def refused(suite, url):
    cases = [("without a certificate of its own", {"ssl_cert_file": None, "ssl_key_file": None}, "ssl_cert_file"),
             ("that trusts another authority", {"ssl_ca_file": f"{CERTS}/other-ca.pem"}, "not trusted"),
             ("whose authority the broker does not know",
              {"ssl_cert_file": f"{CERTS}/other-client.pem", "ssl_key_file": f"{CERTS}/other-client.key"}, "ssl_cert_file")]
    for name, options, words in cases:
        with suite.case(f"tls: a client {name} is refused and told why"):
            client = CPeer(at=by(url, **options))
            client.call(TOPIC, "echo", {"x": 1}).expect_failure("MessageDeliveryFailure", words, "TLS", "no")
            client.close()
    with suite.case("tls: a client that would speak plain to the port of TLS is told"):
        client = CPeer(at=url)
        client.call(TOPIC, "echo", {"x": 1}, timeout=2).expect_failure("RuntimeError", "TLS", None, "no")
        client.close()


def external(suite, url):
    with suite.case("tls: the certificate is the login (EXTERNAL)"):
        rabbit("ctl", BROKER, "-q", "add_user", USER, "unused")
        rabbit("ctl", BROKER, "-q", "set_permissions", USER, ".*", ".*", ".*")
        conf = [["oslo_messaging_rabbit", "rabbit_login_method", "EXTERNAL"]]
        server, client = CPeer(at=by(url), conf=conf), CPeer(at=by(url), conf=conf)
        server.serve(TOPIC, "c")
        client.call(TOPIC, "echo", {"x": 1}).expect(1)
        same(sorted(set(rabbit("ctl", BROKER, "-q", "list_connections", "user").split()) - {"user"}), [USER], "the users connected")
        server.stop("c")
        server.close()
        client.close()


def tls(suite):
    with broker() as url:
        both_ways(suite, url)
        refused(suite, url)
        external(suite, url)
