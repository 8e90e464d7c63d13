"""Trainings in a cluster to which harm is done: some that go on from their checkpoints, one whose process dies whenever it
begins, one with a segment that is longer than the broker waits."""

import itertools
import json
import math
import subprocess

from containers import BUILT, VHOST, docker, say, until
from evidence import Joins, jobs_without_an_end, marker_path

RUN = "drawn"
EPOCHS = 20
# As many disturbed trainings follow one another as take about as long as the harm: their segments have to be shorter than the
# time between two kills, or none would ever end.
MINUTES_A_TRAINING = 3
# How many patches an epoch has, so that a training takes about so long.
PATCHES_A_MINUTE = 100
# No kill comes within that time of a start, but the one that is meant.
START_S = 120
# The shortest that may be asked of RabbitMQ, which looks once a minute.
LEASE_S = 60
LONG_S = 3 * LEASE_S
LONG_PATIENCE_S = 1800


class Trainings:
    def __init__(self, cluster, folder):
        self.cluster, self.folder = cluster, folder

    def draw(self):
        """Scans that people have drawn masks on; afterwards the store has a model."""
        command = [BUILT / "modiolus", "phantom", "--patients", "3", "--files", "30", "--seed", "1", "--output", "drawn", "--truth", "truth"]
        subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
        self.cluster.tool("submit", "drawn", "--name", RUN, "--wait")
        self.cluster.tool("annotations", "import", "truth/masks", "--run", RUN, "--keep-patient-ids", "--wait")
        version = json.loads(self.cluster.tool("status", RUN, "--json"))["model"]
        self.model = json.loads(self.cluster.tool("models", "show", version, "--cluster", "--json"))

    def begin(self, name, epochs, patches):
        """Starts a training of the model that the store begins with; its id, which is also its run's."""
        plan = self.model["plan"] | {"name": name, "epochs": epochs, "rehearsal": 0, "frozen_norm": True}
        plan["input"] = plan["input"] | {"patch": 64, "patches": int(patches)}
        (self.folder / f"{name}.json").write_text(json.dumps(plan))
        training = json.loads(self.cluster.tool("retrain", "--plan", f"{name}.json", "--json"))["training"]
        say(f"{training} is the training {name}")
        return training

    def begin_disturbed(self, minutes):
        """Starts as many as fill the time; their runs."""
        self.patches = PATCHES_A_MINUTE * min(minutes, MINUTES_A_TRAINING)
        count = math.ceil(minutes / MINUTES_A_TRAINING)
        self.disturbed = [self.begin(f"disturbed-{number}", EPOCHS, self.patches) for number in range(count)]
        return self.disturbed

    def epochs_in_log(self, training):
        """The epochs that a training's last segment tells of."""
        segments = json.loads(self.cluster.objects.get("runs", f"{training}/run.json"))
        assert len(segments["chunks"]) == 1, "a training is one chain"
        logs = sorted(path for path in self.cluster.objects.list("models", f"training/{training}/") if path.endswith(".json"))
        return [epoch["epoch"] for epoch in json.loads(self.cluster.objects.get("models", logs[-1]))] if logs else []

    def judge_disturbed(self, work):
        """The figures of all that were disturbed, and what is wrong with them."""
        figures, wrong = {"segments of trainings": 0, "segments begun again": 0}, []
        for training in self.disturbed:
            segments, again, faulty = self._judge(training, work)
            figures["segments of trainings"] += segments
            figures["segments begun again"] += again
            wrong += [f"{training}: {what}" for what in faulty]
        return figures, wrong

    def _judge(self, training, work):
        """How many segments a training has, how often one was begun again, and what is wrong with it. Harm may cost the segment
        in hand, however often it is tried; none that was done before is ever begun again."""
        missing, segments, _ = jobs_without_an_end(self.cluster.objects, training)
        begun = [job for _, job in work.begun_in_order(self.segments(training))]
        turns = [job for job, _ in itertools.groupby(begun)]
        wrong = [f"segments are missing: {missing}"] if missing else []
        if (epochs := self.epochs_in_log(training)) != list(range(1, EPOCHS + 1)):
            wrong.append(f"its epochs are {epochs}")
        if len(turns) != len(set(turns)):
            wrong.append(f"it went back to a segment before: {turns}")
        return segments, len(begun) - len(set(begun)), wrong

    def segments(self, training):
        """The jobs of a training, as far as they have ended."""
        paths = self.cluster.objects.list("runs", f"{training}/jobs/")
        return {path.rsplit("/", 1)[1].removesuffix(".json") for path in paths}

    def first(self, training):
        return json.loads(self.cluster.objects.get("runs", f"{training}/run.json"))["chunks"][0]

    def doom(self):
        """A job that ends its process whenever it begins; how many processes it took with it before it was given up."""
        training = self.begin("doomed", EPOCHS, 100_000)
        job, container = self.first(training), self.cluster.containers["train"][0]
        kills = 0
        is_given_up = lambda: self.cluster.objects.get("runs", marker_path(training, 0, job)) is not None  # noqa: E731
        while True:
            until("the job begins again or is given up", lambda: self.said(container, "a job begins", job) > kills or is_given_up(), START_S)
            if is_given_up():
                return kills
            # Not by its process: docker would wait longer and longer before it starts it again.
            docker("kill", container)
            kills += 1
            docker("start", container)

    def outlive(self, work):
        """A segment that is longer than the broker waits; what is wrong with how it went."""
        times = [work.seconds_a_segment(self.segments(training)) for training in self.disturbed]
        usual = min((seconds for seconds in times if seconds is not None), default=None)
        if usual is None:
            return ["no disturbed training came to its second segment: how large a long one is can't be told"]
        policy = self.cluster.ask("GET", f"policies/{VHOST}/train")
        policy["definition"]["consumer-timeout"] = 1000 * LEASE_S
        self.cluster.ask("PUT", f"policies/{VHOST}/train", {key: policy[key] for key in ["pattern", "definition", "priority", "apply-to"]})
        training = self.begin("long", 1, LONG_S / usual * self.patches * EPOCHS / 10)
        joins = Joins(self.cluster.objects, [training])
        try:
            until("the long training is done and its queue empty", lambda: not joins.open and self.cluster.is_idle(), LONG_PATIENCE_S, 2)
        finally:
            joins.end()
        job, container = self.first(training), self.cluster.containers["train"][0]
        hands, begins = self.said(container, "a job is in hand", job), self.said(container, "a job begins", job)
        wrong = [] if begins == 1 else [f"the long job was begun {begins} times"]
        return wrong + ([] if hands > 1 else ["the long job did not outlive the broker's patience: it proves nothing"])

    def said(self, container, message, job):
        """How often a worker has said that of a job."""
        logs = subprocess.run(["docker", "logs", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        return sum(f'"{message}"' in line and job in line for line in logs.stdout.splitlines())
