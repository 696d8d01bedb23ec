package recovery

import (
	"errors"
	"strings"
)

// Problem is an error that a person reads at 3 a.m.: what happened, why, and what to type next.
// A Problem never contains a secret.
type Problem struct {
	// What happened, with the object's name: "read the Kopia repository /mnt/backup".
	What string
	// Why it happened, as far as drctl knows: "the password is wrong".
	Why string
	// Next says what to type or change: "set KOPIA_PASSWORD, or give --password-file".
	Next string
	// Err is the cause for errors.Is and errors.As. It may be nil.
	Err error
}

// Error renders the problem on one line: "what: why (next)".
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.What)
	if why := p.Cause(); why != "" {
		b.WriteString(": ")
		b.WriteString(why)
	}
	if p.Next != "" {
		b.WriteString(" (")
		b.WriteString(p.Next)
		b.WriteString(")")
	}
	return b.String()
}

// Cause is why it happened: Why, else the text of Err, else nothing. A bare kind explains nothing.
func (p *Problem) Cause() string {
	if p.Why != "" || p.Err == nil {
		return p.Why
	}
	for _, kind := range []error{ErrUnreachable, ErrDenied, ErrNotFound, ErrDamaged, ErrUnsupported, ErrWrongPassword, ErrUsage, ErrConflict, ErrExists, ErrInvalid} {
		if p.Err == kind { //nolint:errorlint // Only the bare kind is meant, not what wraps it.
			return ""
		}
	}
	return p.Err.Error()
}

// Unwrap gives the cause.
func (p *Problem) Unwrap() error { return p.Err }

// Kinds of failure that callers tell apart with errors.Is. A Problem carries them in Err, joined with
// the cause where there is one.
var (
	// ErrUnreachable: a server did not answer (refused, timed out, TLS, gone in the middle).
	ErrUnreachable = errors.New("unreachable")
	// ErrDenied: the server answered and refused the credentials or the right (401, 403, NFS access).
	ErrDenied = errors.New("access denied")
	// ErrNotFound: the thing that was named is not there (bucket, export, prefix, object, CRD).
	ErrNotFound = errors.New("not found")
	// ErrDamaged: it was read and is not what it must be (corrupt blob, truncated backup.info).
	ErrDamaged = errors.New("damaged")
	// ErrUnsupported: it is whole, but of a newer format or of a kind that drctl does not know.
	ErrUnsupported = errors.New("unsupported")
	// ErrWrongPassword: the Kopia repository is there and the password does not open it.
	ErrWrongPassword = errors.New("wrong password")
	// ErrDeclined: a person was asked and did not say yes (exit code 130: nothing was changed).
	ErrDeclined = errors.New("declined")
	// ErrUsage: the operator's input cannot mean anything (exit code 2).
	ErrUsage = errors.New("usage")
	// ErrConflict: the thing is not the one, or not in the state, that the request was made for (HTTP 409,
	// a failed precondition, a name that somebody else holds).
	ErrConflict = errors.New("conflict")
	// ErrExists: it can't be created, there is one of that name already.
	ErrExists = errors.New("already exists")
	// ErrInvalid: the server understood the request and refuses its content (schema, admission); Why
	// holds the server's own words.
	ErrInvalid = errors.New("refused as invalid")
)

// Gaps are the parts of an answer that could not be read. An answer with gaps is printed, with each
// gap as a warning, and ends in exit code 3: unknown is never success.
type Gaps []*Problem

// Add appends err as a gap; a nil error adds nothing. What names the thing that was being read.
func (g *Gaps) Add(what string, err error) {
	if err == nil {
		return
	}
	var p *Problem
	if errors.As(err, &p) {
		*g = append(*g, p)
		return
	}
	*g = append(*g, &Problem{What: what, Err: err})
}
