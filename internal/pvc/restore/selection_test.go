package restore

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// TestTheMoverSelectsThatOne: whatever is in the repository, the mover takes the chosen snapshot, or the
// plan says that only the proof can tell.
func TestTheMoverSelectsThatOne(t *testing.T) {
	random := rand.New(rand.NewPCG(20261124, 4))
	others := []recovery.KopiaSource{identity, {Username: "x", Hostname: "y", Path: "/data"}}
	fractions := []time.Duration{0, 1, 957 * time.Millisecond, 957500 * time.Microsecond, 500 * time.Millisecond, 999999999, 100, 957000001}
	inexact := 0
	for round := range 4000 {
		var all []recovery.Snapshot
		for i := range 2 + random.IntN(10) {
			s := recovery.Snapshot{
				ID: fmt.Sprintf("r%di%d", round, i), Source: others[random.IntN(4)/3],
				StartTime: noon.Add(time.Duration(random.IntN(4))*time.Second + fractions[random.IntN(len(fractions))]),
			}
			if random.IntN(3) == 0 {
				s.Incomplete = "checkpoint"
			}
			all = append(all, s)
		}
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, chosen := range all {
			if !chosen.Complete() {
				continue
			}
			asOf, previous, exact := moverArguments(all, chosen)
			require.GreaterOrEqual(t, previous, 0)
			if !exact {
				inexact++
				continue
			}
			for _, checkpoints := range []bool{true, false} {
				took, found := selects(all, chosen.Source, asOf, previous, checkpoints)
				require.True(t, found)
				require.Equal(t, chosen.ID, took.ID, "round %d, checkpoints %v: %s -%d of %v", round, checkpoints, asOf, previous, all)
			}
		}
	}
	require.Positive(t, inexact)
}

// TestTextIsNotTime: as text 20.957Z is behind 20.9575Z, so the newer one is in the mover's list, too.
func TestTextIsNotTime(t *testing.T) {
	at := func(nanoseconds time.Duration) recovery.Snapshot {
		return recovery.Snapshot{ID: fmt.Sprint(int64(nanoseconds)), Source: identity, StartTime: noon.Add(nanoseconds)}
	}
	chosen, newer := at(957*time.Millisecond), at(957500*time.Microsecond)
	asOf, previous, exact := moverArguments([]recovery.Snapshot{chosen, newer}, chosen)
	require.Equal(t, "2026-11-24T12:00:00.957Z", asOf)
	require.Equal(t, 1, previous)
	require.True(t, exact)

	newer.Incomplete = "checkpoint"
	_, previous, exact = moverArguments([]recovery.Snapshot{chosen, newer}, chosen)
	require.Equal(t, 0, previous)
	require.False(t, exact, "it depends on whether the listing has checkpoints")

	whole := at(0)
	asOf, previous, exact = moverArguments([]recovery.Snapshot{whole, chosen}, whole)
	require.Equal(t, "2026-11-24T12:00:00Z", asOf)
	require.Equal(t, 1, previous, "12:00:00Z is behind 12:00:00.957Z")
	require.True(t, exact)
	zone := chosen
	zone.StartTime = chosen.StartTime.In(time.FixedZone("CET", 3600))
	asOf, _, _ = moverArguments([]recovery.Snapshot{zone}, zone)
	require.Equal(t, "2026-11-24T12:00:00.957Z", asOf)
}

func TestCollapsed(t *testing.T) {
	for name, test := range map[string]struct {
		files, size, filesBefore, sizeBefore int64
		want                                 bool
	}{
		"the same":          {600, 3 << 20, 600, 3 << 20, false},
		"half":              {300, 3 << 19, 600, 3 << 20, false},
		"fewer files":       {299, 3 << 20, 600, 3 << 20, true},
		"less data":         {600, 1 << 20, 600, 3 << 20, true},
		"more":              {900, 9 << 20, 600, 3 << 20, false},
		"small, all gone":   {0, 0, 9, 1<<20 - 1, false},
		"small, many files": {4, 0, 10, 0, true},
		"one megabyte":      {9, 1, 9, 1 << 20, true},
	} {
		now, before := recovery.Snapshot{FileCount: test.files, SizeBytes: test.size}, recovery.Snapshot{FileCount: test.filesBefore, SizeBytes: test.sizeBefore}
		inBytes, inFiles := now.CollapsedSince(before)
		got := inBytes || inFiles
		require.Equal(t, test.want, got, name)
	}
}

func TestPredecessor(t *testing.T) {
	w := newWorld()
	before, found := predecessor(w.Repo, w.Repo[2])
	require.True(t, found)
	require.Equal(t, "s2", before.ID)
	_, found = predecessor(w.Repo, w.Repo[0])
	require.False(t, found)
	later := w.Repo[3]
	later.StartTime = noon
	before, _ = predecessor(w.Repo, later)
	require.Equal(t, "s3", before.ID, "a checkpoint is no predecessor")
}

const old = `{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"data-pvc","namespace":"karakeep","uid":"u","resourceVersion":"7",
"creationTimestamp":"2026-11-01T00:00:00Z","finalizers":["kubernetes.io/pvc-protection"],"managedFields":[{}],"ownerReferences":[{}],
"labels":{"app":"web","backup":"hourly","app.kubernetes.io/instance":"karakeep"},
"annotations":{"pv.kubernetes.io/bind-completed":"yes","pv.kubernetes.io/bound-by-controller":"yes","volume.kubernetes.io/storage-provisioner":"x","volume.kubernetes.io/selected-node":"n",
"volume.beta.kubernetes.io/storage-provisioner":"x","kubectl.kubernetes.io/last-applied-configuration":"{}","argocd.argoproj.io/tracking-id":"t","argocd.argoproj.io/sync-wave":"2","drctl.dev/plan":"earlier"}},
"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"longhorn","volumeMode":"Filesystem","volumeName":"pv-1","dataSource":{"kind":"x"},"dataSourceRef":{"kind":"y","name":"data-pvc-backup"},
"resources":{"requests":{"storage":"10Gi"}}},"status":{"phase":"Bound"}}`

func TestClaimManifest(t *testing.T) {
	const spec = `"spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"longhorn","volumeMode":"Filesystem","resources":{"requests":{"storage":"10Gi"}},
		"dataSourceRef":{"apiGroup":"volsync.backube","kind":"ReplicationDestination","name":"d1"}}}`
	made, err := claimManifest(json.RawMessage(old), "p1", "d1", "")
	require.NoError(t, err)
	require.JSONEq(t, `{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"data-pvc","namespace":"karakeep",
		"labels":{"app":"web","backup":"hourly","app.kubernetes.io/instance":"karakeep"},
		"annotations":{"argocd.argoproj.io/tracking-id":"t","argocd.argoproj.io/sync-wave":"2","drctl.dev/plan":"p1"}},`+spec, string(made))

	made, err = claimManifest(json.RawMessage(old), "p1", "d1", "copy")
	require.NoError(t, err)
	require.JSONEq(t, `{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"copy","namespace":"karakeep",
		"labels":{"app":"web"},"annotations":{"argocd.argoproj.io/sync-wave":"2","drctl.dev/plan":"p1"}},`+spec, string(made))

	for _, damaged := range []string{`{`, `{"metadata":{}}`, `{"spec":{}}`, `[]`} {
		_, err := claimManifest(json.RawMessage(damaged), "p1", "d1", "")
		require.Error(t, err, damaged)
	}
}

func TestDescribedClaim(t *testing.T) {
	_, err := describedClaim(options(nil))
	require.ErrorIs(t, err, recovery.ErrNotFound)
	claim, err := describedClaim(options(func(o *Options) { o.SizeBytes = gib }))
	require.NoError(t, err)
	require.JSONEq(t, `{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"namespace":"karakeep","name":"data-pvc"},
		"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1073741824"}}}}`, string(claim.Manifest))
	claim, err = describedClaim(options(func(o *Options) { o.SizeBytes, o.AccessMode, o.StorageClass = gib, "ReadWriteMany", "nfs" }))
	require.NoError(t, err)
	require.Equal(t, []string{"ReadWriteMany"}, claim.AccessModes)
	require.Contains(t, string(claim.Manifest), `"storageClassName":"nfs"`)
}
