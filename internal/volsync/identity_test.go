package volsync

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func TestIdentity(t *testing.T) {
	fifty := strings.Repeat("a", 50)
	tests := map[string]struct {
		namespace, name string
		overrides       Overrides
		want            string
	}{
		"as the platform generates":      {"karakeep", "data-pvc-backup", Overrides{}, "data-pvc-backup@karakeep:/data"},
		"dots dropped from the name":     {"media", "tv.shows.v2-backup", Overrides{}, "tvshowsv2-backup@media:/data"},
		"dots kept in the namespace":     {"media.tv", "x", Overrides{}, "x@media.tv:/data"},
		"underscore kept in the name":    {"media", "a_b", Overrides{}, "a_b@media:/data"},
		"underscore in the namespace":    {"media_tv", "x", Overrides{}, "x@media-tv:/data"},
		"case is kept":                   {"Media", "DataPVC", Overrides{}, "DataPVC@Media:/data"},
		"trimmed at both ends":           {"-.media.-", "-_x-_", Overrides{}, "x@media:/data"},
		"trimmed after dots are dropped": {"m", "-.-x.-", Overrides{}, "x@m:/data"},
		"letters beyond ASCII":           {"mädia", "Größe", Overrides{}, "Gre@mdia:/data"},
		"exactly 50":                     {"m", fifty, Overrides{}, fifty + "@m:/data"},
		"cut at 50":                      {"m", fifty + "b-backup", Overrides{}, fifty + "@m:/data"},
		"not trimmed after the cut":      {"m", fifty[:49] + "-backup", Overrides{}, fifty[:49] + "-@m:/data"},
		"trimmed before the cut":         {"m", "--" + fifty + "b", Overrides{}, fifty + "@m:/data"},
		"the namespace is not cut":       {fifty + "-namespace", "x", Overrides{}, "x@" + fifty + "-namespace:/data"},
		"nothing left of the name":       {"m", "._.", Overrides{}, "volsync-default@m:/data"},
		"nothing left of the namespace":  {"", "my.app", Overrides{}, "myapp@my.app:/data"},
		"nothing left of either":         {"--", "--", Overrides{}, "volsync-default@volsync-default:/data"},
		"both overridden, as they stand": {"m", "x", Overrides{Username: "some.user_" + fifty, Hostname: "host_1"}, "some.user_" + fifty + "@host_1:/data"},
		"only the username overridden":   {"m", "x", Overrides{Username: "u"}, "u@m:/data"},
		"only the hostname overridden":   {"m", "x", Overrides{Hostname: "h"}, "x@h:/data"},
		"path overridden":                {"m", "x", Overrides{SourcePath: "/photos"}, "x@m:/photos"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, Identity(test.namespace, test.name, test.overrides).String())
		})
	}
}

func TestLongClaimNamesCollide(t *testing.T) {
	long := strings.Repeat("a", 44)
	first := Inferred(recovery.Claim{Namespace: "m", Name: long + "-one"})
	second := Inferred(recovery.Claim{Namespace: "m", Name: long + "-oneself"})
	require.NotEqual(t, first.Identity, second.Identity)

	first = Inferred(recovery.Claim{Namespace: "m", Name: long + "aaaaaa-one"})
	second = Inferred(recovery.Claim{Namespace: "m", Name: long + "aaaaaa-two"})
	require.Equal(t, first.Identity, second.Identity, "names that agree in 50 characters share snapshots")
}

func FuzzIdentity(f *testing.F) {
	f.Add("karakeep", "data-pvc-backup")
	f.Add("media.tv_2", "-_a.b_c-_")
	f.Add("", strings.Repeat("a", 49)+"-backup")
	f.Add("ä\xff", "\x00")
	allowedUser, allowedHost := regexp.MustCompile(`^[A-Za-z0-9_-]+$`), regexp.MustCompile(`^[A-Za-z0-9.-]+$`)
	f.Fuzz(func(t *testing.T, namespace, name string) {
		identity := Identity(namespace, name, Overrides{})
		require.LessOrEqual(t, len(identity.Username), 50)
		require.Regexp(t, allowedUser, identity.Username)
		require.Regexp(t, allowedHost, identity.Hostname)
		require.Equal(t, "/data", identity.Path)

		again := Identity(identity.Hostname, identity.Username, Overrides{})
		require.Equal(t, identity.Hostname, again.Hostname)
		// The mover does not trim after its cut, so only there a second pass may shorten the name.
		require.Equal(t, strings.TrimRight(identity.Username, "-_"), again.Username)
		if len(identity.Username) < 50 {
			require.Equal(t, identity.Username, again.Username)
		}
	})
}
