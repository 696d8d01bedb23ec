package storage

import (
	"context"
	"errors"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// claimLabel is what the platform's policy puts on what it generates for a claim.
	claimLabel = "volsync.backup/pvc"
	// triggerUID is Kyverno's own. Source: kyverno pkg/background/common/labels.go.
	triggerUID = "generate.kyverno.io/trigger-uid"
	// longestLabel is what a label's value may hold: for a longer name nothing can have been generated.
	longestLabel = 63
)

// Generated are Kyverno's objects for the claim of that name: the server's present state.
func (a *API) Generated(ctx context.Context, namespace, claim string) ([]recovery.GeneratedObject, error) {
	found := []recovery.GeneratedObject{}
	if len(claim) > longestLabel {
		return found, nil
	}
	for _, kind := range []gvr{core("secrets"), volsyncKind("replicationsources"), volsyncKind("replicationdestinations")} {
		objects, err := a.client.ListWhere(ctx, kind, namespace, managedBy+"=kyverno,"+claimLabel+"="+claim)
		if err != nil && !errors.Is(err, recovery.ErrNotFound) {
			return nil, err
		}
		for i := range objects {
			found = append(found, recovery.GeneratedObject{
				Kind: objects[i].GetKind(), Name: objects[i].GetName(), UID: string(objects[i].GetUID()), ClaimUID: objects[i].GetLabels()[triggerUID],
			})
		}
	}
	return found, nil
}
