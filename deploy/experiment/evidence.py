"""What a cluster was made to do, and whether it did it: from its store, its dead letters and its workers' logs."""

import collections
import datetime
import itertools
import json
import statistics
import threading
import time

from objects import Unavailable

LOOK_S = 0.5


def marker_path(run, chunk, job):
    return f"{run}/jobs/{chunk:06}/{job}.json"


def jobs_without_an_end(objects, run):
    """The jobs of a run that have no marker, as far as they are known; the number of those that have one; the failed."""
    manifest = objects.get("runs", f"{run}/run.json")
    if manifest is None:
        return [run], 0, []
    chunks = json.loads(manifest)["chunks"]
    missing, ended, failed = [], 0, []
    for chunk, first in enumerate(chunks):
        open_, seen = [first], {first}
        while open_:
            job = open_.pop()
            marker = objects.get("runs", marker_path(run, chunk, job))
            if marker is None:
                missing.append(job)
                continue
            marker = json.loads(marker)
            ended += 1
            if marker["outcome"]["outcome"] != "done":
                failed.append(job)
            following = [follower for follower in marker["followers"] if follower not in seen]
            seen.update(following)
            open_ += following
    return missing, ended, failed


class Joins:
    """Looks when runs are said to be done, and whether they are at that moment."""

    def __init__(self, objects, runs):
        self.objects, self.open, self.early, self.fired = objects, set(runs), {}, {}
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()

    def _watch(self):
        while self.open and not self.stopped.wait(LOOK_S):
            for run in sorted(self.open):
                try:
                    if self.objects.get("runs", f"{run}/done.json") is not None:
                        missing, _, _ = jobs_without_an_end(self.objects, run)
                        self.fired[run], self.early[run] = time.time(), missing
                        self.open.discard(run)
                except Unavailable:
                    continue

    def end(self):
        self.stopped.set()
        self.thread.join()


def dead_letters(cluster):
    """How many dead letters there are, by stage and code."""
    letters = json.loads(cluster.tool("dead", "list", "--json"))
    return collections.Counter((letter["stage"], letter["code"]) for letter in letters), letters


class Work:
    """What the workers say in their logs about jobs in hand."""

    def __init__(self, lines):
        self.begun, self.redelivered, self.again, self.order = collections.Counter(), 0, 0, []
        for container, line in lines:
            fields = line.get("fields", line)
            message = fields.get("message")
            if message == "a job begins":
                self.begun[fields["stage"], fields["job"]] += 1
                self.order.append((line.get("timestamp"), fields["stage"], fields["job"]))
            elif message == "a job was done before":
                self.again += 1
            elif message == "a job is in hand" and int(fields["returns"]) > 0:
                self.redelivered += 1

    def begun_in_order(self, segments):
        """The segments of a training in the order in which they were begun, each as often as it was, and when."""
        return [(datetime.datetime.fromisoformat(at), job) for at, stage, job in sorted(self.order) if stage == "train" and job in segments]

    def seconds_a_segment(self, segments):
        """The shortest time between the beginnings of two segments of a training that follow each other; None where none did."""
        pairs = itertools.pairwise(self.begun_in_order(segments))
        return min(((after - before).total_seconds() for (before, job), (after, next_) in pairs if job != next_), default=None)

    def repeated_percent(self):
        """How much of the work was done again, in jobs."""
        return 100 * (sum(self.begun.values()) - len(self.begun)) / max(1, len(self.begun))


def percentile(values, part):
    """The value below which this part of all lies; None where there is none."""
    values = sorted(values)
    if len(values) < 2:
        return values[0] if values else None
    return statistics.quantiles(values, n=100, method="inclusive")[part - 1]
