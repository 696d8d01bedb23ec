package kopia

import (
	"testing"

	"github.com/kopia/kopia/repo/blob"
	"github.com/stretchr/testify/require"
)

func TestLikelyActive(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ all, want []blob.ID }{
		"nothing": {nil, nil},
		"one epoch": {
			[]blob.ID{"xn0_aa-s1-c1", "xn0_bb-s2-c1", "xw123"},
			[]blob.ID{"xn0_aa-s1-c1", "xn0_bb-s2-c1"},
		},
		"a compacted epoch that is settled stands for its blobs": {
			[]blob.ID{"xe1", "xe2", "xn0_aa-s1-c1", "xs0_cc-s3-c2", "xs0_dd-s3-c2", "xn1_bb-s2-c1"},
			[]blob.ID{"xs0_cc-s3-c2", "xs0_dd-s3-c2", "xn1_bb-s2-c1"},
		},
		"a compacted epoch that is not settled does not": {
			[]blob.ID{"xe1", "xn0_aa-s1-c1", "xs0_cc-s3-c1"},
			[]blob.ID{"xn0_aa-s1-c1"},
		},
		"an incomplete compaction does not": {
			[]blob.ID{"xe2", "xn0_aa-s1-c1", "xs0_cc-s3-c2"},
			[]blob.ID{"xn0_aa-s1-c1"},
		},
		"the longest chain of ranges": {
			[]blob.ID{"xe9", "xr0_2_aa-s1-c1", "xr0_4_bb-s2-c1", "xr5_6_cc-s3-c1", "xr8_9_dd-s4-c1", "xs6_ee-s5-c1", "xn6_ff-s6-c1", "xn7_11-s7-c1"},
			[]blob.ID{"xr0_4_bb-s2-c1", "xr5_6_cc-s3-c1", "xn7_11-s7-c1"},
		},
		"odd names": {
			[]blob.ID{"x", "xe", "xex", "xn", "xnx_", "xr", "xr0_", "xr1_0_aa-s1-c1", "xs", "xs_", "xn0_aa", "xs0_-s-c", "xsx_-s1-c1"},
			[]blob.ID{"xn0_aa"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ElementsMatch(t, test.want, likelyActive(test.all))
		})
	}
}

// FuzzLikelyActive checks that names of any shape end in a choice among them.
func FuzzLikelyActive(f *testing.F) {
	f.Add("xe3", "xr0_1_aa-s1-c1", "xs2_bb-s2-c2", "xn4_cc-s3-c1")
	f.Add("xr0_9223372036854775807_a", "xr-", "xs-s1-c1", "x")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		all := []blob.ID{blob.ID(a), blob.ID(b), blob.ID(c), blob.ID(d)}
		require.Subset(t, all, likelyActive(all))
	})
}
