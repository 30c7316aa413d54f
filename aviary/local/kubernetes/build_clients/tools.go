//go:build tools

// Package clients pins the programs by which people reach a cluster.
package clients

import (
	_ "helm.sh/helm/v4/cmd/helm"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
