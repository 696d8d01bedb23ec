package barman

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

const testPage = 8192

// walWriter makes WAL as PostgreSQL does, page by page.
type walWriter struct {
	body  []byte
	start LSN
	at    int
}

// newWAL begins a segment; rest bytes of a record that began in an earlier one come first.
func newWAL(start LSN, rest int) *walWriter {
	w := &walWriter{start: start, body: make([]byte, leastSegmentSize)}
	w.header(walLongPage, rest)
	binary.LittleEndian.PutUint32(w.body[36:], testPage)
	w.write(make([]byte, rest))
	return w
}

func (w *walWriter) header(flags uint16, rest int) {
	page := w.body[w.at:]
	binary.LittleEndian.PutUint16(page, 0xD110)
	if rest > 0 {
		flags |= walFirstContinues
	}
	binary.LittleEndian.PutUint16(page[2:], flags)
	binary.LittleEndian.PutUint64(page[8:], uint64(w.start)+uint64(w.at))
	binary.LittleEndian.PutUint32(page[16:], uint32(rest))
	w.at += walPageHeader
	if flags&walLongPage != 0 {
		w.at += walLongHeader - walPageHeader
	}
}

// write puts bytes, over as many pages as they need; what the segment has no room for is lost.
func (w *walWriter) write(bytes []byte) {
	for len(bytes) > 0 && w.at < len(w.body) {
		if w.at%testPage == 0 {
			w.header(0, len(bytes))
		}
		part := min(len(bytes), testPage-w.at%testPage)
		copy(w.body[w.at:], bytes[:part])
		w.at += part
		bytes = bytes[part:]
	}
	w.at = min((w.at+7)&^7, len(w.body))
}

func (w *walWriter) record(manager, info byte, data []byte) *walWriter {
	record := make([]byte, walRecordHeader, walRecordHeader+len(data))
	record = append(record, data...)
	binary.LittleEndian.PutUint32(record, uint32(len(record)))
	record[16], record[17] = info, manager
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(record[20:], crc32.Update(crc32.Checksum(record[24:], castagnoli), castagnoli, record[:20]))
	if w.at < len(w.body) && w.at%testPage == 0 {
		w.header(0, 0)
	}
	w.write(record)
	return w
}

func (w *walWriter) commit(info byte, at time.Time, before ...byte) *walWriter {
	data := append(before, walBlockDataShort, 8)
	data = binary.LittleEndian.AppendUint64(data, uint64(at.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Microseconds()))
	return w.record(walManagerXact, info, data)
}

func (w *walWriter) end() LSN { return w.start + LSN(w.at) }

func TestReadSegment(t *testing.T) {
	const start = LSN(5 * leastSegmentSize)
	at := time.Date(2026, 11, 24, 6, 15, 2, 123456000, time.UTC)
	filler := make([]byte, 100_000)
	for title, c := range map[string]struct {
		make   func() *walWriter
		end    LSN
		commit time.Time
	}{
		"records":             {func() *walWriter { return newWAL(start, 0).record(10, 0, filler[:50]).commit(0, at) }, start + 40 + 80 + 40, at},
		"over pages":          {func() *walWriter { return newWAL(start, 0).record(10, 0, filler).commit(0, at).record(10, 0, filler) }, 0, at},
		"a switch":            {func() *walWriter { return newWAL(start, 0).commit(0, at).record(walManagerXLOG, walSwitch, nil) }, start + LSN(leastSegmentSize), at},
		"begins in a record":  {func() *walWriter { return newWAL(start, 30_000).commit(0, at) }, 0, at},
		"only its end":        {func() *walWriter { return newWAL(start, 30_000) }, 0, time.Time{}},
		"nothing ends here":   {func() *walWriter { return newWAL(start, 2<<20) }, start, time.Time{}},
		"the latest commit":   {func() *walWriter { return newWAL(start, 0).commit(0, at).commit(0, at.Add(-time.Second)) }, 0, at},
		"abort":               {func() *walWriter { return newWAL(start, 0).commit(0x20, at) }, 0, at},
		"commit prepared":     {func() *walWriter { return newWAL(start, 0).commit(0x30|0x80, at) }, 0, at},
		"prepare is none":     {func() *walWriter { return newWAL(start, 0).commit(0x10, at) }, 0, time.Time{}},
		"with an origin":      {func() *walWriter { return newWAL(start, 0).commit(0, at, walBlockOrigin, 1, 0) }, 0, at},
		"with a top-level ID": {func() *walWriter { return newWAL(start, 0).commit(0, at, walBlockTopLevelXID, 1, 0, 0, 0) }, 0, at},
		"with a page":         {func() *walWriter { return newWAL(start, 0).record(walManagerXact, 0, []byte{0, 1, 2, 3, 4, 5, 6, 7}) }, 0, time.Time{}},
		"empty":               {func() *walWriter { return newWAL(start, 0) }, start, time.Time{}},
	} {
		t.Run(title, func(t *testing.T) {
			w := c.make()
			want := c.end
			switch want {
			case start:
				want = 0
			case 0:
				want = w.end()
			}
			found, err := readSegment(w.body, leastSegmentSize, start)
			require.NoError(t, err)
			require.Equal(t, want.String(), found.end.String())
			require.True(t, c.commit.Equal(found.lastCommit), found.lastCommit)
		})
	}
}

// TestSegmentThatEndsInARecord: filled to the last byte, with a record that goes on behind it.
func TestSegmentThatEndsInARecord(t *testing.T) {
	w := newWAL(0, 0)
	var whole LSN
	for w.at < len(w.body) {
		whole = w.end()
		w.record(10, 0, make([]byte, 10_007))
	}
	found, err := readSegment(w.body, leastSegmentSize, 0)
	require.NoError(t, err)
	require.Equal(t, whole, found.end)
	// A segment that was used before: behind the last record stand pages of an older one.
	used := newWAL(0, 0).record(10, 0, make([]byte, 50))
	copy(used.body[testPage:], w.body[testPage:])
	binary.LittleEndian.PutUint64(used.body[testPage+8:], 1<<30)
	end := used.end()
	found, err = readSegment(used.body, leastSegmentSize, 0)
	require.NoError(t, err)
	require.Equal(t, end, found.end)
	// A damaged record is where PostgreSQL stops, too.
	broken := newWAL(0, 0).record(10, 0, make([]byte, 50))
	end = broken.end()
	broken.record(10, 0, make([]byte, 50)).body[int(end)+40] ^= 1
	found, err = readSegment(broken.body, leastSegmentSize, 0)
	require.NoError(t, err)
	require.Equal(t, end, found.end)
}

func TestWhatIsNoSegment(t *testing.T) {
	good := newWAL(0, 0).body
	for title, spoil := range map[string]func([]byte) []byte{
		"short":        func(b []byte) []byte { return b[:len(b)/2] },
		"long":         func(b []byte) []byte { return append(b, 0) },
		"zeros":        func(b []byte) []byte { return make([]byte, len(b)) },
		"other place":  func(b []byte) []byte { b[10] = 1; return b },
		"no long page": func(b []byte) []byte { b[2] = 0; return b },
		"page size":    func(b []byte) []byte { b[36] = 3; return b },
	} {
		_, err := readSegment(spoil(append([]byte(nil), good...)), leastSegmentSize, 0)
		require.ErrorIs(t, err, recovery.ErrDamaged, title)
	}
}

// FuzzReadSegment: whatever stands in a segment, what is found lies in it.
func FuzzReadSegment(f *testing.F) {
	f.Add(newWAL(0, 100).commit(0, time.Now()).record(10, 0, make([]byte, 9000)).body[:3*testPage])
	f.Add(newWAL(0, 0).record(walManagerXLOG, walSwitch, nil).body[:testPage])
	f.Fuzz(func(t *testing.T, text []byte) {
		body := make([]byte, leastSegmentSize)
		copy(body, text)
		found, err := readSegment(body, leastSegmentSize, 0)
		if err != nil {
			require.ErrorIs(t, err, recovery.ErrDamaged)
			return
		}
		require.LessOrEqual(t, found.end, LSN(leastSegmentSize))
	})
}
