package nfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/willscott/go-nfs-client/nfs/rpc"
	"github.com/willscott/go-nfs-client/nfs/xdr"
)

// procedure names one remote procedure.
type procedure struct{ program, version, number uint32 }

const (
	messageCall  = 0
	messageReply = 1

	// lastFragment marks the last fragment of a record; the other bits are its length.
	lastFragment = 1 << 31
	// maxRecordBytes is more than any reply to what is asked here (readSize is the largest).
	maxRecordBytes = 4 << 20
)

// rejection is an answer of the RPC layer: the server did not even try.
type rejection struct {
	// auth is the auth_stat of a refused credential, zero otherwise.
	auth uint32
	// unserved: the server answers on this port, but not for this program.
	unserved bool
	reason   string
}

func (r *rejection) Error() string { return "RPC refused: " + r.reason }

// encodeCall makes the record of a call: fragment header, RPC header and arguments. args is a struct
// for the library's XDR encoder, nil for none.
func encodeCall(xid uint32, p procedure, credential rpc.Auth, args any) ([]byte, error) {
	record := bytes.NewBuffer(make([]byte, 4, 256))
	header := struct {
		XID, Type uint32
		rpc.Header
	}{xid, messageCall, rpc.Header{Rpcvers: 2, Prog: p.program, Vers: p.version, Proc: p.number, Cred: credential, Verf: rpc.AuthNull}}
	if err := xdr.Write(record, header); err != nil {
		return nil, fmt.Errorf("encode RPC header: %w", err)
	}
	if args != nil {
		if err := xdr.Write(record, args); err != nil {
			return nil, fmt.Errorf("encode RPC arguments: %w", err)
		}
	}
	call := record.Bytes()
	binary.BigEndian.PutUint32(call, lastFragment|uint32(len(call)-4))
	return call, nil
}

// readRecord reads one record, of any number of fragments. Source: RFC 5531, 11.
func readRecord(r io.Reader) ([]byte, error) {
	var record []byte
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, err
		}
		mark := binary.BigEndian.Uint32(head[:])
		length := int(mark &^ lastFragment)
		if len(record)+length > maxRecordBytes {
			return nil, fmt.Errorf("a reply of %d bytes: not an NFS server: %w", length, errMalformed)
		}
		begin := len(record)
		record = append(record, make([]byte, length)...)
		if _, err := io.ReadFull(r, record[begin:]); err != nil {
			return nil, err
		}
		if mark&lastFragment != 0 {
			return record, nil
		}
	}
}

// replyXID tells which call a record answers.
func replyXID(record []byte) (uint32, error) {
	d := decoder{rest: record}
	xid, kind := d.uint32(), d.uint32()
	if d.err == nil && kind != messageReply {
		d.err = fmt.Errorf("message of type %d, not a reply: %w", kind, errMalformed)
	}
	return xid, d.err
}

// openReply strips the RPC header of a reply: what remains are the procedure's results.
// Source: RFC 5531, 9.
func openReply(record []byte) (*decoder, error) {
	d := &decoder{rest: record}
	d.take(8) // xid and type, seen by replyXID
	if denied := d.uint32(); denied != 0 {
		return nil, d.denial()
	}
	d.take(4)  // flavor of the verifier
	d.opaque() // the verifier
	switch status := d.uint32(); {
	case d.err != nil:
		return nil, d.err
	case status != 0:
		return nil, &rejection{unserved: status <= rpc.ProcUnavail, reason: acceptedStatus(status)}
	}
	return d, nil
}

func (d *decoder) denial() error {
	kind, status := d.uint32(), d.uint32()
	if d.err != nil {
		return d.err
	}
	if kind == 1 { // AUTH_ERROR
		return &rejection{auth: status, reason: authStatus(status)}
	}
	return &rejection{reason: "RPC version 2 is not spoken"}
}

func acceptedStatus(status uint32) string {
	switch status {
	case rpc.ProgUnavail:
		return "the program is not served on this port (PROG_UNAVAIL)"
	case rpc.ProgMismatch:
		return "the program's version 3 is not served (PROG_MISMATCH)"
	case rpc.ProcUnavail:
		return "the procedure is not served (PROC_UNAVAIL)"
	case rpc.GarbageArgs:
		return "the arguments were not understood (GARBAGE_ARGS)"
	}
	return fmt.Sprintf("the server failed (accept_stat %d)", status)
}

// authTooWeak is what servers answer to a source port above 1023, among other things.
const authTooWeak = 5

func authStatus(status uint32) string {
	switch status {
	case 1, 2:
		return "the credentials were rejected (AUTH_BADCRED)"
	case authTooWeak:
		return "the credentials or the source port are too weak (AUTH_TOOWEAK)"
	}
	return fmt.Sprintf("the credentials were refused (auth_stat %d)", status)
}
