package restore

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// TestARequestThatArrivesLate: the process that sent it was killed, and it is answered while abort is at
// work already. Nothing of it may stay.
func TestARequestThatArrivesLate(t *testing.T) {
	for call, test := range map[string]struct {
		options Options
		arrive  func(w *world, planID string, p *Params)
	}{
		"create-destination": {options(nil), func(w *world, planID string, p *Params) {
			d := p.destination(planID)
			w.Movers["destination "+namespace+"/"+planID] = &mover{MoverRun: recovery.MoverRun{Name: planID, PlanID: planID, Trigger: planID}, Destination: &d}
		}},
		"snapshot-volume": {options(inPlace), func(w *world, planID string, _ *Params) {
			w.Images[namespace+"/"+safetyName(planID)] = &image{VolumeSnapshot: recovery.VolumeSnapshot{Name: safetyName(planID), PlanID: planID}, Data: live}
		}},
		"create-claim": {options(func(o *Options) { o.NewName = "copy" }), func(w *world, _ string, p *Params) { w.newClaim(p.Manifest, "drctl") }},
	} {
		t.Run(call, func(t *testing.T) {
			w, dir := newWorld(), t.TempDir()
			before := w.picture()
			prepared, plan := w.stopAt(t, dir, call, test.options)
			looks := 0
			w.before = func(string) error {
				if looks++; looks == 3 {
					test.arrive(w, plan.ID, prepared.Params)
				}
				return nil
			}
			require.NoError(t, w.engine(dir).Abort(t.Context(), plan.ID, here))
			w.before = nil
			require.Greater(t, looks, 3)
			require.Equal(t, before, w.picture())
		})
	}
}
