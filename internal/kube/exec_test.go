package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/streaming/pkg/httpstream/wsstream"

	"github.com/drctl/drctl/internal/recovery"
)

// container is what a test lets a command do. What it returns is the Status on the error stream.
type container func(stdin io.Reader, stdout, stderr io.Writer) metav1.Status

func success() metav1.Status { return metav1.Status{Status: metav1.StatusSuccess} }

// exited is how a kubelet reports an exit code. Source: kubelet pkg/kubelet/cri/streaming.
func exited(code int) metav1.Status {
	return metav1.Status{
		Status: metav1.StatusFailure, Reason: remotecommand.NonZeroExitCodeReason, Message: fmt.Sprintf("command terminated with exit code %d", code),
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: remotecommand.ExitCodeCauseType, Message: fmt.Sprint(code)}}},
	}
}

// webSocketKubelet answers as an API server that knows WebSockets.
func webSocketKubelet(t *testing.T, run container) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		stdin := wsstream.IgnoreChannel
		if r.URL.Query().Get("stdin") != "" {
			stdin = wsstream.ReadChannel
		}
		connection := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{remotecommand.StreamProtocolV5Name: {
			Binary:   true,
			Channels: []wsstream.ChannelType{stdin, wsstream.WriteChannel, wsstream.WriteChannel, wsstream.WriteChannel, wsstream.IgnoreChannel},
		}})
		_, streams, err := connection.Open(w, r)
		if err != nil {
			t.Errorf("open: %v", err)
			return
		}
		defer func() { _ = connection.Close() }()
		writeOutcome(streams[3], run(streams[0], streams[1], streams[2]))
	}
}

// spdyKubelet answers as one that does not.
func spdyKubelet(t *testing.T, run container) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if wsstream.IsWebSocketRequest(r) {
			http.Error(w, "no WebSocket here", http.StatusForbidden)
			return
		}
		if _, err := httpstream.Handshake(r, w, []string{remotecommand.StreamProtocolV4Name}); err != nil {
			t.Errorf("handshake: %v", err)
			return
		}
		arrived := make(chan httpstream.Stream, 4)
		connection := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, _ <-chan struct{}) error {
			arrived <- stream
			return nil
		})
		if connection == nil {
			t.Error("no SPDY connection")
			return
		}
		defer func() { _ = connection.Close() }()
		streams := map[string]httpstream.Stream{}
		want := 3
		if r.URL.Query().Get("stdin") != "" {
			want++
		}
		for range want {
			stream := <-arrived
			streams[stream.Headers().Get("streamType")] = stream
		}
		outcome := run(streams["stdin"], streams["stdout"], streams["stderr"])
		_ = streams["stdout"].Close()
		_ = streams["stderr"].Close()
		writeOutcome(streams["error"], outcome)
		_ = streams["error"].Close()
		select {
		case <-connection.CloseChan():
		case <-r.Context().Done():
		}
	}
}

func writeOutcome(to io.Writer, status metav1.Status) {
	_ = json.NewEncoder(to).Encode(status)
}

func TestExec(t *testing.T) {
	kubelets := map[string]func(*testing.T, container) http.HandlerFunc{"WebSocket": webSocketKubelet, "SPDY": spdyKubelet}
	for name, kubelet := range kubelets {
		t.Run(name, func(t *testing.T) {
			t.Run("output", func(t *testing.T) { execOutput(t, kubelet) })
			t.Run("stdin", func(t *testing.T) { execStdin(t, kubelet) })
			t.Run("exit code", func(t *testing.T) { execExitCode(t, kubelet) })
			t.Run("cancelled", func(t *testing.T) { execCancelled(t, kubelet) })
			t.Run("too much", func(t *testing.T) { execTooMuch(t, kubelet) })
		})
	}
}

func execOutput(t *testing.T, kubelet func(*testing.T, container) http.HandlerFunc) {
	handle := kubelet(t, func(_ io.Reader, stdout, stderr io.Writer) metav1.Status {
		_, _ = io.WriteString(stderr, "NOTICE: nothing\n")
		_, _ = io.WriteString(stdout, "7312345678901234567\n")
		return success()
	})
	var path, command, bearer string
	server := newAPIServer(t, func(w http.ResponseWriter, r *http.Request) {
		path, command, bearer = r.URL.Path, strings.Join(r.URL.Query()["command"], "|"), r.Header.Get("Authorization")
		handle(w, r)
	})

	stdout, err := server.client(t).Exec(t.Context(), "cloudnative-pg", "immich-database-1", "postgres", nil, "psql", "-c", "select 1 & 2")

	require.NoError(t, err)
	require.Equal(t, "7312345678901234567\n", stdout)
	require.Equal(t, "/api/v1/namespaces/cloudnative-pg/pods/immich-database-1/exec", path)
	require.Equal(t, "psql|-c|select 1 & 2", command)
	require.Equal(t, "Bearer canary-token-4711", bearer)
}

func execStdin(t *testing.T, kubelet func(*testing.T, container) http.HandlerFunc) {
	server := newAPIServer(t, kubelet(t, func(stdin io.Reader, stdout, _ io.Writer) metav1.Status {
		read := make([]byte, len("select 1;"))
		_, _ = io.ReadFull(stdin, read)
		_, _ = stdout.Write(read)
		return success()
	}))

	stdout, err := server.client(t).Exec(t.Context(), "db", "pod", "postgres", strings.NewReader("select 1;"), "cat")

	require.NoError(t, err)
	require.Equal(t, "select 1;", stdout)
}

func execExitCode(t *testing.T, kubelet func(*testing.T, container) http.HandlerFunc) {
	server := newAPIServer(t, kubelet(t, func(_ io.Reader, stdout, stderr io.Writer) metav1.Status {
		_, _ = io.WriteString(stdout, "half")
		_, _ = io.WriteString(stderr, "psql: error: no such table\n")
		return exited(3)
	}))

	stdout, err := server.client(t).Exec(t.Context(), "db", "pod", "postgres", nil, "psql", "-c", "password canary-4712")

	var exit *ExecError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, ExecError{Code: 3, Stderr: "psql: error: no such table"}, *exit)
	require.Equal(t, "half", stdout)
	require.False(t, Retryable(err))
	require.Contains(t, err.Error(), "run psql in container postgres of Pod db/pod")
	require.NotContains(t, err.Error(), "canary-4712", "arguments are not shown")
}

func execCancelled(t *testing.T, kubelet func(*testing.T, container) http.HandlerFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	server := newAPIServer(t, kubelet(t, func(io.Reader, io.Writer, io.Writer) metav1.Status {
		cancel()
		select {
		case <-release:
		case <-time.After(time.Minute):
		}
		return success()
	}))
	t.Cleanup(server.CloseClientConnections)

	_, err := server.client(t).Exec(ctx, "db", "pod", "postgres", nil, "sleep", "60")

	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, recovery.ErrUnreachable)
}

func execTooMuch(t *testing.T, kubelet func(*testing.T, container) http.HandlerFunc) {
	server := newAPIServer(t, kubelet(t, func(_ io.Reader, stdout, _ io.Writer) metav1.Status {
		block := make([]byte, 16<<10)
		for range 2 * maxOutputBytes / len(block) {
			if _, err := stdout.Write(block); err != nil {
				break
			}
		}
		return success()
	}))

	_, err := server.client(t).Exec(t.Context(), "db", "pod", "postgres", nil, "yes")

	require.ErrorIs(t, err, recovery.ErrUnsupported)
	require.Contains(t, err.Error(), "more than 16 MiB")
}

func TestExecRefused(t *testing.T) {
	tests := map[string]struct {
		code      int
		reason    metav1.StatusReason
		message   string
		details   string
		want      error
		retryable bool
	}{
		"no such Pod":        {404, metav1.StatusReasonNotFound, `pods "pod" not found`, "pod", recovery.ErrNotFound, false},
		"no right":           {403, metav1.StatusReasonForbidden, `pods "pod" is forbidden: User "eve" cannot create resource "pods/exec" in API group ""`, "pod", recovery.ErrDenied, false},
		"no such container":  {400, metav1.StatusReasonBadRequest, "container postgres is not valid for pod pod", "", recovery.ErrInvalid, false},
		"kubelet is gone":    {503, metav1.StatusReasonServiceUnavailable, "dial tcp 10.0.0.7:10250: connect: connection refused", "", recovery.ErrUnreachable, true},
		"container is gone":  {500, metav1.StatusReasonInternalError, "container not found", "", recovery.ErrUnreachable, true},
		"login is not valid": {401, metav1.StatusReasonUnauthorized, "Unauthorized", "", recovery.ErrDenied, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := newAPIServer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.code)
				status := metav1.Status{
					TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
					Code: int32(test.code), Reason: test.reason, Message: test.message,
				}
				if test.details != "" {
					status.Details = &metav1.StatusDetails{Name: test.details, Kind: "pods"}
				}
				writeOutcome(w, status)
			})

			_, err := server.client(t).Exec(t.Context(), "db", "pod", "postgres", nil, "psql", "canary-4712")

			require.ErrorIs(t, err, test.want)
			require.Equal(t, test.retryable, Retryable(err), "%v", err)
			require.Contains(t, err.Error(), "Pod db/pod")
			require.NotContains(t, err.Error(), "canary")
			var exit *ExecError
			require.False(t, errors.As(err, &exit))
		})
	}
}

// TestExecHungUp: where there are no WebSockets, the connection breaks while SPDY is negotiated.
func TestExecHungUp(t *testing.T) {
	server := newAPIServer(t, func(w http.ResponseWriter, r *http.Request) {
		if !wsstream.IsWebSocketRequest(r) {
			panic(http.ErrAbortHandler)
		}
		http.Error(w, "no WebSocket here", http.StatusForbidden)
	})

	_, err := server.client(t).Exec(t.Context(), "db", "pod", "postgres", nil, "psql", "canary-4712")

	require.ErrorIs(t, err, recovery.ErrUnreachable)
	require.True(t, Retryable(err), "%v", err)
	require.NotContains(t, err.Error(), "canary")
}

func TestExecUnreachable(t *testing.T) {
	server := newAPIServer(t, func(http.ResponseWriter, *http.Request) {})
	client := server.client(t)
	server.Close()

	_, err := client.Exec(t.Context(), "db", "pod", "postgres", nil, "psql")

	require.ErrorIs(t, err, recovery.ErrUnreachable)
	require.True(t, Retryable(err))
}

func TestLogs(t *testing.T) {
	server := newAPIServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("container") != "full-recovery" || r.URL.Query().Get("tailLines") != "20" {
			writeStatus(t, w, 400, metav1.StatusReasonBadRequest, `container "other" in pod "pod" is waiting to start: PodInitializing`)
			return
		}
		_, _ = io.WriteString(w, "restored log file\nconsistent recovery state reached\n")
	})
	client := server.client(t)

	text, err := client.Logs(t.Context(), "db", "pod", "full-recovery", 20)
	require.NoError(t, err)
	require.Equal(t, "restored log file\nconsistent recovery state reached\n", text)
	require.Equal(t, "/api/v1/namespaces/db/pods/pod/log", server.requests[0].Path)

	_, err = client.Logs(t.Context(), "db", "pod", "other", 20)
	require.ErrorIs(t, err, recovery.ErrInvalid)
	require.Contains(t, err.Error(), "waiting to start")
}
