// The controllers of Deployments, ReplicaSets, EndpointSlices, namespaces and garbage, and no other:
//
//	controllers KUBECONFIG     runs them
//	controllers key FILE       writes a key to sign tokens of service accounts with
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/signal"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/deployment"
	"k8s.io/kubernetes/pkg/controller/endpointslice"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/replicaset"
)

func key(file string) error {
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(made)
	if err != nil {
		return err
	}
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "key" {
		if err := key(os.Args[2]); err != nil {
			panic(err)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx = klog.NewContext(ctx, klog.Background())
	cfg, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	if err != nil {
		panic(err)
	}
	cfg.QPS, cfg.Burst = 200, 400
	c := kubernetes.NewForConfigOrDie(cfg)
	f := informers.NewSharedInformerFactory(c, 0)
	d, err := deployment.NewDeploymentController(ctx, f.Apps().V1().Deployments(), f.Apps().V1().ReplicaSets(), f.Core().V1().Pods(), c)
	if err != nil {
		panic(err)
	}
	r := replicaset.NewReplicaSetController(ctx, f.Apps().V1().ReplicaSets(), f.Core().V1().Pods(), c, replicaset.BurstReplicas)
	e := endpointslice.NewController(ctx, f.Core().V1().Pods(), f.Core().V1().Services(), f.Core().V1().Nodes(), f.Discovery().V1().EndpointSlices(), 100, c, 0*time.Second)
	m := metadata.NewForConfigOrDie(cfg)
	n := namespace.NewNamespaceController(ctx, c, m, c.Discovery().ServerPreferredNamespacedResources, f.Core().V1().Namespaces(), 5*time.Minute, v1.FinalizerKubernetes)
	mf := metadatainformer.NewSharedInformerFactory(m, 0)
	started := make(chan struct{})
	g, err := garbagecollector.NewGarbageCollector(ctx, c, m, restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.Discovery())), garbagecollector.DefaultIgnoredResources(), informerfactory.NewInformerFactory(f, mf), started)
	if err != nil {
		panic(err)
	}
	f.Start(ctx.Done())
	mf.Start(ctx.Done())
	close(started)
	go n.Run(ctx, 2)
	go g.Run(ctx, 2, 30*time.Second)
	go g.Sync(ctx, c.Discovery(), 5*time.Second)
	go d.Run(ctx, 2)
	go r.Run(ctx, 2)
	go e.Run(ctx, 2)
	<-ctx.Done()
}
