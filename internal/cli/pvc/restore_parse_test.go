package pvccmd

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/pvc/restore"
	"github.com/drctl/drctl/internal/recovery"
)

func TestParseRestore(t *testing.T) {
	six := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
	for what, c := range map[string]struct {
		args  []string
		names []string
		want  restore.Options
	}{
		"a name": {[]string{"karakeep/data"}, []string{"karakeep/data"}, restore.Options{Mode: restore.Replace}},
		"a moment": {
			[]string{"karakeep/data", "--as-of", "2026-11-23T18:00:00Z", "--previous", "1"}, []string{"karakeep/data"},
			restore.Options{Mode: restore.Replace, Choice: pvc.Choice{AsOf: six, Previous: 1}},
		},
		"in place": {
			[]string{"karakeep/data", "--mode", "in-place", "--merge", "--no-safety", "--no-backup", "--keep", "--no-fence", "--timeout", "2h"}, []string{"karakeep/data"},
			restore.Options{Mode: restore.InPlace, Merge: true, NoSafety: true, NoBackup: true, Keep: true, NoFence: true, Timeout: 2 * time.Hour},
		},
		"beside": {
			[]string{"karakeep/data", "--new-name", "look", "--snapshot", "k1"}, []string{"karakeep/data"},
			restore.Options{NewName: "look", Choice: pvc.Choice{SnapshotID: "k1"}},
		},
		"of another, described": {
			[]string{"karakeep/data", "--from", "immich/library", "--size", "2Gi", "--storage-class", "longhorn", "--access-mode", "ReadWriteMany"}, []string{"karakeep/data"},
			restore.Options{Mode: restore.Replace, FromNamespace: "immich", FromName: "library", SizeBytes: 2 << 30, StorageClass: "longhorn", AccessMode: "ReadWriteMany"},
		},
		"several": {[]string{"karakeep/data", "immich/library"}, []string{"karakeep/data", "immich/library"}, restore.Options{Mode: restore.Replace}},
		"all":     {[]string{"-A"}, nil, restore.Options{Mode: restore.Replace}},
		"from stdin": {
			[]string{"-"}, []string{"a/b", "c/d"}, restore.Options{Mode: restore.Replace},
		},
	} {
		t.Run(what, func(t *testing.T) {
			var got *restoreOptions
			f := factory("")
			f.Streams.In = strings.NewReader("# those of last night\na/b\n\npersistentvolumeclaim/c/d\n")
			cmd := newRestore(f, func(_ context.Context, o *restoreOptions) error { got = o; return nil })
			require.NoError(t, parse(t, cmd, c.args...))
			require.Equal(t, c.want, got.Options)
			if c.names == nil {
				require.Empty(t, got.names)
				return
			}
			require.Equal(t, c.names, got.names)
		})
	}
}

func TestParseRestoreRefuses(t *testing.T) {
	never := func(context.Context, *restoreOptions) error { panic("it must not run") }
	for what, args := range map[string][]string{
		"nothing":                  {},
		"a source":                 {"data-backup@karakeep:/data"},
		"half a name":              {"karakeep/"},
		"names and -A":             {"karakeep/data", "-A"},
		"names and -l":             {"karakeep/data", "-l", "backup=hourly"},
		"no selector":              {"-l", "=="},
		"another mode":             {"karakeep/data", "--mode", "magic"},
		"beside and in place":      {"karakeep/data", "--mode", "in-place", "--new-name", "look"},
		"merge beside":             {"karakeep/data", "--merge"},
		"no safety in replace":     {"karakeep/data", "--no-safety"},
		"no zone":                  {"karakeep/data", "--as-of", "2026-11-23T18:00:00"},
		"the future":               {"karakeep/data", "--previous", "-1"},
		"a snapshot and a moment":  {"karakeep/data", "--snapshot", "k1", "--previous", "1"},
		"one snapshot for many":    {"-A", "--snapshot", "k1"},
		"one name for many":        {"a/b", "c/d", "--new-name", "look"},
		"half of --from":           {"karakeep/data", "--from", "immich"},
		"no size":                  {"karakeep/data", "--size", "much"},
		"a negative size":          {"karakeep/data", "--size", "-1Gi"},
		"none at a time":           {"-A", "--parallel", "0"},
		"too many at a time":       {"-A", "--parallel", "501"},
		"not to wait":              {"karakeep/data", "--wait=false"},
		"a time that has gone by":  {"karakeep/data", "--timeout", "-1s"},
		"a format":                 {"karakeep/data", "-o", "xml"},
		"stdin that names nothing": {"-"},
	} {
		t.Run(what, func(t *testing.T) {
			f := factory("")
			f.Streams.In = strings.NewReader("\n# nothing\n")
			require.ErrorIs(t, parse(t, newRestore(f, never), args...), recovery.ErrUsage)
		})
	}
}

func TestParseBackup(t *testing.T) {
	var got *backupOptions
	cmd := newBackup(factory("karakeep"), func(_ context.Context, o *backupOptions) error { got = o; return nil })
	require.NoError(t, parse(t, cmd, "data", "--timeout", "10m", "--dry-run"))
	require.Equal(t, []string{"data"}, got.names)
	require.Equal(t, 10*time.Minute, got.timeout)
	require.True(t, got.dryRun)
	never := func(context.Context, *backupOptions) error { panic("it must not run") }
	require.ErrorIs(t, parse(t, newBackup(factory(""), never)), recovery.ErrUsage)
	require.ErrorIs(t, parse(t, newBackup(factory(""), never), "a/b", "-A"), recovery.ErrUsage)
}

type claims []recovery.Claim

func (c claims) Claims(context.Context, string) ([]recovery.Claim, recovery.Gaps, error) {
	return c, nil, nil
}

func (claims) Sources(context.Context, string) ([]recovery.ReplicationSource, recovery.Gaps, error) {
	return nil, nil, nil
}

func TestWhichClaims(t *testing.T) {
	there := claims{
		{Namespace: "immich", Name: "library", Backup: "hourly", Labels: map[string]string{"backup": "hourly"}},
		{Namespace: "karakeep", Name: "data", Backup: "daily", Labels: map[string]string{"backup": "daily"}},
		{Namespace: "other", Name: "data"},
		{Namespace: "cloudnative-pg", Name: "immich-database-1", Backup: "hourly", CNPGCluster: "immich-database"},
	}
	for what, c := range map[string]struct {
		namespace string
		args      []string
		want      []claimName
		err       error
	}{
		"all that are protected": {"", []string{"-A"}, []claimName{{"immich", "library"}, {"karakeep", "data"}}, nil},
		"by label":               {"", []string{"-l", "backup=daily"}, []claimName{{"karakeep", "data"}}, nil},
		"by name":                {"", []string{"library"}, []claimName{{"immich", "library"}}, nil},
		"twice the same":         {"", []string{"library", "immich/library"}, []claimName{{"immich", "library"}}, nil},
		"one that is gone":       {"", []string{"gone/data"}, []claimName{{"gone", "data"}}, nil},
		"in a namespace":         {"karakeep", []string{"data"}, []claimName{{"karakeep", "data"}}, nil},
		"two of that name":       {"", []string{"data"}, nil, recovery.ErrUsage},
		"none of that name":      {"", []string{"nothing"}, nil, recovery.ErrNotFound},
		"two namespaces":         {"karakeep", []string{"immich/library"}, nil, recovery.ErrUsage},
		"none with that label":   {"", []string{"-l", "backup=weekly"}, nil, recovery.ErrNotFound},
	} {
		t.Run(what, func(t *testing.T) {
			var got *restoreOptions
			cmd := newRestore(factory(c.namespace), func(_ context.Context, o *restoreOptions) error { got = o; return nil })
			require.NoError(t, parse(t, cmd, c.args...))
			found, err := got.find(t.Context(), there)
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, found)
		})
	}
}
