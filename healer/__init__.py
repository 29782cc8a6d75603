"""The engine of Healer: one loop from observation to report.

Start reading at `healer.loop.Loop.tick`. Knowledge about GPUs, serving engines
and ways to heal lives in the plugin packages beside this one.
"""

__version__ = "0.1.0"
