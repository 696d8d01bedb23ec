package restore

import (
	"context"
	"errors"
	"slices"

	"github.com/drctl/drctl/internal/recovery"
)

type (
	fakeRepository struct{ *world }
	fakeInventory  struct{ *world }
	fakeFence      struct{ *world }
	fakeArgo       struct{ *world }
	fakeTree       struct{ *world }
)

func (r fakeRepository) Snapshots(ctx context.Context) (all []recovery.Snapshot, gaps recovery.Gaps, err error) {
	return all, gaps, r.do(ctx, "snapshots", func() error {
		all = slices.Clone(r.Repo)
		return nil
	})
}

func (i fakeInventory) Claims(context.Context, string) ([]recovery.Claim, recovery.Gaps, error) {
	return nil, nil, nil
}

func (i fakeInventory) Sources(ctx context.Context, _ string) (all []recovery.ReplicationSource, gaps recovery.Gaps, err error) {
	return all, gaps, i.do(ctx, "sources", func() error {
		all = slices.Clone(i.sources)
		return nil
	})
}

func (f fakeFence) Up(ctx context.Context, hold Hold) error {
	return f.do(ctx, "fence-up", func() error {
		f.Fences[hold.PlanID] = hold
		return nil
	})
}

func (f fakeFence) Prove(ctx context.Context, hold Hold) error {
	return f.do(ctx, "fence-prove", func() error {
		if _, stands := f.Fences[hold.PlanID]; !stands {
			return errors.New("it let a request through")
		}
		return nil
	})
}

func (f fakeFence) Standing(ctx context.Context, hold Hold) (stands bool, err error) {
	return stands, f.do(ctx, "fence-standing", func() error {
		_, stands = f.Fences[hold.PlanID]
		return nil
	})
}

func (f fakeFence) Left(ctx context.Context, planID string) (left bool, err error) {
	return left, f.do(ctx, "fence-left", func() error {
		_, left = f.Fences[planID]
		return nil
	})
}

func (f fakeFence) Down(ctx context.Context, hold Hold) error {
	return f.do(ctx, "fence-down", func() error {
		delete(f.Fences, hold.PlanID)
		return nil
	})
}

func (a fakeArgo) Owner(ctx context.Context, namespace, claim string) (app *recovery.Application, err error) {
	return app, a.do(ctx, "owner", func() error {
		if a.git[namespace+"/"+claim] != nil {
			app = a.app
		}
		return nil
	})
}

func (a fakeArgo) Settled(ctx context.Context, _ recovery.Application) (done, stuck bool, why string, err error) {
	return done, stuck, why, a.do(ctx, "settled", func() error {
		if a.unwell != "" {
			why = a.unwell
			return nil
		}
		for key := range a.git {
			if claim := a.Claims[key]; claim == nil || claim.Phase != bound {
				why = "claim " + key + " is not there"
				return nil
			}
		}
		done, stuck, why = !a.gaveUp, a.gaveUp, "it gave up"
		return nil
	})
}

func (a fakeArgo) Sync(ctx context.Context, _ recovery.Application) error {
	return a.do(ctx, "sync", func() error {
		a.gaveUp = false
		a.synced++
		return nil
	})
}

func (t fakeTree) Claim(ctx context.Context, namespace, name string) (found *recovery.LiveClaim, err error) {
	return found, t.do(ctx, "tree", func() error {
		found = t.tree[namespace+"/"+name]
		return nil
	})
}
