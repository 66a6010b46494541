"""Random pauses: what happens to all at once must not come back at the same moment.

From the system, because an application may have seeded Python's generator, and forked
processes would share one of ours.
"""

from random import SystemRandom

uniform = SystemRandom().uniform
