package lab

import (
	"net/http"
	"slices"
	"strings"
)

// KillWhen says on which side of a request a program dies.
type KillWhen string

// Before: the request is not forwarded. After: it is, and the client never sees its answer.
const (
	Before KillWhen = "before"
	After  KillWhen = "after"
)

// Kill says where a program is to be killed.
type Kill struct {
	// N is the place, from 1, among the requests since the kill was armed that Match chooses.
	N    int
	When KillWhen
	// WhenOf decides by the request that was met, in place of When; nil for When.
	WhenOf func(ProxyRequest) KillWhen
	// Match chooses the requests that count; nil for those that change something.
	Match func(ProxyRequest) bool
}

// FaultKind is what happens to one request.
type FaultKind string

// The kinds of faults. FaultTimeout holds the answer back for FaultPatience and then ends the connection;
// FaultReset resets it at once.
const (
	FaultConflict FaultKind = "409"
	FaultTooMany  FaultKind = "429"
	FaultInternal FaultKind = "500"
	FaultTimeout  FaultKind = "timeout"
	FaultReset    FaultKind = "reset"
)

// FaultKinds is every kind.
func FaultKinds() []FaultKind {
	return []FaultKind{FaultConflict, FaultTooMany, FaultInternal, FaultTimeout, FaultReset}
}

// Fault says which request is spoilt, once.
type Fault struct {
	// N is the place, from 1, among the requests since the fault was armed that Match chooses.
	N    int
	Kind FaultKind
	// Applied lets the request through to the server, and replaces its answer alone.
	Applied bool
	// Match chooses the requests that count; nil for all.
	Match func(ProxyRequest) bool
}

type armedKill struct {
	Kill
	seen    int
	process func()
}

type armedFault struct {
	Fault
	seen int
}

// Arm has process called at the chosen point, in place of whatever was armed to kill. It must not
// return before the program is dead. From then on nothing of the program reaches API server or S3.
// Git's programs are processes of their own and finish what they began, except what the kill stood
// before: libcurl asks once more when a connection ends without an answer.
func (p *KillProxy) Arm(kill Kill, process func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kill.Match == nil {
		kill.Match = func(r ProxyRequest) bool { return r.Mutating }
	}
	p.kill, p.hit = &armedKill{Kill: kill, process: process}, nil
}

// ArmFault has one request spoilt, in place of whatever was armed to be.
func (p *KillProxy) ArmFault(fault Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fault.Match == nil {
		fault.Match = func(ProxyRequest) bool { return true }
	}
	p.fault, p.hit = &armedFault{Fault: fault}, nil
}

// ArmEach has each request spoilt for which choose gives a fault, until Reset. Hits says which they were.
func (p *KillProxy) ArmEach(choose func(ProxyRequest) *Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.each, p.hits = choose, nil
}

// Hits are the requests that ArmEach spoilt.
func (p *KillProxy) Hits() []ProxyRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]ProxyRequest(nil), p.hits...)
}

// verdict is what happens to a request: at most one of its fields is set, none means that it passes.
type verdict struct {
	lost  bool
	kill  *armedKill
	fault *armedFault
}

// judge records a request and decides, both at once: the order of the log is the order of the counts.
func (p *KillProxy) judge(target ProxyTarget, r *http.Request) verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead[target] {
		return verdict{lost: true}
	}
	request := p.record(target, r)
	if kill := p.kill; kill != nil && kill.Match(request) {
		if kill.seen++; kill.seen == kill.N {
			p.kill, p.hit = nil, &request
			if kill.WhenOf != nil {
				kill.When = kill.WhenOf(request)
			}
			if kill.When == Before {
				p.dead = map[ProxyTarget]bool{TargetAPI: true, TargetS3: true, TargetCharts: true, target: true}
			}
			return verdict{kill: kill}
		}
	}
	if p.each != nil {
		if fault := p.each(request); fault != nil {
			p.hits = append(p.hits, request)
			return verdict{fault: &armedFault{Fault: *fault}}
		}
	}
	if fault := p.fault; fault != nil && fault.Match(request) {
		if fault.seen++; fault.seen == fault.N {
			p.fault, p.hit = nil, &request
			return verdict{fault: fault}
		}
	}
	return verdict{}
}

// die loses what still arrives from a program that is dead.
func (p *KillProxy) die() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = map[ProxyTarget]bool{TargetAPI: true, TargetS3: true, TargetCharts: true, TargetGit: p.dead[TargetGit]}
}

// MatchPath chooses requests to one target by method and by a part of the normalised path.
func MatchPath(target ProxyTarget, method string, parts ...string) func(ProxyRequest) bool {
	return func(r ProxyRequest) bool {
		return r.Target == target && r.Method == method && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(r.Path, part) })
	}
}
