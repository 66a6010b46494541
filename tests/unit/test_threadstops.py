"""Raising an exception in another thread leaves nothing behind."""

import subprocess
import sys

PROGRAM = """
import sys, threading, time
from alligator_sql import threadstops
from alligator_sql.context import TaskContext
from alligator_sql.exceptions import TaskCanceled

def task():
    while True:
        time.sleep(0.001)

def run(context):
    try:
        threadstops.call(context, task)
    except TaskCanceled:
        print("stopped")

context = TaskContext()
thread = threading.Thread(target=run, args=(context,))
thread.start()
time.sleep(0.1)
context.interrupt(TaskCanceled())
thread.join()
sys.settrace(lambda *_: None)
for _ in range(3):
    context.progress(1)
print("went on")
"""


def test_an_interpreter_that_is_traced_goes_on() -> None:
    """A tracer makes visible that the interpreter still looks for an exception: it hangs then."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split("\n")[:2] == ["stopped", "went on"]
