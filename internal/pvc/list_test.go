package pvc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

type fakeInventory struct {
	claims     []recovery.Claim
	sources    []recovery.ReplicationSource
	claimGaps  recovery.Gaps
	claimErr   error
	sourceGaps recovery.Gaps
	sourceErr  error
}

func (f fakeInventory) Claims(_ context.Context, namespace string) ([]recovery.Claim, recovery.Gaps, error) {
	var kept []recovery.Claim
	for _, c := range f.claims {
		if namespace == "" || c.Namespace == namespace {
			kept = append(kept, c)
		}
	}
	return kept, f.claimGaps, f.claimErr
}

func (f fakeInventory) Sources(context.Context, string) ([]recovery.ReplicationSource, recovery.Gaps, error) {
	return f.sources, f.sourceGaps, f.sourceErr
}

type fakeRepository struct {
	snapshots []recovery.Snapshot
	gaps      recovery.Gaps
	err       error
}

func (f fakeRepository) Snapshots(context.Context) ([]recovery.Snapshot, recovery.Gaps, error) {
	return f.snapshots, f.gaps, f.err
}

type fakeRules struct{}

func (fakeRules) Inferred(c recovery.Claim) recovery.ReplicationSource {
	return recovery.ReplicationSource{
		Namespace: c.Namespace, Name: c.Name + "-backup", Claim: c.Name, Inferred: true, Identity: identity(c.Namespace, c.Name),
	}
}

func (fakeRules) ClaimOf(username string) (string, bool) {
	return strings.CutSuffix(username, "-backup")
}

func (fakeRules) Interval(schedule string, _ time.Time) (time.Duration, error) {
	switch schedule {
	case "0 * * * *":
		return time.Hour, nil
	case "0 2 * * *":
		return 24 * time.Hour, nil
	}
	return 0, fmt.Errorf("unreadable %q", schedule)
}

func identity(namespace, name string) recovery.KopiaSource {
	return recovery.KopiaSource{Username: name + "-backup", Hostname: namespace, Path: "/data"}
}

func claim(name string, change ...func(*recovery.Claim)) recovery.Claim {
	c := recovery.Claim{Namespace: "karakeep", Name: name, Phase: "Bound", Backup: "hourly", CreatedAt: noon.Add(-72 * time.Hour), Labels: map[string]string{"backup": "hourly"}}
	for _, f := range change {
		f(&c)
	}
	return c
}

func source(name string) recovery.ReplicationSource {
	return recovery.ReplicationSource{Namespace: "karakeep", Name: name + "-backup", Claim: name, Identity: identity("karakeep", name), Schedule: "0 * * * *"}
}

func snap(id, name string, age time.Duration, change ...func(*recovery.Snapshot)) recovery.Snapshot {
	s := recovery.Snapshot{
		ID: id, Source: identity("karakeep", name), StartTime: noon.Add(-age), EndTime: noon.Add(-age + time.Minute),
		SizeBytes: 5 << 20, FileCount: 100,
	}
	for _, f := range change {
		f(&s)
	}
	return s
}

func incomplete(s *recovery.Snapshot) { s.Incomplete = "checkpoint" }

func lister(i Inventory, r Repository) *Lister {
	return &Lister{Inventory: i, Repository: r, Rules: fakeRules{}, Now: func() time.Time { return noon }}
}

func TestStates(t *testing.T) {
	young := func(c *recovery.Claim) { c.CreatedAt = noon.Add(-30 * time.Minute) }
	unlabelled := func(c *recovery.Claim) { c.Backup, c.Labels = "", nil }
	cases := []struct {
		name      string
		claim     recovery.Claim
		sources   []recovery.ReplicationSource
		snapshots []recovery.Snapshot
		state     State
		warning   string
	}{
		{"fresh", claim("data"), []recovery.ReplicationSource{source("data")}, []recovery.Snapshot{snap("1", "data", 30*time.Minute)}, Protected, ""},
		{"just under twice the interval", claim("data"), []recovery.ReplicationSource{source("data")}, []recovery.Snapshot{snap("1", "data", 2*time.Hour-time.Second)}, Protected, ""},
		{"at twice the interval", claim("data"), []recovery.ReplicationSource{source("data")}, []recovery.Snapshot{snap("1", "data", 2*time.Hour)}, Stale, ""},
		{"a fresh checkpoint is no recovery point", claim("data"), []recovery.ReplicationSource{source("data")}, []recovery.Snapshot{snap("1", "data", 5*time.Hour), snap("2", "data", time.Minute, incomplete)}, Stale, ""},
		{"only checkpoints", claim("data"), []recovery.ReplicationSource{source("data")}, []recovery.Snapshot{snap("2", "data", time.Minute, incomplete)}, Unprotected, "only incomplete"},
		{"no snapshot yet", claim("data"), []recovery.ReplicationSource{source("data")}, nil, Unprotected, ""},
		{"young without a source", claim("data", young), nil, nil, Unprotected, "waits until it is 2 h old"},
		{"old without a source", claim("data"), nil, []recovery.Snapshot{snap("1", "data", time.Minute)}, Unprotected, "nothing is backed up"},
		{"no label", claim("data", unlabelled), nil, nil, Unprotected, ""},
		{"CNPG with a label", claim("data", func(c *recovery.Claim) { c.CNPGCluster = "immich-database" }), []recovery.ReplicationSource{source("data")}, []recovery.Snapshot{snap("1", "data", time.Minute)}, Protected, "CNPG Cluster immich-database"},
		{"unreadable schedule", claim("data"), []recovery.ReplicationSource{func() recovery.ReplicationSource { s := source("data"); s.Schedule = "bogus"; return s }()}, []recovery.Snapshot{snap("1", "data", 5*time.Hour)}, Protected, "no cron expression"},
		{"paused", claim("data"), []recovery.ReplicationSource{func() recovery.ReplicationSource { s := source("data"); s.Paused = true; return s }()}, []recovery.Snapshot{snap("1", "data", time.Minute)}, Protected, "is paused"},
		{"fewer files", claim("data"), []recovery.ReplicationSource{source("data")}, []recovery.Snapshot{snap("1", "data", time.Hour), snap("2", "data", time.Minute, func(s *recovery.Snapshot) { s.FileCount = 3 })}, Protected, "has 3 files, the one before it 100"},
		{"fewer bytes", claim("data"), []recovery.ReplicationSource{source("data")}, []recovery.Snapshot{snap("1", "data", time.Hour), snap("2", "data", time.Minute, func(s *recovery.Snapshot) { s.SizeBytes = 1 << 20 })}, Protected, "has 1.0 MiB, the one before it 5.0 MiB"},
		{"clock", claim("data"), []recovery.ReplicationSource{source("data")}, []recovery.Snapshot{snap("1", "data", -time.Hour)}, Protected, "starts in the future"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			list, gaps, err := lister(fakeInventory{claims: []recovery.Claim{c.claim}, sources: c.sources}, fakeRepository{snapshots: c.snapshots}).List(t.Context(), Filter{})
			require.NoError(t, err)
			require.Empty(t, gaps)
			require.Len(t, list.Items, 1)
			item := list.Items[0]
			require.Equal(t, c.state, item.State)
			if c.warning == "" {
				require.Empty(t, item.Warnings)
			} else {
				require.Contains(t, strings.Join(item.Warnings, "\n"), c.warning)
			}
		})
	}
}

func TestAnOrphanIsListedByItsClaimsName(t *testing.T) {
	list, _, err := lister(fakeInventory{claims: []recovery.Claim{claim("data")}, sources: []recovery.ReplicationSource{source("data")}},
		fakeRepository{snapshots: []recovery.Snapshot{snap("1", "data", time.Minute), snap("2", "gone", time.Hour)}}).List(t.Context(), Filter{})
	require.NoError(t, err)
	require.Len(t, list.Items, 2)
	require.Equal(t, Orphaned, list.Items[1].State)
	require.Equal(t, "gone", list.Items[1].Name)
	require.Equal(t, "karakeep", list.Items[1].Namespace)
	require.Equal(t, 1, list.Items[1].SnapshotCount)
}

func TestCollidingIdentitiesAreNamed(t *testing.T) {
	a, b := source("a"), source("b")
	b.Identity = a.Identity
	list, _, err := lister(fakeInventory{claims: []recovery.Claim{claim("a"), claim("b")}, sources: []recovery.ReplicationSource{a, b}}, fakeRepository{}).List(t.Context(), Filter{})
	require.NoError(t, err)
	require.Contains(t, strings.Join(list.Items[0].Warnings, "\n"), "with karakeep/b-backup")
	require.Contains(t, strings.Join(list.Items[1].Warnings, "\n"), "with karakeep/a-backup")
}

func TestUnknownIsNeverAState(t *testing.T) {
	broken := &recovery.Problem{What: "read it", Why: "broken"}
	fresh := []recovery.Snapshot{snap("1", "data", time.Minute)}
	old := []recovery.Snapshot{snap("1", "data", 9*time.Hour), snap("2", "gone", time.Hour)}
	cases := []struct {
		name       string
		inventory  fakeInventory
		repository fakeRepository
		states     []State
	}{
		{"repository unreadable", fakeInventory{}, fakeRepository{err: broken}, []State{Unknown}},
		{"part of the repository unreadable, fresh", fakeInventory{}, fakeRepository{snapshots: fresh, gaps: recovery.Gaps{broken}}, []State{Protected}},
		{"part of the repository unreadable, old", fakeInventory{}, fakeRepository{snapshots: old, gaps: recovery.Gaps{broken}}, []State{Unknown, Orphaned}},
		{"a namespace is forbidden", fakeInventory{claimGaps: recovery.Gaps{broken}}, fakeRepository{snapshots: old}, []State{Stale, Unknown}},
		{"ReplicationSources unreadable", fakeInventory{sourceErr: broken}, fakeRepository{snapshots: fresh}, []State{Unknown}},
		{"API unreachable", fakeInventory{claimErr: broken}, fakeRepository{snapshots: fresh}, []State{Unknown}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.inventory.claimErr == nil {
				c.inventory.claims = []recovery.Claim{claim("data")}
			}
			if c.inventory.sourceErr == nil {
				c.inventory.sources = []recovery.ReplicationSource{source("data")}
			}
			list, gaps, err := lister(c.inventory, c.repository).List(t.Context(), Filter{})
			require.NoError(t, err)
			require.NotEmpty(t, gaps, "what could not be read must end in exit code 3")
			var states []State
			for _, item := range list.Items {
				states = append(states, item.State)
			}
			require.Equal(t, c.states, states)
			require.Len(t, list.Warnings, len(gaps))
		})
	}
}

func TestNothingReadableIsAnError(t *testing.T) {
	broken := errors.New("broken")
	_, _, err := lister(fakeInventory{claimErr: broken}, fakeRepository{err: broken}).List(t.Context(), Filter{})
	require.ErrorIs(t, err, broken)
	_, _, err = lister(nil, nil).List(t.Context(), Filter{})
	require.ErrorContains(t, err, "no Kopia repository is known")
}

func TestFilters(t *testing.T) {
	inventory := fakeInventory{claims: []recovery.Claim{claim("data"), claim("other", func(c *recovery.Claim) { c.Namespace = "immich"; c.Labels = nil })}}
	repository := fakeRepository{snapshots: []recovery.Snapshot{snap("2", "gone", time.Hour)}}
	count := func(f Filter) int {
		list, _, err := lister(inventory, repository).List(t.Context(), f)
		require.NoError(t, err)
		return len(list.Items)
	}
	require.Equal(t, 3, count(Filter{}))
	require.Equal(t, 2, count(Filter{Namespace: "karakeep"}), "the claim and the orphan of the namespace")
	require.Equal(t, 1, count(Filter{Labels: func(l map[string]string) bool { return l["backup"] == "hourly" }}), "an orphan has no labels")
}

func TestTheRepositoryAloneAnswers(t *testing.T) {
	l := lister(nil, fakeRepository{snapshots: []recovery.Snapshot{snap("1", "data", time.Hour)}})
	list, gaps, err := l.List(t.Context(), Filter{})
	require.NoError(t, err)
	require.Empty(t, gaps)
	require.Equal(t, Orphaned, list.Items[0].State)
}
