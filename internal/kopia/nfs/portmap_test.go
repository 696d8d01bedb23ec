package nfs

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/willscott/go-nfs-client/nfs"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

func TestFindPorts(t *testing.T) {
	const registeredNFS, registeredMount = 2049, 20048
	closed, err := lab.FreePort()
	require.NoError(t, err)
	cases := map[string]struct {
		port, mount           int
		noPortmapper          bool
		withoutNFS, withoutMT bool
		expected              servicePorts
		kind                  error
		text                  string
	}{
		"both asked":              {expected: servicePorts{registeredNFS, registeredMount}},
		"mount asked":             {port: 3000, expected: servicePorts{3000, registeredMount}},
		"nothing asked":           {port: 3000, mount: 4000, noPortmapper: true, expected: servicePorts{3000, 4000}},
		"mount on the same port":  {port: 3000, noPortmapper: true, expected: servicePorts{3000, 3000}},
		"mount is not registered": {port: 3000, withoutMT: true, expected: servicePorts{3000, 3000}},
		"no portmapper":           {noPortmapper: true, kind: recovery.ErrUnreachable, text: "nfs://HOST:2049/EXPORT"},
		"version 4 only":          {withoutNFS: true, kind: recovery.ErrUnsupported, text: "switch NFSv3 on"},
		"no mount service":        {withoutMT: true, kind: recovery.ErrUnsupported, text: "switch NFSv3 on"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.on[procGetport] = func(args *decoder) []any {
				switch program := args.uint32(); {
				case program == nfs.Nfs3Prog && !c.withoutNFS:
					return []any{uint32(registeredNFS)}
				case program == nfs.MountProg && !c.withoutMT:
					return []any{uint32(registeredMount)}
				}
				return []any{uint32(0)}
			}
			o := f.options()
			o.Port, o.MountPort, o.portmapperPort = c.port, c.mount, f.port
			if c.noPortmapper {
				o.portmapperPort = closed
			}
			ports, err := findPorts(t.Context(), o, new(atomic.Int64))
			if c.kind != nil {
				requireProblem(t, err, c.kind, c.text)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.expected, ports)
		})
	}
}

func TestImpossiblePort(t *testing.T) {
	f := newFake(t)
	f.on[procGetport] = func(*decoder) []any { return []any{uint32(1 << 20)} }
	o := f.options()
	o.Port, o.MountPort, o.portmapperPort = 0, 0, f.port
	_, err := New(t.Context(), o)
	requireProblem(t, err, recovery.ErrUnsupported, "port 1048576")
}

// TestRealPortmapper goes the whole way with no port given. Another ganesha of this machine may
// register itself between our start and our question; then that one is asked, has no such export, and
// we start again.
func TestRealPortmapper(t *testing.T) {
	dir := smallTree(t)
	for attempt := 1; ; attempt++ {
		stack := lab.ForTest(t)
		o := startGanesha(t, stack, lab.GaneshaOptions{Dir: dir})
		o.Port, o.MountPort = 0, 0
		s, err := New(t.Context(), o)
		var p *recovery.Problem
		if err != nil && attempt < 5 && errors.As(err, &p) {
			t.Log("another server is registered now: ", err)
			continue
		}
		require.NoError(t, err)
		require.Len(t, listAll(t, s, ""), 2)
		require.NoError(t, s.Close(t.Context()))
		return
	}
}
