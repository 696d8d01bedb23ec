package restore

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// Many restores many claims side by side: a plan of plans. Each claim has a plan of its own, with its own
// journal, so that one that fails stops nobody else, and each can be resumed or aborted by itself.
type Many struct {
	*Restore
	// Engine runs the plan of one claim; Plans keeps all of them.
	Engine func(namespace string) (*operation.Engine, error)
	Plans  *operation.Store
	// Events is told what happens in each claim's plan. It may be called from several goroutines.
	Events func(operation.Event)
	// Began says that a claim's turn has come, Ended how it ended. They may be nil.
	Began func(Child)
	Ended func(Child, error)

	prepared map[string]*Prepared
	resume   operation.ResumeOptions
}

// Child is one claim of many.
type Child struct {
	// Plan is the ID of its own plan.
	Plan string `json:"plan"`
	// Options hold the snapshot that was chosen when the whole was agreed to.
	Options Options `json:"options"`
	// SizeBytes is the snapshot's, for people.
	SizeBytes int64 `json:"sizeBytes"`
}

// Target is the claim.
func (c Child) Target() string { return c.Options.Namespace + "/" + c.Options.Name }

// ManyParams is the data of a plan of plans.
type ManyParams struct {
	Children []Child `json:"children"`
	Parallel int     `json:"parallel"`
}

// ManyParamsOf reads it.
func ManyParamsOf(plan *operation.Plan) (*ManyParams, error) {
	var p ManyParams
	if err := json.Unmarshal(plan.Params, &p); err != nil || plan.Operation != ManyOperation {
		return nil, &recovery.Problem{What: "read plan " + plan.ID, Why: "it is no " + ManyOperation, Next: "look at the files below drctl's state folder", Err: recovery.ErrDamaged}
	}
	return &p, nil
}

// Refusal is a claim that cannot be restored, and why.
type Refusal struct {
	Target string
	Err    error
}

// uniqueIDs: hundreds of IDs of one second may meet.
func uniqueIDs(prepared []*Prepared) {
	taken := map[string]bool{}
	for _, p := range prepared {
		for taken[p.ID] {
			p.rename(operation.NewID(Operation, time.Now()))
		}
		taken[p.ID] = true
	}
}

// rename gives a prepared plan another ID, also where the manifest names it.
func (p *Prepared) rename(id string) {
	p.ID = id
	if manifest, err := claimManifest(p.Params.OldManifest, id, id, p.Params.NewName); err == nil && p.Params.Manifest != nil {
		p.Params.Manifest = manifest
	}
}

// PlanMany makes the plan of plans.
func (m *Many) PlanMany(prepared []*Prepared, wanted map[string]Options, parallel int) (operation.Plan, error) {
	params := ManyParams{Parallel: parallel}
	m.prepared = map[string]*Prepared{}
	for _, p := range prepared {
		o := wanted[p.Params.target()]
		o.SnapshotID, o.Previous, o.AsOf = p.Params.Snapshot.ID, 0, time.Time{}
		params.Children = append(params.Children, Child{Plan: p.ID, Options: o, SizeBytes: p.Params.Snapshot.SizeBytes})
		m.prepared[p.ID] = p
	}
	encoded, err := json.Marshal(params)
	if err != nil {
		return operation.Plan{}, fmt.Errorf("encode the plan: %w", err)
	}
	first := prepared[0]
	target := first.Params.target()
	if len(prepared) > 1 {
		target = fmt.Sprintf("%s and %d more", target, len(prepared)-1)
	}
	return operation.Plan{
		ID: operation.NewID("pvc-restore-many", m.Now()), Operation: ManyOperation, Target: target, RecoveryPoint: fmt.Sprintf("%d snapshots", len(prepared)),
		ClusterUID: first.Identity.ClusterUID, Server: first.Identity.Server, Context: first.Identity.Context,
		CreatedBy: operation.WhoAmI(), CreationTime: m.Now().UTC(), Params: encoded,
		Steps: []operation.Step{{ID: stepMany, Kind: stepMany, Title: fmt.Sprintf("restore %d claims, %d at a time", len(prepared), parallel), Timeout: manyTime}},
	}, nil
}

const (
	stepMany = "restore-all"
	manyTime = 7 * 24 * time.Hour
)

// Handlers are the steps of a plan of plans.
func (m *Many) Handlers() map[string]operation.Handler {
	return map[string]operation.Handler{stepMany: manyStep{m}}
}

// ResumeWith says how the plans of single claims are gone on with.
func (m *Many) ResumeWith(o operation.ResumeOptions) { m.resume = o }
