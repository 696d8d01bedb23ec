package lab

import (
	"context"
	"strconv"

	"k8s.io/client-go/rest"
)

// SecondAPIServer starts another API server on the same etcd, with the same users and certificates, as
// behind a load balancer in production: what one of them has noticed the other may not know yet. It gives
// AdminUser's client configuration of the second one. Stop and Restart mean the first one only; both write
// one audit log.
func (k *Kubernetes) SecondAPIServer(ctx context.Context) (*rest.Config, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	second := &Kubernetes{
		URL: "https://127.0.0.1:" + strconv.Itoa(port), Kubeconfig: k.Kubeconfig,
		stack: k.stack, program: k.program, dir: k.dir, authority: k.authority, tokens: k.tokens, etcdURL: k.etcdURL, port: port,
	}
	process, err := second.startAPIServer(ctx)
	if err != nil {
		return nil, err
	}
	k.stack.Defer(process.Kill)
	return second.RESTConfig(), nil
}
