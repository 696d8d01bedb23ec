package git

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzParseStatus(f *testing.F) {
	for _, seed := range []string{
		"# branch.oid (initial)\x00# branch.head main\x00", "# branch.oid abc\x00# branch.head (detached)\x00? new\x00",
		"1 .M N... 100644 100644 100644 a b a b.yaml\x002 R. N... 100644 100644 100644 a b R100 new\x00old\x00u UU N... 1 1 1 1 a b c both\x00", "2 R",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, out string) {
		state := parseStatus(out)
		require.Equal(t, len(state.Dirty) == 0, state.Clean)
		require.LessOrEqual(t, len(state.Dirty)+len(state.Untracked), strings.Count(out, "\x00")+1)
		require.False(t, state.Detached && state.Branch == "" && !strings.Contains(out, "(detached)"))
	})
}
