package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Exists says whether the claim has a backup. It is asked about the claim "" of namespace "" to learn
// whether it can answer at all.
type Exists func(ctx context.Context, namespace, claim string) (bool, error)

// PlumberMode is how the stand-in of PVC Plumber fails.
type PlumberMode string

// The modes. FailsOpen is the published plumber, and the worst: with the repository gone, every new claim
// comes up empty.
const (
	// FailsClosed answers 503 where Exists fails, and so does readyz: unknown is no answer.
	FailsClosed PlumberMode = "fails-closed"
	// FailsOpen answers 200 with exists false and an error where Exists fails; readyz is always 200.
	// Source: mitchross/pvc-plumber README (v1.1.0), "error - fail-open".
	FailsOpen PlumberMode = "fails-open"
)

// Plumber stands in for PVC Plumber, which the platform's policies ask whether a claim has a backup.
type Plumber struct {
	// URL is http://127.0.0.1:PORT. The port stays the same over Stop and Start.
	URL string

	address string

	mu     sync.Mutex
	exists Exists
	mode   PlumberMode
	server *http.Server
	asked  map[string]int
}

// Plumber starts the stand-in, which asks exists for each request.
func (s *Stack) Plumber(ctx context.Context, mode PlumberMode, exists Exists) (*Plumber, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	p := &Plumber{address: fmt.Sprintf("127.0.0.1:%d", port), exists: exists, mode: mode, asked: map[string]int{}}
	p.URL = "http://" + p.address
	s.Defer(p.Stop)
	return p, p.Start(ctx)
}

// Answer replaces what the plumber knows and how it fails.
func (p *Plumber) Answer(mode PlumberMode, exists Exists) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode, p.exists = mode, exists
}

// Asked is how often it was asked about the claim.
func (p *Plumber) Asked(namespace, claim string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[namespace+"/"+claim]
}

// Start starts it where it does not run, on its old port.
func (p *Plumber) Start(ctx context.Context) error {
	// It outlives the call that starts it.
	ctx = context.WithoutCancel(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		return nil
	}
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		return fmt.Errorf("lab: listen for PVC Plumber: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /exists/{namespace}/{claim}", p.answer)
	mux.HandleFunc("GET /readyz", p.ready)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, plumberStatus{Status: "ok"}) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	p.server = server
	go func() { _ = server.Serve(listener) }()
	return nil
}

// Stop ends it with all its connections: nobody listens any more. It may be called twice.
func (p *Plumber) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return nil
	}
	err := p.server.Close()
	p.server = nil
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("lab: stop PVC Plumber: %w", err)
	}
	return nil
}

// plumberAnswer is the body of /exists. Source: mitchross/pvc-plumber README (v1.1.0), API Documentation.
type plumberAnswer struct {
	Exists    bool   `json:"exists"`
	Namespace string `json:"namespace"`
	Claim     string `json:"pvc"`
	Backend   string `json:"backend"`
	Error     string `json:"error,omitempty"`
}

type plumberStatus struct {
	Status string `json:"status"`
}

func (p *Plumber) answer(w http.ResponseWriter, r *http.Request) {
	answer := plumberAnswer{Namespace: r.PathValue("namespace"), Claim: r.PathValue("claim"), Backend: "kopia-fs"}
	p.mu.Lock()
	p.asked[answer.Namespace+"/"+answer.Claim]++
	exists, mode := p.exists, p.mode
	p.mu.Unlock()
	code := http.StatusOK
	var err error
	if answer.Exists, err = exists(r.Context(), answer.Namespace, answer.Claim); err != nil {
		answer.Exists, answer.Error = false, err.Error()
		if mode == FailsClosed {
			code = http.StatusServiceUnavailable
		}
	}
	reply(w, code, answer)
}

// ready asks about no claim in particular: whether the repository can be listed at all.
func (p *Plumber) ready(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	exists, mode := p.exists, p.mode
	p.mu.Unlock()
	if mode == FailsClosed {
		if _, err := exists(r.Context(), "", ""); err != nil {
			reply(w, http.StatusServiceUnavailable, plumberStatus{Status: err.Error()})
			return
		}
	}
	reply(w, http.StatusOK, plumberStatus{Status: "ok"})
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}
