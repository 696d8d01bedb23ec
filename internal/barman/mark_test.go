package barman

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// writable is a fakeStore that can be written to, and that counts.
type writable struct {
	*fakeStore
	puts, deletes int
	// onPut runs after a Put; failPut and failDelete refuse.
	onPut               func()
	failPut, failDelete error
}

func (w *writable) Put(_ context.Context, _, key string, body []byte) error {
	w.puts++
	if w.failPut != nil {
		return w.failPut
	}
	w.bodies[key] = body
	w.objects = append(w.objects, recovery.Object{Key: key, SizeBytes: int64(len(body))})
	if w.onPut != nil {
		w.onPut()
	}
	return nil
}

func (w *writable) Delete(_ context.Context, _, key string) error {
	w.deletes++
	if w.failDelete == nil {
		delete(w.bodies, key)
	}
	return w.failDelete
}

func (w *writable) GetRange(ctx context.Context, bucket, key string, offset, length int64) ([]byte, error) {
	body, err := w.Get(ctx, bucket, key, 1<<40)
	if err != nil {
		return nil, err
	}
	return body[min(int64(len(body)), offset):min(int64(len(body)), offset+length)], nil
}

var oneServer = Options{Bucket: fakeBucket, Prefix: destinationPrefix, Servers: []string{v2}}

const keepKey = destinationPrefix + "/" + v2 + "/base/20261123T020102/annotations/keep"

func TestKeep(t *testing.T) {
	id := backupID(102)
	refused := &recovery.Problem{What: "write", Why: "access denied", Next: "x", Err: recovery.ErrDenied}
	for title, c := range map[string]struct {
		mark    string
		id      string
		prepare func(w *writable)
		already bool
		fails   error
		// after is the mark that must be there then.
		after string
		puts  int
	}{
		"fresh":                {id: id, after: "full", puts: 1},
		"there already":        {id: id, mark: "full", already: true, after: "full"},
		"with a newline":       {id: id, mark: "full\n", already: true, after: "full\n"},
		"kept otherwise":       {id: id, mark: "standalone", fails: recovery.ErrConflict, after: "standalone"},
		"no such backup":       {id: backupID(999), fails: recovery.ErrNotFound},
		"no backup ID":         {id: "../../x", fails: recovery.ErrUsage},
		"refused":              {id: id, prepare: func(w *writable) { w.failPut = refused }, fails: recovery.ErrDenied, puts: 1},
		"expired meanwhile":    {id: id, prepare: func(w *writable) { w.onPut = func() { w.lose(id) } }, fails: recovery.ErrNotFound, puts: 1},
		"overwritten":          {id: id, prepare: func(w *writable) { w.onPut = func() { w.bodies[keepKey] = []byte("standalone") } }, fails: recovery.ErrConflict, after: "standalone", puts: 1},
		"unreadable mark":      {id: id, prepare: func(w *writable) { w.failGet = func(string) error { return unreachable() } }, fails: recovery.ErrUnreachable},
		"gone after the write": {id: id, prepare: func(w *writable) { w.onPut = func() { w.failGet = func(string) error { return unreachable() } } }, fails: recovery.ErrUnreachable, after: "full", puts: 1},
	} {
		t.Run(title, func(t *testing.T) {
			w := &writable{fakeStore: lived()}
			if c.mark != "" {
				w.bodies[keepKey] = []byte(c.mark)
			}
			if c.prepare != nil {
				c.prepare(w)
			}
			already, err := Keep(t.Context(), w, oneServer, c.id, KeepFull)
			require.ErrorIs(t, err, c.fails)
			require.Equal(t, c.already, already)
			require.Equal(t, c.after, string(w.bodies[keepKey]))
			require.Equal(t, c.puts, w.puts)
		})
	}
}

func (w *writable) lose(id string) {
	delete(w.bodies, destinationPrefix+"/"+v2+"/base/"+id+"/backup.info")
}

func TestUnkeep(t *testing.T) {
	for title, c := range map[string]struct {
		mark, after string
		fails       error
		deletes     int
	}{
		"ours":     {"full", "", nil, 1},
		"none":     {"", "", nil, 0},
		"another":  {"standalone", "standalone", recovery.ErrConflict, 0},
		"not read": {"unreadable", "unreadable", recovery.ErrUnreachable, 0},
	} {
		t.Run(title, func(t *testing.T) {
			w := &writable{fakeStore: lived()}
			if c.mark != "" {
				w.bodies[keepKey] = []byte(c.mark)
			}
			if c.mark == "unreadable" {
				w.failGet = func(string) error { return unreachable() }
			}
			require.ErrorIs(t, Unkeep(t.Context(), w, oneServer, backupID(102), KeepFull), c.fails)
			require.Equal(t, c.after, string(w.bodies[keepKey]))
			require.Equal(t, c.deletes, w.deletes)
			w.failGet = nil
			mark, err := ReadKeep(t.Context(), w, oneServer, backupID(102))
			require.NoError(t, err)
			require.Equal(t, c.after, mark)
		})
	}
	w := &writable{fakeStore: lived(), failDelete: unreachable()}
	w.bodies[keepKey] = []byte("full")
	require.ErrorIs(t, Unkeep(t.Context(), w, oneServer, backupID(102), KeepFull), recovery.ErrUnreachable)
}

func TestEmpty(t *testing.T) {
	for title, c := range map[string]struct {
		keys  []string
		empty bool
		holds string
	}{
		"nothing":          {nil, true, ""},
		"one segment":      {[]string{"/wals/0000000100000000/000000010000000000000001.gz"}, false, "/wals/0000000100000000/000000010000000000000001.gz"},
		"a history":        {[]string{"/wals/00000002.history"}, false, "/wals/00000002.history"},
		"a failed backup":  {[]string{"/base/20261123T020000/backup.info"}, false, "/base/20261123T020000/backup.info"},
		"folder objects":   {[]string{"/wals/", "/base/", "/wals/0000000100000000/"}, true, ""},
		"the next sibling": {[]string{"0/wals/0000000100000000/000000010000000000000001.gz"}, true, ""},
	} {
		t.Run(title, func(t *testing.T) {
			f := newFake()
			for _, key := range c.keys {
				f.put("immich-database-v3"+key, 0, arrival(0), nil)
			}
			o := oneServer
			o.Servers = []string{"immich-database-v3"}
			empty, holds, err := Empty(t.Context(), f, o)
			require.NoError(t, err)
			require.Equal(t, c.empty, empty)
			if c.holds != "" {
				require.Equal(t, "s3://"+fakeBucket+"/"+destinationPrefix+"/immich-database-v3"+c.holds, holds)
			}
		})
	}
	f := lived()
	f.failList = failing("/base/")
	o := oneServer
	o.Servers = []string{"immich-database-v3"}
	_, _, err := Empty(t.Context(), f, o)
	require.ErrorIs(t, err, recovery.ErrUnreachable, "half empty is not empty")
	_, _, err = Empty(t.Context(), f, Options{Bucket: fakeBucket})
	require.ErrorIs(t, err, recovery.ErrUsage)
}

func TestNewestDone(t *testing.T) {
	done := func(f *fakeStore, after time.Time) (string, error) {
		b, err := NewestDone(t.Context(), f, oneServer, after)
		if b == nil {
			return "", err
		}
		return b.ID, err
	}
	id, err := done(lived(extra(103, fakeBackup{status: "FAILED"}), extra(104, fakeBackup{status: "STARTED"})), arrival(0))
	require.NoError(t, err)
	require.Equal(t, backupID(102), id)
	id, err = done(lived(), arrival(131))
	require.NoError(t, err)
	require.Empty(t, id, "it ended at that moment, not after it")
	id, err = done(newFake(), arrival(0))
	require.NoError(t, err)
	require.Empty(t, id)

	f := lived()
	f.failList = failing("/base/")
	_, err = done(f, arrival(0))
	require.ErrorIs(t, err, recovery.ErrUnreachable)
	f = lived()
	f.bodies[destinationPrefix+"/"+v2+"/base/"+backupID(102)+"/backup.info"] = []byte("?")
	id, err = done(f, arrival(0))
	require.NoError(t, err)
	require.Equal(t, backupID(101), id, "an older one proves it too")
	_, err = done(f, arrival(125))
	require.ErrorIs(t, err, recovery.ErrDamaged, "the one that could prove it cannot be read")
}

func TestReadFork(t *testing.T) {
	f := lived()
	fork, reason, err := ReadFork(t.Context(), f, oneServer, 2)
	require.NoError(t, err)
	require.Equal(t, Fork{1, 0x28000000}, fork)
	require.Equal(t, noTarget, reason)
	_, _, err = ReadFork(t.Context(), f, oneServer, 3)
	require.ErrorIs(t, err, recovery.ErrNotFound)
	require.ErrorContains(t, err, "00000003.history")
	f.bodies[destinationPrefix+"/"+v2+"/wals/00000002.history"] = []byte("<html>")
	_, _, err = ReadFork(t.Context(), f, oneServer, 2)
	require.ErrorIs(t, err, recovery.ErrDamaged)
	f.failGet = func(string) error { return unreachable() }
	_, _, err = ReadFork(t.Context(), f, oneServer, 2)
	require.ErrorIs(t, err, recovery.ErrUnreachable)
}

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
