"""Jobs that do nothing, as Dramatiq does them when nothing may be lost.

usage: dramatiq_jobs.py COUNT [follower]      fills the queue; then: python -m dramatiq dramatiq_jobs
ADDRESS is the broker's, TIMES the file to which each job writes when it was done.
"""

import os
import struct
import sys
import time

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker


class QuorumBroker(RabbitmqBroker):
    def _build_queue_arguments(self, queue_name):
        return {**super()._build_queue_arguments(queue_name), "x-queue-type": "quorum"}


broker = QuorumBroker(url=os.environ["ADDRESS"], confirm_delivery=True)
dramatiq.set_broker(broker)
times = os.open(os.environ["TIMES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def nothing(follows):
    if follows:
        after.send()
    os.write(times, struct.pack("d", time.monotonic()))


nothing = dramatiq.actor(nothing, actor_name="nothing", queue_name="dramatiq-jobs")


@dramatiq.actor(queue_name="dramatiq-next")
def after():
    pass


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        nothing.send("follower" in sys.argv)
