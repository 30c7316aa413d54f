//go:build tools

// Package build pins the programs of a small Kubernetes.
package build

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "istio.io/istio/pilot/cmd/pilot-discovery"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "sigs.k8s.io/gateway-api/apis/v1"
)
