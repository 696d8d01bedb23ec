package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
)

// TestCtrlC ends a listing that waits for a server that never answers: at once, with 130, and saying
// that nothing was changed.
func TestCtrlC(t *testing.T) {
	l := shared.Lab(t)
	proxy, err := lab.ForTest(t).FaultProxy(strings.TrimPrefix(l.MinIO.EndpointURL, "http://"))
	require.NoError(t, err)
	require.NoError(t, proxy.Hang())
	cmd := exec.CommandContext(t.Context(), program(t), "cnpg", "backups", "--destination-path", "s3://"+lab.PlatformBucket+"/cnpg/immich",
		"--endpoint-url", "http://"+proxy.Address)
	var stderr lockedBuffer
	cmd.Stderr = &stderr
	cmd.Env = append(l.Environment(), "HOME="+t.TempDir())
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return strings.Contains(stderr.String(), "reading the Barman catalog") }, time.Minute, 50*time.Millisecond,
		"what takes longer than a second says what it does")
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	err = cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 130, exit.ExitCode(), stderr.String())
	require.Contains(t, stderr.String(), "nothing was changed")
}

// lockedBuffer may be read while the program still writes.
type lockedBuffer struct {
	buffer bytes.Buffer
	lock   sync.Mutex
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.buffer.String()
}
