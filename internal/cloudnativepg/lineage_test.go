package cloudnativepg

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNextServer(t *testing.T) {
	for _, test := range []struct {
		name, current string
		taken         []string
		want          string
	}{
		{"the next one", "immich-database-v1", []string{"immich-database-v1"}, "immich-database-v2"},
		{"above every taken one, holes too", "immich-database-v1", []string{"immich-database-v1", "immich-database-v2", "immich-database-v7"}, "immich-database-v8"},
		{"above the current one, listed or not", "immich-database-v3", nil, "immich-database-v4"},
		{"tens", "immich-database-v9", []string{"immich-database-v10"}, "immich-database-v11"},
		{"another stem is another lineage", "immich-v1", []string{"immich-database-v5", "immich-v1"}, "immich-v2"},
		{"without a number it is the first", "immich", []string{"immich"}, "immich-v2"},
		{"without a number, with successors", "immich", []string{"immich", "immich-v2", "immich-v3"}, "immich-v4"},
		{"the numberless one is taken", "immich-v1", []string{"immich"}, "immich-v2"},
		{"zero", "immich-v0", nil, "immich-v1"},
		{"leading zeros", "immich-v02", []string{"immich-v03"}, "immich-v4"},
		{"no number behind -v", "immich-vnext", []string{"immich-vnext"}, "immich-vnext-v2"},
		{"a sign is no number", "immich-v+3", nil, "immich-v+3-v2"},
		{"nothing behind -v", "immich-v", nil, "immich-v-v2"},
		{"nobody counts that far", "immich-v99999999999999999999", nil, "immich-v99999999999999999999-v2"},
		{"only a number", "-v3", nil, "-v3-v2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := NextServer(test.current, test.taken)
			require.Equal(t, test.want, got)
			require.NotContains(t, append(test.taken, test.current), got)
		})
	}
}

func FuzzNextServer(f *testing.F) {
	f.Add("immich-database-v1", "immich-database-v2", "immich-v3")
	f.Add("a-v999999999", "a-v1000000000", "")
	f.Fuzz(func(t *testing.T, current, one, other string) {
		taken := []string{one, other}
		next := NextServer(current, taken)
		require.NotEqual(t, current, next)
		require.NotContains(t, taken, next)
		require.NotEqual(t, next, NextServer(next, append(taken, next)), "the lineage goes on")
	})
}

func TestDropsTimelines(t *testing.T) {
	for _, test := range []struct {
		image string
		drops bool
		says  string
	}{
		{"ghcr.io/cloudnative-pg/cloudnative-pg:1.30.0", false, ""},
		{"ghcr.io/cloudnative-pg/cloudnative-pg:1.29.2", false, ""},
		{"ghcr.io/cloudnative-pg/cloudnative-pg:1.29.1", true, "1.29.1 drops timelines when it recovers (CNPG#10442, #10817): upgrade it to 1.29.2"},
		{"ghcr.io/cloudnative-pg/cloudnative-pg:v1.29.0-ubi9@sha256:00", true, "1.29.0 drops"},
		{"registry:5000/cnpg:1.28.4", false, ""},
		{"ghcr.io/cloudnative-pg/cloudnative-pg:1.28.3-distroless", true, "upgrade it to 1.28.4"},
		{"ghcr.io/cloudnative-pg/cloudnative-pg:1.25.9", true, "1.25.9 drops"},
		{"ghcr.io/cloudnative-pg/cloudnative-pg:2.0.0", false, ""},
		{"ghcr.io/cloudnative-pg/cloudnative-pg:1.29.2-rc1", true, "can't be told"},
		{"ghcr.io/cloudnative-pg/cloudnative-pg:main", true, "can't be told"},
		{"registry:5000/cnpg", true, "can't be told"},
		{"ghcr.io/cloudnative-pg/cloudnative-pg@sha256:00", true, "can't be told"},
		{"", true, "can't be told"},
	} {
		t.Run(test.image, func(t *testing.T) {
			drops, says := DropsTimelines(test.image)
			require.Equal(t, test.drops, drops)
			if test.says == "" {
				require.Empty(t, says)
			}
			require.Contains(t, says, test.says)
		})
	}
}
