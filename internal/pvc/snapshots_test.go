package pvc

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func ids(list *SnapshotList) []string {
	all := []string{}
	for _, item := range list.Items {
		all = append(all, item.ID)
	}
	return all
}

func TestSnapshotsByName(t *testing.T) {
	moved := source("moved")
	moved.Identity = recovery.KopiaSource{Username: "someone", Hostname: "elsewhere", Path: "/srv"}
	inventory := fakeInventory{
		claims: []recovery.Claim{
			claim("data"), claim("moved"), claim("twice"), claim("twice", func(c *recovery.Claim) { c.Namespace = "immich" }),
		},
		sources: []recovery.ReplicationSource{source("data"), moved},
	}
	elsewhere := func(s *recovery.Snapshot) { s.Source = moved.Identity }
	repository := fakeRepository{snapshots: []recovery.Snapshot{
		snap("new", "data", time.Hour), snap("old", "data", 5*time.Hour), snap("half", "data", time.Minute, incomplete),
		snap("m", "moved", time.Hour, elsewhere), snap("g", "gone", time.Hour), snap("h", "half", time.Hour, incomplete),
	}}
	cases := []struct {
		name  string
		query Query
		ids   []string
		err   string
	}{
		{"complete ones, oldest first", Query{Name: "karakeep/data"}, []string{"old", "new"}, ""},
		{"checkpoints too", Query{Name: "karakeep/data", Incomplete: true}, []string{"old", "new", "half"}, ""},
		{"bare name", Query{Name: "data"}, []string{"old", "new"}, ""},
		{"bare name with -n", Query{Name: "data", Namespace: "karakeep"}, []string{"old", "new"}, ""},
		{"an overridden identity", Query{Name: "karakeep/moved"}, []string{"m"}, ""},
		{"a claim that is gone", Query{Name: "karakeep/gone"}, []string{"g"}, ""},
		{"Kopia's notation", Query{Name: "someone@elsewhere:/srv"}, []string{"m"}, ""},
		{"Kopia's notation without a path", Query{Name: "someone@elsewhere"}, []string{"m"}, ""},
		{"all", Query{}, []string{"m", "old", "new", "g"}, ""},
		{"all of a namespace", Query{Namespace: "elsewhere"}, []string{"m"}, ""},
		{"two namespaces", Query{Name: "karakeep/data", Namespace: "immich"}, nil, "name two namespaces"},
		{"two claims", Query{Name: "twice"}, nil, "2 claims are called twice"},
		{"none", Query{Name: "karakeep/nothing"}, []string{}, "no source in the repository"},
		{"only checkpoints", Query{Name: "karakeep/half"}, []string{}, "add --incomplete"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			list, gaps, err := lister(inventory, repository).Snapshots(t.Context(), c.query)
			require.Empty(t, gaps)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
			} else {
				require.NoError(t, err)
			}
			if c.ids != nil {
				require.Equal(t, c.ids, ids(list))
			}
		})
	}
}

func TestAnEmptyAnswerFromADamagedRepositoryIsUnknown(t *testing.T) {
	damaged := &recovery.Problem{What: "an index blob is corrupt"}
	list, gaps, err := lister(nil, fakeRepository{gaps: recovery.Gaps{damaged}}).Snapshots(t.Context(), Query{Name: "karakeep/data"})
	require.NoError(t, err, "no snapshot of it is NOT what is known")
	require.Equal(t, recovery.Gaps{damaged}, gaps)
	require.Empty(t, list.Items)
}
