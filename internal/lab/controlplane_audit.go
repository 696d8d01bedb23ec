package lab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// auditPolicy records the requests of people, and nothing of the controllers and of readiness checks.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
rules:
  - level: None
    userGroups: ["system:serviceaccounts", "system:nodes"]
  - level: None
    users: ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler"]
  - level: None
    nonResourceURLs: ["/readyz*", "/livez*", "/healthz*"]
  - level: Metadata
`

// Request is one request that the API server received, as its audit log tells it.
type Request struct {
	Verb      string
	User      string
	UserAgent string
	URI       string
	// Group, Resource, Subresource, Namespace and Name say what it was about; all empty for a
	// request such as /version or discovery.
	Group, Resource, Subresource, Namespace, Name string
	// Received is when it arrived, Answered when the answer was complete; zero while it is not.
	Received, Answered time.Time
	// Code is the HTTP status. It may still be 0 just after the answer arrived, and of a watch that
	// goes on.
	Code int
}

// auditEvent is the part of audit.k8s.io/v1 Event that Request is made from.
type auditEvent struct {
	AuditID string `json:"auditID"`
	Stage   string `json:"stage"`
	// Received is that of the request, Reached that of the stage.
	Received   time.Time `json:"requestReceivedTimestamp"`
	Reached    time.Time `json:"stageTimestamp"`
	Verb       string    `json:"verb"`
	RequestURI string    `json:"requestURI"`
	UserAgent  string    `json:"userAgent"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		APIGroup    string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// AuditMark is the present end of the audit log, to count from with RequestsSince.
func (k *Kubernetes) AuditMark() (int64, error) {
	info, err := os.Stat(k.path("audit.log"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("lab: audit log: %w", err)
	}
	return info.Size(), nil
}

// RequestsSince are the requests of one user since the mark, in order of their arrival. The log is
// written before a request is handled, so one that was answered is always in it.
func (k *Kubernetes) RequestsSince(mark int64, user string) ([]Request, error) {
	file, err := os.Open(k.path("audit.log"))
	if err != nil {
		return nil, fmt.Errorf("lab: audit log: %w", err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(mark, io.SeekStart); err != nil {
		return nil, fmt.Errorf("lab: audit log: %w", err)
	}
	requests, index := []Request{}, map[string]int{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var event auditEvent
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, fmt.Errorf("lab: audit log, line %q: %w", lines.Text(), err)
		}
		at, received := index[event.AuditID]
		switch {
		case received:
			requests[at].Code = event.ResponseStatus.Code
			if event.Stage == "ResponseComplete" {
				requests[at].Answered = event.Reached
			}
		case event.Stage == "RequestReceived" && event.User.Username == user:
			index[event.AuditID] = len(requests)
			requests = append(requests, event.request())
		}
	}
	return requests, lines.Err()
}

func (e auditEvent) request() Request {
	return Request{
		Verb: e.Verb, User: e.User.Username, UserAgent: e.UserAgent, URI: e.RequestURI,
		Group: e.ObjectRef.APIGroup, Resource: e.ObjectRef.Resource, Subresource: e.ObjectRef.Subresource,
		Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name, Code: e.ResponseStatus.Code,
		Received: e.Received,
	}
}
