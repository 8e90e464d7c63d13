"""Jobs that do nothing, as Celery does them when nothing may be lost.

usage: celery_jobs.py COUNT [follower]      fills the queue; then: python -m celery -A celery_jobs worker
ADDRESS is the broker's, TIMES the file to which each job writes when it was done.
"""

import os
import struct
import sys
import time

from celery import Celery
from kombu import Queue

QUORUM = {"x-queue-type": "quorum"}

app = Celery("celery_jobs", broker=os.environ["ADDRESS"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    task_default_queue="celery-jobs",
    task_queues=[Queue(name, routing_key=name, queue_arguments=QUORUM) for name in ["celery-jobs", "celery-next"]],
    task_default_exchange="celery",
    task_default_routing_key="celery-jobs",
    broker_transport_options={"confirm_publish": True},
    worker_prefetch_multiplier=64,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)
times = os.open(os.environ["TIMES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@app.task(name="celery_jobs.nothing")
def nothing(follows):
    if follows:
        nothing.apply_async((False,), queue="celery-next", routing_key="celery-next")
    os.write(times, struct.pack("d", time.monotonic()))


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        nothing.apply_async(("follower" in sys.argv,))
