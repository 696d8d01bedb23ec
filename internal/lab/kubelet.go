package lab

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// NodeName is the lab's only node.
const NodeName = "lab-node"

// NodeOptions say what the node runs.
type NodeOptions struct {
	// Manager is CloudNativePG's program, which its Pods run: as the operator's image has it at /manager.
	// Empty where no databases run; then neither PostgreSQL nor Barman is needed.
	Manager string
	// Mover is the folder that VolSync's movers have at /mover-kopia, as their image has it: see MoverImage.
	// Empty where none run.
	Mover string
	// Scheduled leaves it to kube-scheduler to choose a node. Without it the node takes every Pod.
	Scheduled bool
}

// Node stands for a kubelet and its container runtime. The Pods of CloudNativePG and VolSync's movers really
// run: their own commands, with the machine's programs for an image, in namespaces of their own, with their
// volumes mounted, their ServiceAccount's token, their probes, exec and logs. Every other Pod is merely
// said to run, or to have succeeded if a Job owns it; unless its first container's image is of broken.invalid/,
// which cannot be pulled, or ends in "-failing", by which a Job's Pod fails.
type Node struct {
	stack       *Stack
	kubernetes  *Kubernetes
	provisioner *Provisioner
	account     *postgresAccount
	client      kubernetes.Interface
	options     NodeOptions
	dir         string
	port        int
	pods        corelisters.PodLister

	mu      sync.Mutex
	reach   []int
	runners map[types.UID]*podRunner
	working sync.WaitGroup
	closed  bool
}

// Node registers the lab's node and runs its Pods until Close.
func (s *Stack) Node(ctx context.Context, k *Kubernetes, p *Provisioner, o NodeOptions) (*Node, error) {
	if err := needsNode(); err != nil {
		return nil, err
	}
	account := &postgresAccount{}
	if o.Manager != "" {
		var err error
		if account, err = findPostgres(); err != nil {
			return nil, err
		}
	}
	client, err := kubernetes.NewForConfig(k.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("lab: client of the node: %w", err)
	}
	n := &Node{
		stack: s, kubernetes: k, provisioner: p, account: account, client: client, options: o,
		reach: []int{k.port}, runners: map[types.UID]*podRunner{},
	}
	if n.dir, err = s.Dir(fmt.Sprintf("node-%d", k.port)); err != nil {
		return nil, err
	}
	if err := n.serve(ctx); err != nil {
		return nil, err
	}
	if err := n.register(ctx); err != nil {
		return nil, err
	}
	s.background(ctx, n.renew)
	return n, n.watch(ctx)
}

// watch follows all Pods. What is to be done for one is always decided from its newest state.
func (n *Node) watch(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(n.client, 0)
	informer := factory.Core().V1().Pods().Informer()
	n.pods = factory.Core().V1().Pods().Lister()
	n.stack.Defer(func() error { factory.Shutdown(); return nil })
	running := n.stack.background(ctx, func(ctx context.Context) {
		<-ctx.Done()
		n.end()
	})
	see := func(object any) {
		if pod, ok := object.(*corev1.Pod); ok {
			n.see(running, pod)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: see, UpdateFunc: func(_, object any) { see(object) }, DeleteFunc: n.gone,
	})
	if err != nil {
		return fmt.Errorf("lab: watch Pods: %w", err)
	}
	factory.Start(running.Done())
	factory.WaitForCacheSync(running.Done())
	return nil
}

// see starts a runner for a Pod that has none, and tells the one it has what it is now.
func (n *Node) see(ctx context.Context, pod *corev1.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	runner := n.runners[pod.UID]
	switch {
	case n.closed:
	case runner != nil:
		if pod.DeletionTimestamp != nil {
			runner.terminate(pod)
		}
	case pod.Spec.NodeName == "" && !n.options.Scheduled && pod.DeletionTimestamp == nil:
		n.working.Go(func() { n.bind(ctx, pod) })
	case pod.Spec.NodeName == NodeName:
		runner = n.newRunner(pod)
		n.runners[pod.UID] = runner
		if pod.DeletionTimestamp != nil {
			runner.terminate(pod)
		}
		n.working.Go(func() { runner.run(ctx) })
	}
}

// gone forgets a Pod whose object was removed, also by force.
func (n *Node) gone(object any) {
	if stale, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = stale.Obj
	}
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if runner := n.runners[pod.UID]; runner != nil {
		runner.forget()
		delete(n.runners, pod.UID)
	}
}

func (n *Node) bind(ctx context.Context, pod *corev1.Pod) {
	binding := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: NodeName},
	}
	// A Pod that is gone, or bound already, needs no second attempt; its next event tells.
	if err := n.client.CoreV1().Pods(pod.Namespace).Bind(ctx, binding, metav1.CreateOptions{}); err != nil && ctx.Err() == nil {
		n.stack.Logf("bind %s/%s: %v", pod.Namespace, pod.Name, err)
	}
}

// end kills what runs. (The databases are not asked to stop: a lab that ends has no more use for them.)
func (n *Node) end() {
	n.mu.Lock()
	n.closed = true
	for _, runner := range n.runners {
		runner.forget()
	}
	n.mu.Unlock()
	n.working.Wait()
}

// Reach lets all Pods, those of now and of later, connect to a server on 127.0.0.1 by its URL, besides the
// API server: MinIO, or a proxy in front of it.
func (n *Node) Reach(serverURL string) error {
	parsed, err := url.Parse(serverURL)
	if err != nil {
		return fmt.Errorf("lab: let Pods reach %q: %w", serverURL, err)
	}
	port, err := strconv.Atoi(parsed.Port())
	if err != nil {
		return fmt.Errorf("lab: let Pods reach %q: no port: %w", serverURL, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if slices.Contains(n.reach, port) {
		return nil
	}
	n.reach = append(n.reach, port)
	for _, runner := range n.runners {
		if err := runner.reach(port); err != nil {
			return err
		}
	}
	return nil
}

// find is the runner of a Pod by its name, nil when it does not run here.
func (n *Node) find(namespace, name string) *podRunner {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, runner := range n.runners {
		if runner.pod.Namespace == namespace && runner.pod.Name == name {
			return runner
		}
	}
	return nil
}

// serve starts what the API server asks for exec and logs.
func (n *Node) serve(ctx context.Context) error {
	certificate, key, err := n.kubernetes.authority.IssueServer(n.dir, "kubelet")
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("lab: listen for exec: %w", err)
	}
	n.port = listener.Addr().(*net.TCPAddr).Port
	server := &http.Server{Handler: n.handler(), ReadHeaderTimeout: time.Minute, ErrorLog: silent()}
	n.stack.background(ctx, func(ctx context.Context) {
		<-ctx.Done()
		_ = server.Close()
	})
	go func() { _ = server.ServeTLS(listener, certificate, key) }()
	return nil
}
