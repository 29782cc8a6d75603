"""Kubernetes' own controllers, as plain functions of a store and a moment.

Each module is one controller: `reconcile(store, now)` looks at the world afresh and takes one
round of steps towards what is declared. Nothing here waits, and nothing is random.
"""
