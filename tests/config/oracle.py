# SPDX-License-Identifier: Apache-2.0
"""Random configuration files, read by Fjord and by oslo.config itself: the same value of every option, or both refuse."""
import json
import os
import random
import re
import subprocess
import tempfile

import lists

# Where Fjord means to answer otherwise than oslo.messaging 14.0.3, by option; the reasons stand in differences.py.
from differences import DEFAULTS, REFUSES_MORE

WORDS = ["true", "False", "YES", "off", "1", "0", "on", "No", "maybe", "7", "-1", "+5", "007", "1_0", "_1", "1__0", "0x10", "1e3", "2.5",
         ".5", "5.", "-0.0", "4.5", "4.6", "1e400", "infinity", "99999", "", "''", '""', "'", '"', "'a'", '"a b"', "'a\"", "a, b",
         "a,,b", ",a", "a,", ",", "a , b,", "round-robin", "shuffle", "SHUFFLE", "PLAIN", "EXTERNAL", "gzip", "rabbit://u:p@h:5672/",
         "$rpc_ping_enabled", "$rpc_response_timeout", "${rpc_response_timeout}", "${oslo_messaging_rabbit.ssl}",
         "$oslo_messaging_rabbit.kombu_reconnect_delay", "$oslo_messaging_notifications.topics", "$$", "\\$rpc_ping_enabled", "$",
         "$5", "${", "${}", "${rpc-x}", "$oslo_messaging_rabbit.", "$oslo_messaging_notifications.driver", "$nowhere", "${a.b}",
         "$control_exchange", "$ssl_version", "$oslo_messaging_rabbit.ssl_version", "$DEFAULT.rpc_ping_enabled", "$$rpc_ping_enabled",
         "$\\$rpc_ping_enabled", "$RPC_ping_enabled", "$_x", "é", "\u00a0x\u00a0", "\u3000", "x\x1cy", "a=b", "a:b", "# x", "; x", "[x]",
         "\\", "\t", "a\u2028b", "K", "\x85", "'\u00e9'", "$oslo_messaging_notifications.transport_url", "1 ", "\x0c"]
ENDS = ["\n"] * 8 + ["\r\n", "\r", "\n\n", " \n", "\n \n"]
GROUPS = ["DEFAULT"] * 4 + ["oslo_messaging_rabbit"] * 4 + ["oslo_messaging_notifications"] * 3 + \
         ["Oslo_Messaging_RABBIT", "default", " oslo_messaging_rabbit", "oslo_messaging_rabbit ", "other", "rpc_notifier2", "a]b",
          "oslo_messaging_kafka", "oslo_messaging_amqp", "amqp1"]


class Text:
    """One random file."""

    def __init__(self, r, names):
        self.r, self.names = r, names

    def value(self):
        r = self.r
        return "".join(r.choice(WORDS) for _ in range(r.choice([0, 1, 1, 1, 1, 1, 2, 3])))

    def line(self):
        r = self.r
        kind = r.random()
        if kind < 0.70:
            key = r.choice(self.names[self.group]) if r.random() < 0.9 else r.choice(self.all)
            if r.random() < 0.03:
                key = r.choice([key.upper(), key + "x", " " + key, "", "\u00a0" + key, key + "\u00a0", "'" + key + "'"])
            sep = r.choice(["=", " = ", ":", " : ", "= ", " =\t", "  =  ", "=\u00a0"])
            return key + sep + self.value()
        if kind < 0.80:
            return r.choice([" ", "\t", "  "]) + self.value()
        if kind < 0.86:
            return r.choice(["#", ";", "# x = y", "# é", "; [x]"])
        if kind < 0.90:
            return ""
        if kind < 0.985:
            self.group = r.choice(GROUPS)
            return "[" + self.group + "]" + r.choice(["", "", "", " "])
        return r.choice(["junk", "[]", "[x", "[x] # y", "= 1", ":", "\ufeff", "\u00a0", "x y", "[[x]]", "[ ]"])

    def make(self):
        r = self.r
        self.all = sorted({n for names in self.names.values() for n in names})
        self.group = "DEFAULT"
        lines = ["[DEFAULT]" if r.random() < 0.97 else "", *(self.line() for _ in range(r.randint(0, 12)))]
        return r.choice(["", "", "", "", "", "\ufeff"] if r.random() < 0.05 else [""]) + \
            "".join(line + r.choice(ENDS) for line in lines)


def python_answer(texts, env):
    """As conf_echo answers."""
    paths = []
    os.environ.update(env)
    try:
        for text in texts:
            with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False, newline="", encoding="utf-8") as f:
                f.write(text)
                paths.append(f.name)
        try:
            conf = lists.loaded(paths)
        except Exception as e:  # whatever it is, the file is refused
            return {"error": repr(e)}
        answer = {}
        for group, opts in lists.all_lists():
            for opt in opts:
                try:
                    value = conf[group][opt.name] if group else conf[opt.name]
                    answer[f"{group or 'DEFAULT'}.{opt.name}"] = {"value": value}
                except Exception as e:
                    answer[f"{group or 'DEFAULT'}.{opt.name}"] = {"error": repr(e)}
        return answer
    finally:
        for name in env:
            del os.environ[name]
        for path in paths:
            os.unlink(path)


def refers_to_files(texts, env):
    """Whether something refers to what a file has, be it no option at all: to us a file may be of another program with options of its
    own, which oslo.config has registered there, and has not here."""
    all_of_it = "\n".join([*texts, *env.values()])
    return any(re.search(rf"(?im)^\ufeff?{re.escape(name.split('.')[-1])}\s*[=:]", text)
               for name in re.findall(r"\$\{?([\w.-]+)", all_of_it) for text in texts)


def differ(texts, ours, theirs, bad):
    """What one answers and the other does not, into bad."""
    if ("error" in ours) != ("error" in theirs):
        bad.append((texts, "the file", ours.get("error", "accepted"), theirs.get("error", "accepted")))
        return
    if "error" in ours:
        return
    # what refers to an option that is refused is refused, too
    refused = [lists.our_name(k).split(".")[1] for k, v in theirs.items() if REFUSES_MORE(k, v.get("value"))]
    for key, expected in theirs.items():
        got = ours[lists.our_name(key)]
        if "error" in got and any(name in got["error"] for name in refused):
            continue
        if key.startswith(("oslo_messaging_kafka.", "oslo_messaging_amqp.")):
            if "value" in expected and ("error" in got or expected["value"] is not None and type(expected["value"]) is not float
                                        and got["value"] != expected["value"]):
                bad.append((texts, key, got, expected))
            continue
        if "value" in expected and "value" in got and got["value"] == expected["value"]:
            continue
        if key in DEFAULTS and got.get("value") == DEFAULTS[key][0] and expected.get("value") == lists.default(key):
            continue
        if "error" in expected and ("error" in got or lists.takes_more(key, got["value"])):
            continue
        if "NoSuchOptError" in expected.get("error", "") and refers_to_files(*texts):
            continue
        bad.append((texts, key, got, expected))


def names():
    known = {g: [] for g in GROUPS}
    for group, opts in lists.all_lists():
        for opt in opts:
            known.setdefault(group or "DEFAULT", []).append(opt.name)
            for old in opt.deprecated_opts:
                known.setdefault(old.group or group or "DEFAULT", []).append(old.name or opt.name)
    for group in known:
        known[group] = known[group] or known["oslo_messaging_rabbit" if "abbit" in group.lower() else "DEFAULT"] + ["x"]
    return known


def environment(r, known):
    """Some variables, of older names too, which count for nothing.  Not of options with several values: there oslo.config takes each
    letter for one."""
    env = {}
    for group in ("DEFAULT", "oslo_messaging_rabbit", "oslo_messaging_notifications"):
        name = r.choice([n for n in known[group] if n not in ("driver", "x")])
        env[f"OS_{group}__{name}".upper()] = r.choice([w for w in WORDS if "\0" not in w])
    return env


def run(echo, count, seed):
    """@return the differences found"""
    r = random.Random(seed)
    known = names()
    bad = []
    with subprocess.Popen([echo], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8") as p:
        for _ in range(count):
            texts = [Text(r, known).make() for _ in range(r.choice([1, 1, 1, 2, 3]))]
            env = environment(r, known) if r.random() < 0.3 else {}
            p.stdin.write(json.dumps({"files": texts, "env": env}) + "\n")
            p.stdin.flush()
            differ((texts, env), json.loads(p.stdout.readline()), python_answer(texts, env), bad)
            if len(bad) > 5:
                break
        p.stdin.close()
    return bad
