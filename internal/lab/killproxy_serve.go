package lab

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FaultPatience is how long FaultTimeout holds an answer back. Clients wait longer in the field; what
// matters is that they learn nothing.
const FaultPatience = 2 * time.Second

// proxyHandler serves one target.
type proxyHandler struct {
	proxy   *KillProxy
	target  ProxyTarget
	forward *httputil.ReverseProxy
}

// ServeHTTP forwards, kills or spoils.
func (h *proxyHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch verdict := h.proxy.judge(h.target, r); {
	case verdict.lost:
		panic(http.ErrAbortHandler)
	case verdict.kill != nil:
		if verdict.kill.When == After {
			h.carryOut(r)
			h.proxy.die()
		}
		verdict.kill.process()
		panic(http.ErrAbortHandler)
	case verdict.fault != nil:
		if verdict.fault.Applied {
			h.carryOut(r)
		}
		h.spoil(w, r, verdict.fault.Kind)
	default:
		h.forward.ServeHTTP(w, r)
	}
}

// carryOut forwards a request to its end and drops the answer.
func (h *proxyHandler) carryOut(r *http.Request) {
	r, cancel := detached(r)
	defer cancel()
	// An upstream that fails aborts the client's handler; here it only means that there is no answer.
	defer func() {
		failure := recover()
		if err, isError := failure.(error); failure != nil && (!isError || !errors.Is(err, http.ErrAbortHandler)) {
			panic(failure)
		}
	}()
	h.forward.ServeHTTP(&droppedAnswer{header: http.Header{}}, r)
}

// droppedAnswer is where an answer goes that nobody sees.
type droppedAnswer struct{ header http.Header }

func (d *droppedAnswer) Header() http.Header            { return d.header }
func (d *droppedAnswer) Write(part []byte) (int, error) { return len(part), nil }
func (d *droppedAnswer) WriteHeader(int)                {}
func (d *droppedAnswer) Flush()                         {}

func (h *proxyHandler) spoil(w http.ResponseWriter, r *http.Request, kind FaultKind) {
	switch kind {
	case FaultTimeout:
		select {
		case <-time.After(FaultPatience):
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case FaultReset:
		// A client that is still writing would learn of a failed write instead.
		_, _ = io.Copy(io.Discard, r.Body)
		reset(w)
	case FaultConflict, FaultTooMany, FaultInternal:
		_, _ = io.Copy(io.Discard, r.Body)
		code, _ := strconv.Atoi(string(kind))
		if code == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		h.answer(w, code)
	}
}

// answer is an error as the target itself would put it.
func (h *proxyHandler) answer(w http.ResponseWriter, code int) {
	switch h.target {
	case TargetS3:
		name := map[int]string{http.StatusConflict: "OperationAborted", http.StatusTooManyRequests: "TooManyRequests", http.StatusInternalServerError: "InternalError"}[code]
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>a fault of the lab</Message></Error>`, name)
	case TargetGit, TargetCharts:
		http.Error(w, "a fault of the lab", code)
	case TargetAPI:
		reason := map[int]metav1.StatusReason{
			http.StatusConflict: metav1.StatusReasonConflict, http.StatusTooManyRequests: metav1.StatusReasonTooManyRequests,
			http.StatusInternalServerError: metav1.StatusReasonInternalError,
		}[code]
		status := metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
			Message: "a fault of the lab", Reason: reason, Code: int32(code),
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(status)
	}
}

// reset ends a connection as a machine does that lost its memory of it: with RST.
func reset(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	connection, _, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	raw := connection
	if secure, ok := connection.(*tls.Conn); ok {
		raw = secure.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = raw.Close()
}
