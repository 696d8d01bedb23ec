package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// postgresAccount is where the programs of PostgreSQL are, and who may run them: PostgreSQL refuses
// to run as root.
type postgresAccount struct {
	bin string
	// credential is nil when we are not root.
	credential *syscall.Credential
}

// findPostgres looks for the newest PostgreSQL of Debian, or the one on PATH, and for Barman.
func findPostgres() (*postgresAccount, error) {
	account := &postgresAccount{bin: newestPostgresBin()}
	missing := missingBarman()
	if account.bin == "" {
		missing = append(missing, "postgresql")
	}
	if len(missing) > 0 {
		return nil, missingPackages(missing)
	}
	if os.Getuid() != 0 {
		return account, nil
	}
	var err error
	account.credential, err = unprivileged()
	return account, err
}

func missingPackages(names []string) error {
	args := ""
	for _, name := range names {
		args += " " + name
	}
	return fmt.Errorf("lab: Debian packages are missing:%s (as root: apt-get install --no-install-recommends%s)", args, args)
}

// newestPostgresBin is the folder with initdb and postgres, empty where there is none.
func newestPostgresBin() string {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err == nil && len(found) > 0 {
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return majorOf(a) - majorOf(b) }))
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	return ""
}

// majorOf reads the 15 in /usr/lib/postgresql/15/bin/initdb.
func majorOf(path string) int {
	major, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	if err != nil {
		return 0
	}
	return major
}

// unprivileged is the account postgres, which Debian's package makes, or nobody.
func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(account.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(account.Gid, 10, 32)
		if errUID == nil && errGID == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("lab: PostgreSQL cannot run as root, and there is no account postgres or nobody")
}

func (a *postgresAccount) program(name string) string { return filepath.Join(a.bin, name) }

// own gives files to the account.
func (a *postgresAccount) own(paths ...string) error {
	if a.credential == nil {
		return nil
	}
	for _, path := range paths {
		if err := os.Chown(path, int(a.credential.Uid), int(a.credential.Gid)); err != nil {
			return fmt.Errorf("lab: give %s to PostgreSQL: %w", path, err)
		}
	}
	return nil
}

// run runs a program as the account in dir and gives its standard output.
func (a *postgresAccount) run(ctx context.Context, dir string, env []string, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "HOME="+dir, "LC_ALL=C.UTF-8"), env...)
	if a.credential != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("%s: %w\n%s", filepath.Base(program), err, stderr.Bytes())
	}
	return stdout.Bytes(), nil
}
