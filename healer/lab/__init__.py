"""A simulated GPU cluster that speaks Prometheus' and Kubernetes' HTTP APIs.

Healer reaches it with the adapters it uses everywhere; nothing outside this
package knows that it is there.
"""
