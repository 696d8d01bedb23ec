package argocd

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

func TestSettled(t *testing.T) {
	const automated = "spec: {syncPolicy: {automated: {selfHeal: true}}}\n"
	tests := map[string]struct {
		app   string
		stuck bool
		why   string
	}{
		"at rest":          {automated + "status: {sync: {status: Synced, revision: c1}, health: {status: Healthy}}", false, ""},
		"at rest, by hand": {"status: {sync: {status: Synced, revision: c1}, health: {status: Healthy}}", false, ""},
		"at rest, after an older failure": {
			automated + "status: {sync: {status: Synced, revision: c1}, health: {status: Healthy}, operationState: {phase: Failed, syncResult: {revision: c0}}}", false, "",
		},
		"an operation runs": {
			automated + "status: {sync: {status: Synced, revision: c1}, health: {status: Healthy}, operationState: {phase: Running, message: waiting}}",
			false, "an operation runs",
		},
		"gave up": {
			automated + "status: {sync: {status: OutOfSync, revision: c1}, health: {status: Missing}, operationState: {phase: Failed, message: denied, syncResult: {revision: c1}}}",
			true, "Argo CD gave up",
		},
		"behind, and on its way":       {automated + "status: {sync: {status: OutOfSync, revision: c1}, health: {status: Healthy}}", false, "its sync status is OutOfSync"},
		"behind, and nobody syncs":     {"status: {sync: {status: OutOfSync, revision: c1}, health: {status: Healthy}}", true, "its sync status is OutOfSync"},
		"not compared":                 {automated + "status: {sync: {status: Unknown}}", false, "its sync status is Unknown"},
		"not healthy":                  {automated + "status: {sync: {status: Synced, revision: c1}, health: {status: Progressing}}", false, "its health is Progressing"},
		"nothing known":                {automated, false, "its sync status is not known"},
		"healthy, but unknown to sync": {"status: {health: {status: Healthy}}", false, "its sync status is not known"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			api := &fake{apps: []*unstructured.Unstructured{application(t, "karakeep", test.app)}}
			app, stuck, why, err := Settled(t.Context(), api, "argocd", "karakeep")
			require.NoError(t, err)
			require.Equal(t, "karakeep", app.Name)
			require.Equal(t, test.stuck, stuck)
			if test.why == "" {
				require.Empty(t, why)
			} else {
				require.Contains(t, why, test.why)
			}
		})
	}
	_, _, _, err := Settled(t.Context(), &fake{}, "argocd", "gone")
	require.ErrorIs(t, err, recovery.ErrNotFound)
}
