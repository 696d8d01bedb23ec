package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"text/template"
	"time"
)

// GaneshaOptions say what the NFS server exports and to whom.
type GaneshaOptions struct {
	// Dir is the folder to export, under its own absolute path.
	Dir string
	// PrivilegedPort makes the export demand a source port below 1024, as knfsd does by default.
	PrivilegedPort bool
	// ReadOnly exports without the right to write.
	ReadOnly bool
	// Squash is ganesha's word for whom to map to nobody (No_Root_Squash when empty, Root_Squash,
	// All_Squash).
	Squash string
	// Clients is the only address that may mount, everybody when empty.
	Clients string
}

// Ganesha is a running NFSv3 server (nfs-ganesha, in user space).
type Ganesha struct {
	Host string
	// Port serves NFS and MountPort the MOUNT protocol; both are registered with rpcbind, where another
	// Ganesha of this machine may replace them.
	Port, MountPort int
	// Export is the path to mount.
	Export  string
	Process *Process

	// folder holds the configuration and the server's state.
	folder string
}

// ganeshaConfig keeps everything that two servers on one machine could fight over below their own
// folder, and turns off what needs more than rpcbind (NLM wants statd, UDP wants more ports). Nothing
// is cached, as tests change the folder behind the server's back.
const ganeshaConfig = `NFS_CORE_PARAM {
  NFS_Port = {{.Port}}; MNT_Port = {{.MountPort}}; Bind_addr = {{.Host}}; Protocols = 3;
  Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false;
}
NFSV4 { Graceless = true; RecoveryRoot = "{{.State}}"; }
EXPORT {
  Export_Id = 1; Path = "{{.Options.Dir}}"; Pseudo = "/export"; Protocols = 3; Transports = TCP; SecType = sys;
  Access_Type = {{if .Options.Clients}}NONE{{else}}{{.Access}}{{end}}; Squash = {{.Options.Squash}};
  PrivilegedPort = {{.Options.PrivilegedPort}}; Attr_Expiration_Time = 0;
  FSAL { Name = VFS; }
{{- if .Options.Clients}}
  CLIENT { Clients = {{.Options.Clients}}; Access_Type = {{.Access}}; }
{{- end}}
}
LOG { Default_Log_Level = EVENT; }
`

// Ganesha starts an NFS server that exports o.Dir. It needs root (for rpcbind and for file handles)
// and the Debian packages nfs-ganesha, nfs-ganesha-vfs and rpcbind.
func (s *Stack) Ganesha(ctx context.Context, o GaneshaOptions) (*Ganesha, error) {
	program, err := ganeshaProgram(systemFolders()...)
	if err != nil {
		return nil, err
	}
	if o.Squash == "" {
		o.Squash = "No_Root_Squash"
	}
	g, err := s.prepareGanesha(o)
	if err != nil {
		return nil, err
	}
	if err := g.start(ctx, s, program); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *Ganesha) start(ctx context.Context, s *Stack, program string) error {
	release, err := s.holdRPCBind(ctx)
	if err != nil {
		return err
	}
	defer release()
	g.Process, err = s.Start(ctx, Command{
		Name: "ganesha-" + strconv.Itoa(g.Port), Path: program, Dir: g.folder,
		// In the foreground: as a daemon it dies. A pid file of its own: a second server would refuse
		// to start.
		Args:         []string{"-F", "-f", filepath.Join(g.folder, "ganesha.conf"), "-L", "/dev/stdout", "-p", filepath.Join(g.folder, "ganesha.pid")},
		Ready:        g.answers,
		ReadyTimeout: time.Minute,
	})
	return err
}

// systemFolders are where Debian keeps servers, which many users' PATH leaves out.
func systemFolders() []string { return []string{"/usr/bin", "/usr/sbin", "/sbin"} }

func ganeshaProgram(folders ...string) (string, error) {
	if os.Geteuid() != 0 {
		return "", errors.New("lab: the NFS server needs root (rpcbind's port 111, file handles): run the tests as root")
	}
	program, err := findProgram("ganesha.nfsd", folders...)
	if err != nil {
		return "", fmt.Errorf("lab: no NFS server: apt-get install nfs-ganesha nfs-ganesha-vfs rpcbind: %w", err)
	}
	return program, nil
}

// findProgram looks in PATH and then in folders.
func findProgram(name string, folders ...string) (string, error) {
	path, err := exec.LookPath(name)
	for _, folder := range folders {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(folder, name))
	}
	return path, err
}

func (s *Stack) prepareGanesha(o GaneshaOptions) (*Ganesha, error) {
	g := &Ganesha{Host: "127.0.0.1", Export: o.Dir}
	var err error
	if g.Port, err = FreePort(); err != nil {
		return nil, err
	}
	if g.MountPort, err = FreePort(); err != nil {
		return nil, err
	}
	if g.folder, err = s.Dir("ganesha-" + strconv.Itoa(g.Port)); err != nil {
		return nil, err
	}
	return g, g.writeConfig(o)
}

func (g *Ganesha) writeConfig(o GaneshaOptions) error {
	config, err := template.New("ganesha.conf").Parse(ganeshaConfig)
	if err != nil {
		return fmt.Errorf("lab: template of ganesha.conf: %w", err)
	}
	file, err := os.Create(filepath.Join(g.folder, "ganesha.conf"))
	if err != nil {
		return fmt.Errorf("lab: ganesha.conf: %w", err)
	}
	access := "RW"
	if o.ReadOnly {
		access = "RO"
	}
	err = config.Execute(file, struct {
		*Ganesha
		Options       GaneshaOptions
		State, Access string
	}{g, o, g.folder, access})
	return errors.Join(err, file.Close())
}

// answers reports whether both ports accept connections.
func (g *Ganesha) answers(ctx context.Context) error {
	for _, port := range []int{g.Port, g.MountPort} {
		if err := dialPort(ctx, g.Host, port); err != nil {
			return err
		}
	}
	return nil
}

func dialPort(ctx context.Context, host string, port int) error {
	dialer := net.Dialer{Timeout: time.Second}
	connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return connection.Close()
}

// Restart kills the server and starts it again on the same ports, as after a power failure: file
// handles stay good.
func (g *Ganesha) Restart(ctx context.Context, s *Stack) error {
	if err := g.Process.Kill(); err != nil {
		return err
	}
	program, err := ganeshaProgram(systemFolders()...)
	if err != nil {
		return err
	}
	return g.start(ctx, s, program)
}
