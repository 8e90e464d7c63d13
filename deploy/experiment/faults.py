"""What production does to a cluster. Each fault strikes something, holds for a while, lets go, and is over when what it struck
works again: seconds from the letting go to that moment are its recovery."""

import dataclasses
import errno
import os
import signal
import subprocess
import threading
import time

from containers import STAGES, docker, say, until
from objects import Unavailable

# How long what is struck may take until it works again, docker's pauses between restarts included.
RECOVERY_S = 240
# Seconds for which something holds: less than it takes the broker to give up a connection (40), or more.
SHORT_S, LONG_S = (5, 30), (60, 90)
# One in so many is long, if there is time for such.
LONG_ONE_IN = 3


@dataclasses.dataclass
class Strike:
    kind: str
    struck: str
    recovery_s: float | None = None


class Faults:
    def __init__(self, cluster, chance, has_time):
        self.cluster, self.chance, self.has_time = cluster, chance, has_time
        self.strikes = []
        # The kinds that have not struck yet.
        self.owed = list(WEIGHTS)
        self.threads = []
        # One at a time of those that hold for a while or strike everybody; kills come meanwhile.
        self.holding = threading.Lock()

    def kills(self):
        return sum(strike.kind.startswith("SIGKILL of a worker") for strike in self.strikes)

    def kill(self):
        """A power cut, for one worker of the stage that has had the fewest."""
        had = {stage: sum(strike.struck == stage for strike in self.strikes) for stage in STAGES}
        fewest = min(had.values())
        stage = self.chance.choice([stage for stage in STAGES if had[stage] == fewest])
        self._signal("SIGKILL of a worker", self.chance.choice(self.cluster.containers[stage]), signal.SIGKILL)

    def stop(self):
        """What a scheduler does when it needs the place, to one that has jobs in hand. Linux does not give SIGTERM to the first process of a container before
        it asks for it, so that one that is only starting would not notice."""
        at_work = [container for container in self.cluster.workers() if self.cluster.is_ready(container) and self.cluster.has_jobs(container)]
        return bool(at_work) and self._signal("SIGTERM of a worker", self.chance.choice(at_work), signal.SIGTERM)

    def _signal(self, kind, container, number):
        before = self.cluster.pid(container)
        if before:
            self.cluster.kill(container, number)
            again = lambda: self.cluster.pid(container) not in (0, before) and self.cluster.is_ready(container)  # noqa: E731
            self._watch(Strike(kind, self.cluster.stage_of(container)), again)
        return bool(before)

    def _a_while(self):
        return self.chance.uniform(*(LONG_S if self.has_time and self.chance.randrange(LONG_ONE_IN) == 0 else SHORT_S))

    def pause(self):
        container = self.chance.choice(self.cluster.workers())
        return self._hold("docker pause of a worker", container, self._a_while(), ["pause", container], ["unpause", container])

    def leave_network(self):
        container, network = self.chance.choice(self.cluster.workers()), f"{self.cluster.project}_cluster"
        leave, come_back = ["network", "disconnect", network, container], ["network", "connect", network, container]
        return self._hold("docker network disconnect of a worker", container, self._a_while(), leave, come_back)

    def cut_off(self):
        """A worker reaches the store and not the broker, or the other way round."""
        container, server = self.chance.choice(self.cluster.workers()), self.chance.choice(["rabbitmq", "garage"])
        address = self.cluster.ip(self.cluster.containers[server][0])

        def route(action):
            pid = self.cluster.pid(container)
            if pid and address:
                subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", "route", action, "blackhole", address], stderr=subprocess.DEVNULL)

        kind = f"a worker cut off from {'the broker' if server == 'rabbitmq' else 'the store'}"
        return self._hold(kind, container, self._a_while(), lambda: route("add"), lambda: route("del"))

    def restart_broker(self):
        return self._restart("rabbitmq", lambda: all(map(self.cluster.is_ready, self.cluster.workers())))

    def restart_store(self):
        return self._restart("garage", self._store_works)

    def _restart(self, service, works):
        container, name = self.cluster.containers[service][0], {"rabbitmq": "RabbitMQ", "garage": "Garage"}[service]
        before = self.cluster.pid(container)
        if self.chance.random() < 0.5:
            kind, strike = f"SIGKILL of {name}", lambda: self.cluster.kill(container)
        else:
            kind, strike = f"restart of {name}", ["restart", container]
        again = lambda: self.cluster.pid(container) not in (0, before) and works()  # noqa: E731
        return self._hold(kind, container, 0, strike, lambda: None, again)

    def fill_disk(self):
        ballast = self.cluster.disk / "ballast"
        return self._hold("full disk in the store", self.cluster.containers["garage"][0], self.chance.uniform(5, 15), lambda: fill(ballast), lambda: ballast.unlink(), self._store_works)

    def _store_works(self):
        try:
            self.cluster.objects.put("incoming", "chaos/works", b"it does")
            return True
        except (Unavailable, ValueError):
            return False

    def _hold(self, kind, container, seconds, begin, end, works=None):
        """In a thread of its own, since other faults come meanwhile; whether it could, as one at a time does so."""
        if not self.holding.acquire(blocking=False):
            return False
        services = [service for service, containers in self.cluster.containers.items() if container in containers]
        strike = Strike(kind, services[0])
        do = lambda step: step() if callable(step) else docker(*step, check=False)  # noqa: E731

        def hold():
            try:
                do(begin)
                time.sleep(seconds)
            finally:
                do(end)
            self._wait(strike, works or (lambda: self.cluster.is_ready(container)))
            self.holding.release()

        self._start(strike, hold)
        return True

    def _watch(self, strike, works):
        self._start(strike, lambda: self._wait(strike, works))

    def _start(self, strike, work):
        say(f"{strike.kind} ({strike.struck})")
        self.strikes.append(strike)
        self.threads.append(threading.Thread(target=work))
        self.threads[-1].start()

    def _wait(self, strike, works):
        try:
            strike.recovery_s = until(strike.kind, works, RECOVERY_S, 0.1)
        except TimeoutError as error:
            say(str(error))

    def end(self):
        """Waits until everything works again."""
        for thread in self.threads:
            thread.join()


def fill(path):
    """Takes all that is left of a disk."""
    block = bytes(1 << 20)
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(block)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


# How often each comes, apart from kills.
WEIGHTS = {"stop": 4, "pause": 2, "leave_network": 2, "cut_off": 2, "restart_broker": 2, "restart_store": 2, "fill_disk": 1}


def strike_for(faults, seconds, kills):
    """Every kind at least once if there is time, then by chance, and as many kills as are asked for, spread over the time."""
    chance, begun = faults.chance, time.monotonic()
    chance.shuffle(faults.owed)
    while (passed := time.monotonic() - begun) < seconds:
        if faults.kills() < kills * passed / seconds:
            faults.kill()
        else:
            name = (faults.owed or chance.choices(list(WEIGHTS), WEIGHTS.values()))[0]
            if getattr(faults, name)() and name in faults.owed:
                faults.owed.remove(name)
        time.sleep(chance.uniform(0.3, 1.0) * min(5, seconds / (kills + 20)))
    while faults.kills() < kills:
        faults.kill()
        time.sleep(0.5)
