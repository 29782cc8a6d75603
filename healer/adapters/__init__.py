"""The only code that touches clock, network and disk on the engine's behalf.

Each module fulfils one port of `healer.ports` and translates foreign exceptions
into `healer.errors` at its edge.
"""
