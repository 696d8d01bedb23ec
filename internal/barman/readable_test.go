package barman

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// filled is lived with a right beginning in every file.
func filled(t *testing.T, change ...func(f *fakeStore)) (*writable, recovery.Backup, Reach) {
	t.Helper()
	f := lived(change...)
	lineage := lineageOf(t, f)
	for i, object := range f.objects {
		if f.bodies[object.Key] == nil {
			magic, _ := magicOf(object.Key)
			f.bodies[object.Key] = append([]byte(magic), make([]byte, 1000)...)
		}
		f.objects[i].SizeBytes = int64(len(f.bodies[object.Key]))
	}
	choice, reach, err := lineage.Choose(ChooseOptions{Server: v2, BackupID: backupID(102)})
	require.NoError(t, err)
	return &writable{fakeStore: f}, choice.Backup, reach
}

func TestCheckReadable(t *testing.T) {
	base := "/" + v2 + "/base/" + backupID(102) + "/"
	parts := func(f *fakeStore) {
		for _, part := range []string{"data_0001.tar.gz", "16401.tar.gz"} {
			f.put(v2+"/base/"+backupID(102)+"/"+part, 1002, arrival(131), nil)
		}
		f.history(v2, 3, "1\t0/28000000\tx", "2\t0/97000000\tx")
		f.segments(v2, defaultSegmentSize, 3, 151, 160, ".gz")
	}
	needed := []string{
		base + "backup.info", base + "data.tar.gz", base + "data_0001.tar.gz", base + "16401.tar.gz",
		walKey(2, 130), walKey(2, 131), walKey(3, 160), "/" + v2 + "/wals/00000003.history",
	}
	var asked []string
	w, backup, reach := filled(t, parts)
	w.failGet = func(key string) error { asked = append(asked, key[len(destinationPrefix):]); return nil }
	o := oneServer
	o.Parallel = 1
	require.NoError(t, CheckReadable(t.Context(), w, o, backup, reach))
	slices.Sort(needed)
	slices.Sort(asked)
	require.Equal(t, needed, asked)

	for _, file := range needed {
		w, backup, reach := filled(t, parts)
		w.failGet = func(key string) error {
			if key == destinationPrefix+file {
				return unreachable()
			}
			return nil
		}
		require.ErrorIs(t, CheckReadable(t.Context(), w, o, backup, reach), recovery.ErrUnreachable, file)
		w.failGet = nil
		w.bodies[destinationPrefix+file] = bytes.Repeat([]byte{0}, 1000)
		err := CheckReadable(t.Context(), w, o, backup, reach)
		require.ErrorIs(t, err, recovery.ErrDamaged, file)
		require.ErrorContains(t, err, file)
		w.bodies[destinationPrefix+file] = nil
		require.Error(t, CheckReadable(t.Context(), w, o, backup, reach), file)
	}
	w.failGet = func(string) error { return unreachable() }
	require.ErrorContains(t, CheckReadable(t.Context(), w, o, backup, reach), "and 7 more of the 8 files")
}

// TestProbe asks as little as tells whether a recovery may list and read.
func TestProbe(t *testing.T) {
	w, backup, _ := filled(t)
	var asked []string
	w.failGet = func(key string) error { asked = append(asked, key); return nil }
	require.NoError(t, Probe(t.Context(), w, oneServer, backup.ID))
	require.Len(t, asked, 1)
	w.failGet = func(string) error { return unreachable() }
	require.ErrorIs(t, Probe(t.Context(), w, oneServer, backup.ID), recovery.ErrUnreachable)
	require.ErrorIs(t, Probe(t.Context(), w, oneServer, backupID(1)), recovery.ErrNotFound)
}

func walKey(timeline uint32, number uint64) string {
	segment := name(timeline, number)
	return "/" + v2 + "/wals/" + segment[:16] + "/" + segment + ".gz"
}

// TestBackupThatVanished: between the choice and the check.
func TestBackupThatVanished(t *testing.T) {
	w, backup, reach := filled(t)
	f := newFake()
	f.segments(v2, defaultSegmentSize, 2, 110, 150, ".gz")
	require.ErrorIs(t, CheckReadable(t.Context(), &writable{fakeStore: f}, oneServer, backup, reach), recovery.ErrNotFound)
	w.drop(t, name(2, 150))
	err := CheckReadable(t.Context(), w, oneServer, backup, reach)
	require.ErrorIs(t, err, recovery.ErrNotFound)
	require.ErrorContains(t, err, name(2, 150))
	require.False(t, errors.Is(err, recovery.ErrUnreachable))
}

func TestBeginnings(t *testing.T) {
	tar := make([]byte, 512)
	copy(tar[257:], "ustar")
	for title, c := range map[string]struct {
		key  string
		size int64
		body string
		says string
	}{
		"tar":                {"x/data.tar", 512, string(tar), ""},
		"no tar":             {"x/data.tar", 512, string(make([]byte, 512)), "does not begin as a tar file"},
		"short tar":          {"x/data.tar", 5, "ustar", "does not begin as a tar file"},
		"gzip":               {"x/data.tar.gz", 20, "\x1f\x8b" + string(make([]byte, 18)), ""},
		"plain, called gzip": {"x/data.tar.gz", 512, string(tar), "as its suffix says"},
		"bzip2":              {"x/data.tar.bz2", 3, "BZh", ""},
		"snappy":             {"x/data.tar.snappy", 10, "\xff\x06\x00\x00sNaPpY", ""},
		"lz4":                {"x/1.tar.lz4", 4, "\x04\x22\x4d\x18", ""},
		"zstd":               {"x/1.tar.zst", 4, "\x28\xb5\x2f\xfd", ""},
		"xz":                 {"x/000000010000000000000001.xz", 6, "\xfd7zXZ\x00", ""},
		"unknown suffix":     {"x/data.tar.br", 4, "anyx", ""},
		"segment":            {"x/000000010000000000000001", 4, "\x10\xd1\x07\x00", ""},
		"zeros for segment":  {"x/000000010000000000000001", 4, "\x00\x00\x00\x00", "as a WAL segment does"},
		"half served":        {"x/data.tar.gz", 512, "\x1f\x8b", "lists 512 bytes and gives only 2"},
		"nothing served":     {"x/data.tar.gz", 512, "", "gives only 0"},
		"empty":              {"x/data.tar.gz", 0, "", "it is empty"},
	} {
		t.Run(title, func(t *testing.T) {
			why := wrongBeginning(recovery.Object{Key: c.key, SizeBytes: c.size}, []byte(c.body))
			if c.says == "" {
				require.Empty(t, why)
			} else {
				require.Contains(t, why, c.says)
			}
		})
	}
}
