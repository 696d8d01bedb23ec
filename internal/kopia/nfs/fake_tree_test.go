package nfs

import (
	"bytes"
	"context"
	"strconv"
	"testing"

	"github.com/kopia/kopia/repo/blob"
	"github.com/stretchr/testify/require"
	"github.com/willscott/go-nfs-client/nfs"

	"github.com/drctl/drctl/internal/recovery"
)

// listing is a READDIRPLUS result of one page; each name comes with what follows it.
func listing(eof bool, entries ...[]any) []any {
	results := []any{uint32(0), noAttributes, uint64(7)}
	for i, e := range entries {
		results = append(results, true, uint64(i), e[0], uint64(i+1))
		results = append(results, e[1:]...)
	}
	return append(results, false, eof)
}

func bareEntry(name string) []any { return []any{name, false, false} }

func fullEntry(name string, kind uint32) []any {
	return []any{name, attributesOf(kind, 3), true, []byte("handle of " + name)}
}

func lookupResult(handle string, kind uint32, size uint64) []any {
	return []any{uint32(0), []byte(handle), attributesOf(kind, size), noAttributes}
}

// serveFile makes one file findable, with the content, in READs of at most most bytes.
func (f *fake) serveFile(name string, content []byte, most int, withSize bool) {
	f.on[procNFS(nfs.NFSProc3Lookup)] = func(args *decoder) []any {
		args.opaque()
		if string(args.opaque()) != name {
			return []any{uint32(nfs.NFS3ErrNoEnt), noAttributes}
		}
		return lookupResult("file", nfs.NF3Reg, uint64(len(content)))
	}
	f.on[procNFS(nfs.NFSProc3Read)] = func(args *decoder) []any {
		args.opaque()
		offset, count := int(args.uint64()), int(args.uint32())
		begin := min(offset, len(content))
		end := min(begin+min(count, most), len(content))
		var attributes any = noAttributes
		if withSize {
			attributes = attributesOf(nfs.NF3Reg, uint64(len(content)))
		}
		return []any{uint32(0), attributes, uint32(end - begin), end == len(content), content[begin:end]}
	}
}

// TestShortReads: servers may give less than asked for, and need not tell the size.
func TestShortReads(t *testing.T) {
	content := make([]byte, 10_000)
	fillRandom(content)
	for _, withSize := range []bool{true, false} {
		for _, maxRead := range []uint32{0, 64, 1000, 1 << 30} {
			t.Run(strconv.FormatBool(withSize)+" "+strconv.Itoa(int(maxRead)), func(t *testing.T) {
				f := newFake(t)
				f.on[procNFS(nfs.NFSProc3FSInfo)] = func(*decoder) []any { return fsinfoResult(maxRead) }
				f.serveFile("kopia.blobcfg.f", content, 700, withSize)
				s := openStorage(t, f.options())
				for _, r := range []struct{ offset, length int64 }{{0, -1}, {0, 10_000}, {9_000, 1_000}, {123, 4_567}} {
					var got buffer
					require.NoError(t, s.GetBlob(t.Context(), "kopia.blobcfg", r.offset, r.length, &got))
					expected := content
					if r.length >= 0 {
						expected = content[r.offset : r.offset+r.length]
					}
					require.True(t, bytes.Equal(expected, got.Bytes()))
				}
				err := s.GetBlob(t.Context(), "kopia.blobcfg", 9_000, 1_001, new(buffer))
				require.ErrorIs(t, err, blob.ErrInvalidRange)
			})
		}
	}
}

func TestReadThatNeverEnds(t *testing.T) {
	f := newFake(t)
	f.serveFile("kopia.blobcfg.f", nil, 0, false)
	f.on[procNFS(nfs.NFSProc3Read)] = func(*decoder) []any { return []any{uint32(0), noAttributes, uint32(0), false, []byte{}} }
	s := openStorage(t, f.options())
	err := s.GetBlob(t.Context(), "kopia.blobcfg", 0, -1, new(buffer))
	requireProblem(t, err, recovery.ErrUnsupported, "does not end")
}

// TestSparseListing: entries without attributes or handle are looked up, those gone by then left out,
// and foreign folders are not entered.
func TestSparseListing(t *testing.T) {
	f := newFake(t)
	f.on[procNFS(nfs.NFSProc3Lookup)] = func(args *decoder) []any {
		args.opaque()
		switch name := string(args.opaque()); name {
		case "bare.f":
			return lookupResult("bare", nfs.NF3Reg, 5)
		default:
			return []any{uint32(nfs.NFS3ErrNoEnt), noAttributes}
		}
	}
	f.on[procNFS(nfs.NFSProc3ReadDirPlus)] = func(args *decoder) []any {
		if string(args.opaque()) != string(fakeRoot) {
			return listing(true)
		}
		return listing(true,
			bareEntry("."), bareEntry(".."), bareEntry("bare.f"), bareEntry("gone.f"), fullEntry("full.f", nfs.NF3Reg),
			fullEntry("unfinished.f.tmp.0011", nfs.NF3Reg), fullEntry("link.f", nfs.NF3Lnk), fullEntry("p", nfs.NF3Dir),
			fullEntry("lost+found", nfs.NF3Dir), fullEntry(".snapshot", nfs.NF3Dir), fullEntry("@eaDir", nfs.NF3Dir), fullEntry("#recycle", nfs.NF3Dir))
	}
	s := openStorage(t, f.options())
	before := s.Operations()
	var found []string
	require.NoError(t, s.ListBlobs(t.Context(), "", func(m blob.Metadata) error {
		found = append(found, string(m.BlobID)+" "+strconv.FormatInt(m.Length, 10))
		return nil
	}))
	require.Equal(t, []string{"bare 5", "full 3"}, found)
	require.EqualValues(t, 4, s.Operations()-before, "the root, two LOOKUPs, p")
}

func TestListingOverSeveralPages(t *testing.T) {
	f := newFake(t)
	forgetful := 2
	f.on[procNFS(nfs.NFSProc3ReadDirPlus)] = func(args *decoder) []any {
		args.opaque()
		cookie, verifier := args.uint64(), args.uint64()
		switch {
		case cookie == 0:
			return listing(false, fullEntry("one.f", nfs.NF3Reg))
		case cookie != 1 || verifier != 7:
			return []any{uint32(nfs.NFS3ErrInval), noAttributes}
		case forgetful > 0:
			forgetful--
			return []any{uint32(nfs.NFS3ErrBadCookie), noAttributes}
		}
		return listing(true, fullEntry("two.f", nfs.NF3Reg))
	}
	s := openStorage(t, f.options())
	require.Len(t, listAll(t, s, ""), 2)

	forgetful = 100
	err := s.ListBlobs(t.Context(), "", nil)
	require.ErrorContains(t, err, "NFS3ERR_BAD_COOKIE")
}

func TestListingThatDoesNotAdvance(t *testing.T) {
	f := newFake(t)
	f.on[procNFS(nfs.NFSProc3ReadDirPlus)] = func(*decoder) []any { return listing(false) }
	s := openStorage(t, f.options())
	err := s.ListBlobs(t.Context(), "", nil)
	requireProblem(t, err, recovery.ErrUnsupported, "does not advance")
}

func TestCallbackEndsAListing(t *testing.T) {
	f := newFake(t)
	f.on[procNFS(nfs.NFSProc3ReadDirPlus)] = func(*decoder) []any { return listing(true, fullEntry("one.f", nfs.NF3Reg)) }
	s := openStorage(t, f.options())
	err := s.ListBlobs(t.Context(), "", func(blob.Metadata) error { return context.Canceled })
	require.Equal(t, context.Canceled, err)
}

func TestServerThatNeedsTime(t *testing.T) {
	f := newFake(t)
	calls := 0
	f.on[procNFS(nfs.NFSProc3Lookup)] = func(*decoder) []any {
		calls++
		if calls == 1 {
			return []any{uint32(statusJukebox), noAttributes}
		}
		return []any{uint32(nfs.NFS3ErrNoEnt), noAttributes}
	}
	s := openStorage(t, f.options())
	_, err := s.GetMetadata(t.Context(), "kopia.blobcfg")
	require.ErrorIs(t, err, blob.ErrBlobNotFound)

	s.tree.timeout = 1
	f.on[procNFS(nfs.NFSProc3GetAttr)] = func(*decoder) []any { return []any{uint32(statusJukebox)} }
	_, err = s.tree.getattr(t.Context(), fakeRoot)
	require.ErrorIs(t, s.tree.problem(t.Context(), "try", err), recovery.ErrUnreachable)
}
