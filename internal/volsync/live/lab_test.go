package live

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/volsync"
)

// labMovers are our movers in the restore lab, where real files are restored from a real repository.
type labMovers struct {
	*testing.T
	*lab.RestoreLab
	movers *Movers
}

func TestMoversInTheLab(t *testing.T) {
	l, err := lab.UpRestore(t.Context(), lab.ForTest(t), lab.RestoreOptions{VolSync: lab.VolSyncOptions{BackoffLimit: 1}})
	require.NoError(t, err)
	client, err := kube.New(kube.Options{REST: l.Kubernetes.RESTConfig()})
	require.NoError(t, err)
	require.NoError(t, l.AddClaim(t.Context(), lab.RestoreClaim{Namespace: "media", Name: "data"}))
	_, err = l.FillClaim(t.Context(), "media", "data", 1)
	require.NoError(t, err)
	folder, err := l.WaitBound(t.Context(), "media", "data")
	require.NoError(t, err)
	before := contents(t, folder)
	older, err := l.Backup(t.Context(), "media", "data")
	require.NoError(t, err)
	_, err = l.FillClaim(t.Context(), "media", "data", 2)
	require.NoError(t, err)
	_, err = l.Backup(t.Context(), "media", "data")
	require.NoError(t, err)
	m := &labMovers{t, l, New(t.Context(), client, kube.NewWatches(t.Context(), client, []string{"media"}))}
	template, err := m.movers.Template(t.Context(), "media", "data")
	require.NoError(t, err)
	d := volsync.Destination{
		PlanID: "p1", Namespace: "media", Name: "p1", Template: template, Identity: template.Identity, RestoreAsOf: older.StartTime,
		StorageClass: lab.RestoreClass, AccessModes: []string{"ReadWriteOnce"}, CapacityBytes: 10 << 30,
	}

	run, log := m.restore(d)
	require.Equal(t, older.ID, log.SelectedID, "beside the volume in use")
	require.Equal(t, older.Files, log.FileCount)
	require.NotEmpty(t, run.Image)
	m.remove("p1", "p1")

	d.PlanID, d.Name, d.Into, d.Exact = "p2", "p2", "data", true
	_, log = m.restore(d)
	require.Equal(t, older.ID, log.SelectedID, "in place")
	require.Equal(t, before, contents(t, folder))
	m.remove("p2", "p2")

	d.PlanID, d.Name, d.Into, d.Identity.Username = "p3", "p3", "", "nobody-backup"
	run, log = m.restore(d)
	require.Equal(t, "Successful", run.Result)
	require.True(t, log.Nothing, "a success with nothing restored")
	require.Empty(t, log.SelectedID)
	m.remove("p3", "p3")

	m.backs(template)
}

// contents are the files below a folder with mode and content. Times are left out: Kopia gives a folder that of
// the newest thing in it, and a link microseconds.
func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		info, err := entry.Info()
		require.NoError(t, err)
		found[path] = info.Mode().String() + " " + string(content)
		return nil
	}))
	require.NotEmpty(t, found)
	return found
}

// restore runs a destination, and gives what its mover said, after its Pod is gone.
func (m *labMovers) restore(d volsync.Destination) (*recovery.MoverRun, recovery.RestoreLog) {
	m.Helper()
	require.NoError(m, m.movers.CreateDestination(m.Context(), d))
	var run *recovery.MoverRun
	require.Eventually(m, func() bool {
		var err error
		run, err = m.movers.Destination(m.Context(), d.Namespace, d.Name)
		require.NoError(m, err)
		return run != nil && run.Completed == d.PlanID && strings.HasPrefix(run.Condition, "WaitingForManual")
	}, 2*within, 20*time.Millisecond)
	text, err := m.movers.MoverLog(m.Context(), d.Namespace, run.Job)
	require.NoError(m, err)
	log := m.movers.ReadRestore(text)
	require.True(m, log.Counted || log.Nothing, "%s", text)
	require.Empty(m, m.movers.ReadRestore(run.Logs).SelectedID, "the status does not say it")
	return run, log
}

func (m *labMovers) remove(name, planID string) {
	m.Helper()
	require.NoError(m, m.movers.Remove(m.Context(), "media", name, planID))
	left, err := m.movers.Left(m.Context(), "media", planID)
	require.NoError(m, err)
	require.Empty(m, left)
}

// backs makes a backup under the claim's own identity, though the object has another name.
func (m *labMovers) backs(template volsync.Template) {
	s := volsync.Source{PlanID: "p4", Namespace: "media", Name: "p4-backup", Claim: "data", Template: template, StorageClass: lab.RestoreClass}
	require.NoError(m, m.movers.CreateSource(m.Context(), s))
	var run *recovery.MoverRun
	require.Eventually(m, func() bool {
		var err error
		run, err = m.movers.Source(m.Context(), "media", s.Name)
		require.NoError(m, err)
		return run != nil && run.Completed == "p4"
	}, 2*within, 20*time.Millisecond)
	text, err := m.movers.MoverLog(m.Context(), "media", run.Job)
	require.NoError(m, err)
	made := m.movers.ReadBackup(text).SnapshotID
	require.NotEmpty(m, made, "%s", text)
	listed, err := m.Kopia.Run(m.Context(), "snapshot", "list", template.Identity.String(), "--json")
	require.NoError(m, err)
	require.Contains(m, string(listed), made)
	m.remove(s.Name, "p4")
}
