package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// execTimeout ends an exec that nothing is heard of.
const execTimeout = 4 * time.Hour

// handler answers what the API server asks a kubelet for: exec, over WebSocket and SPDY, and logs.
// Source: k8s.io/kubernetes/pkg/kubelet/server/server.go.
func (n *Node) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", n.serveExec)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", n.serveLogs)
	return mux
}

func (n *Node) serveExec(w http.ResponseWriter, request *http.Request) {
	options, err := remotecommand.NewOptions(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	runner := n.find(request.PathValue("namespace"), request.PathValue("pod"))
	if runner == nil {
		http.Error(w, fmt.Sprintf("pod %q does not exist", request.PathValue("pod")), http.StatusNotFound)
		return
	}
	remotecommand.ServeExec(w, request, runner, runner.pod.Name, string(runner.pod.UID), request.PathValue("container"),
		request.URL.Query()["command"], options, execTimeout, remotecommand.DefaultStreamCreationTimeout, remotecommand.SupportedStreamingProtocols)
}

// ExecInContainer runs a command beside the Pod's main program. (There is no terminal; tty is ignored.)
func (r *podRunner) ExecInContainer(
	ctx context.Context, _, _, name string, command []string, in io.Reader, out, errOut io.WriteCloser, _ bool,
	_ <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	c := r.current()
	if c == nil || c.name != name {
		return fmt.Errorf("container %q of Pod %s/%s does not run here", name, r.pod.Namespace, r.pod.Name)
	}
	if len(command) == 0 {
		return errors.New("no command was given")
	}
	err := c.exec(ctx, command, in, out, errOut)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return utilexec.CodeExitError{Err: err, Code: exit.ExitCode()}
	}
	return err
}

// exec does not wait for the end of the input once the command has ended.
func (c *container) exec(ctx context.Context, command []string, in io.Reader, out, errOut io.Writer) error {
	cmd := c.enter(ctx, command)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, errOut, 5*time.Second
	if in == nil {
		return cmd.Run()
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(stdin, in)
		_ = stdin.Close()
	}()
	return cmd.Wait()
}

// serveLogs gives a container's output, as far as the query asks for it: follow and tailLines are known.
func (n *Node) serveLogs(w http.ResponseWriter, request *http.Request) {
	runner := n.find(request.PathValue("namespace"), request.PathValue("pod"))
	if runner == nil {
		http.Error(w, fmt.Sprintf("pod %q does not exist", request.PathValue("pod")), http.StatusNotFound)
		return
	}
	log, err := os.Open(containerLog(runner.dir, request.PathValue("container")))
	if err != nil {
		http.Error(w, fmt.Sprintf("container %q has no log yet", request.PathValue("container")), http.StatusBadRequest)
		return
	}
	defer func() { _ = log.Close() }()
	query := request.URL.Query()
	if lines := query.Get("tailLines"); lines != "" {
		seekLastLines(log, lines)
	}
	w.WriteHeader(http.StatusOK)
	follow := query.Get("follow") == "true"
	for {
		written, err := io.Copy(w, log)
		if err != nil || !follow {
			return
		}
		if flusher, ok := w.(http.Flusher); ok && written > 0 {
			flusher.Flush()
		}
		c := runner.current()
		select {
		case <-request.Context().Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
		// What came between the last look and the container's end is read in one more turn.
		follow = c == nil || !c.hasEnded()
	}
}

func (c *container) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// seekLastLines moves to where the last lines begin; logs of the lab are small.
func seekLastLines(log *os.File, lines string) {
	var count int
	if _, err := fmt.Sscan(lines, &count); err != nil {
		return
	}
	content, err := io.ReadAll(log)
	if err != nil {
		return
	}
	text := strings.TrimSuffix(string(content), "\n")
	at := len(text)
	for ; count > 0 && at > 0; count-- {
		at = strings.LastIndexByte(text[:at], '\n')
		if at < 0 {
			break
		}
	}
	_, _ = log.Seek(int64(max(at+1, 0)), io.SeekStart)
}
