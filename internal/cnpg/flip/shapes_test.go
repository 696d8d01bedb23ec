package flip

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOtherShapesOfAPlan(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		options Options
		change  func(*world)
		without []string
	}{
		"no final backup":   {Options{Name: name, Push: true}, nil, []string{stepFinalBackup}},
		"no fence":          {Options{Name: name, Push: true, NoFence: true}, nil, []string{stepFence, stepLift, stepFinalBackup}},
		"no Argo CD":        {Options{Name: name, Push: true}, func(w *world) { w.app = nil }, []string{stepTerminate, stepSync}},
		"no Git":            {Options{Name: name}, func(w *world) { w.app, w.noTree = nil, true }, []string{stepCommit, stepPush, stepRemote, stepTerminate, stepSync}},
		"not in the tree":   {Options{Name: name}, func(w *world) { w.app, w.inTree = nil, false }, []string{stepCommit, stepPush, stepRemote, stepTerminate, stepSync}},
		"no Secrets":        {Options{Name: name, Push: true}, func(w *world) { w.Secrets = map[string]string{} }, []string{stepSecrets}},
		"no schedules":      {Options{Name: name, Push: true}, func(w *world) { w.Schedules = map[string]bool{} }, []string{stepSuspend, stepSchedules}},
		"pushed by himself": {Options{Name: name}, func(w *world) { w.RemoteServer = v2 }, []string{stepPush}},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			w := newWorld()
			if c.change != nil {
				c.change(w)
			}
			plan, err := w.run(t, t.TempDir(), c.options)
			require.NoError(t, err)
			for _, kind := range c.without {
				require.NotContains(t, kinds(plan), kind)
			}
			require.Equal(t, w.recovered, w.Clusters[name].Data)
			require.Equal(t, "initdb", w.Clusters[name].Bootstrap)
			require.Empty(t, w.Fences)
			if !c.options.NoFence {
				require.Empty(t, w.Lost)
			}
		})
	}
}

func TestToAMoment(t *testing.T) {
	w := newWorld()
	target := noon.Add(-18 * time.Hour)
	prepared, plan := w.prepare(t, Options{Name: name, Push: true, TargetTime: target.In(time.FixedZone("", 3600))})
	require.Equal(t, target, w.choice.TargetTime)
	require.Equal(t, target.Format(time.RFC3339), manifestOf(prepared.Params.Manifest).Target)
	require.Equal(t, int64(18*3600), prepared.LostSeconds)
	require.Equal(t, v1+"/"+backupID+" to 2026-11-22T18:00:00Z", plan.RecoveryPoint)
	require.NoError(t, w.engine(t.TempDir()).Start(t.Context(), plan))
	w.requireRecovered(t)
}
