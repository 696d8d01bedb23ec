package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/drctl/drctl/internal/recovery"
)

// maxOutputBytes bounds what is kept of a command's output or of a log.
const maxOutputBytes = 16 << 20

// ExecError is a command in a container that ended with another code than 0.
type ExecError struct {
	// Code is the exit code.
	Code int
	// Stderr is what the command wrote there, without blanks around it.
	Stderr string
}

// Error names the code and what the command said.
func (e *ExecError) Error() string {
	if e.Stderr == "" {
		return fmt.Sprintf("it ended with exit code %d", e.Code)
	}
	return fmt.Sprintf("it ended with exit code %d: %s", e.Code, e.Stderr)
}

// Exec runs a command in a container and gives its standard output, at most 16 MiB of it; stdin may be
// nil. A command that fails is an *ExecError. It goes over a WebSocket, and over SPDY where the API server
// or a proxy before it knows no WebSocket. When ctx ends the connection is closed; the command itself may
// go on in the container.
func (c *Client) Exec(ctx context.Context, namespace, pod, container string, stdin io.Reader, command ...string) (string, error) {
	// Only the program is named: an argument may hold a password.
	what := fmt.Sprintf("run %s in container %s of Pod %s/%s", firstOf(command), container, namespace, pod)
	refused := &refusal{}
	executor, err := c.executor(refused, c.execURL(namespace, pod, container, stdin != nil, command))
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	streamCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdout, stderr := &boundedBuffer{full: cancel}, &boundedBuffer{full: cancel}
	err = executor.StreamWithContext(streamCtx, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout, Stderr: stderr})
	var exit exec.CodeExitError
	switch {
	case ctx.Err() != nil && err != nil:
		return "", fmt.Errorf("%s: %w", what, ctx.Err())
	case stdout.overflowed() || stderr.overflowed():
		return "", &recovery.Problem{
			What: what, Why: fmt.Sprintf("it wrote more than %d MiB", maxOutputBytes>>20),
			Next: "ask it for less", Err: recovery.ErrUnsupported,
		}
	case errors.As(err, &exit):
		return stdout.String(), fmt.Errorf("%s: %w", what, &ExecError{Code: exit.Code, Stderr: strings.TrimSpace(stderr.String())})
	case err != nil:
		return "", c.explainPod(ctx, what, refused.orElse(err))
	}
	return stdout.String(), nil
}

func firstOf(command []string) string {
	if len(command) == 0 {
		return "nothing"
	}
	return command[0]
}

// explainPod: the API server, or the kubelet behind it, refused before anything ran.
func (c *Client) explainPod(ctx context.Context, what string, err error) error {
	return c.explainObject(ctx, what, schema.GroupVersionResource{Version: "v1", Resource: "pods"}, err)
}

func (c *Client) execURL(namespace, pod, container string, stdin bool, command []string) string {
	query := url.Values{"container": {container}, "stdout": {"true"}, "stderr": {"true"}, "command": command}
	if stdin {
		query.Set("stdin", "true")
	}
	return podURL(c.server, namespace, pod, "exec", query)
}

func podURL(server, namespace, pod, subresource string, query url.Values) string {
	return fmt.Sprintf("%s/api/v1/namespaces/%s/pods/%s/%s?%s", strings.TrimSuffix(server, "/"),
		url.PathEscape(namespace), url.PathEscape(pod), subresource, query.Encode())
}

// executor falls back only when the upgrade itself failed: nothing has run then. It does so for a missing
// right, too: a WebSocket needs get (newer servers: create as well) on pods/exec, SPDY create alone.
// Source: kubectl pkg/cmd/exec, createExecutor.
func (c *Client) executor(refused *refusal, address string) (remotecommand.Executor, error) {
	config := counting(c.config, c.requests)
	websocket, err := remotecommand.NewWebSocketExecutor(config, http.MethodGet, address)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	config.Wrap(refused.wrap)
	spdy, err := remotecommand.NewSPDYExecutor(config, http.MethodPost, target)
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(websocket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}
