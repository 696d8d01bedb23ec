package barman

import (
	"context"
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
