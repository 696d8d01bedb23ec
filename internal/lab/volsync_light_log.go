package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
)

// lightLogs serves what the Pods of a LightVolSync say, as the kubelet of their node.
type lightLogs struct {
	mu   sync.Mutex
	pods map[string]*lightLog // by NAMESPACE/NAME
}

// lightLog is one Pod's. changed is closed and made anew with every line, ended is true behind the last one.
type lightLog struct {
	text    string
	ended   bool
	changed chan struct{}
}

// lightLogs registers the lab's node and serves the logs of Pods that are said to run there.
func (s *Stack) lightLogs(ctx context.Context, k *Kubernetes, client kubernetes.Interface) (*lightLogs, error) {
	l := &lightLogs{pods: map[string]*lightLog{}}
	dir, err := s.Dir(fmt.Sprintf("light-node-%d", k.port))
	if err != nil {
		return nil, err
	}
	certificate, key, err := k.authority.IssueServer(dir, "kubelet")
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lab: listen for logs: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", l.serve)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute, ErrorLog: silent()}
	s.background(ctx, func(ctx context.Context) {
		<-ctx.Done()
		_ = server.Close()
	})
	go func() { _ = server.ServeTLS(listener, certificate, key) }()
	node := &Node{stack: s, kubernetes: k, client: client, port: listener.Addr().(*net.TCPAddr).Port}
	if err := node.register(ctx); err != nil {
		return nil, err
	}
	s.background(ctx, node.renew)
	return l, nil
}

func (l *lightLogs) open(pod *corev1.Pod) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pods[pod.Namespace+"/"+pod.Name] = &lightLog{changed: make(chan struct{})}
}

func (l *lightLogs) say(pod *corev1.Pod, lines ...string) {
	l.change(pod, func(log *lightLog) {
		for _, line := range lines {
			log.text += line + "\n"
		}
	})
}

func (l *lightLogs) end(pod *corev1.Pod) {
	l.change(pod, func(log *lightLog) { log.ended = true })
}

func (l *lightLogs) change(pod *corev1.Pod, change func(*lightLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	log := l.pods[pod.Namespace+"/"+pod.Name]
	change(log)
	close(log.changed)
	log.changed = make(chan struct{})
}

// serve gives a log from its beginning, and follows it where that is asked for. A Pod's log stays here when the
// Pod is gone; nobody can ask for it then, as the API server refuses.
func (l *lightLogs) serve(w http.ResponseWriter, request *http.Request) {
	key := request.PathValue("namespace") + "/" + request.PathValue("pod")
	follow, sent := request.URL.Query().Get("follow") == "true", 0
	for {
		l.mu.Lock()
		log := l.pods[key]
		if log == nil {
			l.mu.Unlock()
			http.Error(w, "no such pod", http.StatusNotFound)
			return
		}
		more, ended, changed := log.text[sent:], log.ended, log.changed
		l.mu.Unlock()
		sent += len(more)
		if _, err := io.WriteString(w, more); err != nil || ended || !follow {
			return
		}
		if flusher, ok := w.(http.Flusher); ok {
			flusher.Flush()
		}
		select {
		case <-request.Context().Done():
			return
		case <-changed:
		}
	}
}
