"""A module that takes down whoever imports it."""

import os

os._exit(3)
