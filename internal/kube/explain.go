package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/recovery"
)

// workOffline is the way out when the API server can't be used.
const workOffline = "or work without the cluster: --offline --gitops DIR"

// explain turns an error of client-go into one that a person can act on. A cancellation by the caller
// stays what it is.
func (c *Client) explain(ctx context.Context, what string, gvr schema.GroupVersionResource, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	problem := &recovery.Problem{What: what}
	switch {
	case apierrors.IsUnauthorized(err) || isCredentialFailure(err):
		problem.Why = fmt.Sprintf("the API server %s refused the credentials%s: expired or invalid", c.server, c.ofContext())
		problem.Next = "log in to the cluster again, give another --context or --kubeconfig, " + workOffline
		problem.Err = errors.Join(recovery.ErrDenied, err)
	case apierrors.IsForbidden(err):
		problem.Why = "the API server forbids it to this user"
		problem.Next = "have the ClusterRole of docs/rbac-read.yaml bound to you"
		problem.Err = errors.Join(recovery.ErrDenied, err)
	case apierrors.IsNotFound(err) && gvr.Group != "":
		problem.Why = fmt.Sprintf("the cluster does not know %s of %s", gvr.Resource, gvr.GroupVersion())
		problem.Next = installHint(gvr.Group)
		problem.Err = errors.Join(recovery.ErrNotFound, err)
	default:
		problem.Why = fmt.Sprintf("the API server %s%s does not answer as it should: %s", c.server, c.ofContext(), reason(err))
		problem.Next = "check the network and --context, " + workOffline
		problem.Err = errors.Join(recovery.ErrUnreachable, err)
	}
	return problem
}

func (c *Client) ofContext() string {
	if c.context == "" {
		return ""
	}
	return " of context " + c.context
}

// isCredentialFailure: the kubeconfig's login program or token file failed before any request was sent.
// client-go has no type for it. Source: client-go plugin/pkg/client/auth/exec.
func isCredentialFailure(err error) bool {
	return strings.Contains(err.Error(), "getting credentials: ")
}

// reason is a short text for an error of the transport or of the server.
func reason(err error) string {
	var status apierrors.APIStatus
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", requestTimeout)
	case apierrors.IsNotFound(err):
		return "it is not a Kubernetes API (404)"
	case errors.As(err, &status):
		return fmt.Sprintf("HTTP %d, %s", status.Status().Code, err)
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
		if strings.Contains(err.Error(), "dial ") || strings.Contains(err.Error(), "x509") {
			break // the address and the certificate's fault are what helps; the bare errno is not
		}
	}
	return err.Error()
}

// installHint says what a missing API group means.
func installHint(group string) string {
	switch group {
	case "volsync.backube":
		return "expected where VolSync is not installed; else install the VolSync fork with the Kopia mover"
	case "postgresql.cnpg.io":
		return "expected where CloudNativePG is not installed; else install its operator"
	case "barmancloud.cnpg.io":
		return "install the barman-cloud plugin of CloudNativePG, or remove it from the Cluster's spec.plugins"
	default:
		return "install the component that brings " + group
	}
}
