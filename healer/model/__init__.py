"""Frozen values: everything the pipeline hands from one stage to the next.

Nothing here touches clock, network or disk, and nothing here is ever changed
in place. Read `snapshot` → `finding` → `incident` → `hypothesis` → `plan` →
`verdict` → `intent` → `audit`, in the order of the loop.
"""
