package nfs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/willscott/go-nfs-client/nfs"
	"github.com/willscott/go-nfs-client/nfs/rpc"
	"github.com/willscott/go-nfs-client/nfs/xdr"
)

// fake is a server that answers procedures as a test says: for what real servers do rarely.
type fake struct {
	port     int
	accepted atomic.Int64
	// on gives the results of a procedure; nil means no answer at all.
	on map[procedure]func(args *decoder) []any
	// raw, when set, answers with the bytes it gives and ends the connection.
	raw func(xid uint32) []byte
	// fragments is into how many fragments replies are cut.
	fragments int
}

var (
	procNFS      = func(number uint32) procedure { return procedure{nfs.Nfs3Prog, nfs.Nfs3Vers, number} }
	procMount    = func(number uint32) procedure { return procedure{nfs.MountProg, nfs.MountVers, number} }
	procGetport  = procedure{rpc.PmapProg, rpc.PmapVers, rpc.PmapProcGetPort}
	fakeRoot     = []byte("root")
	noAttributes = uint32(0)
)

// newFake starts a server with an export /backup that holds nothing, its portmapper included.
func newFake(t *testing.T) *fake {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	f := &fake{port: listener.Addr().(*net.TCPAddr).Port, fragments: 1}
	f.on = map[procedure]func(*decoder) []any{
		procGetport: func(*decoder) []any { return []any{uint32(f.port)} },
		procMount(nfs.MountProc3MNT): func(args *decoder) []any {
			if string(args.opaque()) != "/backup" {
				return []any{uint32(nfs.MNT3ErrNoEnt)}
			}
			return []any{uint32(0), fakeRoot, []uint32{authSys}}
		},
		procMount(nfs.MountProc3UMNT):   func(*decoder) []any { return []any{} },
		procMount(nfs.MountProc3Export): func(*decoder) []any { return []any{true, "/backup", true, "everybody", false, false} },
		procNFS(nfs.NFSProc3FSInfo):     func(*decoder) []any { return fsinfoResult(1 << 20) },
		procNFS(nfs.NFSProc3Lookup):     status(nfs.NFS3ErrNoEnt),
	}
	go func() {
		for {
			tcp, err := listener.Accept()
			if err != nil {
				return
			}
			f.accepted.Add(1)
			go f.serve(tcp)
		}
	}()
	return f
}

func status(code uint32) func(*decoder) []any {
	return func(*decoder) []any { return []any{code, noAttributes} }
}

func fsinfoResult(maxRead uint32) []any {
	return []any{uint32(0), noAttributes, maxRead, [12]uint32{}}
}

// attributesOf is a post_op_attr.
func attributesOf(kind uint32, size uint64) any {
	return nfs.PostOpAttr{IsSet: true, Attr: nfs.Fattr{Type: kind, FileMode: 0o600, UID: 568, GID: 568, Filesize: size}}
}

func (f *fake) options() Options {
	return Options{Host: "127.0.0.1", Port: f.port, MountPort: f.port, Path: "/backup", UID: 568, GID: 568, Timeout: 10 * time.Second}
}

func (f *fake) serve(tcp net.Conn) {
	defer func() { _ = tcp.Close() }()
	reader := bufio.NewReader(tcp)
	for {
		record, err := readRecord(reader)
		if err != nil {
			return
		}
		call := decoder{rest: record}
		xid := call.uint32()
		call.take(8) // type, RPC version
		p := procedure{call.uint32(), call.uint32(), call.uint32()}
		for range 2 { // credential, verifier
			call.uint32()
			call.opaque()
		}
		if f.raw != nil {
			_, _ = tcp.Write(f.raw(xid))
			return
		}
		if !f.answer(tcp, xid, p, &call) {
			return
		}
	}
}

func (f *fake) answer(tcp net.Conn, xid uint32, p procedure, args *decoder) bool {
	handler := f.on[p]
	acceptStat, results := uint32(rpc.ProcUnavail), []any{}
	if handler != nil {
		acceptStat, results = 0, handler(args)
	}
	if results == nil {
		return true
	}
	head := []any{xid, uint32(messageReply), uint32(0), rpc.AuthNull, acceptStat}
	_, err := tcp.Write(encodeReply(f.fragments, append(head, results...)...))
	return err == nil
}

// encodeReply makes a record of values, cut into fragments.
func encodeReply(fragments int, values ...any) []byte {
	var body, record bytes.Buffer
	for _, value := range values {
		if err := xdr.Write(&body, value); err != nil {
			panic(err)
		}
	}
	content := body.Bytes()
	for i := range fragments {
		part := content[i*len(content)/fragments : (i+1)*len(content)/fragments]
		mark := uint32(len(part))
		if i == fragments-1 {
			mark |= lastFragment
		}
		_ = binary.Write(&record, binary.BigEndian, mark)
		record.Write(part)
	}
	return record.Bytes()
}
