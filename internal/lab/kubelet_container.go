package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// containerScript makes the root folder that a container sees, in a mount namespace of its own: the
// machine's programs (they stand for the image), a /proc, an /etc that can be added to, and the volumes.
// Arguments: the root folder, setpriv's options for who it runs as, then SOURCE TARGET pairs up to "--",
// then the command.
const containerScript = `set -eu
root=$1 identity=$2; shift 2
mount --make-rprivate /
mount -t tmpfs -o mode=0755 none "$root"
cd "$root"
mkdir -p usr dev proc etc .host/etc var/lib var/run
mkdir -m 1777 tmp
mount --rbind /usr usr
mount --rbind /dev dev
mount --bind /etc .host/etc
mount -t proc none proc
for entry in /etc/*; do ln -s "/.host$entry" etc/; done
for entry in bin lib lib64 sbin; do
  if [ -L "/$entry" ]; then cp -P "/$entry" .
  elif [ -d "/$entry" ]; then mkdir "$entry"; mount --rbind "/$entry" "$entry"; fi
done
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir -p ".$2"; else : > ".$2"; fi
  mount --bind "$1" ".$2"
  shift 2
done
shift
exec chroot "$root" setpriv --pdeathsig KILL $identity --no-new-privs -- "$@"
`

// containerMount shows a file or folder of this machine in a container.
type containerMount struct{ source, target string }

// container is one program of a Pod.
type container struct {
	name     string
	dir      string
	uid, gid int
	// setpriv are further options of that program: groups, capabilities.
	setpriv string
	mounts  []containerMount
	command []string
	env     []string

	cmd     *exec.Cmd
	ended   chan struct{}
	waitErr error
	began   time.Time
}

// start starts the container in the Pod's sandbox. Its output goes to its log.
func (c *container) start(s *sandbox) error {
	root := filepath.Join(c.dir, "root-"+c.name)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("lab: root folder of container %s: %w", c.name, err)
	}
	log, err := os.OpenFile(c.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("lab: log of container %s: %w", c.name, err)
	}
	defer func() { _ = log.Close() }()
	identity := fmt.Sprintf("--reuid %d --regid %d %s", c.uid, c.gid, c.setpriv)
	args := []string{"-c", containerScript, "container", root, identity}
	for _, mount := range c.mounts {
		args = append(args, mount.source, mount.target)
	}
	cmd := exec.Command("/bin/sh", append(append(args, "--"), c.command...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, log, log
	c.cmd, c.ended, c.began = cmd, make(chan struct{}), time.Now()
	if err := s.start(cmd); err != nil {
		return fmt.Errorf("lab: start container %s: %w", c.name, err)
	}
	go func() {
		c.waitErr = cmd.Wait()
		close(c.ended)
	}()
	return nil
}

func (c *container) logPath() string { return containerLog(c.dir, c.name) }

func containerLog(dir, name string) string { return filepath.Join(dir, name+".log") }

// stop asks the program to end, and ends it by force when the grace is over.
func (c *container) stop(grace time.Duration) {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(grace):
		c.kill()
	}
}

// kill ends the program and everything that it started.
func (c *container) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
}

// exitCode is 0 for success, and 128 plus the signal's number where one ended it, as a shell has it.
// Call it when the container has ended.
func (c *container) exitCode() int32 {
	var exit *exec.ExitError
	if !errors.As(c.waitErr, &exit) {
		if c.waitErr != nil {
			return 128
		}
		return 0
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int32(status.Signal())
	}
	return int32(exit.ExitCode())
}
