"""Proof that a command stream computes the golden graph, as far as it can be read; see docs/guide/ethosu-audit.md."""

from codesign.backends.ethosu.audit.result import Audit, LayerAudit, Row, Verdict
from codesign.backends.ethosu.audit.walk import audit

__all__ = ["Audit", "LayerAudit", "Row", "Verdict", "audit"]
