# SPDX-License-Identifier: Apache-2.0
"""The fjord command, against itself and against Python."""
import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import time

from harness import BUILD, EXECUTORS, FJORD, URL, PythonPeer, broker_address, same, url, within


def fjord(*args, env_url=URL, timeout=20, **more):
    env = {k: v for k, v in os.environ.items() if k != "FJORD_URL"}
    if env_url is not None:
        env["FJORD_URL"] = env_url
    return subprocess.run([FJORD, *args], env=env, capture_output=True, text=True, timeout=timeout, **more)


def expect(done, status, out=None, err=None):
    if done.returncode != status:
        raise AssertionError(f"exit status {done.returncode}, not {status}: {done.stdout[:200]} {done.stderr[:400]}")
    if out is not None:
        same(json.loads(done.stdout), out, "standard output")
    if err is not None and err not in done.stderr:
        raise AssertionError(f"{err!r} is not in {done.stderr[:400]!r}")


@contextlib.contextmanager
def serving(*args):
    """A `fjord serve` that is ready; ends it with SIGTERM and wants status 0."""
    p = subprocess.Popen([FJORD, "serve", *args, "--url", URL], stderr=subprocess.PIPE, text=True)
    try:
        line = p.stderr.readline()
        if "ready" not in line:
            raise AssertionError(f"not ready: {line}{p.stderr.read()}")
        p.ready = line
        yield p
        p.send_signal(signal.SIGTERM)
        same(p.wait(10), 0, "exit status after SIGTERM")
    finally:
        if p.poll() is None:
            p.kill()
            p.wait()
        p.stderr.close()


def usage(suite):
    for words in ([], ["nonsense"], ["call"], ["call", "t"], ["call", "t", "m", "no-equals-sign"],
                  ["call", "t", "m", "x:={"], ["serve", "t"], ["serve", "t", "--echo", "--exec", "x"],
                  ["call", "t", "m", "--nonsense"], ["call", "t", "m", "--timeout", "-1"], ["ping"],
                  ["call", "t", "m", "--context", "[]"], ["call", "t", "m", "--fanout"],
                  ["config", "nonsense"], ["cast", "t", "m", "--count", "0"]):
        with suite.case(f"tool: `fjord {' '.join(words)}` is a usage error"):
            done = fjord(*words)
            expect(done, 2)
            same(done.stdout, "", "standard output")
    with suite.case("tool: a command that there is not is named"):
        expect(fjord("nonsense"), 2, err="no command nonsense")
        expect(fjord("--url", "rabbit://h/", "nonsense"), 2, err="no command nonsense")
        for words in (["--url"], ["--url", "call"], ["--timeout", "1", "call", "t", "m"], ["--quiet"]):
            done = fjord(*words)
            expect(done, 2)
            same("usage:" in done.stderr, True, done.stderr[:200])
    with open(os.path.join(os.path.dirname(__file__), "../../docs/man/fjord.1"), encoding="utf-8") as f:
        page = f.read()
    for command in ("call", "cast", "serve", "ping", "config", "version"):
        with suite.case(f"tool: `fjord {command} --help` lists its options, which are in the man page"):
            done = fjord(command, "--help")
            expect(done, 0)
            same(done.stderr, "", "standard error")
            same(fjord("help", command).stdout, done.stdout, "`fjord help`")
            named = re.findall(r"^  --([a-z-]+)", done.stdout, re.M)
            same("url" in named, True, "--url in the help")
            same([n for n in named if f"Fl -{n}" not in page], [], "options that the man page leaves out")
    with suite.case("tool: a bad URL is a usage error that does not show the password"):
        done = fjord("call", "t", "m", "--url", "rabbit://u:secretword@h:nonsense/")
        expect(done, 2)
        same("secretword" in done.stderr + done.stdout, False)
    with suite.case("tool: a misspelt --url does not show the password either"):
        done = fjord("call", "t", "m", "--ulr=rabbit://u:secretword@h/")
        expect(done, 2)
        same("secretword" in done.stderr + done.stdout, False)
    with suite.case("tool: version names the libraries"):
        done = fjord("version", "--json")
        expect(done, 0)
        same(sorted(json.loads(done.stdout)), ["fjord", "jansson", "librabbitmq"])
    with suite.case("tool: help goes to standard output"):
        done = fjord("--help")
        expect(done, 0)
        same("usage:" in done.stdout, True)


def configuration(suite):
    with suite.case("tool: the sample configuration passes its own check"):
        path = os.path.join(BUILD, "interop", "sample.conf")
        done = fjord("config", "sample")
        expect(done, 0)
        same("transport_url" in done.stdout and "[fjord]" in done.stdout, True, "the sample has its options")
        with open(path, "w", encoding="utf-8") as f:
            f.write(done.stdout)
        expect(fjord("config", "check", path), 0)
    with suite.case("tool: a sample whose every option is set passes its check"):
        with open(path, "w", encoding="utf-8") as f:
            f.write(re.sub(r"(?m)^#([a-z_]+ *=)", r"\1", done.stdout))
        expect(fjord("config", "check", path), 0)
    with suite.case("tool: config check names file and line of a bad value"):
        with open(path, "w", encoding="utf-8") as f:
            f.write("[DEFAULT]\nrpc_response_timeout = soon\n")
        expect(fjord("config", "check", path), 2, err="sample.conf:2")
    with suite.case("tool: config show hides the password"):
        with open(path, "w", encoding="utf-8") as f:
            f.write("[DEFAULT]\ntransport_url = rabbit://u:secretword@h/\nrpc_response_timeout = 7\n")
        done = fjord("config", "show", "--config-file", path)
        expect(done, 0)
        same("secretword" in done.stdout + done.stderr, False, "the password is shown")
        same("rpc_response_timeout = 7" in done.stdout, True, done.stdout[:300])


def calls(suite):
    peer = PythonPeer()
    peer.serve("it-tool", "one")
    with suite.case("tool: call prints the result as JSON"):
        expect(fjord("call", "it-tool", "add", "a:=1", "b:=2"), 0, 3)
    with suite.case("tool: options of every command may stand before it"):
        expect(fjord("--url", URL, "--quiet", "call", "it-tool", "add", "a:=1", "b:=2", env_url=None), 0, 3)
        expect(fjord(f"--url={URL}", "--verbose", "--exchange", "openstack", "call", "it-tool", "add", "a:=1", "b:=4",
                     env_url=None), 0, 5)
    with suite.case("tool: key=text is text, whatever it looks like"):
        expect(fjord("call", "it-tool.one", "echo", "x=1=:=2 é"), 0, "1=:=2 é")
    with suite.case("tool: namespace, version and context arrive"):
        expect(fjord("call", "it-tool", "hello", "name=n", "--namespace", "ns", "--version", "2.0"), 0, "hello2 n")
        done = fjord("call", "it-tool", "context", "--context", '{"user": "u"}')
        expect(done, 0, {"user": "u", "client_timeout": None})
    with suite.case("tool: a remote failure is status 1, with class and text"):
        expect(fjord("call", "it-tool", "fail"), 1, err="builtins.ValueError: nope")
    with suite.case("tool: --json gives the failure as an object"):
        done = fjord("call", "it-tool", "fail", "--json")
        expect(done, 1)
        e = json.loads(done.stderr)
        same([e["code"], e["class"], e["module"], e["sent"]], ["REMOTE", "ValueError", "builtins", "yes"])
    with suite.case("tool: ping prints pong"):
        expect(fjord("ping", "it-tool.one"), 0, "pong")
    with suite.case("tool: casts arrive as often as --count says, at every server with --fanout"):
        expect(fjord("cast", "it-tool", "note", "x=y", "--count", "3"), 0)
        expect(fjord("cast", "it-tool", "note", "x=z", "--fanout"), 0)
        same(sorted(x for _, x in peer.seen(4)), ["y", "y", "y", "z"])
    with suite.case("tool: a call nobody answers is status 3, in time"):
        began = time.monotonic()
        expect(fjord("call", "it-tool-nobody", "m", "--timeout", "1"), 3, err="TIMEOUT")
        within(1, began, 1.5)
    with suite.case("tool: a broker that is not there is status 4"):
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        expect(fjord("call", "t", "m", "--timeout", "1", env_url=url(port=port)), 4, err="UNREACHABLE")
    with suite.case("tool: a refused login is status 4 and does not show the password"):
        done = fjord("call", "t", "m", "--timeout", "2", "--verbose", env_url=url(password="secretword"))
        expect(done, 4, err="AUTH")
        same("secretword" in done.stderr + done.stdout, False)
    peer.close()


def serves(suite):
    peer = PythonPeer()
    with suite.case("tool: serve --echo answers any method with its arguments"):
        with serving("it-echo", "--server", "one", "--echo"):
            peer.call("it-echo", "whatever", {"a": [1, None]}).expect({"a": [1, None]})
            peer.call("it-echo", "_private").expect_failure("NoSuchMethod")
    if os.path.exists("/proc/self/cmdline"):
        with suite.case("tool: a URL's password is not in the process list"):
            with serving("it-echo", "--server", "one", "--echo") as p:
                with open(f"/proc/{p.pid}/cmdline", "rb") as f:
                    line = f.read().decode()
                same([URL in line, f":{broker_address()[3]}@" in line, "--echo" in line], [False, False, True])
    with suite.case("tool: serve --exec gives a program the request and takes its answer"):
        with serving("it-exec", "--server", "one", "--exec", "cat"):
            peer.call("it-exec", "m", {"a": "é"}, context={"u": 1}).expect(
                {"method": "m", "namespace": None, "version": "1.0", "args": {"a": "é"},
                 "context": {"u": 1, "client_timeout": None}})
    with suite.case("tool: serve --exec carries megabytes both ways"):
        with serving("it-exec", "--server", "one", "--exec", "cat"):
            big = "y" * (3 << 20)
            same(len(peer.call("it-exec", "m", {"a": big}).result["args"]["a"]), len(big))
    with suite.case("tool: a program that reads nothing and floods standard error harms nobody"):
        flood = "head -c 3000000 /dev/zero | tr '\\0' e >&2; echo 5"
        with serving("it-exec", "--server", "one", "--exec", flood):
            peer.call("it-exec", "m", {"a": "y" * (1 << 20)}).expect(5)
    with suite.case("tool: a program that fails gives its standard error to the caller"):
        with serving("it-exec", "--server", "one", "--exec", "echo 'no such thing: é' >&2; exit 3"):
            peer.call("it-exec", "m").expect_failure("RuntimeError", "no such thing: é")
    with suite.case("tool: a program that writes no JSON fails the call"):
        with serving("it-exec", "--server", "one", "--exec", "echo hello"):
            peer.call("it-exec", "m").expect_failure("ValueError", "output")
    with suite.case("tool: serve ends at a second signal, and its programs with it"):
        mark = os.path.join(BUILD, "interop", f"pid-{os.getpid()}")
        os.mkfifo(mark)
        p = subprocess.Popen([FJORD, "serve", "it-exec", "--server", "two", "--url", URL,
                              "--exec", f"echo $$ >'{mark}'; exec sleep 1000"],
                             stderr=subprocess.PIPE, text=True)
        same("ready" in p.stderr.readline(), True)
        expect(fjord("cast", "it-exec.two", "m"), 0)
        with open(mark, encoding="utf-8") as f:
            watch = os.pidfd_open(int(f.read()))
        p.send_signal(signal.SIGTERM)
        p.send_signal(signal.SIGINT)
        text = p.communicate(timeout=20)[1]
        same(p.returncode, 3, text)
        same("still running" in text, True, text)
        same(select.select([watch], [], [], 10)[0], [watch], "the program has ended")
        os.close(watch)
        os.unlink(mark)
    with suite.case("tool: a program that does not end is killed after --timeout"):
        with serving("it-exec", "--server", "one", "--timeout", "1", "--exec", "sleep 60"):
            began = time.monotonic()
            outcome = peer.call("it-exec", "m")
            same("killed" in outcome.text, True, repr(outcome))
            within(1, began, 2)
    with suite.case("tool: a program may leave another behind that holds its output open"):
        with serving("it-exec", "--server", "one", "--exec", "sleep 5 & echo 1"):
            began = time.monotonic()
            peer.call("it-exec", "m").expect(1)
            within(0, began, 3)
    with suite.case("tool: serve --module serves a module's endpoints"):
        with serving("it-module", "--server", "one", "--module", os.path.abspath(f"{BUILD}/interop/twice.so")):
            peer.call("it-module", "twice", {"x": 21}).expect(42)
            peer.call("it-module", "twice").expect_failure("TypeError", "twice needs")
    with suite.case("tool: a module without endpoints is a usage error"):
        expect(fjord("serve", "t", "--module", "libm.so.6"), 2, err="fj_module_endpoints")
    peer.close()


def serves_on_a_loop(suite, executor):
    """The same under an executor on a loop: one thread, that nothing may hold up."""
    loop = ["--server", "one", "--executor", executor]
    peer = PythonPeer()
    with suite.case(f"tool: serve --echo under {executor}"):
        with serving("it-echo", *loop, "--echo"):
            peer.call("it-echo", "whatever", {"a": [1, None]}).expect({"a": [1, None]})
    with suite.case(f"tool: programs run side by side under {executor}"):
        mark = os.path.join(BUILD, "interop", f"met-{os.getpid()}")
        os.mkfifo(mark)
        # Neither opens its end before the other does, so that both end only if both run.
        meet = f"if grep -q reader; then cat '{mark}'; else echo 5 >'{mark}'; echo 6; fi"
        with serving("it-exec", *loop, "--exec", meet):
            reader = subprocess.Popen([FJORD, "call", "it-exec", "reader", "--timeout", "15", "--url", URL],
                                      stdout=subprocess.PIPE, text=True)
            peer.call("it-exec", "writer").expect(6)
            same([reader.communicate(timeout=20)[0], reader.returncode], ["5\n", 0])
        os.unlink(mark)
    with suite.case(f"tool: megabytes go to and from a program under {executor}"):
        with serving("it-exec", *loop, "--exec", "cat"):
            big = "y" * (3 << 20)
            same(len(peer.call("it-exec", "m", {"a": big}).result["args"]["a"]), len(big))
    with suite.case(f"tool: a program that never stops writing is killed after --timeout under {executor}"):
        with serving("it-exec", *loop, "--timeout", "1", "--exec", "cat >/dev/null; yes >&2"):
            outcome = peer.call("it-exec", "m")
            same("killed" in outcome.text, True, repr(outcome))
    with suite.case(f"tool: serve under {executor} ends at a second signal, and its programs with it"):
        mark = os.path.join(BUILD, "interop", f"loop-pid-{os.getpid()}")
        os.mkfifo(mark)
        p = subprocess.Popen([FJORD, "serve", "it-exec", "--server", "two", "--executor", executor, "--url", URL,
                              "--exec", f"echo $$ >'{mark}'; exec sleep 1000"],
                             stderr=subprocess.PIPE, text=True)
        same("ready" in p.stderr.readline(), True)
        expect(fjord("cast", "it-exec.two", "m"), 0)
        with open(mark, encoding="utf-8") as f:
            watch = os.pidfd_open(int(f.read()))
        p.send_signal(signal.SIGTERM)
        p.send_signal(signal.SIGINT)
        text = p.communicate(timeout=20)[1]
        same(p.returncode, 3, text)
        same("TIMEOUT" in text, True, text)  # which of the two is told of first is a matter of chance
        same(select.select([watch], [], [], 10)[0], [watch], "the program has ended")
        os.close(watch)
        os.unlink(mark)
    peer.close()


def modules(suite):
    module = os.path.abspath(f"{BUILD}/interop/twice.so")
    peer = PythonPeer()
    with suite.case("tool: explicit methods of a module run under every executor"):
        for executor in EXECUTORS:
            with serving("it-module", "--server", "one", "--executor", executor, "--module", module):
                peer.call("it-module", "twice", {"x": 21}).expect(42)
                peer.call("it-module", "later", {"ms": 5}).expect("later")
    with suite.case("tool: methods of a module sleep side by side under green, with nothing preloaded"):
        with serving("it-module", "--server", "one", "--executor", "green", "--module", module) as p:
            same("hooks socket, time, dns, process, select" in p.ready, True, p.ready)
            calls = [subprocess.Popen([FJORD, "call", "it-module", "doze", "ms:=1500", "--url", URL],
                                      stdout=subprocess.PIPE, text=True) for _ in range(3)]
            same(max(int(c.communicate(timeout=20)[0]) for c in calls) > 1, True, "sleepers at once")
    with suite.case("tool: serve tells a machine which hooks are live"):
        with serving("it-module", "--server", "one", "--json", "--executor", "green", "--module", module) as p:
            same(json.loads(p.ready)["hooks"], "socket, time, dns, process, select")
        with serving("it-module", "--server", "one", "--json", "--executor", "threading", "--module", module) as p:
            same(json.loads(p.ready)["hooks"], "")
    peer.close()


def tool(suite):
    for group in (usage, configuration, calls, serves):
        group(suite)
    for executor in EXECUTORS[2:]:
        serves_on_a_loop(suite, executor)
    modules(suite)
