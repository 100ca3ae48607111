# SPDX-License-Identifier: Apache-2.0
"""Programs that print their figures themselves: what tasks, hooks, logs, green libraries and calls in hand cost."""
import os
import subprocess

from settings import BUILD, CALLS, IN_HAND, ROOT, ROUNDS, program


def tasks(_world):
    """Spawning, switching and waking, beside Boost.Context and an eventfd, and what a hook costs."""
    for name in ("spawn", "switch", "wakeup", "hooks"):
        subprocess.check_call([program(name)])


def log(_world):
    """Logging to a place that does not work, over fake://."""
    subprocess.check_call([program("log"), "fake://", str(ROUNDS), str(CALLS)])


def libraries(_world):
    """200 questions at once by unmodified libraries in green tasks, against servers of their own."""
    servers = os.path.join(ROOT, "scripts", "servers")
    where = os.path.join(BUILD, "servers-bench")
    subprocess.check_call([servers, "start", where])
    try:
        subprocess.check_call(["sh", "-c", '. "$1/env"; exec "$2" 1 200 5', "sh", where, program("green")])
    finally:
        subprocess.call([servers, "stop", where])


def parked(world):
    """What a call in hand costs a server."""
    subprocess.check_call([program("parked"), world.rabbit.url, IN_HAND])


def log_rabbit(world):
    """The same as log, over RabbitMQ."""
    subprocess.check_call([program("log"), world.rabbit.url, str(ROUNDS), str(CALLS)])
