# SPDX-License-Identifier: Apache-2.0
"""A RabbitMQ and a NATS server of the run's own, on free ports of the loopback interface."""
import json
import os
import shutil
import subprocess
import time

import machine
from settings import BUILD, ROOT

RABBIT = os.path.join(ROOT, "scripts", "rabbit")
DIR = os.path.join(BUILD, "rabbit-bench")


class Rabbit:
    def __init__(self):
        subprocess.check_call([RABBIT, "start", DIR])
        self.url = subprocess.check_output([RABBIT, "url", DIR], text=True).strip()
        with open(os.path.join(DIR, "port")) as f:
            self.port = f.read().strip()
        with open(os.path.join(DIR, "pid")) as f:
            self.pid = int(f.read())
        machine.OURS.add(self.pid)

    def stop(self):
        subprocess.call([RABBIT, "stop", DIR])


class Nats:
    def __init__(self):
        where = os.path.join(BUILD, "nats-bench")
        shutil.rmtree(where, ignore_errors=True)
        os.makedirs(where)
        with open(os.path.join(where, "log"), "w") as log:
            self.process = subprocess.Popen(["nats-server", "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", where],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = self.process.pid
        machine.OURS.add(self.pid)
        self.url = self.first_url(os.path.join(where, f"nats-server_{self.pid}.ports"))

    def first_url(self, ports):
        by = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < by:
            try:
                with open(ports) as f:
                    return json.load(f)["nats"][0]
            except (FileNotFoundError, ValueError):
                time.sleep(0.05)
        self.stop()
        raise SystemExit("bench: the NATS server did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def nats_is_there():
    return shutil.which("nats-server") is not None
