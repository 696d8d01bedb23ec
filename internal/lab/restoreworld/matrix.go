package restoreworld

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/disturb"
)

// Copy is the name of a claim that is restored beside the one of the application.
const Copy = "data-look"

// Mode is one way to restore.
type Mode string

// The modes.
const (
	Replace Mode = "replace"
	InPlace Mode = "in-place"
	Beside  Mode = "beside"
)

// Modes is every mode.
func Modes() []Mode { return []Mode{Replace, InPlace, Beside} }

// Args is the whole command of a restore.
func (m Mode) Args(more ...string) []string {
	args := []string{"pvc", "restore", Namespace + "/" + Claim, "--yes"}
	switch m {
	case InPlace:
		args = append(args, "--mode", "in-place")
	case Beside:
		args = append(args, "--new-name", Copy)
	}
	return append(args, more...)
}

// isReturn is the request behind which there is no way back but through what is kept.
func (m Mode) isReturn(r lab.ProxyRequest) bool {
	switch m {
	case InPlace:
		return r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/replicationdestinations")
	case Beside:
		// A copy can be taken away again to the very end: its last request of all is as good as any.
		return r.Method == http.MethodDelete && strings.Contains(r.Path, "/leases/")
	}
	return r.Method == http.MethodDelete && strings.HasSuffix(r.Path, "/persistentvolumeclaims/"+Claim)
}

// NewMatrix makes the matrix of a mode in a world.
func NewMatrix(w *World, mode Mode, logf func(format string, args ...any)) *disturb.Matrix {
	return &disturb.Matrix{World: beginner{w, mode}, Proxy: w.Proxy, Return: mode.isReturn, Logf: logf}
}

type beginner struct {
	*World
	mode Mode
}

// Begin prepares one restore: a tree that nobody saw before is backed up, and then spoilt.
func (b beginner) Begin(ctx context.Context) (disturb.Attempt, error) {
	a, err := b.Attempt(ctx, b.mode)
	return a, err
}

// Attempt is one restore on one computer.
type Attempt struct {
	*Operator
	mode   Mode
	Before *State
	// Hash is that of the tree that is backed up, Backup the snapshot.
	Hash   string
	Backup lab.KopiaBackup
}

// Attempt prepares one restore.
func (w *World) Attempt(ctx context.Context, mode Mode) (*Attempt, error) {
	if err := w.Tidy(ctx); err != nil {
		return nil, err
	}
	if err := w.Settled(ctx); err != nil {
		return nil, err
	}
	o, err := w.NewOperator()
	if err != nil {
		return nil, err
	}
	a := &Attempt{Operator: o, mode: mode}
	if err := w.EmptyClaim(ctx, Namespace, Claim); err != nil {
		return nil, err
	}
	w.seeds += 2
	if a.Hash, err = w.FillClaim(ctx, Namespace, Claim, w.seeds); err != nil {
		return nil, err
	}
	if a.Backup, err = w.Backup(ctx, Namespace, Claim); err != nil {
		return nil, err
	}
	if err := w.spoil(ctx, w.seeds+1); err != nil {
		return nil, err
	}
	if err := w.atRest(ctx); err != nil {
		return nil, err
	}
	a.Before, err = w.Look(ctx)
	if err == nil && a.Before.Volumes[a.Before.Claims[Claim].Volume].Hash == a.Hash {
		err = fmt.Errorf("restoreworld: the volume was not spoilt")
	}
	return a, err
}

// spoil is what the incident did: some files are gone, some differ, some are new.
func (w *World) spoil(ctx context.Context, seed uint64) error {
	if err := w.EmptyClaim(ctx, Namespace, Claim); err != nil {
		return err
	}
	_, err := w.FillClaim(ctx, Namespace, Claim, seed)
	return err
}

// atRest waits until no mover of the platform's own is at work: what it makes and removes would be taken for
// drctl's.
func (w *World) atRest(ctx context.Context) error {
	deadline := time.Now().Add(2 * time.Minute)
	for {
		destinations, err := w.list(ctx, "volsync.backube", "v1alpha1", "replicationdestinations", "")
		if err != nil {
			return err
		}
		busy := ""
		for _, destination := range destinations {
			status, _ := destination.Object["status"].(map[string]any)
			if status["lastManualSync"] == nil {
				busy = destination.GetName()
			}
		}
		if busy == "" && (w.Kyverno == nil || len(destinations) > 0) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("restoreworld: ReplicationDestination %q does not come to rest", busy)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Operation is the whole command.
func (a *Attempt) Operation() []string { return a.mode.Args() }

// Done judges the world after the restore.
func (a *Attempt) Done(ctx context.Context) error {
	after, err := a.world.Look(ctx)
	if err != nil {
		return err
	}
	switch a.mode {
	case InPlace:
		return a.Before.InPlace(after, a.Hash)
	case Beside:
		return a.Before.Beside(after, Copy, a.Hash)
	}
	return a.Before.Replaced(after, a.Hash)
}

// Untouched judges a world in which nothing has happened, or everything was undone. A Lease of a dead process
// may be left: it expires, and holds nobody up on this computer.
//
// A volume goes a moment after its claim, and its folder after that: what is going is waited for.
func (a *Attempt) Untouched(ctx context.Context) error {
	const patience = 20 * time.Second
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Second) {
		err := a.untouched(ctx)
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
	}
}

func (a *Attempt) untouched(ctx context.Context) error {
	after, err := a.world.Look(ctx)
	if err != nil {
		return err
	}
	var left []string
	for _, object := range after.Left {
		if !strings.HasPrefix(object, "Lease ") {
			left = append(left, object)
		}
	}
	after.Left = left
	return a.Before.Untouched(after)
}

func snapshots() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshots"}
}

func applications() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}
}

// Plans are the IDs of the unfinished plans: what was taken back is begun anew.
func (a *Attempt) Plans() ([]string, error) { return disturb.UnfinishedPlans(a.Home) }
