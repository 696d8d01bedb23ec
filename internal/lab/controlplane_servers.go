package lab

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
)

// startTimeout allows for a machine whose cores are busy with other builds; alone, the API server is
// ready in about five seconds.
const startTimeout = 3 * time.Minute

func (k *Kubernetes) startEtcd(ctx context.Context) error {
	client, err := FreePort()
	if err != nil {
		return err
	}
	peer, err := FreePort()
	if err != nil {
		return err
	}
	k.etcdURL = fmt.Sprintf("http://127.0.0.1:%d", client)
	peerURL := fmt.Sprintf("http://127.0.0.1:%d", peer)
	_, err = k.stack.Start(ctx, Command{
		Name: fmt.Sprintf("etcd-%d", k.port), Path: k.program, Dir: k.dir,
		Args: []string{
			"etcd", "--name=lab", "--data-dir=" + k.path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls=" + k.etcdURL, "--advertise-client-urls=" + k.etcdURL,
			"--listen-peer-urls=" + peerURL, "--initial-advertise-peer-urls=" + peerURL, "--initial-cluster=lab=" + peerURL,
		},
		Ready:        func(ctx context.Context) error { return answersOK(ctx, http.DefaultClient, k.etcdURL+"/health") },
		ReadyTimeout: startTimeout,
	})
	return err
}

// startAPIServer is also the second half of a restart, so it reads nothing that changes in between.
func (k *Kubernetes) startAPIServer(ctx context.Context) (*Process, error) {
	client, err := rest.HTTPClientFor(k.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("lab: client of the API server: %w", err)
	}
	key := k.path("service-account.key")
	return k.stack.Start(ctx, Command{
		Name: fmt.Sprintf("kube-apiserver-%d", k.port), Path: k.program, Dir: k.dir,
		Args: []string{
			"kube-apiserver", "--etcd-servers=" + k.etcdURL,
			"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", k.port),
			"--tls-cert-file=" + k.path("apiserver.crt"), "--tls-private-key-file=" + k.path("apiserver.key"),
			"--service-account-key-file=" + key, "--service-account-signing-key-file=" + key,
			"--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.0.0.0/24",
			"--authorization-mode=RBAC", "--token-auth-file=" + k.path("tokens.csv"),
			// No Pod ever needs a token here, and the plugin would hold Pods back until their account exists.
			"--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none",
			"--audit-policy-file=" + k.path("audit-policy.yaml"), "--audit-log-path=" + k.path("audit.log"), "--audit-log-mode=blocking",
			// Marks in the log count from its beginning, and it would be begun anew at 100 MB.
			"--audit-log-maxsize=4096",
			"--shutdown-delay-duration=0s",
		},
		Ready:        func(ctx context.Context) error { return answersOK(ctx, client, k.URL+"/readyz") },
		ReadyTimeout: startTimeout,
	})
}

func (k *Kubernetes) startControllers(ctx context.Context, o ControlPlaneOptions) error {
	// Neither serves anything, so there is no port to wait for: they are ready when they act.
	common := []string{"--kubeconfig=" + k.Kubeconfig, "--leader-elect=false", "--secure-port=0"}
	if o.ControllerManager {
		args := append([]string{"kube-controller-manager"}, common...)
		args = append(args, "--use-service-account-credentials=true",
			"--service-account-private-key-file="+k.path("service-account.key"), "--root-ca-file="+k.path("ca.crt"))
		if o.ControllerQPS > 0 {
			args = append(args, fmt.Sprintf("--kube-api-qps=%d", o.ControllerQPS), fmt.Sprintf("--kube-api-burst=%d", 2*o.ControllerQPS))
		}
		if err := k.startController(ctx, args); err != nil {
			return err
		}
	}
	if o.Scheduler {
		return k.startController(ctx, append([]string{"kube-scheduler"}, common...))
	}
	return nil
}

func (k *Kubernetes) startController(ctx context.Context, args []string) error {
	_, err := k.stack.Start(ctx, Command{
		Name: fmt.Sprintf("%s-%d", args[0], k.port), Path: k.program, Dir: k.dir, Args: args,
	})
	return err
}

func answersOK(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
