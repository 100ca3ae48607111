# SPDX-License-Identifier: Apache-2.0
"""Interceptors, as Python sees what they change: a plug-in by the configuration of the command, and one from code."""
import os
import re
import subprocess

import oslo_messaging

from examples import configuration, run
from harness import BUILD, URL, PythonPeer, same
from tool import expect, fjord, serving

TOKEN = os.path.realpath(os.path.join(BUILD, "plugins", "token.so"))


def with_token(word):
    return configuration(f"token-{word}", f"[DEFAULT]\ntransport_url = {URL}\n[fjord]\ninterceptors = {TOKEN}\n"
                                          f"[interceptor:token]\ntoken = {word}\n")


def plug_in(suite):
    peer = PythonPeer()
    right, wrong = with_token("word"), with_token("guess")
    peer.serve("it-icept-py", "one")
    with suite.case("interceptors: a plug-in of the configuration changes the context that Python sees"):
        expect(fjord("call", "it-icept-py", "context", "--context", '{"user": "u"}', "--config-file", right, env_url=None),
               0, {"user": "u", "auth_token": "word", "client_timeout": None})
    with suite.case("interceptors: `fjord serve` with one refuses who does not know the token, and serves who does"):
        with serving("it-icept", "--server", "s", "--echo", "--config-file", right):
            expect(fjord("call", "it-icept", "anything", "x:=1", "--config-file", right, env_url=None), 0)
            expect(fjord("call", "it-icept", "anything", "x:=1", "--config-file", wrong, env_url=None), 1,
                   err="builtins.PermissionError: anything is not for who does not know the token")
            peer.call("it-icept", "anything", {"x": 1}).expect_failure("PermissionError", "does not know the token")
            peer.call("it-icept", "anything", {"x": 1}, context={"auth_token": "worse"}).expect_failure("PermissionError")
            same(peer.call("it-icept", "anything", {"x": 1}, context={"auth_token": "word"}).result is not None, True, "an answer")
    with suite.case("interceptors: one that cannot be opened is named, and nothing is served"):
        path = configuration("token-none", f"[DEFAULT]\ntransport_url = {URL}\n[fjord]\ninterceptors = {TOKEN}\n")
        done = fjord("serve", "it-icept", "--server", "s", "--echo", "--config-file", path, env_url=None)
        same("the interceptor token cannot be opened: [interceptor:token] needs a token" in done.stderr, True, done.stderr)
        same(done.returncode != 0, True, "its status")


class Calc:
    target = oslo_messaging.Target(namespace="calc", version="1.1")

    def __init__(self):
        self.contexts = []

    def add(self, ctxt, a, b):
        self.contexts.append(ctxt)
        return a + b


def traced(suite):
    peer = PythonPeer()
    broker = f"[DEFAULT]\ntransport_url = {URL}\n[fjord]\nlog_level = info\n"
    path = configuration("traced", broker)
    with suite.case("interceptors: an id that one from code puts into the context is in the lines of both sides"):
        server = subprocess.Popen([os.path.join(BUILD, "bin", "traced_server"), path], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        try:
            same(server.stdout.readline(), "serving calc, traced\n")
            done = run("traced_client", path, "1", "2")
            same(done.stdout, "3\n")
            called = re.search(r"([0-9a-f]{32}): called calc.add: OK after [0-9.]+ ms", done.stderr)
            same(called is not None, True, done.stderr)
            peer.call("calc", "add", {"a": 3, "b": 4}, namespace="calc", context={"trace_id": "from-python"}).expect(7)
        finally:
            server.terminate()
            log = server.communicate(timeout=20)[1]
        same(f"{called.group(1)}: served calc.add: OK after" in log, True, log)
        same("from-python: served calc.add: OK after" in log, True, log)
        same(server.returncode, 0, "exit status")
    with suite.case("interceptors: Python sees the id"):
        calc = Calc()
        server = oslo_messaging.get_rpc_server(peer.transport, oslo_messaging.Target(topic="calc", server="python"), [calc],
                                               executor="threading", access_policy=oslo_messaging.DefaultRPCAccessPolicy)
        server.start()
        try:
            done = run("traced_client", path, "3", "4")
        finally:
            server.stop()
            server.wait()
        same(done.stdout, "7\n")
        same([c["trace_id"] in done.stderr for c in calc.contexts], [True], "the id is in the client's log")


def interceptors(suite):
    plug_in(suite)
    traced(suite)
