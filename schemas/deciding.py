"""Which labels of an alert decide: left out last, where a label set is too large to be kept."""

from __future__ import annotations

from schemas.catalog import Catalog


class DecidingLabels:
    """Names of labels by which alerts are matched and judged; of each catalog found once."""

    def __init__(self) -> None:
        """Begin without a catalog."""
        self._catalog: Catalog | None = None
        self._found: frozenset[str] = frozenset()

    def __call__(self, catalog: Catalog) -> frozenset[str]:
        """Labels that may name the alert, its service, version or severity."""
        if catalog is not self._catalog:
            policies = [catalog.defaults.alerts]
            policies += [spec.alerts for spec in catalog.services.values() if spec.alerts]
            found = {"alertname", *catalog.alert_labels.service}
            for policy in policies:
                found |= {policy.severity_label, *policy.version_labels}
            # The names first: a reader in another thread finds the old pair, or the new one.
            self._found, self._catalog = frozenset(found), catalog
        return self._found
