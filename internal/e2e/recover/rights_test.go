package recover

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/flipworld"
	"github.com/drctl/drctl/internal/lab/rights"
)

// grantedRights are those of docs/rbac-recover.yaml, given to a user who has no others.
type grantedRights struct {
	*rights.Granted
	// environment runs drctl as that user, with S3 keys from the cluster.
	environment []string
}

func grantRecover(t *testing.T, w *flipworld.World) *grantedRights {
	t.Helper()
	granted, err := rights.Grant(t.Context(), w.Kubernetes, "docs/rbac-recover.yaml", lab.NobodyUser)
	require.NoError(t, err)
	config, err := w.Kubernetes.RESTConfigFor(lab.NobodyUser)
	require.NoError(t, err)
	kubeconfig, err := w.Proxy.Kubeconfig(config)
	require.NoError(t, err)
	return &grantedRights{granted, []string{"KUBECONFIG=" + kubeconfig, "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="}}
}

// requireLeast holds the shipped rights to the requests that the API server saw: each was allowed, and no
// right is there that none of them needed.
func (g *grantedRights) requireLeast(t *testing.T) {
	t.Helper()
	require.NoError(t, g.Least(false))
}
