"""The Kubernetes API as the simulated cluster serves it.

Read `resources` (what exists), `store` (objects, versions, history), `routes` (paths to
verbs), then what the verbs need: `patches`, `selectors`, `validation`, `eviction`, `watch`,
`discovery`, `tables`.
"""
