package barman

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// fakeStore answers as S3 does: pages of 1,000 keys, folders folded and counted as keys, StartAfter.
type fakeStore struct {
	objects []recovery.Object
	bodies  map[string][]byte
	sort    sync.Once

	lists, gets atomic.Int64
	// failList and failGet make requests fail.
	failList func(q recovery.ObjectQuery) error
	failGet  func(key string) error
	// deaf ignores StartAfter, as some servers do.
	deaf bool
}

const fakeBucket = "postgres-backups"

// destinationPrefix is where the fake's servers stand.
const destinationPrefix = "cnpg/immich"

func newFake() *fakeStore { return &fakeStore{bodies: map[string][]byte{}} }

// arrival is when the n-th second of the story was.
func arrival(second int) time.Time {
	return time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC).Add(time.Duration(second) * time.Second)
}

func (f *fakeStore) put(key string, size int64, at time.Time, body []byte) {
	f.objects = append(f.objects, recovery.Object{Key: destinationPrefix + "/" + key, SizeBytes: size, ModifiedAt: at})
	if body != nil {
		f.bodies[destinationPrefix+"/"+key] = body
	}
}

// drop removes every object whose key contains the text.
func (f *fakeStore) drop(t *testing.T, text string) {
	t.Helper()
	before := len(f.objects)
	f.objects = slices.DeleteFunc(f.objects, func(o recovery.Object) bool { return strings.Contains(o.Key, text) })
	require.Less(t, len(f.objects), before, "nothing to drop: %s", text)
}

// segments puts the segments first..last of a timeline; each arrives at the second of its number.
func (f *fakeStore) segments(server string, size SegmentSize, timeline uint32, first, last uint64, suffix string) {
	for number := first; number <= last; number++ {
		name := size.Name(timeline, number)
		f.put(server+"/wals/"+name[:16]+"/"+name+suffix, 100, arrival(int(number)), nil)
	}
}

func (f *fakeStore) history(server string, timeline uint32, lines ...string) {
	f.put(fmt.Sprintf("%s/wals/%s", server, historyName(timeline)), 40, arrival(0), []byte(strings.Join(lines, "\n")+"\n"))
}

// fakeBackup is a backup.info and the files beside it.
type fakeBackup struct {
	id         string
	status     string
	timeline   uint32
	begin, end uint64
	size       SegmentSize
	systemID   string
	spaces     string
	files      []string
	dataBytes  int64
}

func (f *fakeStore) backup(server string, b fakeBackup) {
	b.size = cmp.Or(b.size, defaultSegmentSize)
	if b.files == nil {
		b.files = []string{"data.tar.gz"}
	}
	text := fmt.Sprintf("begin_time=%s\nbegin_wal=%s\nend_time=%s\nend_wal=%s\nstatus=%s\nsystemid=%s\ntablespaces=%s\ntimeline=%d\nversion=150020\nxlog_segment_size=%d\n",
		pythonTime(arrival(int(b.begin))), b.size.Name(cmp.Or(b.timeline, 1), b.begin), pythonTime(arrival(int(b.end))), b.size.Name(cmp.Or(b.timeline, 1), b.end),
		cmp.Or(b.status, "DONE"), cmp.Or(b.systemID, "7"), cmp.Or(b.spaces, "None"), cmp.Or(b.timeline, 1), b.size)
	f.put(server+"/base/"+b.id+"/backup.info", int64(len(text)), arrival(int(b.end)), []byte(text))
	for _, file := range b.files {
		f.put(server+"/base/"+b.id+"/"+file, cmp.Or(b.dataBytes, 1000), arrival(int(b.end)), nil)
	}
}

func pythonTime(at time.Time) string { return at.Format("2006-01-02 15:04:05.000000-07:00") }

func (f *fakeStore) List(_ context.Context, q recovery.ObjectQuery) (recovery.ObjectPage, error) {
	f.lists.Add(1)
	f.sort.Do(func() {
		slices.SortFunc(f.objects, func(a, b recovery.Object) int { return strings.Compare(a.Key, b.Key) })
	})
	if q.Bucket != fakeBucket {
		return recovery.ObjectPage{}, &recovery.Problem{What: "list", Why: "there is no such bucket", Err: recovery.ErrNotFound}
	}
	if f.failList != nil {
		if err := f.failList(q); err != nil {
			return recovery.ObjectPage{}, err
		}
	}
	after := q.Token
	if q.Token == "" && !f.deaf {
		after = q.StartAfter
	}
	return f.page(q, after), nil
}

func (f *fakeStore) page(q recovery.ObjectQuery, after string) recovery.ObjectPage {
	most := cmp.Or(q.MaxKeys, 1000)
	from, found := slices.BinarySearchFunc(f.objects, max(after, q.Prefix), func(o recovery.Object, key string) int { return strings.Compare(o.Key, key) })
	if found && after >= q.Prefix {
		from++
	}
	var page recovery.ObjectPage
	last := ""
	for _, object := range f.objects[from:] {
		rest, inside := strings.CutPrefix(object.Key, q.Prefix)
		if !inside {
			break
		}
		folder := ""
		if i := strings.Index(rest, q.Delimiter); q.Delimiter != "" && i >= 0 {
			folder = q.Prefix + rest[:i+1]
		}
		if folder != "" && (folder == last || strings.HasPrefix(after, folder)) {
			continue
		}
		if len(page.Objects)+len(page.Folders) == most {
			page.NextToken = last
			return page
		}
		if folder != "" {
			page.Folders, last = append(page.Folders, folder), folder
		} else {
			page.Objects, last = append(page.Objects, object), object.Key
		}
	}
	return page
}

func (f *fakeStore) Get(_ context.Context, _, key string, limitBytes int64) ([]byte, error) {
	f.gets.Add(1)
	if f.failGet != nil {
		if err := f.failGet(key); err != nil {
			return nil, err
		}
	}
	body, found := f.bodies[key]
	switch {
	case !found:
		return nil, &recovery.Problem{What: "read " + key, Why: "there is no such object", Err: recovery.ErrNotFound}
	case int64(len(body)) > limitBytes:
		return nil, &recovery.Problem{What: "read " + key, Why: "it is too large", Err: recovery.ErrDamaged}
	}
	return body, nil
}

// unreachable is what the S3 adapter gives when the server is gone.
func unreachable() error {
	return &recovery.Problem{What: "list", Why: "connection refused", Next: "check --endpoint-url", Err: errors.Join(recovery.ErrUnreachable)}
}

func read(t *testing.T, f *fakeStore, servers ...string) (recovery.Catalog, recovery.Gaps) {
	t.Helper()
	catalog, gaps, err := ReadCatalog(t.Context(), f, Options{Bucket: fakeBucket, Prefix: destinationPrefix, Servers: servers})
	require.NoError(t, err)
	return catalog, gaps
}

// one reads a catalog that has one server and no gaps in the reading.
func one(t *testing.T, f *fakeStore) recovery.Server {
	t.Helper()
	catalog, gaps := read(t, f)
	require.Empty(t, gaps)
	require.Len(t, catalog.Servers, 1)
	return catalog.Servers[0]
}
