package nfs

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/willscott/go-nfs-client/nfs"
)

func TestDecoderStaysWithinTheReply(t *testing.T) {
	for _, reply := range [][]byte{nil, {0, 0}, {0xff, 0xff, 0xff, 0xff, 1}, {0, 0, 0, 3, 'a', 'b', 'c'}} {
		d := &decoder{rest: reply}
		_ = d.opaque()
		require.ErrorIs(t, d.err, errMalformed)
		require.Zero(t, d.uint64())
		require.Nil(t, d.attributes())
	}
	d := &decoder{rest: []byte{0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 0, 9}}
	require.Equal(t, "abc", string(d.opaque()))
	require.EqualValues(t, 9, d.uint32())
	require.NoError(t, d.err)
}

func TestAttributes(t *testing.T) {
	record := encodeReply(1, nfs.Fattr{
		Type: nfs.NF3Dir, FileMode: 0o700, Nlink: 2, UID: 568, GID: 569, Filesize: 1 << 40, Used: 1, FSID: 3, Fileid: 4,
		Atime: nfs.NFS3Time{Seconds: 1, Nseconds: 2}, Mtime: nfs.NFS3Time{Seconds: 1_700_000_000, Nseconds: 5}, Ctime: nfs.NFS3Time{Seconds: 6, Nseconds: 7},
	})
	d := &decoder{rest: record[4:]}
	require.Equal(t, &attributes{nfs.NF3Dir, 0o700, 568, 569, 1 << 40, time.Unix(1_700_000_000, 5).UTC()}, d.attributes())
	require.NoError(t, d.err)
	require.Empty(t, d.rest)
}

// FuzzReply reads anything as every kind of reply: no panic, and nothing that is larger than what
// came in.
func FuzzReply(f *testing.F) {
	head := []any{uint32(1), uint32(messageReply), uint32(0), uint32(0), []byte{}, uint32(0)}
	f.Add(encodeReply(1, append(head, listing(true, fullEntry("one.f", nfs.NF3Reg), bareEntry("two"))[1:]...)...))
	f.Add(encodeReply(3, append(head, exportsOf("/a", "/b")(nil)...)...))
	f.Add(encodeReply(1, append(head, fakeRoot, []uint32{1, 390003})...))
	f.Add(encodeReply(1, uint32(1), uint32(messageReply), uint32(1), uint32(1), uint32(5)))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		record, err := readRecord(bytes.NewReader(stream))
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(record), len(stream))
		if _, err := replyXID(record); err != nil {
			return
		}
		reply, err := openReply(record)
		if err != nil {
			return
		}
		results := reply.rest
		read := func() *decoder { return &decoder{rest: results} }
		size := 0
		for _, e := range read().page().entries {
			size += len(e.name) + len(e.handle)
		}
		for _, path := range read().exports() {
			size += len(path)
		}
		d := read()
		size += len(d.opaque()) + 4*len(d.flavors())
		require.LessOrEqual(t, size, 3*len(stream))
		_ = read().optionalAttributes()
	})
}
