package nfs

import (
	"errors"
	"testing"

	"github.com/kopia/kopia/repo/blob"
	"github.com/stretchr/testify/require"
	"github.com/willscott/go-nfs-client/nfs"

	"github.com/drctl/drctl/internal/recovery"
)

func TestStatusProblems(t *testing.T) {
	cases := []struct {
		code  uint32
		kind  error
		texts []string
	}{
		{nfs.NFS3ErrStale, recovery.ErrUnreachable, []string{"NFS3ERR_STALE", "run the command again"}},
		{nfs.NFS3ErrBadHandle, recovery.ErrUnreachable, []string{"NFS3ERR_BADHANDLE"}},
		{nfs.NFS3ErrAcces, recovery.ErrDenied, []string{"uid 568, gid 568", "?uid=UID&gid=GID"}},
		{nfs.NFS3ErrNotSupp, recovery.ErrUnsupported, []string{"READDIRPLUS", "--repo PATH"}},
		{nfs.NFS3ErrIO, nil, []string{"NFS3ERR_IO", "server's log"}},
		{99999, nil, []string{"NFS status 99999"}},
	}
	for _, c := range cases {
		f := newFake(t)
		f.on[procNFS(nfs.NFSProc3ReadDirPlus)] = status(c.code)
		s := openStorage(t, f.options())
		err := s.ListBlobs(t.Context(), "", nil)
		var p *recovery.Problem
		require.ErrorAs(t, err, &p)
		require.NotEmpty(t, p.Next)
		if c.kind != nil {
			require.ErrorIs(t, err, c.kind)
		}
		for _, text := range c.texts {
			require.ErrorContains(t, err, text)
		}
	}
}

// TestLinuxRefusesThePort: knfsd lets the mount pass and answers NFS3ERR_PERM later on.
func TestLinuxRefusesThePort(t *testing.T) {
	f := newFake(t)
	s := openStorage(t, f.options())
	f.on[procNFS(nfs.NFSProc3ReadDirPlus)] = status(nfs.NFS3ErrPerm)
	err := s.ListBlobs(t.Context(), "", nil)
	requireProblem(t, err, recovery.ErrDenied, "uid 568")
	s.tree.unreserved.Store(true)
	err = s.ListBlobs(t.Context(), "", nil)
	requireProblem(t, err, recovery.ErrDenied, "source port below 1024", "option `insecure`", "Synology")
}

func TestDeniedToRoot(t *testing.T) {
	f := newFake(t)
	f.on[procNFS(nfs.NFSProc3ReadDirPlus)] = func(*decoder) []any { return []any{uint32(nfs.NFS3ErrAcces), attributesOf(nfs.NF3Dir, 0)} }
	o := f.options()
	o.UID, o.GID = 0, 0
	err := openStorage(t, o).ListBlobs(t.Context(), "", nil)
	requireProblem(t, err, recovery.ErrDenied, "no_root_squash", "0600 and belongs to 568:568", "?uid=568&gid=568")
}

func TestExportRefused(t *testing.T) {
	cases := map[string]struct {
		code       uint32
		exports    func(*decoder) []any
		unreserved bool
		kind       error
		texts      []string
	}{
		"not this client":     {nfs.MNT3ErrAcces, nil, false, recovery.ErrDenied, []string{"MNT3ERR_ACCES", "/backup", "allow this machine's address"}},
		"nor this port":       {nfs.MNT3ErrAcces, nil, true, recovery.ErrDenied, []string{"not below 1024", "insecure"}},
		"nothing exported":    {nfs.MNT3ErrPerm, func(*decoder) []any { return []any{false} }, false, recovery.ErrDenied, []string{"exports nothing to this machine"}},
		"another one is":      {nfs.MNT3ErrAcces, exportsOf("/other"), false, recovery.ErrNotFound, []string{"the server exports: /other"}},
		"list is refused":     {nfs.MNT3ErrIO, func(*decoder) []any { return nil }, false, recovery.ErrDenied, []string{"MNT3ERR_IO", "does not tell"}},
		"no folder, no list":  {nfs.MNT3ErrNoEnt, exportsOf("/backup"), false, recovery.ErrNotFound, []string{"no such export"}},
		"unknown MOUNT error": {10006, nil, false, recovery.ErrDenied, []string{"MOUNT status 10006"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			if c.exports != nil {
				f.on[procMount(nfs.MountProc3Export)] = c.exports
			}
			o, err := f.options().complete()
			require.NoError(t, err)
			o.Timeout = 300 * 1e6
			client := newClient(o, f.port, 1, newOperations())
			defer client.close()
			client.unreserved.Store(c.unreserved)
			err = client.refusedExport(t.Context(), "mount", "/backup/volsync", &mountError{c.code})
			requireProblem(t, err, c.kind, c.texts...)
		})
	}
}

func exportsOf(paths ...string) func(*decoder) []any {
	return func(*decoder) []any {
		var results []any
		for _, path := range paths {
			results = append(results, true, path, false)
		}
		return append(results, false)
	}
}

func TestKerberosOnly(t *testing.T) {
	f := newFake(t)
	f.on[procMount(nfs.MountProc3MNT)] = func(*decoder) []any { return []any{uint32(0), fakeRoot, []uint32{390003, 390005}} }
	_, err := New(t.Context(), f.options())
	requireProblem(t, err, recovery.ErrUnsupported, "Kerberos", "sec=sys")
}

func TestRepositoryBehindALink(t *testing.T) {
	f := newFake(t)
	f.on[procNFS(nfs.NFSProc3Lookup)] = func(*decoder) []any { return lookupResult("link", nfs.NF3Lnk, 9) }
	f.on[procNFS(nfs.NFSProc3Readlink)] = func(*decoder) []any { return []any{uint32(0), noAttributes, "/volume2/kopia"} }
	o := f.options()
	o.Path += "/current"
	_, err := New(t.Context(), o)
	requireProblem(t, err, recovery.ErrUnsupported, "/volume2/kopia")
}

func TestDamagedShards(t *testing.T) {
	for _, content := range []string{"", "not JSON", `{"default":[-1]}`, `{"overrides":[{"prefix":"p","shards":[1,-3]}]}`} {
		f := newFake(t)
		f.serveFile(".shards", []byte(content), 1<<20, true)
		s := openStorage(t, f.options())
		err := s.GetBlob(t.Context(), "kopia.repository", 0, -1, new(buffer))
		requireProblem(t, err, recovery.ErrDamaged, "/.shards")
		require.False(t, errors.Is(err, blob.ErrBlobNotFound))
	}
}

// TestStaleHandleIsLookedUpAgain: once; the blob is then read from where its name leads now.
func TestStaleHandleIsLookedUpAgain(t *testing.T) {
	f := newFake(t)
	f.serveFile("kopia.blobcfg.f", []byte("new"), 100, true)
	s := openStorage(t, f.options())
	s.tree.remember("/kopia.blobcfg.f", []byte("old"))
	read := f.on[procNFS(nfs.NFSProc3Read)]
	f.on[procNFS(nfs.NFSProc3Read)] = func(args *decoder) []any {
		if again := *args; string(again.opaque()) == "old" {
			return []any{uint32(nfs.NFS3ErrStale), noAttributes}
		}
		return read(args)
	}
	var got buffer
	require.NoError(t, s.GetBlob(t.Context(), "kopia.blobcfg", 0, -1, &got))
	require.Equal(t, "new", got.String())
}
