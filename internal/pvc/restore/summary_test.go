package restore

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// finished runs a restore to its end and gives its report.
func (w *world) finished(t *testing.T, o Options) (*Summary, *Params, operation.Plan) {
	t.Helper()
	dir := t.TempDir()
	prepared, plan := w.prepare(t, o)
	require.NoError(t, w.use().Run(t.Context(), w.engine(dir), plan))
	_, facts, err := operation.NewStore(dir).Read(plan.ID)
	require.NoError(t, err)
	// The world's clock stands still; the Pods are said to be back after 70 of the 90 seconds.
	if _, ready := facts[factReadyAt]; ready {
		facts[factReadyAt] = noon.Add(70 * time.Second).Format(time.RFC3339)
	}
	return Summarize(plan.ID, prepared.Params, noon, noon.Add(90*time.Second), func(key string) string { return facts[key] }), prepared.Params, plan
}

func TestSummaryOfAReplacement(t *testing.T) {
	w := newWorld()
	s, p, plan := w.finished(t, options(nil))
	require.Equal(t, "snapshot s3, 602 files restored", s.Proof)
	require.Equal(t, w.Claims[target].Volume, s.Volume)
	require.Equal(t, "new1", s.BackupID)
	require.Equal(t, []int64{7200, 70, 70}, []int64{s.RPOSeconds, s.RTOSeconds, s.DowntimeSeconds})
	require.Contains(t, strings.Join(s.Notes, "\n"), "only once it is 2 h old")
	require.Equal(t, p.OldVolume.Name, s.OldVolume.Name)
	require.Len(t, s.OldVolume.BringBack, 2)
	require.Contains(t, s.OldVolume.BringBack[0], `"path":"/spec/claimRef","value":{"apiVersion":"v1","kind":"PersistentVolumeClaim","namespace":"karakeep","name":"data-pvc-rescue"}`)
	require.NotContains(t, s.OldVolume.BringBack[0], "uid", "a claimRef with the old UID would bind nothing")
	require.Contains(t, s.OldVolume.BringBack[1], `"volumeName":"`+p.OldVolume.Name+`"`)
	require.NotContains(t, s.OldVolume.BringBack[1], "backup")
	require.Equal(t, "kubectl delete pv "+p.OldVolume.Name, s.OldVolume.Remove)
	require.Equal(t, plan.ID, s.Plan)
}

func TestSummaryOfTheOtherModes(t *testing.T) {
	s, _, plan := newWorld().finished(t, options(inPlace))
	require.Equal(t, "VolumeSnapshot", s.OldVolume.Kind)
	require.Contains(t, s.OldVolume.BringBack[0], `"kind":"VolumeSnapshot","name":"`+safetyName(plan.ID)+`"`)
	require.Contains(t, s.OldVolume.Remove, safetyName(plan.ID))
	require.Empty(t, s.Volume)

	s, _, _ = newWorld().finished(t, options(func(o *Options) { o.Mode, o.NoSafety = InPlace, true }))
	require.Nil(t, s.OldVolume)

	s, _, plan = newWorld().finished(t, options(func(o *Options) { o.NewName, o.Keep = "copy", true }))
	require.Nil(t, s.OldVolume)
	require.Equal(t, "copy", s.Name)
	require.Zero(t, s.DowntimeSeconds)
	require.Contains(t, strings.Join(s.Notes, "\n"), "kept: kubectl -n karakeep get replicationdestination "+plan.ID)
}

// TestAClaimThatWasNeverBound has no old volume, and is replaced all the same.
func TestAClaimThatWasNeverBound(t *testing.T) {
	w := newWorld()
	waits(w)
	w.Pods, w.Controllers = map[string]*pod{}, map[string]*controller{}
	w.Claims[target].Volume, w.Claims[target].Phase, w.Volumes = "", "Pending", map[string]*disk{}
	s, _, _ := w.finished(t, options(nil))
	require.Nil(t, s.OldVolume)
	require.Equal(t, "data of s3", w.Volumes[w.Claims[target].Volume].Data)
	require.Empty(t, w.Lost)
}

// TestWithoutAFence: --no-fence, with nobody who would create the claim.
func TestWithoutAFence(t *testing.T) {
	w := newWorld()
	w.app.AutoSync = false
	w.Pods, w.Controllers = map[string]*pod{}, map[string]*controller{}
	w.addPod(recovery.MountingPod{Name: "import", Phase: "Succeeded", Controller: &recovery.Controller{Kind: "Job", Name: "import", UID: "job"}})
	s, p, _ := w.finished(t, options(func(o *Options) { o.NoFence = true }))
	require.Equal(t, "data of s3", w.Volumes[s.Volume].Data)
	require.NotContains(t, w.calls, "fence-up")
	require.Len(t, p.Pods, 1)
}
